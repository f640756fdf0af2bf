"""A folder of images, one sub-folder a class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PrivateAttr

from dlcli.errors import DataError
from dlcli.program import command
from dlcli.spec.data.sources import folder_revision_1
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec
from dlcli.spec.data.sources.file_tree import Tree, by_extension, has_image, holds_image, listing, walk
from dlcli.spec.data.sources.folder_layout import Layout, find_layout, named_layout
from dlcli.spec.data.sources.labels import composed, label_notes
from dlcli.spec.data.sources.metadata import METADATA, metadata_columns, read_metadata
from dlcli.spec.paths import FilePath
from dlcli.tasks import Task, names_of

if TYPE_CHECKING:
    from dlcli.arrays import Array

SUBFOLDER = "folder"
"""The side column with the first folder below that of the class, unless `metadata.csv` has a column of this name."""
_PLAIN_NAMES = ("train", "training", "validation", "val", "valid", "test")
_MOST_NAMED = 10
Images = Mapping[str, Mapping[str, list[str]]]
"""The paths of the images, by part and class."""


class Folder(SourceSpec):
    """Class folders of images, or folders for training, validation and test that contain class folders.

    The parts are found by their usual names: `train`, `Training`, `training_set`, `seg_train`; `val`, `valid`, `dev`;
    `test`, `testing`, `holdout`; `eval` is the test split, or the validation split beside a `test`. If there is a single
    folder around them, dlcli looks inside it. All images below a class folder belong to it, also behind links; hidden files
    and folders are ignored.
    """

    has_files: ClassVar[bool] = True
    kind: Literal["folder"]
    path: FilePath = Field(description="Folder of the images.")
    parts: dict[Literal["train", "validation", "test"], str] | None = Field(
        default=None,
        description=(
            "The folder of each split, below `path`, such as `{train: fold1, test: fold2}`; `{}`: no splits, every folder is a"
            " class. Detected by the folder names if not set."
        ),
    )
    _known_classes: frozenset[str] = PrivateAttr(default=frozenset())

    def layout(self) -> Layout:
        """Returns where the class folders of each part are.

        Raises:
            DataError: a folder cannot be read.
        """
        return _layout(self.path, self._parts_in_order(), self._known_classes)

    def _parts_in_order(self) -> tuple[tuple[str, str], ...] | None:
        return None if self.parts is None else tuple(sorted(self.parts.items()))

    def facts(self, task: Task) -> Facts:
        """Returns the classes and the splits of the folder."""
        try:
            layout = _recent_layout(self.path, self._parts_in_order(), self._known_classes, _changes(self.path))
        except (DataError, OSError):  # `faults` reports it
            return Facts(image=True)
        if layout.faults:
            return Facts(image=True)
        return Facts(
            None,
            len(layout.names),
            layout.names,
            names_of(reads_columns=False),
            has_validation="validation" in layout.parts,
            has_test="test" in layout.parts,
            image=True,
        )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a missing folder, class folders that cannot be determined, and classes without training images."""
        faults = list(self._path_faults())
        yield from faults
        if faults:
            return
        try:
            layout = self.layout()
            yield from layout.faults or _empty_classes(layout)
        except DataError as error:
            yield "path", str(error)

    def _path_faults(self) -> Iterator[tuple[str, str]]:
        path = Path(self.path)
        if not path.is_dir():
            yield "path", f"{path} is a file, not a folder" if path.exists() else f"no folder {path}"

    def notes(self) -> Iterator[str]:
        """Yields which folders are used, and which are not, without reading an image."""
        if next(self.faults(), None) is None:
            yield from layout_notes(self.path, self.layout())

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> Folder:
        """Returns the same for another folder."""
        other = self.model_copy(update={"path": path, "parts": None})
        other._known_classes = frozenset(map(composed, classes))
        return other

    def side_columns(self) -> tuple[str, ...] | None:
        """Returns the columns of `metadata.csv`, and `folder`."""
        return tuple(dict.fromkeys((*metadata_columns(Path(self.path)), SUBFOLDER)))

    def open(self, request: Request) -> Opened:
        """Returns the images of every part, to be read when needed, in the order of their paths.

        Raises:
            DataError: the folder has `faults`, or a class has no images to train on.
        """
        if request.revision == 1:
            classes, images = folder_revision_1.classes_and_images(self.path)
            return Opened(self._examples(classes, images, request), classes)
        for _, message in self.faults():
            raise DataError(message)
        layout, tree = self.layout(), Tree()
        images = {part: {name: _walked(paths, tree) for name, paths in of.items()} for part, of in layout.classes.items()}
        beside = _beside(self.path, layout, tree)
        notes = (*layout_notes(self.path, layout), *beside, *tree.notes())
        return Opened(self._examples(layout.names, images, request), layout.names, (*notes, *label_notes(layout.names)))

    def _examples(self, classes: tuple[str, ...], images: Images, request: Request) -> dict[str, Examples]:
        import numpy as np

        from dlcli.runtime.images import ImageFiles

        parts = {}
        for part, by_class in images.items():
            paths = [path for name in classes for path in by_class.get(name, ())]
            numbers = [number for number, name in enumerate(classes) for _ in by_class.get(name, ())]
            ids = [_text(Path(os.path.relpath(path, self.path)).as_posix()) for path in paths]
            side_columns = self._side_values(ids, paths, request.side_columns)
            parts[part] = Examples(ImageFiles(tuple(paths), request.image), np.array(numbers, dtype="int64"), ids, side_columns)
        return parts

    def _side_values(self, ids: list[str], paths: list[str], names: tuple[str, ...]) -> dict[str, Array]:
        """Returns the requested columns as text objects `(n,)`, None for an image without a row or a sub-folder.

        Raises:
            DataError: `metadata.csv` cannot be read.
        """
        import numpy as np

        columns, values = metadata_columns(Path(self.path)), dict[str, list[str | None]]()
        rows = read_metadata(Path(self.path)) if set(names) & set(columns) else {}
        for name in names:
            if name in columns:
                values[name] = [rows.get(example_id, {}).get(name) or None for example_id in ids]
            elif name == SUBFOLDER:
                roots = {path for classes in self.layout().classes.values() for of in classes.values() for path in of}
                values[name] = [_subfolder(path, roots) for path in paths]
        return {name: np.array(column, dtype=object) for name, column in values.items()}


def _subfolder(path: str, class_folders: set[str]) -> str | None:
    """Returns the name of the first folder between the folder of a class and an image; None if there is none."""
    folder = os.path.dirname(path)
    below = ""
    while folder not in class_folders and len(folder) > 1:
        folder, below = os.path.split(folder)
    return _text(below) if below else None


def _layout(path: str, parts: tuple[tuple[str, str], ...] | None, class_names: frozenset[str]) -> Layout:
    return find_layout(path, class_names) if parts is None else named_layout(path, dict(parts))


@lru_cache(maxsize=8)
def _recent_layout(
    path: str, parts: tuple[tuple[str, str], ...] | None, class_names: frozenset[str], _changes: tuple[int, ...]
) -> Layout:
    """Returns a folder's layout, cached: the rules of a spec need it a dozen times."""
    return _layout(path, parts, class_names)


def _changes(path: str) -> tuple[int, ...]:
    """Returns the times of the last change of a folder and of the folders in it."""
    return tuple(os.stat(path).st_mtime_ns for path in (path, *listing(path).folders.values()))


def _walked(folders: list[str], tree: Tree) -> list[str]:
    """Returns the images below the folders of a class, sorted; ignored files are added to `tree`."""
    images: list[str] = []
    for folder in folders:
        below = walk(folder)
        images += below.files
        below.files = []
        tree.add(below)
    return sorted(images)


def _empty_classes(layout: Layout) -> Iterator[tuple[str, str]]:
    """Yields the training classes without an image, in one message."""
    classes = layout.classes["train"]
    empty = [paths[0] for name, paths in sorted(classes.items()) if not any(map(holds_image, paths))]
    if not empty:
        return
    inner = _around_classes([path for paths in classes.values() for path in paths if path not in empty])
    remedy = f"; if the classes are the folders in {inner}, set data.source.path: {inner}" if inner else ""
    if len(empty) == 1:
        yield "path", f"{empty[0]}: no images in this class folder{_instead(empty[0])}{remedy}"
        return
    names = ", ".join(os.path.basename(path) for path in empty[:_MOST_NAMED]) + (", ..." if len(empty) > _MOST_NAMED else "")
    where = os.path.dirname(empty[0])
    yield "path", f"{where}: no images in {len(empty)} of {len(classes)} class folders ({names}){_instead(empty[0])}{remedy}"


def _around_classes(folders: list[str]) -> str:
    """Returns the only folder with images where it may be the one around the class folders (`images` beside `labels`)."""
    if len(folders) != 1 or has_image(folders[0]):
        return ""
    return folders[0] if len(listing(folders[0]).folders) > 1 else ""


def _instead(folder: str) -> str:
    """Returns which files a folder without images holds, as text."""
    others = walk(folder).others
    return f"; it contains {by_extension(others)}" if others else ""


def layout_notes(root: str, layout: Layout) -> Iterator[str]:
    """Yields notes on the folders of the splits, unless they have plain names, and on folders that are not used."""
    folders = layout.parts if layout.has_parts else {}
    if not all(os.path.dirname(path) == root and os.path.basename(path).lower() in _PLAIN_NAMES for path in folders.values()):
        yield "the splits are read from " + ", ".join(f"{path} ({part})" for part, path in folders.items())
    elif not folders and layout.parts["train"] != root:
        yield f"the class folders are those in {layout.parts['train']}"
    for part, folder in layout.unlabelled.items():
        yield (
            f"{folder} holds {_images_below(folder)} without class folders: the {part} images have no labels and are not"
            f" used; `{command()} predict RUN {folder}` predicts on them"
        )
    for part, folder in layout.empty.items():
        yield f"{folder} holds no images: the source has no {part} split"
    for folder in layout.unused:
        yield f"{folder} holds {_images_below(folder)} and is not used; `data.source.parts` names the folders of the splits"
    for part, classes in layout.classes.items():
        for name, paths in classes.items():
            if len(paths) > 1:
                yield (
                    f"class {name!r} of the {part} split has {len(paths)} folders, whose names differ only in their Unicode"
                    " form"
                )


def _images_below(folder: str) -> str:
    count = len(walk(folder).files)
    return f"{count:,} image{'' if count == 1 else 's'}"


def _beside(root: str, layout: Layout, tree: Tree) -> Iterator[str]:
    """Yields the images beside class folders and folders of splits; other files there are added to `tree`."""
    used = {path for classes in layout.classes.values() for paths in classes.values() for path in paths}
    used |= {*layout.unlabelled.values(), *layout.empty.values(), *layout.unused}
    around = {layout.root, *layout.parts.values()}
    around |= {above for path in around for above in _between(root, path)}
    for folder in sorted(around):
        level = listing(folder)
        images = level.images
        if images:
            lie, are = ("image is", "is") if len(images) == 1 else ("images are", "are")
            yield f"{len(images):,} {lie} in {folder}, beside its folders, and {are} not used, such as {images[0]}"
        others = [path for path in level.files if path not in set(images) and path != os.path.join(root, METADATA)]
        tree.add(Tree([], others, level.hidden, level.hidden_folders, level.special))
        for path in level.folders.values():
            if path not in used | around:
                tree.add(_all_others(path))


def _all_others(folder: str) -> Tree:
    """Returns the files below a folder without images."""
    return walk(folder, lambda _: False)


def _between(root: str, path: str) -> Iterator[str]:
    """Yields the folders from `root` down to the one that holds `path`."""
    while len(path) > len(root):
        path = os.path.dirname(path)
        yield path


def _text(path: str) -> str:
    """Returns a path as text that can be written: bytes that are not UTF-8 as `\\xNN`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
