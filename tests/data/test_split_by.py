"""Splits by time, by a column and by hashes."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainings import write_pngs

from data.splitting import ids, opened, split_of, write_rows
from dlcli.data.hash_split import divided_by_hash, sampled_by_hash
from dlcli.errors import DataError
from dlcli.runtime.inputs import Arrays
from dlcli.spec.data.sources import Examples

START = date(2024, 1, 1)


def days_of(splits: object, name: str) -> list[int]:
    """Returns the days since `START` of the rows of a split: a day for every two rows."""
    return sorted(int(example.split("/")[1]) // 2 for example in splits[name].ids)  # type: ignore[index]


def dated(path: Path, form: str) -> str:
    """Writes two rows for each of 100 days, in an order without meaning for the ids."""
    rows = [((START + timedelta(days=row // 2)).strftime(form), row % 7, "ab"[row % 2]) for row in range(200)]
    return write_rows(path / "rows.csv", ("day", "x", "label"), rows)


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%Y%m%d", "%d %B %Y", "%Y-%m-%dT%H:%M:%S"])
def test_the_latest_days_are_the_test_split(tmp_path: Path, form: str) -> None:
    splits = opened(dated(tmp_path, form), "{time: day}")
    assert days_of(splits, "train") == sorted([*range(70), *range(70)])
    assert days_of(splits, "validation") == sorted([*range(70, 80)] * 2)
    assert days_of(splits, "test") == sorted([*range(80, 100)] * 2)
    assert list(splits.train.inputs.columns) == ["x"]
    expected = (
        "split by `day`: train 2024-01-01 to 2024-03-10, validation 2024-03-11 to 2024-03-20, test 2024-03-21 to 2024-04-09"
    )
    assert expected in splits.notes


def test_examples_in_the_gap_are_in_no_split(tmp_path: Path) -> None:
    splits = opened(dated(tmp_path, "%Y-%m-%d"), "{time: {column: day, gap: 7}}")
    assert max(days_of(splits, "train")) == 62
    assert sorted(set(days_of(splits, "validation"))) == [70, 71, 72]
    assert min(days_of(splits, "test")) == 80
    assert "28 examples are in no split: within data.split.time.gap" in splits.notes
    assert splits.describe()["unused"] == {"within data.split.time.gap": 28}


def test_numbers_are_times_and_equal_times_stay_together(tmp_path: Path) -> None:
    rows = [(2000 + row // 20, row, "ab"[row % 2]) for row in range(200)]
    source = write_rows(tmp_path / "rows.csv", ("year", "x", "label"), rows)
    splits = opened(source, "{time: {column: year, gap: 1}, validation: 0.17, test: 0.21}")
    years = {name: {2000 + int(example.split("/")[1]) // 20 for example in ids(splits, name)} for name in splits.by_name}
    assert years == {"train": set(range(2000, 2005)), "validation": {2006}, "test": {2008, 2009}}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("{time: day}", "data.split.time: 2 examples have no value of `day`: train/3, train/5"),
        ("{time: word}", "data.split.time: column `word`: no format of dates fits all of its values, such as 'blue'; set"),
        ("{time: {column: x, gap: 70}}", "data.split.time: the train split has no examples outside the gap of 70; `x` has 60"),
        ("{time: same}", "data.split.time: one value cannot be divided into 3 splits"),
        (
            "{time: {column: whole, format: '%Y-%m'}}",
            "data.split.time: train/0: '2024-01-01' is not a date of the format",
        ),
    ],
)
def test_times_that_cannot_be_used_are_named(tmp_path: Path, split: str, message: str) -> None:
    days = [(START + timedelta(days=row)).isoformat() for row in range(60)]
    rows = [("" if row in (3, 5) else days[row], days[row], "blue", row, 1, "ab"[row % 2]) for row in range(60)]
    source = write_rows(tmp_path / "rows.csv", ("day", "whole", "word", "x", "same", "label"), rows)
    with pytest.raises(DataError) as caught:
        opened(source, split)
    assert str(caught.value).startswith(message)


def test_dates_of_an_npz_file_are_times(tmp_path: Path) -> None:
    days = np.datetime64("2024-01-01") + np.arange(50)[::-1]
    np.savez(tmp_path / "a.npz", x=np.zeros((50, 2)) + np.arange(50)[:, None], y=np.arange(50) % 2, when=days)
    splits = opened(f"{{kind: npz, path: {tmp_path / 'a.npz'}}}", "{time: when, validation: 0}")
    assert ids(splits, "test") == {f"train/{row}" for row in range(10)}


def test_a_column_names_the_split_of_each_row(tmp_path: Path) -> None:
    words = ["train", "Train", "training", "val", "Test", "train"]
    rows = [(words[row % 6], row, "ab"[row % 2]) for row in range(60)]
    source = write_rows(tmp_path / "rows.csv", ("part", "x", "label"), rows)
    splits = opened(source, "{column: part}")
    assert ids(splits, "test") == {f"train/{row}" for row in range(60) if row % 6 == 4}
    assert ids(splits, "validation") == {f"train/{row}" for row in range(60) if row % 6 == 3}
    assert list(splits.train.inputs.columns) == ["x"]
    assert splits.source_parts == {"train", "validation", "test"}


def test_a_column_without_validation_rows_leaves_them_to_be_drawn(tmp_path: Path) -> None:
    rows = [("test" if row % 4 == 0 else "train", row, "ab"[row // 4 % 2]) for row in range(80)]
    splits = opened(write_rows(tmp_path / "rows.csv", ("part", "x", "label"), rows), "{column: part}")
    assert {name: len(examples) for name, examples in splits.by_name.items()} == {"train": 54, "validation": 6, "test": 20}


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("fold1", "data.split.column: train/7: expected train, validation or test, found 'fold1'"),
        ("", "data.split.column: 1 example has no value of `part`: train/7"),
    ],
)
def test_a_row_with_another_split_is_named(tmp_path: Path, cell: str, message: str) -> None:
    rows = [(cell if row == 7 else "train", row, "ab"[row % 2]) for row in range(20)]
    with pytest.raises(DataError) as caught:
        opened(write_rows(tmp_path / "rows.csv", ("part", "x", "label"), rows), "{column: part}")
    assert str(caught.value) == message


SIZE = ", image: {size: [8, 8]}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_pngs(tmp_path_factory.mktemp("photos"), each=10, names=("a", "b"))
    rows = [
        f"{path.relative_to(folder).as_posix()},{int(path.stem) // 2},{'val' if int(path.stem) % 8 == 1 else 'train'}"
        for path in sorted(folder.rglob("*.png"))
    ]
    (folder / "metadata.csv").write_text("\n".join(["file_name,day,part", *rows]) + "\n")
    return f"{{kind: folder, path: {folder}}}"


def numbers(splits: object, name: str) -> list[int]:
    """Returns the numbers of the images of a split."""
    return sorted(int(Path(example).stem) for example in splits[name].ids)  # type: ignore[index]


def test_images_are_split_by_a_time_and_a_column_of_their_metadata(photos: str) -> None:
    splits = opened(photos, "{time: {column: day, gap: 1}, validation: 0}", more=SIZE)
    assert min(numbers(splits, "test")) - max(numbers(splits, "train")) > 2
    splits = opened(photos, "{column: part, test: 0}", more=SIZE)
    assert numbers(splits, "validation") == [1, 9, 17, 25, 33]


def test_images_that_are_added_move_no_other(photos: str, tmp_path: Path) -> None:
    folder = photos.split("path: ")[1].rstrip("}")
    shutil.copytree(folder, tmp_path / "more")
    write_pngs(tmp_path / "new", each=20, names=("a", "b"))
    for path in (tmp_path / "new").rglob("*.png"):
        path.rename(tmp_path / "more" / path.parent.name / f"new_{path.name}")
    more = photos.replace(folder, f"{tmp_path}/more")
    before, after = (split_of(opened(source, "{method: hash}", more=SIZE)) for source in (photos, more))
    assert len(after) == 3 * len(before)
    assert {example: after[example] for example in before} == before


SHARES = {"validation": 0.1, "test": 0.2}
FAST = settings(max_examples=40, deadline=None, derandomize=True)


def hashed(keys: list[str], groups: list[str] | None = None, seed: int = 0) -> dict[str, str]:
    """Returns the split of each of the files."""
    group_names = None if groups is None else np.array(groups, dtype=object)
    examples = Examples(Arrays(np.zeros((len(keys), 1), "float32")), np.zeros(len(keys)), keys, groups=group_names)
    places = divided_by_hash(examples, SHARES, seed, has_files=True)
    return {keys[place]: name for name, chosen in places.items() for place in chosen}


@FAST
@given(st.integers(0, 60), st.integers(0, 100), st.integers(0, 100))
def test_files_that_are_added_move_no_other(more: int, seed: int, order: int) -> None:
    first = [f"cat/{number}.png" for number in range(100)]
    files = np.random.default_rng(order).permutation([*first, *(f"a/{number}.png" for number in range(more))]).tolist()
    assert {file: hashed(files, seed=seed)[file] for file in first} == hashed(first, seed=seed)


@FAST
@given(st.integers(1, 60), st.integers(0, 100))
def test_groups_that_grow_stay_in_their_split(more: int, seed: int) -> None:
    names = [f"{number % 50}_{number}" for number in range(100 + more)]
    before, after = (hashed(files, [name.split("_")[0] for name in files], seed) for files in (names[:100], names))
    assert {file: after[file] for file in before} == before
    assert len({(file.split("_")[0], split) for file, split in after.items()}) == 50


def test_rows_that_are_added_move_no_other(tmp_path: Path) -> None:
    rows = [(round(np.sin(row), 5), row % 3, "ab"[row % 2]) for row in range(300)]

    def by_content(name: str, rows: list[tuple[float, int, str]]) -> dict[tuple[float, int, str], str]:
        splits = opened(write_rows(tmp_path / name, ("x", "z", "label"), rows), "{method: hash}")
        return {rows[int(example.split("/")[1])]: split for example, split in split_of(splits).items()}

    before = by_content("old.csv", rows)
    grown = by_content("new.csv", [(round(np.cos(row), 5), "new", "ab"[row % 2]) for row in range(200)] + rows[::-1])  # type: ignore[misc]
    assert {row: grown[row] for row in before} == before
    counts = np.array([list(before.values()).count(name) for name in ("train", "validation", "test")])
    assert np.abs(counts / 300 - [0.7, 0.1, 0.2]).max() < 0.06


def test_fractions_by_hash_are_nested_and_stable() -> None:
    def sample(count: int, fraction: float) -> set[str]:
        examples = Examples(Arrays(np.zeros((count, 1), "float32")), np.zeros(count), [f"{number}" for number in range(count)])
        return {examples.ids[place] for place in sampled_by_hash(examples, fraction, 0, has_files=True)}

    assert sample(100, 0.2) < sample(100, 0.5) < sample(200, 0.5)
    assert {example for example in sample(200, 0.5) if int(example) < 100} == sample(100, 0.5)


def test_too_few_examples_for_a_hashed_share_are_refused(tmp_path: Path) -> None:
    rows = [(row, "ab"[row % 2]) for row in range(6)]
    source = write_rows(tmp_path / "rows.csv", ("x", "label"), rows)
    with pytest.raises(DataError, match=r"data\.split\.method: hash: no example is in the test split; 6 different examples"):
        opened(source, "{method: hash, validation: 0.01}")
