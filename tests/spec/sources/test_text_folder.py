"""Folders of texts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dlcli.errors import DataError
from dlcli.spec.data.sources.text_folder import TextFolder
from spec.sources.opening import opened


def write(folder: Path, **texts: str | bytes) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(f"{path.name}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def source(folder: Path, **fields: object) -> TextFolder:
    return TextFolder.model_validate({"kind": "text_folder", "path": str(folder), **fields})


def test_each_file_of_a_class_folder_is_an_example(tmp_path: Path) -> None:
    write(tmp_path, sport__a="A goal.\nTwo.", sport__deep__b="\ufeffRugby", politics__c="Vote", politics__d="")
    (tmp_path / "sport" / "notes.md").write_text("no text")
    result = opened(source(tmp_path))
    assert result.classes == ("politics", "sport")
    examples = result.parts["train"]
    assert list(examples.ids) == ["politics/c.txt", "politics/d.txt", "sport/a.txt", "sport/deep/b.txt"]
    assert examples.inputs.columns["text"].tolist() == ["Vote", "", "A goal.\nTwo.", "Rugby"]
    assert examples.targets.tolist() == [0, 0, 1, 1]
    assert "ignored 1 other file: .md 1" in result.notes[0]


def test_folders_of_splits_and_lines_of_files(tmp_path: Path) -> None:
    write(tmp_path, train__good="fine\n\nvery fine\n", train__bad="awful\n", test__good="nice", test__bad="dull\nlong")
    result = opened(source(tmp_path, lines=True))
    train, test = result.parts["train"], result.parts["test"]
    assert train.inputs.columns["text"].tolist() == ["awful", "fine", "very fine"]
    assert list(train.ids) == ["train/bad.txt:1", "train/good.txt:1", "train/good.txt:3"]
    assert test.targets.tolist() == [0, 0, 1]
    assert "ignored 1 empty line" in result.notes


def test_files_in_other_encodings_are_named_and_can_be_read(tmp_path: Path) -> None:
    write(tmp_path, a__1="caf\xe9".encode("latin-1"), a__2="café", b__3="plain")
    with pytest.raises(DataError, match=r"1 text file cannot be read: .*a/1\.txt: not utf-8 at byte 3; set `data\.source\.enc"):
        opened(source(tmp_path))
    result = opened(source(tmp_path, encoding=["utf-8", "latin-1"]))
    assert result.parts["train"].inputs.columns["text"].tolist() == ["café", "café", "plain"]
    assert "read 1 text file as latin-1" in result.notes


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        ({"one": "x", "two": "y"}, "holds no class folders: .* set `data.source.lines: true`"),
        ({"train__a__1": "x", "train__b__2": "y", "test__c__3": "z"}, "the training texts have no class 'c'"),
        ({"test__a__1": "x", "val__a__2": "y"}, "has no folder of training texts"),
        (
            {"train__a__1": "x", "test__a__1": "y", "more__a__1": "z"},
            ": test, train are named like a split, more is not: move the",
        ),
        ({"train__a__1": "x", "extra__b__1": "y"}, ": train is named like a split, extra is not"),
        (
            {"train__a__1": "x", "valid__a__1": "y", "validation__a__1": "z"},
            "has 2 folders for the validation split: valid, val",
        ),
        ({"train__a__1": "x", "test__a__1": "y", "eval__a__1": "z", "dev__a__1": ""}, "has 2 folders for the test split"),
    ],
)
def test_wrong_folders_are_faults(tmp_path: Path, texts: dict[str, str], fault: str) -> None:

    messages = [message for _, message in source(write(tmp_path, **texts)).faults()]
    assert any(re.search(fault, message) for message in messages), messages


def test_a_class_may_have_the_name_of_a_split(tmp_path: Path) -> None:
    assert opened(source(write(tmp_path, bus__1="x", train__1="y", car__1="z"))).classes == ("bus", "car", "train")


def test_an_empty_class_and_a_missing_folder_are_faults(tmp_path: Path) -> None:
    write(tmp_path, a__1="x")
    (tmp_path / "b").mkdir()
    assert [message for _, message in source(tmp_path).faults()] == [f"{tmp_path}: no .txt file in the class folder 'b'"]
    assert list(source(tmp_path / "none").faults()) == [("path", f"no folder {tmp_path / 'none'}")]


def test_only_line_ends_separate_the_texts_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one\u2028line\r\ntwo\x0clines\nthree\x85".encode())
    (tmp_path / "b.txt").write_bytes(b"other")
    examples = opened(source(tmp_path, lines=True)).parts["train"]
    assert examples.inputs.columns["text"].tolist() == ["one\u2028line", "two\x0clines", "three\x85", "other"]
