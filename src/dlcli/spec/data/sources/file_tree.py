"""The files below a folder: the one walk of training, evaluation and prediction.

Links are followed, and each folder is read once. Hidden files and folders, and those of operating systems, are ignored.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dlcli.errors import DataError
from dlcli.spec.data.sources.image_types import UNREADABLE, extension_of, is_image_file

_SYSTEM = frozenset(
    {"@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"}
    | {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
)
_SHOWN_EXTENSIONS = 5


@dataclass(frozen=True)
class Listing:
    """The direct entries of a folder, each list sorted by name.

    Attributes:
        folders: paths of the sub-folders, by name; of linked ones too.
        files: paths of the files.
        hidden: paths of hidden and system files.
        hidden_folders: paths of hidden and system folders.
        special: paths of pipes, sockets and devices.
    """

    folders: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    hidden_folders: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)

    @property
    def images(self) -> list[str]:
        """The image files."""
        return [path for path in self.files if is_image_file(path)]


@dataclass
class Tree:
    """The files below one or several folders, sorted by path, and what was ignored.

    Attributes:
        files: the files of the requested types.
        others: files of other types.
        hidden: hidden and system files.
        hidden_folders: hidden and system folders.
        special: pipes, sockets and devices.
        repeated: links to folders that were read already, such as a folder above.
    """

    files: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    hidden_folders: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    def add(self, other: Tree) -> None:
        """Adds the files of another walk, and what it ignored."""
        for name, paths in vars(other).items():
            getattr(self, name).extend(paths)

    def notes(self) -> Iterator[str]:
        """Yields a note on each kind of ignored files, with their number and an example."""
        unreadable = [path for path in self.others if extension_of(path) in UNREADABLE]
        others = [path for path in self.others if extension_of(path) not in UNREADABLE]
        if unreadable:
            count = _plural(len(unreadable), "file")
            yield f"ignored {count} of image types that dlcli does not read: {by_extension(unreadable)}; convert to PNG or JPEG"
        if others:
            yield f"ignored {_plural(len(others), 'other file')}: {by_extension(others)}, such as {others[0]}"
        if self.hidden_folders:
            images = sum(_count_images(path) for path in self.hidden_folders)
            what = _plural(len(self.hidden_folders), "hidden or system folder")
            yield f"ignored {what} with {_plural(images, 'image')}, such as {self.hidden_folders[0]}"
        if self.hidden:
            yield f"ignored {_plural(len(self.hidden), 'hidden or system file')}, such as {self.hidden[0]}"
        if self.special:
            yield f"ignored {_plural(len(self.special), 'pipe, socket or device', '')}, such as {self.special[0]}"
        if self.repeated:
            what = _plural(len(self.repeated), "link")
            yield f"ignored {what} to folders that are read already, such as {self.repeated[0]}"


def listing(folder: str) -> Listing:
    """Returns the direct entries of a folder.

    Raises:
        DataError: the folder cannot be read.
    """
    level = Listing()
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from None
    for entry in ordered:
        is_folder, is_clutter = _is_folder(entry), is_hidden(entry.name, is_folder=_is_folder(entry))
        if is_folder and not is_clutter:
            level.folders[entry.name] = entry.path
        else:
            plain = level.files if _is_file(entry) else level.special
            (level.hidden_folders if is_folder else level.hidden if is_clutter else plain).append(entry.path)
    return level


def is_hidden(name: str, *, is_folder: bool) -> bool:
    """Whether a name is hidden, or that of a file that Windows, macOS, Jupyter, Git or a network disk writes."""
    return name.startswith(".") or name.lower() in _SYSTEM or (is_folder and name.startswith("__"))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file; a link that leads nowhere is one that cannot be read."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True


def walk(folder: str, is_asked_for: Callable[[str], bool] = is_image_file) -> Tree:
    """Returns the files below a folder, sorted by path; `is_asked_for` says which of them belong to `files`.

    A folder that several links lead to is read once: below its own place where that is below `folder`, else below the
    first link to it, counted from the top.

    Raises:
        DataError: a folder below cannot be read.
    """
    tree, visited = Tree(), {_identity(folder)}
    plain, linked = [folder], list[str]()
    while plain or linked:
        path = plain.pop() if plain else linked.pop(0)
        level = listing(path)
        for file in level.files:
            (tree.files if is_asked_for(file) else tree.others).append(file)
        for name in ("hidden", "hidden_folders", "special"):
            getattr(tree, name).extend(getattr(level, name))
        for inner in level.folders.values():
            if os.path.islink(inner):
                linked.append(inner)
            else:
                (plain if _is_new(inner, visited) else tree.repeated).append(inner)
        while not plain and linked and not _is_new(linked[0], visited):
            tree.repeated.append(linked.pop(0))
    for paths in vars(tree).values():
        paths.sort()
    return tree


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from None
    return status.st_dev, status.st_ino


def _is_new(folder: str, visited: set[tuple[int, int]]) -> bool:
    """Whether a folder was not seen before; now it is."""
    identity = _identity(folder)
    is_new = identity not in visited
    visited.add(identity)
    return is_new


def holds_image(folder: str) -> bool:
    """Whether an image exists anywhere below a folder; stops at the first."""
    waiting, visited = [folder], set[tuple[int, int]]()
    while waiting:
        path = waiting.pop()
        if _is_new(path, visited):
            folders = _folders_before_an_image(path)
            if folders is None:
                return True
            waiting += folders
    return False


def has_image(folder: str) -> bool:
    """Whether an image is directly in a folder; stops at the first."""
    return _folders_before_an_image(folder) is None


def _folders_before_an_image(folder: str) -> list[str] | None:
    """Returns the visible folders in a folder; None as soon as an image is seen."""
    folders = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_folder = _is_folder(entry)
                if is_hidden(entry.name, is_folder=is_folder):
                    continue
                if is_folder:
                    folders.append(entry.path)
                elif _is_file(entry) and is_image_file(entry.path):
                    return None
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from None
    return folders


def by_extension(paths: Sequence[str]) -> str:
    """Returns how many files have each extension, the commonest first: `.txt 12, .xml 1`."""
    counts = Counter(extension_of(path) or "no extension" for path in paths).most_common()
    more = sum(count for _, count in counts[_SHOWN_EXTENSIONS:])
    named = [f"{extension} {count:,}" for extension, count in counts[:_SHOWN_EXTENSIONS]]
    return ", ".join([*named, *([f"others {more:,}"] if more else [])])


def _count_images(folder: str) -> int:
    """Returns how many image files, by their extension, are below a hidden folder; what cannot be read has none."""
    return sum(1 for _, _, names in os.walk(folder) for name in names if extension_of(name) and is_image_file(name))


def _plural(count: int, word: str, ending: str = "s") -> str:
    return f"{count:,} {word}{'' if count == 1 else ending}"
