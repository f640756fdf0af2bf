"""Finds the class folders of each part below a folder of images, without decoding an image."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dlcli.spec.data.sources.file_tree import Listing, has_image, holds_image, listing, walk
from dlcli.spec.data.sources.labels import composed
from dlcli.spec.data.sources.part_names import SPLITS, is_for_unlabelled, part_of

_DEEPEST = 6
"""Folders inside each other that are looked through for the class folders: zip files seldom wrap more than two."""
_SHOWN = 10


@dataclass
class Layout:
    """The class folders of each split, and the other entries beside them.

    Attributes:
        root: the folder that holds the splits, or the class folders where there are no splits.
        parts: the folder that holds the class folders of each split; only `train` where there are no splits.
        classes: by part, the paths of each class's folders; two where one name is spelled in two ways.
        unlabelled: folders of splits that have images and no class folders.
        empty: folders of splits without any image.
        unused: other folders that hold images.
        chosen: which folder is which split, where only its name decides it; empty for the plain names.
        faults: what is wrong with the folders, as (field, message).
    """

    root: str
    parts: dict[str, str] = field(default_factory=dict)
    classes: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    unlabelled: dict[str, str] = field(default_factory=dict)
    empty: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    chosen: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)

    @property
    def has_parts(self) -> bool:
        """Whether training examples have a separate folder."""
        return bool(self.chosen)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the training split's classes, sorted."""
        return tuple(sorted(self.classes.get("train", {})))


def find_layout(root: str, class_names: frozenset[str] = frozenset()) -> Layout:
    """Returns the layout of a folder of class folders, of one with splits, or of one around either.

    Args:
        root: the folder.
        class_names: the names of the classes, if known: folders of such names are neither splits nor around class folders.

    Raises:
        DataError: a folder cannot be read.
    """
    here = root
    for _ in range(_DEEPEST):
        level = listing(here)
        if class_names and all(composed(name) in class_names for name in level.folders):
            return Layout(here, {"train": here}, {"train": classes_in(level)})
        layout = _with_parts(here, level)
        if layout is not None:
            return layout
        inner = _wrapped(level, class_names)
        if inner is None:
            return _without_parts(here, level)
        here = inner
    return _without_parts(here, listing(here))


def named_layout(root: str, parts: Mapping[str, str]) -> Layout:
    """Returns the layout of splits that the spec names; without splits, each folder in `root` is a class."""
    layout = Layout(root)
    if not parts:
        layout.parts = {"train": root}
        layout.classes["train"] = classes_in(listing(root))
        return layout
    folders = {part: os.path.normpath(os.path.join(root, name)) for part, name in parts.items()}
    for part, folder in folders.items():
        if os.path.isdir(folder):
            layout.chosen[part], layout.parts[part] = folder, folder
            layout.classes[part] = classes_in(listing(folder))
            if not layout.classes[part]:
                layout.faults.append(("parts", _without_class_folders(folder, part)))
        else:
            layout.faults.append(("parts", f"no folder {folder}"))
    if "train" not in parts:
        layout.faults.append(("parts", "needs a folder for `train`; `{}` says that there are no splits"))
    elif not layout.faults:
        layout.unused = _unused(listing(root), set(folders.values()))
        layout.faults += _unknown_classes(layout)
    return layout


def classes_in(level: Listing) -> dict[str, list[str]]:
    """Returns the folders in a folder by their name as a class: with composed accents."""
    classes: dict[str, list[str]] = {}
    for name, path in level.folders.items():
        classes.setdefault(composed(name), []).append(path)
    return classes


def _with_parts(here: str, level: Listing) -> Layout | None:
    """Returns the layout of a folder with splits; None where it has none."""
    groups = _groups(level)
    chosen = _with_training_folder(groups)
    if not chosen:
        flat = _flat_training_folder(level, groups)
        return Layout(here, faults=[("path", flat)]) if flat else None
    if len(chosen) > 1:
        names = ", ".join(os.path.basename(path) for name in chosen for path in groups[name]["train"])
        return Layout(here, faults=[("path", f"{here} holds several training folders: {names}; {_say_parts(here)}")])
    layout = Layout(here)
    group = _resolved(here, groups[chosen[0]], layout)
    layout.chosen = group
    for part in (name for name in SPLITS if name in group):
        _fill(layout, part, group[part])
    layout.unused = _unused(level, set(group.values()))
    if not layout.faults:
        layout.faults += [*_faults_of_classes(layout.parts["train"], layout), *_unknown_classes(layout)]
    return layout


def _groups(level: Listing) -> dict[str, dict[str, list[str]]]:
    """Returns the folders whose names contain a split, by the rest of the name (`seg` of `seg_train`) and by split."""
    groups: dict[str, dict[str, list[str]]] = {}
    for name, path in level.folders.items():
        named = part_of(name)
        if named is not None:
            groups.setdefault(named[1], {}).setdefault(named[0], []).append(path)
    return groups


def _with_training_folder(groups: Mapping[str, Mapping[str, list[str]]]) -> list[str]:
    """Returns the groups that have a training folder with folders in it; of plain names (`train`) alone where there is one.

    A word that is not known, such as `freight` in `freight_train`, needs another part that shares it.
    """
    names_with_train = [name for name, group in groups.items() if any(listing(path).folders for path in group.get("train", []))]
    return [""] if "" in names_with_train else [name for name in names_with_train if len(groups[name]) > 1]


def _has_parts(folder: str) -> bool:
    return bool(_with_training_folder(_groups(listing(folder))))


def _resolved(here: str, group: Mapping[str, list[str]], layout: Layout) -> dict[str, str]:
    """Returns one folder for each part; two folders for one part become a fault of the layout."""
    group = {part: _with_images(paths) for part, paths in group.items()}
    evaluation = group.pop("evaluation", [])
    if evaluation:  # held out, and so a test split, unless there is another
        free = next((part for part in ("test", "validation") if part not in group), "test")
        group[free] = [*group.get(free, []), *evaluation]
    for part, paths in group.items():
        if len(paths) > 1:
            names = " and ".join(os.path.basename(path) for path in paths)
            example = os.path.basename(paths[0])
            layout.faults.append(
                ("path", f"{here} holds {len(paths)} folders for the {part} split: {names}; {_say_parts(here, part, example)}")
            )
    return {part: paths[0] for part, paths in group.items()}


def _with_images(paths: list[str]) -> list[str]:
    """Returns those of several folders that hold images; all where none does."""
    return [path for path in paths if holds_image(path)] or paths if len(paths) > 1 else paths


def _say_parts(here: str, part: str = "train", name: str = "NAME") -> str:
    others = "" if part == "train" else "train: ..., "
    return f"name the folder to use: data.source: {{kind: folder, path: {here}, parts: {{{others}{part}: {name}}}}}"


def _fill(layout: Layout, part: str, folder: str) -> None:
    """Adds a split's class folders to the layout, or records that it has none."""
    classes = frozenset(layout.classes.get("train", {}))
    inner = _class_root(folder, classes)
    inner_classes = classes_in(listing(inner))
    if part != "train" and not holds_image(folder):
        layout.empty[part] = folder
        return
    is_nameless = not inner_classes or (len(inner_classes) == 1 and is_for_unlabelled(next(iter(inner_classes))))
    if part != "train" and is_nameless and not (set(inner_classes) & classes):
        layout.unlabelled[part] = folder
        return
    layout.parts[part], layout.classes[part] = inner, inner_classes


def _class_root(folder: str, classes: frozenset[str]) -> str:
    """Returns the folder itself, or the one that is alone in it and holds the class folders (`seg_train/seg_train`)."""
    for _ in range(_DEEPEST):
        inner = _wrapped(listing(folder), classes)
        if inner is None:
            break
        folder = inner
    return folder


def _wrapped(level: Listing, class_names: frozenset[str]) -> str | None:
    """Returns the only folder with images in a folder, if it is around class folders or splits."""
    if not level.folders or level.images or any(composed(name) in class_names for name in level.folders):
        return None
    if len(level.folders) == 1:
        (inner,) = level.folders.values()
        below = listing(inner)
        return inner if below.folders and not below.images and holds_image(inner) else None
    around = [path for path in level.folders.values() if not has_image(path) and _has_parts(path)]
    if len(around) == 1 and not any(holds_image(path) for path in level.folders.values() if path != around[0]):
        return around[0]
    return None


def _flat_training_folder(level: Listing, groups: Mapping[str, Mapping[str, list[str]]]) -> str | None:
    """Returns the fault of a training folder with images and no class folders, if all other folders are splits."""
    trains = groups.get("", {}).get("train", [])
    if len(trains) != 1 or not has_image(trains[0]):
        return None
    named = {path for group in groups.values() for paths in group.values() for path in paths}
    if any(path not in named and holds_image(path) for path in level.folders.values()):
        return None
    return _without_class_folders(trains[0], "train")


def _without_parts(here: str, level: Listing) -> Layout:
    layout = Layout(here, {"train": here}, {"train": classes_in(level)})
    if not level.folders:
        layout.faults.append(("path", _without_class_folders(here, "")))
    only = next(iter(level.folders.values())) if len(level.folders) == 1 else None
    if only and is_for_unlabelled(os.path.basename(only)) and has_image(only):
        layout.faults.append(("path", _without_class_folders(only, "")))
    layout.faults += _faults_of_classes(here, layout)
    return layout


def _without_class_folders(folder: str, part: str) -> str:
    names = [os.path.basename(path) for path in listing(folder).images]
    images = f"{len(names):,} image{'s' if len(names) > 1 else ''} and " if names else ""
    too = "" if part in ("", "train") else f"; the {part} images need them too"
    return f"{folder} holds {images}no class folders: images belong in one folder for each class{too}{_named_classes(names)}"


def _named_classes(names: list[str]) -> str:
    """Returns the remedy for image names that start with their class: `cat.0.jpg`, `dog.1.jpg`."""
    begins = sorted({re.split(r"[^a-z]", name.casefold(), maxsplit=1)[0] for name in names})
    if not 1 < len(begins) <= len(names) / 5 or "" in begins:
        return ""
    return f"; their names begin with {_listed(begins)}: if these are the classes, move the images into folders of these names"


def _faults_of_classes(folder: str, layout: Layout) -> Iterator[tuple[str, str]]:
    """Yields class folders that are probably splits, or folders around class folders."""
    folders = [path for paths in layout.classes["train"].values() for path in paths]
    without = {path: listing(path).folders for path in folders if not has_image(path)}
    around = next((path for path, inner in without.items() if inner and _has_parts(path)), None)
    if around:
        yield "path", f"{around} contains splits itself: set data.source.path: {around}"
    elif len(folders) > 1 and len(without) == len(folders) and all(without.values()):
        inside = [{composed(name) for name in inner} for inner in without.values()]
        largest = max(inside, key=len)
        if len(largest) > 1 and all(names <= largest for names in inside):
            yield "path", _equal_folders(folder, layout, sorted(largest))


def _equal_folders(folder: str, layout: Layout, inner: list[str]) -> str:
    """Returns the fault of class folders that hold only folders of the same names, with the remedies."""
    outer = layout.names
    shown = f"{folder}: its folders ({_listed(outer)}) hold no images, only folders with the same names ({_listed(inner)})"
    if all(part_of(name) for name in inner):
        remedy = f"to have splits, put {inner[0]}/{outer[0]} in place of {outer[0]}/{inner[0]}"
    else:
        paths = sorted(path for folders in layout.classes["train"].values() for path in folders)
        names = [os.path.basename(path) for path in paths]
        largest = os.path.basename(max(reversed(paths), key=lambda path: len(walk(path).files)))
        train = next((name for name in names if (part_of(name) or ("",))[0] == "train"), largest)
        test = next(name for name in names if name != train)
        remedy = (
            f"if {_listed(inner)} are the classes, set data.source.path: {paths[0]}, or name the folders of the splits,"
            f" such as data.source.parts: {{train: {train}, test: {test}}}"
        )
    return f"{shown}; {remedy}; if {_listed(outer)} are the classes, set data.source.parts: {{}}"


def _unknown_classes(layout: Layout) -> Iterator[tuple[str, str]]:
    class_names = layout.classes.get("train", {})
    for part, classes in layout.classes.items():
        unknown = next((name for name in classes if name not in class_names), None)
        if unknown is not None:
            near = next((name for name in class_names if name.casefold() == unknown.casefold()), None)
            others = f"did you mean {near}?" if near else _listed(layout.names, 20)
            yield "path", f"{classes[unknown][0]}: the training split has no class of this name ({others})"
        if not classes and part != "train":
            yield "path", _without_class_folders(layout.parts[part], part)


def _unused(level: Listing, used: set[str]) -> list[str]:
    """Returns the folders that hold images and are no part."""
    around = {path for path in level.folders.values() if any(part.startswith(path + os.sep) for part in used)}
    return [path for path in level.folders.values() if path not in used | around and holds_image(path)]


def _listed(names: tuple[str, ...] | list[str], most: int = _SHOWN) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
