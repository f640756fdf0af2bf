"""Every kind of column of a table. A kind is one file here and its entry in this list."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from dlcli.runtime.column_kinds import ColumnKind, Dtype
from dlcli.spec.data.sources.column_kinds.category import CategoryColumn
from dlcli.spec.data.sources.column_kinds.number import NumberColumn
from dlcli.spec.data.sources.column_kinds.text import TextColumn

if TYPE_CHECKING:
    from dlcli.arrays import Array

CATEGORY = CategoryColumn()
NUMBER = NumberColumn()
TEXT = TextColumn()
COLUMN_KINDS: dict[str, ColumnKind] = {kind.name: kind for kind in (CATEGORY, NUMBER, TEXT)}
"""The kinds by name. A column is of the last kind that fits its training rows, so special kinds follow general ones."""


def kind_of_dtype(dtype: Dtype) -> ColumnKind:
    """Returns the kind of a column of which only the type of the model's input is known."""
    return NUMBER if dtype == NUMBER.dtype else CATEGORY


def kinds_of(columns: Mapping[str, Array], texts: Collection[str] = ()) -> dict[str, ColumnKind]:
    """Returns the kind of columns that are typed by their source: text objects are categories, numbers are numbers.

    `texts` are the names of columns of texts.
    """
    kinds = {name: kind_of_dtype("string" if values.dtype == object else "float32") for name, values in columns.items()}
    return kinds | {name: TEXT for name in columns if name in texts}


def unusual_kinds(kinds: Mapping[str, ColumnKind]) -> dict[str, str]:
    """Returns the names of the kinds that the type of the model's input does not show, by column."""
    return {name: kind.name for name, kind in kinds.items() if kind.name != kind_of_dtype(kind.dtype).name}
