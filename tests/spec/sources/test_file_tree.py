import os
from pathlib import Path

import pytest
from PIL import Image

from dlcli.errors import DataError
from dlcli.spec.data.sources.file_tree import holds_image, walk
from dlcli.spec.data.sources.image_types import EXTENSIONS, FORMATS, extension_of, is_image_file


def write(path: Path, format: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (200, 10, 10)).save(path, format)
    return path


def names(paths: list[str], folder: Path) -> list[str]:
    return [os.path.relpath(path, folder) for path in paths]


def test_every_type_is_known_by_its_extension_and_without_one_by_its_content(tmp_path: Path) -> None:
    for format in FORMATS:
        assert is_image_file(str(write(tmp_path / format.lower(), format))), format
    for extension in EXTENSIONS:
        assert is_image_file(f"photo{extension.upper()}")


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("a.JPG", ".jpg"),
        ("a.tar.gz", ".gz"),
        ("x.jp2", ".jp2"),
        ("README", ""),
        ("scan 2021.05", ""),
        ("cat.jpg?width=600", ""),
        ("cat.jpg_large", ""),
        (".hidden", ""),
    ],
)
def test_only_a_word_after_the_last_dot_is_an_extension(name: str, extension: str) -> None:
    assert extension_of(name) == extension


def test_files_without_an_extension_are_images_by_their_first_bytes_alone(tmp_path: Path) -> None:
    write(tmp_path / "n0144.17", "JPEG")
    write(tmp_path / "cat.jpg?width=600", "PNG")
    for name, text in {"README": "P6 is a file format", "BMW": "BM of Bavaria, a maker of cars", "LICENSE": "GIF"}.items():
        (tmp_path / name).write_text(text)
    assert names(walk(str(tmp_path)).files, tmp_path) == ["cat.jpg?width=600", "n0144.17"]


def test_links_are_followed_and_no_folder_is_read_twice(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "x.png").parent
    inside = write(tmp_path / "in" / "b" / "y.png").parent
    (inside / "again").symlink_to(tmp_path / "in", target_is_directory=True)
    (inside / "a").symlink_to(outside, target_is_directory=True)
    (inside.parent / "c").symlink_to(outside, target_is_directory=True)
    (inside.parent / "loop").symlink_to(inside.parent / "loop")
    tree = walk(str(tmp_path / "in"))
    assert names(tree.files, tmp_path / "in") == ["b/y.png", "c/x.png"]
    assert names(tree.repeated, tmp_path / "in") == ["b/a", "b/again"]
    assert list(tree.notes()) == [
        "ignored 1 other file: no extension 1, such as " + str(tmp_path / "in" / "loop"),
        "ignored 2 links to folders that are read already, such as " + str(inside / "a"),
    ]


def test_links_that_multiply_are_read_in_no_time(tmp_path: Path) -> None:
    for level in range(30):
        (tmp_path / str(level)).mkdir()
        for side in "ab":
            (tmp_path / str(level) / side).symlink_to(tmp_path / str(level + 1), target_is_directory=True)
    write(tmp_path / "30" / "x.png")
    tree = walk(str(tmp_path / "0"))
    assert len(tree.files) == 1
    assert len(tree.repeated) == 30
    assert holds_image(str(tmp_path / "0"))


def test_what_systems_leave_behind_is_counted_and_left_out_at_every_depth(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.png")
    for folder in (".ipynb_checkpoints", "@eaDir/x.png", "__MACOSX/deep", ".git/objects", "$RECYCLE.BIN"):
        write(tmp_path / "a" / folder / "hidden.png")
    for name in ("._x.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "a" / name).write_bytes(b"")
    tree = walk(str(tmp_path))
    assert names(tree.files, tmp_path) == ["a/x.png"]
    assert list(tree.notes()) == [
        f"ignored 5 hidden or system folders with 5 images, such as {tmp_path}/a/$RECYCLE.BIN",
        f"ignored 4 hidden or system files, such as {tmp_path}/a/.DS_Store",
    ]


def test_other_files_are_counted_by_their_extension(tmp_path: Path) -> None:
    for name in ("a.txt", "b.TXT", "c.xml", "README", "d.heic", "e.HEIC", "f.svg"):
        (tmp_path / name).write_text("x")
    os.mkfifo(tmp_path / "pipe.png")
    assert list(walk(str(tmp_path)).notes()) == [
        "ignored 3 files of image types that dlcli does not read: .heic 2, .svg 1; convert to PNG or JPEG",
        f"ignored 4 other files: .txt 2, no extension 1, .xml 1, such as {tmp_path}/README",
        f"ignored 1 pipe, socket or device, such as {tmp_path}/pipe.png",
    ]


def test_a_link_to_an_image_that_has_gone_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.png").symlink_to(tmp_path / "gone.png")
    assert names(walk(str(tmp_path)).files, tmp_path) == ["x.png"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.png")
    (tmp_path / "a").chmod(0)
    with pytest.raises(DataError, match="a: Permission denied"):
        walk(str(tmp_path))
    (tmp_path / "a").chmod(0o700)
