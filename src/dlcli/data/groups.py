"""Groups of examples that must be in one split, such as all images of a patient."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from dlcli.arrays import Array
from dlcli.data.side_columns import refuse_gaps, side_column, texts
from dlcli.errors import DataError
from dlcli.spec.data.sources import Examples, Opened
from dlcli.spec.data.split import GroupSettings

SECONDS = 10.0
"""Maximum time of searching a regular expression in all names."""


def with_groups(opened: Opened, settings: GroupSettings) -> Opened:
    """Returns the opened source with the group of each example, of every part that has the groups' column.

    Raises:
        DataError: an example has no group, or a group has examples in two parts.
    """
    parts = {
        part: examples if part != "train" and _lacks_column(examples, settings) else grouped(examples, settings)
        for part, examples in opened.parts.items()
    }
    refuse_shared_groups(parts)
    return replace(opened, parts=parts)


def refuse_shared_groups(parts: Mapping[str, Examples]) -> None:
    """Raises DataError if a group has examples in two of the parts, or splits, of these names."""
    part_of: dict[str, str] = {}
    for part, examples in parts.items():
        for group in dict.fromkeys(() if examples.groups is None else examples.groups.tolist()):
            other = part_of.setdefault(group, part)
            if other != part:
                raise DataError(f"data.split.group: the group {group!r} has examples in the {other} and the {part} split")


def with_recorded_groups(examples: Examples, recorded: Mapping[str, str]) -> Examples:
    """Returns the examples with the groups that a run recorded, by id; an example without one is a separate group."""
    return replace(examples, groups=np.array([recorded.get(example, example) for example in examples.ids], dtype=object))


def group_numbers(groups: Array) -> Array:
    """Returns the number of each example's group, in the order of the groups' names, int64 `(n,)`."""
    return np.unique(groups.astype(str), return_inverse=True)[1]


def _lacks_column(examples: Examples, settings: GroupSettings) -> bool:
    return settings.column is not None and settings.column not in examples.side_columns


def grouped(examples: Examples, settings: GroupSettings) -> Examples:
    """Returns the examples with their groups.

    Raises:
        DataError: an example has no group, or the column of the groups is missing.
    """
    if settings.column is not None:
        setting = "data.split.group.column"
        groups = texts(side_column(examples, settings.column, setting))
        refuse_gaps(groups, examples.ids, setting, f"value of `{settings.column}`")
    else:
        assert settings.name is not None
        groups = _by_name(examples.ids, settings.name)
        refuse_gaps(groups, examples.ids, "data.split.group.name", f"match of {settings.name!r} in their file names")
    return replace(examples, groups=np.array(groups, dtype=object))


def _by_name(ids: Sequence[str], pattern: str) -> list[str | None]:
    """Returns what the first parenthesis of the expression matches in each file's name, None where it does not match.

    Raises:
        DataError: the search takes longer than `SECONDS`.
    """
    expression, end = re.compile(pattern), time.monotonic() + SECONDS
    groups: list[str | None] = []
    for example in ids:
        match = expression.search(PurePosixPath(example).stem)
        groups.append(match and match.group(1 if expression.groups else 0))
        if time.monotonic() > end:
            raise DataError(f"data.split.group.name: searching {pattern!r} in the file names takes longer than {SECONDS:g} s")
    return groups
