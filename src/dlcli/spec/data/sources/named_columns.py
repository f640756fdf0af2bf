"""Faults of the columns that the fields of a source name: the set lacks them, or they cannot be inputs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

from dlcli.visible import listed

_SEPARATORS = (";", "\t", "|", ",")


def lacking_columns(owner: str, header: Sequence[str], fields: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yields the columns that a set does not have, as (field, message).

    Args:
        owner: the set in messages, such as `the file`.
        header: its columns.
        fields: the columns that each field names.
    """
    for field, names in fields.items():
        for name in (name for name in names if name not in header):
            yield field, f"{owner} has no column `{name}`; {column_guess(name, header)}"


def column_guess(name: str, header: Sequence[str]) -> str:
    """Returns which column was probably meant, or the columns that there are."""
    from dlcli.spec.messages import nearest

    near = nearest(name, list(header))
    return f"did you mean `{near}`?" if near else f"it has {listed(list(header)) or 'no columns'}"


def header_guess(name: str, header: Sequence[str], *, auto: bool) -> str:
    """Returns what is probably wrong with the name of a column of a text file, or with the file's separator.

    `auto`: whether the separator was detected.
    """
    separator = next((mark for mark in _SEPARATORS if len(header) == 1 and mark in header[0]), None)
    if separator is None:
        return column_guess(name, header)
    if auto:
        return f"each of its lines is a single quoted cell, {header[0][:60]!r}: remove the quotes around whole lines"
    return f"its header is a single column; is the `separator` {separator!r}?"


def input_faults(features: Sequence[str], targets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields that a target is an input, and that there is no input."""
    if both := [name for name in targets if name in features]:
        yield "features", f"`{both[0]}` is the target; it cannot be an input"
    if not features:
        yield "features", "there is no input column"


def text_faults(texts: Sequence[str], header: Collection[str], inputs: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yields the columns of texts that the set has and that are no inputs."""
    for name in texts:
        if name in header and name not in inputs:
            yield "text", f"`{name}` is no input: it is the target, dropped, or not in `features`"


def listed_twice(fields: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yields the columns that two fields for kinds of columns list."""
    for (field, names), (other, others) in combinations(fields.items(), 2):
        for name in (name for name in names if name in others):
            yield field, f"`{name}` is listed as {other} too"
