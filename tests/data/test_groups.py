"""Grouped splits: no group is in two splits, shares and classes are as near as groups allow, and runs keep the groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.killing import assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from training.test_resume import Stopping, gone_on, stopped
from trainings import trained, write_spec

from data.splitting import experiment_of, ids, opened, split_of, write_rows
from dlcli.data.division import Pool
from dlcli.data.folds import open_folds
from dlcli.data.open_run import open_run
from dlcli.data.split import FRACTION
from dlcli.errors import DataError, SpecError
from dlcli.fleet.learning_curve import _influence
from dlcli.runs import RunFolder
from dlcli.runs.layout import OUT_OF_FOLD
from dlcli.runs.reporter import Reporter
from dlcli.score.evaluate import score_predictions
from dlcli.score.outcome import read_outcome
from dlcli.spec.training.metrics import Accuracy

Array = np.ndarray[Any, Any]


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Returns pools of 3 to 30 groups of 1 to 40 examples in up to 4 classes."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=3, max_size=30))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = random.integers(0, draw(st.integers(1, 4)), len(groups))
    if draw(st.booleans()):  # every group of one class
        classes = classes[np.cumsum([0, *sizes[:-1]])][groups]
    order = random.permutation(len(groups))
    return Pool(len(groups), classes[order] if draw(st.booleans()) else None, groups[order])


PROPERTY = settings(max_examples=150, deadline=None, derandomize=True)


def assert_whole(groups: Array, sets: Array, count: int) -> None:
    """Asserts that each group is in one of `count` sets, and no set is empty."""
    assert len(set(zip(groups.tolist(), sets.tolist(), strict=True))) == len(np.unique(groups))
    assert len(np.unique(sets)) == count


@PROPERTY
@given(pools(), st.floats(0.02, 0.9), st.integers(0, 1000))
def test_a_share_never_divides_a_group(pool: Pool, share: float, seed: int) -> None:
    assert pool.groups is not None
    chosen = pool.share(share, np.random.default_rng(seed))
    sets = np.zeros(len(pool), dtype="int64")
    sets[chosen] = 1
    assert_whole(pool.groups, sets, 2)
    assert np.array_equal(chosen, pool.share(share, np.random.default_rng(seed)))
    if pool.strata is None and 0 < len(chosen) < len(pool):
        assert abs(len(chosen) - share * len(pool)) <= np.bincount(pool.groups).max()


@PROPERTY
@given(pools(), st.integers(2, 8), st.integers(0, 1000))
def test_folds_never_divide_a_group(pool: Pool, count: int, seed: int) -> None:
    assert pool.groups is not None
    if pool.units < count:
        with pytest.raises(DataError, match=f"{pool.units} groups cannot be divided into {count} folds"):
            pool.folds(count, np.random.default_rng(seed))
        return
    assert_whole(pool.groups, pool.folds(count, np.random.default_rng(seed)), count)


@PROPERTY
@given(pools(), st.floats(0.02, 1), st.floats(0.02, 1), st.integers(0, 1000))
def test_samples_are_whole_groups_and_nested(pool: Pool, first: float, second: float, seed: int) -> None:
    assert pool.groups is not None
    samples = [set(pool.sample(share, np.random.default_rng(seed)).tolist()) for share in sorted((first, second))]
    assert samples[0] <= samples[1]
    for sample in samples:
        taken = set(pool.groups[list(sample)].tolist())
        assert sample == set(np.flatnonzero(np.isin(pool.groups, list(taken))).tolist())


def test_many_small_groups_reach_the_shares_and_the_proportions() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), random.integers(1, 8, 200))
    classes = (random.random(200) < 0.1).astype("int64")[groups]
    pool = Pool(len(groups), classes, groups)
    chosen = pool.share(0.2, np.random.default_rng(1))
    assert abs(len(chosen) / len(pool) - 0.2) < 0.01
    assert abs(classes[chosen].mean() - classes.mean()) < 0.02
    folds = pool.folds(5, np.random.default_rng(1))
    assert np.abs(np.bincount(folds)[1:] / len(pool) - 0.2).max() < 0.01
    sizes = np.bincount(groups)
    mean = [sizes[np.unique(groups[chosen])].mean() for chosen in (chosen, np.setdiff1d(np.arange(len(pool)), chosen))]
    assert abs(mean[0] - mean[1]) < 1.5  # the small set does not consist of small groups


PATIENTS = 24


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    random = np.random.default_rng(0)
    rows = [
        (f"p{row % PATIENTS:02}", round(random.normal(row % 2), 3), round(random.normal(), 3), "ab"[row % PATIENTS % 2])
        for row in range(240)
    ]
    return write_rows(tmp_path_factory.mktemp("table") / "rows.csv", ("patient", "x", "z", "label"), rows)


def patients(splits: Any, name: str) -> set[str]:
    return {f"p{int(example.split('/')[1]) % PATIENTS:02}" for example in ids(splits, name)}


def test_the_column_of_groups_splits_the_rows_and_is_no_input(table: str) -> None:
    splits = opened(table, "{group: patient}")
    parts = [patients(splits, name) for name in ("train", "validation", "test")]
    assert sum(map(len, parts)) == PATIENTS
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [180, 20, 40]
    assert list(splits.train.inputs.columns) == ["x", "z"]
    assert "groups: 18 train, 2 validation, 4 test" in splits.notes
    assert splits.groups()[splits.train.ids[0]] == f"p{int(splits.train.ids[0].split('/')[1]) % PATIENTS:02}"
    listed = table.replace("}", ", features: [x, patient]}")
    assert list(opened(listed, "{group: patient}").train.inputs.columns) == ["x", "patient"]


def test_folds_keep_groups_together(table: str) -> None:
    folds = open_folds(experiment_of(table, "{group: patient, folds: 4, fold: 1, test: 0.2}"))
    by_patient = {(f"{int(example.split('/')[1]) % PATIENTS}", fold) for example, fold in folds.numbers.items()}
    assert len(by_patient) == PATIENTS
    assert folds.held_out is not None
    assert len(folds.held_out) == 40


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("{group: patient, folds: 25, fold: 1}", "data.split: 24 groups cannot be divided into 25 folds"),
        ("{group: label2}", "data.split: 2 groups cannot be divided into 3 splits (train, validation, test)"),
    ],
)
def test_too_few_groups_are_refused_with_numbers(tmp_path: Path, table: str, split: str, message: str) -> None:
    rows = [(row % PATIENTS, row % 2, row, "ab"[row % 2]) for row in range(96)]
    source = write_rows(tmp_path / "rows.csv", ("patient", "label2", "x", "label"), rows)
    with pytest.raises(DataError) as caught:
        opened(source, split)
    assert str(caught.value) == message


def test_few_large_groups_are_reported(tmp_path: Path) -> None:
    sizes = (50, 20, 20, 10)
    rows = [(group, 10 * group + row, "ab"[row % 2]) for group, size in enumerate(sizes) for row in range(size)]
    source = write_rows(tmp_path / "rows.csv", ("group", "x", "label"), rows)
    notes = opened(source, "{group: group, test: 0.3, validation: 0}").notes
    assert not any("instead of" in note for note in notes)
    notes = opened(source, "{group: group, test: 0.05, validation: 0}").notes
    assert "the groups allow no nearer share: the test split has 10.0% of the examples instead of 5.0%" in notes


def test_a_row_without_a_group_is_named(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.csv", ("g", "x", "label"), [(row % 9 or "", row, "ab"[row % 2]) for row in range(36)])
    with pytest.raises(DataError) as caught:
        opened(source, "{group: g}")
    expected = "data.split.group.column: 4 examples have no value of `g`: train/0, train/9, train/18, train/27"
    assert str(caught.value) == expected


def write_images(folder: Path) -> None:
    """Writes two classes with images in a folder for each patient, and `metadata.csv`."""
    rows = ["file_name,patient,day"]
    for number in range(48):
        name = f"{'cat' if number % 2 else 'dog'}/p{number // 4}/p{number // 4}_shot{number}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 5 * number, 255 - number)).save(folder / name)
        rows.append(f"{name},p{number // 4},{number // 8}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return f"{{kind: folder, path: {folder}, parts: {{}}}}"


@pytest.mark.parametrize("group", ["folder", "patient", "{name: '^(p[0-9]+)_'}", "{name: '^p[0-9]+'}"])
def test_images_are_grouped_by_folder_metadata_and_name(images: str, group: str) -> None:
    splits = opened(images, f"{{group: {group}}}", more=", image: {size: [8, 8]}")
    assert set(splits.groups().values()) == {f"p{number}" for number in range(12)}
    groups = [{example.split("/")[1] for example in ids(splits, name)} for name in ("train", "validation", "test")]
    assert [len(names) for names in groups] == [9, 1, 2]
    assert len(set.union(*groups)) == 12


def test_files_whose_name_does_not_match_are_named(images: str) -> None:
    with pytest.raises(DataError, match=r"46 examples have no match of 'p1_shot\(4\|6\)' in their file names: cat/p0/p0_shot1"):
        opened(images, "{group: {name: 'p1_shot(4|6)'}}", more=", image: {size: [8, 8]}")


def test_an_image_outside_a_sub_folder_is_named(tmp_path: Path) -> None:
    write_images(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "cat" / "loose.png")
    with pytest.raises(DataError, match=r"data\.split\.group\.column: 1 example has no value of `folder`: cat/loose\.png"):
        opened(f"{{kind: folder, path: {tmp_path}, parts: {{}}}}", "{group: folder}", more=", image: {size: [8, 8]}")


def save_arrays(path: Path, test_groups: Array) -> str:
    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    np.savez(path, x=x, y=y, who=np.arange(60) // 6, x_test=x[:20], y_test=y[:20], who_test=test_groups)
    return f"{{kind: npz, path: {path}}}"


def test_groups_are_an_array_of_an_npz_file(tmp_path: Path) -> None:
    splits = opened(save_arrays(tmp_path / "a.npz", np.arange(20) // 4 + 10), "{group: who}")
    assert len({int(example.split("/")[1]) // 6 for example in ids(splits, "validation")}) == 1
    assert not any("`who`" in note for note in splits.notes)
    assert "groups: 9 train, 1 validation, 5 test" in splits.notes


def test_a_group_in_two_parts_of_the_source_is_refused(tmp_path: Path) -> None:
    source = save_arrays(tmp_path / "a.npz", np.arange(20) // 4)
    with pytest.raises(DataError, match=r"data\.split\.group: the group '0' has examples in the train and the test split"):
        opened(source, "{group: who}")


@pytest.fixture(scope="module")
def run(table: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    data = "split: {group: patient, train_fraction: 0.8}"
    return trained(write_spec(tmp_path_factory.mktemp("grouped"), table, data=data))


@pytest.mark.usefixtures("without_pictures")
def test_a_grouped_run_that_is_interrupted_and_resumed_ends_with_the_same_bits(run: RunFolder) -> None:
    interrupted = stopped(run.path.parents[2] / "tiny.yaml", Stopping(step=7))
    assert interrupted.split() == run.split()
    gone_on(interrupted)
    assert_same_bits(interrupted, run)
    assert interrupted.groups() == run.groups()


@pytest.mark.usefixtures("without_pictures")
def test_a_run_records_the_groups_and_widens_its_intervals(run: RunFolder) -> None:
    lines = run.split_path.read_text().splitlines()
    assert lines[0] == "id,split,group"
    assert len(lines) == 1 + sum(run.data()["examples"].values()) == 241 - run.data()["unused"][FRACTION]
    assert len(run.groups()) == len(lines) - 1
    assert "intervals are those of 4 groups: examples of one group are not independent" in run.metrics("test")["notes"]
    low, high = run.metrics("test")["metrics"]["accuracy"]["interval"]
    assert high - low > 0.32  # of 40 independent examples: at most 0.3
    with open_run(run) as again:
        assert again.splits.groups() == run.groups()


@pytest.mark.usefixtures("without_pictures")
def test_a_run_that_repeats_a_grouped_split_keeps_the_groups(run: RunFolder, table: str) -> None:
    splits = opened(table.replace("}", ", drop: [patient]}"), f"{{file: {run.split_path}}}")
    assert splits.groups() == run.groups()
    assert split_of(splits) == run.split()


@pytest.mark.usefixtures("without_pictures")
def test_a_grouped_run_is_finetuned_and_compared(run: RunFolder) -> None:
    from dlcli.score.compare import pair_runs
    from dlcli.training.finetune import continued
    from dlcli.training.train import train

    loaded = continued(run, print, train="all", learning_rate=None, epochs=1, overrides=[])
    tuned = train(loaded, run.path.parents[1], Reporter(), write_up=False)
    assert tuned.split() == run.split()
    assert tuned.groups() == run.groups()
    (pairing,) = pair_runs([run, tuned], "test")
    accuracy = next(difference for difference in pairing.differences if difference.metric == "accuracy")
    assert accuracy.p is None  # McNemar's test is one of independent examples


@pytest.mark.usefixtures("without_pictures")
def test_learning_curves_and_scores_out_of_fold_count_groups(run: RunFolder) -> None:
    influence = _influence(run, Accuracy(kind="accuracy"))
    assert influence is not None
    assert len(influence) == 4
    with open_run(run) as again:
        outcome = replace(read_outcome(run, "test"), split=OUT_OF_FOLD)
        assert again.splits.test is not None
        score_predictions(again.experiment, run, outcome, again.splits.test, run.data())
    assert run.metrics(OUT_OF_FOLD)["metrics"] == run.metrics("test")["metrics"]
    assert run.metrics(OUT_OF_FOLD)["notes"] == ["intervals are those of 4 groups: examples of one group are not independent"]


def test_a_misspelt_column_is_found_before_the_training(table: str) -> None:
    with pytest.raises(SpecError, match=r"data\.split\.group\.column: the source has no column `pateint`; did you mean"):
        experiment_of(table, "{group: pateint}")


def test_a_split_file_is_checked_by_the_groups(table: str, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    file.write_text("id,split\n" + "".join(f"train/{row},{'test' if row % 5 == 0 else 'train'}\n" for row in range(240)))
    assert len(opened(table, f"{{file: {file}}}")["test"]) == 48
    with pytest.raises(DataError, match=r"data\.split\.group: the group 'p\d+' has examples in the train and the test split"):
        opened(table, f"{{file: {file}, group: patient}}")
