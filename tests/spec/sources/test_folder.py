import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlcli.errors import DataError
from dlcli.spec.data.sources import file_tree
from dlcli.spec.data.sources.folder import Folder
from dlcli.spec.data.sources.image_types import is_image_file
from dlcli.tasks import TASKS
from spec.sources.opening import opened, request

DATA = os.environ.get("DLCLI_TEST_DATA", "")


def write(path: Path, value: int = 100, size: tuple[int, int] = (6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def pool(folder: Path, **classes: int) -> Folder:
    for name, count in classes.items():
        for index in range(count):
            write(folder / name / f"{index}.png")
    return Folder(kind="folder", path=str(folder))


def test_one_pool_of_class_folders_is_the_training_part(tmp_path: Path) -> None:
    source = pool(tmp_path, b=2, a=1)
    found, facts = opened(source, size=(4, 6)), source.facts(TASKS["classification"])
    train = found.parts["train"]
    assert found.classes == facts.classes == ("a", "b")
    assert train.ids == ["a/0.png", "b/0.png", "b/1.png"]
    assert train.targets.tolist() == [0, 1, 1]
    assert train.inputs.shape == (4, 6, 3)
    assert (facts.has_validation, facts.has_test) == (False, False)


@pytest.mark.parametrize("name", ["validation", "val", "Valid"])
def test_given_parts_are_found_under_their_usual_names(tmp_path: Path, name: str) -> None:
    for part in ("Train", name, "test"):
        pool(tmp_path / part, a=1, b=1)
    source = Folder(kind="folder", path=str(tmp_path))
    facts = source.facts(TASKS["binary"])
    found = opened(source, size=(4, 6))
    assert (facts.has_validation, facts.has_test) == (True, True)
    assert sorted(found.parts) == ["test", "train", "validation"]
    assert found.parts["validation"].ids == [f"{name}/a/0.png", f"{name}/b/0.png"]


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    source = pool(tmp_path, train=2, car=1)
    assert opened(source, size=(4, 6)).classes == ("car", "train")


def test_nested_folders_belong_to_their_class_and_hidden_files_are_left_out_and_counted(tmp_path: Path) -> None:
    source = pool(tmp_path, a=1, b=1)
    write(tmp_path / "a" / "deep" / "er" / "x.JPG")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("x")
    found = opened(source, size=(4, 6))
    assert found.parts["train"].ids == ["a/0.png", "a/deep/er/x.JPG", "b/0.png"]
    assert found.notes == (
        f"ignored 1 other file: .txt 1, such as {tmp_path}/b/notes.txt",
        f"ignored 2 hidden or system folders with 0 images, such as {tmp_path}/.cache",
        f"ignored 2 hidden or system files, such as {tmp_path}/a/.DS_Store",
    )


def test_names_with_spaces_and_other_scripts_are_kept(tmp_path: Path) -> None:
    source = pool(tmp_path, **{"grüne Äpfel": 1, "梨 & <b>": 1})
    found = opened(source, size=(4, 6))
    assert found.classes == ("grüne Äpfel", "梨 & <b>")
    assert found.parts["train"].ids == ["grüne Äpfel/0.png", "梨 & <b>/0.png"]
    assert found.parts["train"].inputs.read(np.array([1, 0])).shape == (2, 4, 6, 3)


def test_a_file_name_that_is_not_utf8_gets_an_id_that_can_be_written(tmp_path: Path) -> None:
    source = pool(tmp_path, a=1, b=1)
    write(tmp_path / "a" / "z.png").rename(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff.png"))
    found = opened(source, size=(4, 6)).parts["train"]
    assert found.ids == ["a/0.png", "a/\\xff.png", "b/0.png"]
    assert "".join(found.ids).encode()
    assert found.inputs.read(np.array([1])).shape == (1, 4, 6, 3)


def test_a_missing_folder_a_file_and_an_empty_folder_are_faults(tmp_path: Path) -> None:
    def faults(path: Path) -> Any:
        return next(Folder(kind="folder", path=str(path)).faults())

    file = write(tmp_path / "x.png")
    (tmp_path / "empty").mkdir()
    assert faults(tmp_path / "no") == ("path", f"no folder {tmp_path / 'no'}")
    assert faults(file) == ("path", f"{file} is a file, not a folder")
    assert "holds no class folders" in faults(tmp_path / "empty")[1]


def test_parts_that_do_not_fit_the_training_part_are_faults(tmp_path: Path) -> None:
    source = pool(tmp_path / "train", a=1, b=1).model_copy(update={"path": str(tmp_path)})
    pool(tmp_path / "test", c=1)
    assert f"{tmp_path / 'test' / 'c'}: the training split has no class of this name (a, b)" in next(source.faults())[1]
    (tmp_path / "test" / "c").rename(tmp_path / "test" / "a")
    pool(tmp_path / "val", a=1)
    pool(tmp_path / "valid", a=1)
    assert list(source.faults()) == [
        (
            "path",
            f"{tmp_path} holds 2 folders for the validation split: val and valid; name the folder to use:"
            f" data.source: {{kind: folder, path: {tmp_path}, parts: {{train: ..., validation: val}}}}",
        )
    ]
    chosen = source.model_copy(update={"parts": {"train": "train", "validation": "valid"}})
    found = opened(chosen, size=(4, 6))
    assert found.parts["validation"].ids == ["valid/a/0.png"]
    assert any("test holds" in note or "val holds 1 image and is not used" in note for note in found.notes)


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    source = pool(tmp_path, a=1)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.webm").write_text("")
    assert list(source.faults()) == [("path", f"{tmp_path}/b: no images in this class folder; it contains .webm 1")]
    with pytest.raises(DataError, match="b: no images"):
        source.open(request(size=(4, 6)))
    (tmp_path / "c").mkdir()
    assert list(source.faults()) == [("path", f"{tmp_path}: no images in 2 of 3 class folders (b, c); it contains .webm 1")]


def test_a_part_may_lack_a_class(tmp_path: Path) -> None:
    pool(tmp_path / "train", a=1, b=1)
    pool(tmp_path / "test", b=2)
    assert opened(Folder(kind="folder", path=str(tmp_path)), size=(4, 6)).parts["test"].targets.tolist() == [1, 1]


def test_thousands_of_classes_are_not_quadratic(tmp_path: Path) -> None:
    image = write(tmp_path / "one.png").read_bytes()
    for index in range(3000):
        (tmp_path / "pool" / f"{index:05}").mkdir(parents=True)
        (tmp_path / "pool" / f"{index:05}" / "x.png").write_bytes(image)
    found = opened(Folder(kind="folder", path=str(tmp_path / "pool")), size=(4, 6))
    assert found.parts["train"].targets.tolist() == list(range(3000))


def test_a_check_looks_at_one_image_of_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = pool(tmp_path, a=30, b=30, c=30)
    looked_at: list[str] = []
    monkeypatch.setattr(file_tree, "is_image_file", lambda path: looked_at.append(path) or is_image_file(path))
    for _ in range(10):
        assert source.facts(TASKS["classification"]).classes == ("a", "b", "c")
    assert list(source.faults()) == []
    assert len(looked_at) < 20


@pytest.mark.skipif(not DATA, reason="DLCLI_TEST_DATA is not set")
def test_real_photos_in_given_parts() -> None:
    found = opened(Folder(kind="folder", path=f"{DATA}/images/ants_bees"), size=(64, 64))
    assert {part: len(examples) for part, examples in found.parts.items()} == {"train": 244, "validation": 153}
    images = found.parts["train"].inputs.read(np.arange(0, 244, 10))
    assert (images.shape, images.dtype) == ((25, 64, 64, 3), np.uint8)
    assert 20 < images.std() < 110


def test_class_folders_that_differ_in_capitals_are_named(tmp_path: Path) -> None:
    found = opened(pool(tmp_path, Cat=1, cat=1, dog=1))
    assert found.notes == ("classes whose names differ only in case are different classes: 'Cat', 'cat'",)
