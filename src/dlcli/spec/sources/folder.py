"""A folder of images, one sub-folder a class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.sources.base import Examples, Facts, FilePath, Opened, Request, SourceSpec

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
_PARTS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}
_CLUTTER = ("thumbs.db", "desktop.ini")


class Folder(SourceSpec):
    """Class folders of JPEG, PNG, BMP or GIF images (the first frame), or `train`, `validation`/`val`, `test` of them."""

    kind: Literal["folder"]
    path: FilePath = Field(description="The folder.")

    def parts(self) -> dict[str, Path]:
        """Returns the folder of class folders of each given part; the folder itself as `train` where it has no parts."""
        given = {_PARTS[name.lower()]: Path(self.path, name) for name in _folders(Path(self.path)) if name.lower() in _PARTS}
        # Without class folders in it, `train` is a class: something that runs on rails.
        return given if "train" in given and _folders(given["train"]) else {"train": Path(self.path)}

    def classes(self) -> tuple[str, ...]:
        """Returns the names of the training part's class folders, sorted."""
        return tuple(_folders(self.parts()["train"]))

    def facts(self, task: str) -> Facts:
        """Returns the classes and the given parts."""
        if next(self.faults(), None):
            return Facts(image=True)
        parts, classes = self.parts(), self.classes()
        return Facts(
            None,
            len(classes),
            classes,
            ("classification", "binary"),
            has_validation="validation" in parts,
            has_test="test" in parts,
            image=True,
        )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a missing folder, one without class folders, and parts that do not fit the training part."""
        path = Path(self.path)
        if not path.is_dir():
            yield "path", f"{path} is a file, not a folder" if path.exists() else f"no folder {path}"
            return
        parts, classes = self.parts(), set(self.classes())
        if not classes:
            yield "path", f"{path} holds no class folders: images belong in one folder for each class"
        for part, folder in parts.items():
            names = _folders(folder)
            unknown = [name for name in names if name not in classes]
            if not names:
                yield "path", f"{folder} holds no class folders: the {part} images belong in one folder for each class too"
            elif unknown:
                known = ", ".join(sorted(classes)[:20])
                yield "path", f"{folder / unknown[0]}: the training part has no class of this name ({known})"
        if parts["train"] != path:
            twice = [name for name, count in Counter(_PARTS.get(name.lower()) for name in _folders(path)).items() if count > 1]
            if twice and twice != [None]:
                yield "path", f"{path} holds two folders for the {next(filter(None, twice))} part"

    def elsewhere(self, path: str) -> Folder:
        """Returns the same for another folder."""
        return self.model_copy(update={"path": path})

    def open(self, request: Request) -> Opened:
        """Returns the images of every part, to be read when needed, in the order of their paths.

        Raises:
            DataError: the folder is not as `faults` wants it, or a class has no images to train on.
        """
        for _, message in self.faults():
            raise DataError(message)
        classes = self.classes()
        notes: list[str] = []
        parts = {part: self._examples(part, folder, classes, request, notes) for part, folder in self.parts().items()}
        return Opened(parts, classes, tuple(notes))

    def _examples(self, part: str, folder: Path, classes: tuple[str, ...], request: Request, notes: list[str]) -> Examples:
        import numpy as np

        from dlcli.spec.sources.images import ImageFiles

        paths: list[str] = []
        numbers: list[int] = []
        others: list[str] = []
        for number, name in enumerate(classes):
            images, left_out = _images(folder / name)
            if part == "train" and not images:
                raise DataError(f"{folder / name}: no images ({', '.join(EXTENSIONS)}) in this class folder")
            paths += images
            others += left_out
            numbers += [number] * len(images)
        if others:
            notes.append(f"{len(others)} files are no images by their extension and were left out, such as {others[0]}")
        ids = [_text(Path(os.path.relpath(path, self.path)).as_posix()) for path in paths]
        return Examples(ImageFiles(tuple(paths), request.image), np.array(numbers, dtype="int64"), ids)


def _folders(folder: Path) -> list[str]:
    """Returns the names of a folder's sub-folders, sorted; hidden ones are passed over."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__")))
    except OSError:
        return []


def _images(folder: Path) -> tuple[list[str], list[str]]:
    """Returns the images below a class folder and the other files, each sorted by path; hidden files are passed over."""
    files = sorted(
        os.path.join(root, name)
        for root, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".") and name.lower() not in _CLUTTER
    )
    images = [path for path in files if path.lower().endswith(EXTENSIONS)]
    return images, [path for path in files if not path.lower().endswith(EXTENSIONS)]


def _text(path: str) -> str:
    """Returns a path as text that can be written: bytes that are not UTF-8 as `\\xNN`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
