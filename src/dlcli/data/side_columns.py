"""Columns of a source that decide the split of an example: their values as text, and examples without one."""

from __future__ import annotations

from collections.abc import Sequence

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.spec.data.sources import Examples
from dlcli.visible import listed


def side_column(examples: Examples, column: str, setting: str) -> Array:
    """Returns a side column of the examples `(n,)`.

    Args:
        examples: the examples.
        column: the name of the column.
        setting: the dotted name of the setting that needs it.

    Raises:
        DataError: the source does not give the column.
    """
    if column not in examples.side_columns:
        raise DataError(f"{setting}: the source has no column `{column}`")
    return examples.side_columns[column]


def texts(values: Array) -> list[str | None]:
    """Returns the values as texts, None for gaps: whole floats lose their `.0`, texts their whitespace at the ends."""
    if values.dtype.kind == "M" and values.dtype != "datetime64[D]":  # the items of finer units than microseconds are numbers
        values = values.astype("datetime64[us]")
    return [_text(value) for value in values.tolist()]


def _text(value: object) -> str | None:
    if value is None or value != value:  # NaN
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def refuse_gaps(values: Sequence[object], ids: Sequence[str], setting: str, what: str) -> None:
    """Raises DataError, which names up to 10 examples, if a value is None."""
    lacking = [example for example, value in zip(ids, values, strict=True) if value is None]
    if lacking:
        count = "1 example has" if len(lacking) == 1 else f"{len(lacking):,} examples have"
        raise DataError(f"{setting}: {count} no {what}: {listed(lacking)}")
