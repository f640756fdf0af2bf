"""A folder of images, one sub-folder a class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

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


class Folder(SourceSpec):
    """Class folders of JPEG, PNG, BMP or GIF images (the first frame), or `train`, `validation`/`val`, `test` of them."""

    needs_image_size: ClassVar[bool] = True
    kind: Literal["folder"]
    path: FilePath = Field(description="The folder.")

    def parts(self) -> dict[str, Path]:
        """Returns the folder of class folders of each given part; the folder itself as `train` where it has no parts."""
        folders = {name.name.lower(): name for name in sorted(Path(self.path).iterdir()) if name.is_dir()}
        given = {_PARTS[name]: folder for name, folder in folders.items() if name in _PARTS}
        return given if "train" in given else {"train": Path(self.path)}

    def classes(self) -> tuple[str, ...]:
        """Returns the names of the training part's class folders, sorted."""
        return tuple(sorted(entry.name for entry in self.parts()["train"].iterdir() if _is_class(entry)))

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
        """Yields a missing folder, and one without class folders."""
        path = Path(self.path)
        if not path.is_dir():
            yield "path", f"{path} is a file, not a folder" if path.exists() else f"no folder {path}"
        elif not self.classes():
            yield "path", f"{path} holds no class folders: images belong in one folder for each class"

    def open(self, request: Request) -> Opened:
        """Returns the images of every part, to be read when needed, in the order of their paths.

        Raises:
            DataError: a class without images, or a part with a class that the training part lacks.
        """
        classes = self.classes()
        notes: list[str] = []
        parts = {part: self._examples(folder, classes, request, notes) for part, folder in self.parts().items()}
        return Opened(parts, classes, tuple(notes))

    def _examples(self, folder: Path, classes: tuple[str, ...], request: Request, notes: list[str]) -> Examples:
        import numpy as np

        from dlcli.spec.sources.images import ImageFiles

        unknown = sorted(entry.name for entry in folder.iterdir() if _is_class(entry) and entry.name not in classes)
        if unknown:
            raise DataError(f"{folder / unknown[0]}: no class of this name in the training part ({', '.join(classes[:20])})")
        paths, numbers = [], []
        for number, name in enumerate(classes):
            found, other = _images(folder / name)
            notes += [f"{path} is not an image by its extension and was left out" for path in other]
            paths += found
            numbers += [number] * len(found)
        empty = [name for number, name in enumerate(classes) if number not in numbers]
        if empty and folder == self.parts()["train"]:
            raise DataError(f"{folder / empty[0]}: no images ({', '.join(EXTENSIONS)}) in the folder of class {empty[0]!r}")
        ids = [path.relative_to(self.path).as_posix() for path in paths]
        return Examples(ImageFiles(tuple(map(str, paths)), request.image), np.array(numbers, dtype="int64"), ids)


def _is_class(entry: Any) -> bool:
    return entry.is_dir() and not entry.name.startswith((".", "__"))


def _images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the images below a class folder and the other files, each sorted by path; hidden files are passed over."""
    files = sorted(
        Path(root) / name for root, _, names in os.walk(folder) for name in names if not name.startswith((".", "Thumbs.db"))
    )
    images = [path for path in files if path.suffix.lower() in EXTENSIONS]
    return images, [path for path in files if path.suffix.lower() not in EXTENSIONS]
