"""Data and settings that cannot be trained on are refused with a message, without a traceback or a lost model."""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from trainings import GAUSSIANS, Heard, trained, write_pngs, write_spec

from dlcli.errors import DataError, DlcliError, RunFailed, SpecError, UsageError
from dlcli.runs import RunFolder, all_runs
from dlcli.runs.files import read_table
from dlcli.spec.load import load

pytestmark = pytest.mark.usefixtures("without_pictures")

ODD = ("hello world", "a/b\\c", "[red]bold[/red]", "żółć 猫 😀", "$x^2$", ":apple:", 'say "hi", ok')


def _table(path: Path, labels: list[str], *, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "label"])
        writer.writerows([f"{random.normal():.3f}", f"{random.normal():.3f}", label] for label in labels)
    return path


def _only_run(folder: Path) -> RunFolder:
    (run,) = all_runs(folder / "runs")
    return run


def _refused(spec: Path, words: str, kind: type[DlcliError] = DataError) -> None:
    """Trains, and expects an error with these words, which the run folder records too."""
    with pytest.raises(kind) as caught:
        trained(spec)
    assert words in str(caught.value)
    status = _only_run(spec.parent).status()
    assert (status.state, status.error) == ("failed", str(caught.value))
    assert words in (_only_run(spec.parent).path / "log.txt").read_text()


TABLE = "{kind: csv, path: rows.csv, target: label}"


def test_a_table_without_rows_is_refused_before_a_run_is_created(tmp_path: Path) -> None:
    _table(tmp_path / "rows.csv", [])
    with pytest.raises(SpecError, match=r"data\.source\.path: no rows below the header"):
        trained(write_spec(tmp_path, TABLE))
    assert list(all_runs(tmp_path / "runs")) == []


@pytest.mark.parametrize(("task", "words"), [("classification", "nothing to classify"), ("binary", "needs two classes")])
def test_data_of_a_single_class_is_refused(tmp_path: Path, task: str, words: str) -> None:
    _table(tmp_path / "rows.csv", ["only"] * 30)
    _refused(write_spec(tmp_path, TABLE, task=task), words)


def test_a_class_with_one_example_trains_with_a_note(tmp_path: Path) -> None:
    _table(tmp_path / "rows.csv", ["many"] * 40 + ["some"] * 20 + ["rare"])
    heard = Heard()
    run = trained(write_spec(tmp_path, TABLE, training="epochs: 1"), reporter=heard)
    assert any("1 class has too few examples for the test split: rare" in line for line in heard.lines)
    assert run.data()["counts"]["train"]["rare"] == 1
    assert [row["class"] for row in read_table(run.evaluation("test") / "per_class.csv")] == ["many", "rare", "some"]


def test_a_gap_in_an_array_is_refused_with_a_remedy(tmp_path: Path) -> None:
    x = np.ones((30, 2), "float32")
    x[3, 1] = np.nan
    np.savez(tmp_path / "rows.npz", x=x, y=np.arange(30) % 2)
    with pytest.raises(SpecError, match="1 row of `x` holds NaN or infinite values; only CSV tables may have missing values"):
        load(write_spec(tmp_path, "{kind: npz, path: rows.npz}"))


def test_a_table_with_gaps_trains(tmp_path: Path) -> None:
    text = "a,b,label\n" + "".join(f"{'' if i % 3 else i},{'nan' if i % 4 else 'x'},{i % 2}\n" for i in range(40))
    (tmp_path / "rows.csv").write_text(text)
    run = trained(write_spec(tmp_path, TABLE, task="binary", training="epochs: 1"))
    assert run.status().state == "completed"


BREAKING = {
    "empty": (b"", "an empty file"),
    "text": (b"not an image at all", "not an image of a supported type"),
    "cut": (None, "not readable as an image"),
}


@pytest.mark.parametrize("share", [0.25, 0.0], ids=["in memory", "streamed"])
@pytest.mark.parametrize("how", BREAKING)
def test_a_broken_image_is_refused_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, share: float) -> None:
    monkeypatch.setattr("dlcli.data.memory_limit.MEMORY_SHARE", share)
    write_pngs(tmp_path / "photos", each=4, side=16)
    victim = tmp_path / "photos" / "b" / "1.png"
    content, words = BREAKING[how]
    victim.write_bytes(victim.read_bytes()[:300] if content is None else content)
    spec = write_spec(tmp_path, "{kind: folder, path: photos}", data="image: {size: 16}", training="epochs: 1")
    with pytest.raises(DataError) as caught:
        trained(spec)
    assert str(victim) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert _only_run(tmp_path).status().state == "failed"


def test_an_image_with_a_wrong_extension_is_read_by_its_content(tmp_path: Path) -> None:
    write_pngs(tmp_path / "photos", each=4)
    (tmp_path / "photos" / "a" / "0.png").rename(tmp_path / "photos" / "a" / "0.jpg")
    (tmp_path / "photos" / "a" / "notes.txt").write_text("my cats")
    heard = Heard()
    data = "image: {size: 8}"
    trained(write_spec(tmp_path, "{kind: folder, path: photos}", data=data, training="epochs: 1"), reporter=heard)
    assert f"note: ignored 1 other file: .txt 1, such as {tmp_path}/photos/a/notes.txt" in heard.lines


@pytest.mark.usefixtures("with_pictures")
def test_unusual_class_names_are_kept_in_tables_and_pictures(tmp_path: Path) -> None:
    _table(tmp_path / "rows.csv", [name for name in ODD for _ in range(12)])
    run = trained(write_spec(tmp_path, TABLE, training="epochs: 1"))
    assert sorted(run.data()["classes"]) == sorted(ODD)
    for name, column in (
        ("predictions.csv", "label"),
        ("per_class.csv", "class"),
        ("confusion_matrix.csv", "label \\ predicted"),
    ):
        assert {row[column] for row in read_table(run.evaluation("test") / name)} == set(ODD)
    from PIL import Image

    with Image.open(run.evaluation("test") / "confusion_matrix.png") as picture:
        assert min(picture.size) > 500


def test_unusual_folder_names_are_class_names(tmp_path: Path) -> None:
    names = ("hello world", "żółć 猫", "[red]", "c$d")
    write_pngs(tmp_path / "photos", each=6, names=names)
    spec = write_spec(tmp_path, "{kind: folder, path: photos}", data="image: {size: 8}", training="epochs: 1")
    assert sorted(trained(spec).data()["classes"]) == sorted(names)


def test_a_diverged_training_fails_with_advice_and_keeps_the_best_model(tmp_path: Path) -> None:
    import keras

    rate = "{kind: piecewise_constant_decay, boundaries: [6], values: [0.01, 1e30]}"
    training = f"epochs: 6, metrics: [], loss: mse, optimizer: {{kind: sgd, learning_rate: {rate}}}"
    model = "{kind: mlp, units: [8, 8]}"
    source = "{kind: playground, name: plane, examples: 120}"
    spec = write_spec(tmp_path, source, task="regression", model=model, training=training)
    _refused(spec, "try a learning rate of 1e+29", RunFailed)
    run = _only_run(tmp_path)
    assert run.status().best_epoch >= 1
    assert "the best model so far, of epoch" in run.status().error
    weights = keras.saving.load_model(run.model_path, compile=False).get_weights()
    assert all(np.isfinite(value).all() for value in weights)
    assert len(run.history()) >= 1


def test_a_runs_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(UsageError, match=r"cannot write to the runs folder .*: Not a directory; --runs selects another folder"):
        trained(write_spec(tmp_path, GAUSSIANS, task="binary"))


def test_a_model_that_does_not_fit_the_data_is_refused_with_the_layers_path(tmp_path: Path) -> None:
    fault = "model.layers.2: its window of 2 is larger than the remaining size"
    model = "{kind: cnn, layers: [max_pooling2d, max_pooling2d, max_pooling2d]}"
    spec = write_spec(tmp_path, "{kind: npz, path: images.npz}", model=model)
    np.savez(tmp_path / "images.npz", x=np.zeros((20, 4, 4, 1), "uint8"), y=np.arange(20) % 2)
    with pytest.raises(SpecError, match=fault):
        trained(spec)
    np.savez(tmp_path / "images.npz", x=np.zeros((20, 4, 4, 4), "uint8"), y=np.arange(20) % 2)  # not known before it is open
    _refused(spec, fault, RunFailed)


def test_a_missing_data_set_is_an_error_with_the_searched_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlcli.runs.reporter import Reporter
    from dlcli.spec.load import load
    from dlcli.training.train import train

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    spec = write_spec(tmp_path, "{kind: tfds, name: mnist}")
    with pytest.raises(DataError) as caught:
        train(load(spec), tmp_path / "runs", Reporter(), offline=True)
    assert str(tmp_path / "sets" / "mnist") in str(caught.value)
    assert "configs/digits_cnn.yaml trains on real images without any download" in str(caught.value)


def test_ten_thousand_classes_take_seconds_and_little_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(10_000), 4)
    np.savez(tmp_path / "many.npz", x=random.normal(size=(len(labels), 4)).astype("float32"), y=labels)
    spec = write_spec(tmp_path, "{kind: npz, path: many.npz}", data="batch_size: 1024", training="epochs: 1")
    before, start = psutil.Process().memory_info().rss, time.monotonic()
    run = trained(spec)
    assert time.monotonic() - start < 120
    assert psutil.Process().memory_info().rss - before < 3 * 2**30
    assert run.data()["counts"]["test"]["9999"] == 1
    assert sum(path.stat().st_size for path in run.evaluation("test").iterdir()) < 5 * 2**20


def test_a_folder_in_place_of_a_spec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is a folder, not a spec"):
        trained(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,part\ntrain/0,train\n", "needs the columns `id` and `split`"),
        ("id,split\n", "needs the columns `id` and `split`, and rows"),
        ("id,split\ntrain/0,trian\n", "has the unknown split 'trian'"),
        ("id,split\nnowhere/0,train\n", "that the source does not have, such as 'nowhere/0'"),
    ],
)
def test_an_invalid_split_file_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=re.escape(message)):
        trained(write_spec(tmp_path, data="split: {file: split.csv}"))


def test_examples_missing_from_a_split_file_are_noted(tmp_path: Path) -> None:
    rows = [f"train/{index},{'test' if index % 3 == 0 else 'train'}" for index in range(0, 150, 2)]
    (tmp_path / "split.csv").write_text("\n".join(["id,split", *rows]) + "\n")
    heard = Heard()
    trained(write_spec(tmp_path, data="split: {file: split.csv}", training="epochs: 1"), reporter=heard)
    assert "note: 75 examples are not in the split file and are ignored" in heard.lines
