"""A table that lists image files for `init`: its column of paths, their folder, and labels that share a cell."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dlcli.cli.scaffold.folders import look_at_pictures
from dlcli.cli.scaffold.plan import Pictures
from dlcli.errors import DataError
from dlcli.spec.data.sources.file_tree import listing
from dlcli.spec.data.sources.image_table_files import Place
from dlcli.spec.data.sources.table.facts import names_images
from dlcli.spec.data.sources.table.files import is_table
from dlcli.spec.data.sources.table.look import Look, look

_ROWS = 1000
_SEPARATORS = ("|", ";", ",")
_MOST_LABELS = 1000


@dataclass(frozen=True)
class ImageColumn:
    """A column of a table with the paths of image files.

    Attributes:
        name: the column.
        folder: the folder that the paths are relative to; empty for that of the table.
    """

    name: str
    folder: str = ""

    def fields(self) -> dict[str, str]:
        """Returns the fields of the source."""
        return {"image": self.name} | ({"folder": self.folder} if self.folder else {})


def image_column(beginning: Look, targets: Sequence[str] = ()) -> ImageColumn | None:
    """Returns the column of a table that names existing image files; None if there is none."""
    here = os.path.dirname(beginning.path)
    for column in beginning.columns:
        if column.name in targets or not column.examples or not names_images(Counter(column.examples)):
            continue
        for folder in ("", *_folders(here)):
            if all(os.path.isfile(Place(folder or here).path(example)) for example in column.examples[:3]):
                return ImageColumn(column.name, folder)
    return None


def _folders(folder: str) -> list[str]:
    try:
        return list(listing(folder or ".").folders.values())
    except DataError:
        return []


def tables_of_images(folder: str) -> list[str]:
    """Returns the tables in a folder that list existing image files."""
    tables = []
    for path in (path for path in listing(folder).files if is_table(path)):
        try:
            if image_column(look(path, rows=_ROWS)) is not None:
                tables.append(path)
        except DataError:  # a table that cannot be read is not that of the images
            continue
    return tables


def separator_of(values: Counter[str]) -> str | None:
    """Returns the separator of several labels in the cells of a target; None if its cells are single labels."""
    for mark in _SEPARATORS:
        labels = Counter(label.strip() for value in values for label in value.split(mark))
        several = sum(mark in value for value in values)
        if several > 1 and len(labels) < labels.total() and len(labels) <= _MOST_LABELS:
            return mark
    return None


def image_fields(beginning: Look, column: ImageColumn, separator: str | None) -> dict[str, Any]:
    """Returns the fields of the source that say where the images of a table are, and how its labels are written."""
    encoding = beginning.encoding
    return (
        column.fields()
        | ({"separator": separator} if separator else {})
        | ({"encoding": encoding} if encoding not in ("utf-8", "") else {})
    )


def pictures_of(beginning: Look, column: ImageColumn, classes: Sequence[str]) -> Pictures:
    """Returns what the images of a table are like, by the first of them."""
    place = Place(column.folder or os.path.dirname(beginning.path))
    looked_at = look_at_pictures([place.path(example) for example in beginning.column(column.name).examples], classes)
    return replace(looked_at, count=beginning.rows)
