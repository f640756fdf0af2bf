"""The image files that a table names: where they are, and what is wrong with those that cannot be found."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from unicodedata import normalize

from dlcli.spec.data.sources.image_types import EXTENSIONS, extension_of

_MOST_NAMED = 5
"""Missing files that are named."""
_MOST_COMPARED = 20_000
"""Names in a folder that are compared with that of a missing file."""


@dataclass(frozen=True)
class Place:
    """The place of the image files of a table.

    Attributes:
        folder: the folder that their paths are relative to.
        extension: what is added to a path without an extension; empty to add nothing.
    """

    folder: str
    extension: str = ""

    def path(self, cell: str) -> str:
        """Returns the path of the file that a cell names."""
        ending = self.extension if self.extension and not extension_of(os.path.basename(cell)) else ""
        path = os.path.normpath(os.path.join(self.folder, cell + ending))
        if path.isascii() or os.path.isfile(path):
            return path
        decomposed = normalize("NFD", path)  # as macOS writes names; a cell's letters are composed
        return decomposed if os.path.isfile(decomposed) else path


def missing_files(rows: Sequence[int], cells: Sequence[str | None], place: Place) -> dict[int, str]:
    """Returns the positions of cells that name no file, each with the number of its row and the cell as text."""
    missing = {}
    for position, (row, cell) in enumerate(zip(rows, cells, strict=True)):
        if cell is None:
            missing[position] = f"row {row} has no path"
        elif not os.path.isfile(place.path(cell)):
            missing[position] = f"row {row}: `{cell}`"
    return missing


def missing_in_words(missing: dict[int, str], cells: Sequence[str | None], place: Place, *, of: str) -> str:
    """Returns a message on missing files: the first ones by name, where they were looked for, and what was probably meant.

    Args:
        missing: the missing files as `missing_files` returns them.
        cells: the cells of all rows.
        place: where the files were looked for.
        of: the number of examined rows, as text.
    """
    verb = "does" if len(missing) == 1 else "do"
    named = []
    for position in list(missing)[:_MOST_NAMED]:
        near = _nearest(cells[position], place)
        named.append(f"{missing[position]}{f' (did you mean `{near}`?)' if near else ''}")
    more = f"; and {len(missing) - _MOST_NAMED:,} more" if len(missing) > _MOST_NAMED else ""
    example = next((cells[position] for position in missing if cells[position] is not None), None)
    remedy = _remedy(example, place) if example is not None else ""
    subject = f"{len(missing):,} of {of} image files {verb} not exist"
    return f"{subject}: {'; '.join(named)}{more}; paths are relative to {place.folder}{remedy}"


def _nearest(cell: str | None, place: Place) -> str:
    """Returns the path of an existing file whose name is like that of a missing one; empty if there is none."""
    if cell is None:
        return ""
    head, name = os.path.split(cell)
    names = _names_in(os.path.join(place.folder, head))
    same = [other for other in names if other.casefold() == name.casefold()]
    # Names that differ in a digit are those of other images.
    alike = [other for other in names[:_MOST_COMPARED] if re.sub(r"\D", "", other) == re.sub(r"\D", "", name)]
    near = same or get_close_matches(name, alike, 1, cutoff=0.75)
    return os.path.join(head, near[0]) if near else ""


def _remedy(cell: str, place: Place) -> str:
    """Returns the setting with which a missing file would be found, as text; empty if there is none."""
    if not place.extension and not extension_of(os.path.basename(cell)):
        ending = next((ending for ending in EXTENSIONS if os.path.isfile(place.path(cell + ending))), "")
        if ending:
            return f"; set data.source.extension: {ending}"
    for folder in _folders_in(place.folder):
        if os.path.isfile(Place(folder, place.extension).path(cell)):
            return f"; set data.source.folder: {folder}"
    plain = os.path.basename(cell.replace("\\", "/"))
    if plain != cell and os.path.isfile(place.path(plain)):
        return f"; {place.path(plain)} exists: write the paths without their folders"
    return "; data.source.folder sets another folder"


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _folders_in(folder: str) -> list[str]:
    paths = (os.path.join(folder, name) for name in sorted(_names_in(folder))[:_MOST_COMPARED])
    return [path for path in paths if os.path.isdir(path)]
