"""`data.exclude` leaves out the examples of a list before the splits are drawn, of every source and in every command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli.killing import assert_same_bits
from PIL import Image
from training.test_resume import Stopping, gone_on, stopped
from trainings import CIRCLES, IRIS, PLANE, SMALL_CNN, trained, write_spec

from dlcli.data.open_run import open_recorded
from dlcli.data.same_data import is_copy
from dlcli.data.splits import open_splits
from dlcli.errors import DataError, SpecError
from dlcli.runs.files import write_table
from dlcli.score.evaluate import evaluate
from dlcli.spec.load import load
from dlcli.training.finetune import continued

pytestmark = pytest.mark.usefixtures("without_pictures")


def _list(folder: Path, ids: list[str], name: str = "bad.csv") -> Path:
    write_table(folder / name, ["id", "issue"], [(example, "outlier") for example in ids])
    return folder / name


def _ids(spec: Path) -> set[str]:
    splits = open_splits(load(spec).experiment)
    return {name for examples in splits.distinct.values() for name in examples.ids}


def test_listed_rows_are_in_no_split_and_counted_in_a_note(tmp_path: Path) -> None:
    everything = _ids(write_spec(tmp_path))
    _list(tmp_path, ["train/3", "train/77"])
    spec = write_spec(tmp_path, data="exclude: bad.csv")
    assert _ids(spec) == everything - {"train/3", "train/77"}
    assert "2 examples of bad.csv are excluded (data.exclude)" in open_splits(load(spec).experiment).notes


def test_ids_that_the_source_no_longer_has_are_named(tmp_path: Path) -> None:
    _list(tmp_path, ["train/3", "train/900", "gone.jpg"])
    notes = open_splits(load(write_spec(tmp_path, data="exclude: bad.csv")).experiment).notes
    assert "1 example of bad.csv is excluded (data.exclude)" in notes
    assert "2 ids of bad.csv are not in the source and are ignored: gone.jpg, train/900" in notes


def test_the_remaining_examples_keep_the_split_of_a_split_file(tmp_path: Path) -> None:
    whole = open_splits(load(write_spec(tmp_path)).experiment)
    rows = [(name, split) for split, examples in whole.distinct.items() for name in examples.ids]
    write_table(tmp_path / "split.csv", ["id", "split"], rows)
    bad = [whole.train.ids[0], whole["test"].ids[0]]
    _list(tmp_path, bad)
    reduced = open_splits(load(write_spec(tmp_path, data="exclude: bad.csv, split: {file: split.csv}")).experiment)
    for split, examples in whole.distinct.items():
        assert reduced[split].ids == [name for name in examples.ids if name not in bad]


def test_an_unreadable_image_on_the_list_does_not_stop_a_training(tmp_path: Path) -> None:
    for name in ("dark", "light"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.random.default_rng(number).integers(0, 255, (12, 12, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "dark" / "3.png").write_text("no image")
    source = {"source": "{kind: folder, path: photos}", "model": SMALL_CNN}
    with pytest.raises(DataError, match=r"3\.png"):
        _ids(write_spec(tmp_path, **source, data="image: {size: [8, 8]}"))
    _list(tmp_path, ["dark/3.png"])
    ids = _ids(write_spec(tmp_path, **source, data="exclude: bad.csv, image: {size: [8, 8]}"))
    assert len(ids) == 15


def test_a_run_keeps_its_examples_when_the_list_is_changed_or_gone(tmp_path: Path) -> None:
    path = _list(tmp_path, ["train/3", "train/77"])
    run = trained(write_spec(tmp_path, data="exclude: bad.csv"), ["training.epochs=1"])
    assert run.data()["excluded"] == 2
    assert is_copy(run, run.experiment(), offline=True)
    before = run.metrics("test")
    path.unlink()
    splits = open_recorded(run, run.experiment(), offline=True)
    assert {"train/3", "train/77"} & {name for part in splits.distinct.values() for name in part.ids} == set()
    evaluate(run, "test")
    assert run.metrics("test")["metrics"] == before["metrics"]


def test_a_killed_run_is_resumed_without_the_list_to_the_same_bits(tmp_path: Path) -> None:
    path = _list(tmp_path, ["train/3", "train/77"])
    spec = write_spec(tmp_path, CIRCLES, task="binary", data="exclude: bad.csv, batch_size: 16")
    straight = trained(spec)
    broken = stopped(spec, Stopping(step=7))
    path.unlink()
    gone_on(broken)
    assert_same_bits(straight, broken)


def test_finetuning_keeps_the_split_of_the_run_and_needs_no_list(tmp_path: Path) -> None:
    path = _list(tmp_path, ["train/3", "train/77"])
    run = trained(write_spec(tmp_path, data="exclude: bad.csv"), ["training.epochs=1"])
    path.unlink()
    loaded = continued(run, print, train="all", learning_rate=None, epochs=1, overrides=[])
    splits = open_splits(loaded.experiment)
    assert {split: examples.ids for split, examples in splits.distinct.items()} == {
        split: [name for name, own in run.split().items() if own == split] for split in splits.distinct
    }


def test_a_spec_without_a_list_records_nothing_of_it(tmp_path: Path) -> None:
    splits = open_splits(load(write_spec(tmp_path, PLANE, task="regression")).experiment)
    assert "excluded" not in splits.describe()
    assert replace(splits, excluded=1).describe()["excluded"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,issue\n", "has no rows; remove data.exclude"),
        ("name,issue\na,b\n", "needs the column `id`; it has name, issue"),
        ("", "is empty"),
    ],
)
def test_a_list_that_names_no_example_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        open_splits(load(write_spec(tmp_path, IRIS, data="exclude: bad.csv")).experiment)


def test_a_missing_list_is_a_fault_of_the_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"data.exclude: no file .*bad\.csv; `dlcli data SPEC --exclude FILE` writes one"):
        load(write_spec(tmp_path, data="exclude: bad.csv"))
