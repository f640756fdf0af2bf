"""Tables of image files: which images they name, with which targets, and what is refused or left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcli.errors import DataError
from dlcli.spec.data.sources.image_table import ImageTable
from spec.sources.opening import opened, request

ROWS = [
    ("a.png", "cat", "cat|big", 1.5),
    ("b.png", "dog", "dog", 2.5),
    ("sub/c.png", "cat", "", 3.0),
    ("d.png", "dog", "big|dog", 4),
]


def table(
    folder: Path, rows: Sequence[tuple[object, ...]] | None = None, *, name: str = "labels.csv", files: bool = True
) -> str:
    """Writes a table and its image files, and returns the path of the table."""
    rows = ROWS if rows is None else rows
    if files:
        for number, (file, *_) in enumerate(rows):
            (folder / str(file)).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (number * 20, 0, 0)).save(folder / str(file))
    lines = ["file,label,tags,size", *(",".join(map(str, row)) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return str(folder / name)


def source(path: str, target: str | list[str] = "label", **fields: object) -> ImageTable:
    return ImageTable.model_validate(
        {"kind": "image_table", "path": path, "image": "file", "target": target, **fields}, context={"folder": "/"}
    )


def refusal(made: ImageTable, task: str = "classification") -> str:
    with pytest.raises(DataError) as caught:
        made.open(request(task, size=(4, 4)))
    return str(caught.value)


def test_images_are_those_of_the_rows_in_their_order_named_by_their_paths(tmp_path: Path) -> None:
    data = opened(source(table(tmp_path)), size=(4, 4))
    train = data.parts["train"]
    assert train.ids == ["a.png", "b.png", "sub/c.png", "d.png"]
    assert data.classes == ("cat", "dog")
    assert train.targets.tolist() == [0, 1, 0, 1]
    assert train.inputs.read(np.arange(4))[:, 0, 0, 0].tolist() == [0, 20, 40, 60]
    assert "columns not used: tags, size" in data.notes


def test_targets_are_numbers_columns_of_labels_or_labels_in_a_cell(tmp_path: Path) -> None:
    path = table(tmp_path)
    assert opened(source(path, "size"), "regression", size=(4, 4)).parts["train"].targets.tolist() == [[1.5], [2.5], [3], [4]]
    labels = opened(source(path, "tags", separator="|"), "multilabel", size=(4, 4))
    assert labels.classes == ("big", "cat", "dog")
    assert labels.parts["train"].targets.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 1]]
    assert "1 of 4 images have no label: their cell is empty" in labels.notes
    (tmp_path / "yes_no.csv").write_text("file,red,blue\na.png,1,0\nb.png,0,1\n")
    columns = opened(source(str(tmp_path / "yes_no.csv"), ["red", "blue"]), "multilabel", size=(4, 4))
    assert columns.classes == ("red", "blue")
    assert columns.parts["train"].targets.tolist() == [[1, 0], [0, 1]]


def test_several_labels_in_a_cell_need_the_separator_and_the_task(tmp_path: Path) -> None:
    assert "set their separator" in refusal(source(table(tmp_path), "tags", missing_target="drop"), "multilabel")
    assert source(table(tmp_path), "tags", separator="|").facts(request().task).tasks == ("multilabel",)


def test_tables_of_test_and_validation_images_are_parts(tmp_path: Path) -> None:
    path = table(tmp_path, ROWS[:2])
    test = table(tmp_path, ROWS[2:], name="test.csv")
    data = opened(source(path, test=test), size=(4, 4))
    assert {part: examples.ids for part, examples in data.parts.items()} == {
        "train": ["a.png", "b.png"],
        "test": ["sub/c.png", "d.png"],
    }
    assert "1 image file" not in " ".join(data.notes)
    again = refusal(source(path, test=table(tmp_path, ROWS[1:], name="again.csv")))
    assert again == f"1 image is in both the train and the test table, such as {tmp_path / 'b.png'}"


def test_missing_files_are_refused_by_row_and_name_with_what_was_probably_meant(tmp_path: Path) -> None:
    path = table(tmp_path)
    Path(path).write_text(Path(path).read_text().replace("b.png", "b.pgn").replace("sub/c", "sup/c"))
    ((place, message),) = source(path).faults()
    assert place == "path"
    assert message.startswith(
        f"{path}: 2 of 4 image files do not exist: row 2: `b.pgn` (did you mean `b.png`?); row 3: `sup/c.png`;"
        f" paths are relative to {tmp_path}"
    )
    dropped = opened(source(path, missing_file="drop"), size=(4, 4))
    assert dropped.parts["train"].ids == ["a.png", "d.png"]
    assert any(note.startswith("left out: 2 of 4 image files do not exist") for note in dropped.notes)


def test_a_missing_file_below_the_rows_of_a_check_is_found_when_the_table_is_opened(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    names = [f"{number}.png" for number in range(600)]
    for name in names[:-1]:
        (tmp_path / name).hardlink_to(tmp_path / "a.png")
    path = table(tmp_path, [(name, "ab"[place % 2], "", 0) for place, name in enumerate(names)], files=False)
    assert list(source(path).faults()) == []
    assert "1 of 600 image files does not exist: row 600: `599.png`" in refusal(source(path))


def test_paths_without_extension_and_in_another_folder_are_found_by_their_settings(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    table(folder)
    (tmp_path / "plain.csv").write_text("file,label\na,cat\nb,dog\n")
    path = str(tmp_path / "plain.csv")
    assert f"set data.source.folder: {folder}" in refusal(source(path, extension=".png"))
    assert "set data.source.extension: .png" in refusal(source(path, folder=str(folder)))
    found = opened(source(path, folder=str(folder), extension=".png"), size=(4, 4))
    assert found.parts["train"].ids == ["a", "b"]
    unused = f"2 images in {folder} are not in the table and are not used, such as {folder / 'd.png'}"
    assert unused in found.notes
    run = folder / "runs" / "first" / "20260101-000000-abcd"
    run.mkdir(parents=True)
    (run / "spec.yaml").touch()
    (run / "status.json").touch()
    (run / "curves.png").hardlink_to(folder / "d.png")
    again = opened(source(path, folder=str(folder), extension=".png"), size=(4, 4))
    assert unused in again.notes  # pictures of a run are no images of the set


def test_a_file_listed_twice_is_used_once_and_refused_with_two_targets(tmp_path: Path) -> None:
    path = table(tmp_path, [*ROWS, ("./a.png", "cat", "", 1)], files=True)
    data = opened(source(path), size=(4, 4))
    assert data.parts["train"].ids == ["a.png", "b.png", "sub/c.png", "d.png"]
    assert "1 row repeats an image with the same target and is left out, such as row 5: `./a.png`" in data.notes
    path = table(tmp_path, [*ROWS, ("a.png", "dog", "", 1)])
    assert refusal(source(path)) == f"{path}: `a.png` has two different targets, in the rows 1 and 5"


def test_another_table_is_numbered_by_the_classes_of_the_run(tmp_path: Path) -> None:
    made = source(table(tmp_path), "tags", separator="|")
    other = made.elsewhere(table(tmp_path, [("e.png", "cat", "dog", 1)], name="new.csv"), ("big", "cat", "dog"))
    assert opened(other, "multilabel", size=(4, 4)).parts["train"].targets.tolist() == [[0, 0, 1]]
    wrong = made.elsewhere(table(tmp_path, [("e.png", "cat", "cow", 1)], name="cow.csv"), ("big", "cat", "dog"))
    with pytest.raises(DataError, match="label 'cow' is not among the training table's: big, cat, dog"):
        wrong.open(request("multilabel", size=(4, 4)))


def test_wrong_columns_and_settings_are_named(tmp_path: Path) -> None:
    path = table(tmp_path)
    faults = dict(source(path, "lable", image="fil").faults())
    assert faults["image"] == "the file has no column `fil`; did you mean `file`?"
    assert faults["target"] == "the file has no column `lable`; did you mean `label`?"
    assert dict(source(path, "file").faults()) == {"image": "`file` is the target too"}
    assert "must be that column" in dict(source(path, ["label", "size"], separator="|").faults())["separator"]
    assert dict(source(path, folder="/none").faults()) == {"folder": "no folder /none"}
