"""The types of a table's columns: decided on the training rows, applied to all other rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlcli.errors import DataError
from dlcli.spec.data.sources.column_kinds import COLUMN_KINDS, NUMBER
from dlcli.spec.data.sources.table.cells import is_date, is_number, normalized
from dlcli.spec.data.sources.table.contents import gaps_in
from dlcli.spec.data.sources.table.dates import Part, date_parts, find_format
from dlcli.spec.data.sources.table.facts import (
    IMAGES,
    ColumnFact,
    dates_hint,
    form_notes,
    in_yaml,
    listed,
    names_images,
    number_hint,
    remarks,
    summary,
)
from dlcli.spec.data.sources.table.look import look_at_column
from dlcli.spec.data.sources.table.reader import Beginning, counted_rows, look_at

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.column_kinds import CellForm, ColumnKind, ReadCells
    from dlcli.spec.data.sources.csv import Csv, DateColumn
    from dlcli.spec.data.sources.table.contents import Table

_MOST_SHOWN = 200
"""Columns that a check describes."""


@dataclass(frozen=True)
class Columns:
    """The columns that the model sees, as the training file decides them.

    Attributes:
        source: the spec's source.
        table: the training table.
        names: the file's columns that are used, in order.
        file_kinds: the kind of each of these, except dates.
        training_cells: the training values of these.
        facts: what became of each column of the file.
        notes: remarks for the user.
    """

    source: Csv
    table: Table
    names: list[str]
    file_kinds: dict[str, ColumnKind]
    training_cells: dict[str, ReadCells]
    facts: tuple[ColumnFact, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, source: Csv, table: Table, recorded: Mapping[str, ColumnKind]) -> Columns:
        """Returns what the columns of a training table become.

        Args:
            source: the spec's source.
            table: the training table.
            recorded: the kinds of columns that a run recorded; empty for a first training.

        Raises:
            DataError: columns have too many values for a category, all of them named.
        """
        dropped = _ignored(source, table)
        names = [name for name in source.feature_names(table.names) if name not in dropped]
        dates = set(source.named(list(source.dates), table.names))
        set_kinds, forms = source.kinds_set(table.names), _forms(source, table)
        kinds: dict[str, ColumnKind] = {}
        cells: dict[str, ReadCells] = {}
        for name in names:
            if name not in dates:
                kinds[name], cells[name] = _kind_of(table.column(name), forms[name], set_kinds.get(name), recorded.get(name))
        numbers = {name: _exact(cells[name]) for name, kind in kinds.items() if kind.is_numeric}
        categories = {name: cells[name].values for name, kind in kinds.items() if kind.has_categories}
        _refuse_wide(
            source, {name: Counter(values.tolist()) for name, values in categories.items()}, f"{len(table)} rows", table.path
        )
        facts = _facts(source, table, names, kinds, dropped)
        notes = [*_dropped_notes(dropped), *(remarks(numbers, categories) if source.revision > 1 else _empty_notes(numbers))]
        if source.revision > 1:
            numeric_names = (*numbers, *source.named(source.targets, table.names))
            texts = {name: set(table.column(name).tolist()) - {None} for name in numeric_names}
            notes += form_notes(texts, table.separator, table.decimal)
        return cls(source, table, names, kinds, cells, tuple(facts), tuple(notes))

    @property
    def summary(self) -> str:
        """What the columns became, in one line."""
        return summary(self.facts)

    @property
    def as_json(self) -> list[dict[str, Any]]:
        """What each column became, as plain data."""
        return [fact.as_json() for fact in self.facts]

    @property
    def kinds(self) -> dict[str, ColumnKind]:
        """The kind of each column that the model sees; a component of a date is a number."""
        dates = self._dates(self.table)
        kinds: dict[str, ColumnKind] = {}
        for name in self.names:
            parts = [date_column(name, part) for part in dates[name].parts] if name in dates else []
            kinds |= dict.fromkeys(parts, NUMBER) if parts else {name: self.file_kinds[name]}
        return kinds

    def _dates(self, table: Table) -> dict[str, DateColumn]:
        """Returns the table's columns of dates."""
        return dict(zip(self.source.named(list(self.source.dates), table.names), self.source.dates.values(), strict=True))

    def read(self, table: Table) -> dict[str, Array]:
        """Returns the columns of a table, in the dtypes of their kinds.

        Raises:
            DataError: the table lacks one, or a cell is not of the kind that its column has in the training file.
        """
        present = set(table.names)
        absent = [name for name in self.names if name not in present]
        if absent:
            raise DataError(f"{table.path}: no column {', '.join(f'`{name}`' for name in absent[:20])}")
        dates, forms, in_training = self._dates(table), _forms(self.source, table), table is self.table
        columns: dict[str, Array] = {}
        for name in self.names:
            if name in dates:
                columns |= _dates(table, name, dates[name])
                continue
            kind, cells = self.file_kinds[name], table.column(name)
            read = self.training_cells[name] if in_training else kind.read(cells, forms[name])
            if read.unreadable.any():
                fault = kind.refusal(cells, read, forms[name], in_training=in_training)
                raise DataError(f"{table.path}: column `{name}` {fault}")
            columns[name] = read.values
        return columns


def date_column(name: str, part: Part) -> str:
    """Returns the name of the column for a component of a date."""
    return f"{name}.{part}"


def _forms(source: Csv, table: Table) -> dict[str, CellForm]:
    """Returns how a table writes the cells of each column."""
    decorated = set(source.named(source.numeric, table.names))
    return {name: source.form(table.decimal, decorated=name in decorated) for name in table.names}


def _kind_of(
    cells: Array, form: CellForm, set_kind: ColumnKind | None, recorded: ColumnKind | None
) -> tuple[ColumnKind, ReadCells]:
    """Returns the kind of a training column and its values.

    It is the kind that the spec sets, else the first that fits: the one that the run recorded, then special before general.
    """
    if set_kind is not None:
        return set_kind, set_kind.read(cells, form)
    for kind in (*([recorded] if recorded is not None else []), *reversed(COLUMN_KINDS.values())):
        read = kind.read(cells, form)
        if kind.fits(read):
            return kind, read
    raise AssertionError("every column is a category")


def _exact(cells: ReadCells) -> Array:
    return cells.values if cells.exact is None else cells.exact


def _dates(table: Table, name: str, settings: DateColumn) -> dict[str, Array]:
    """Returns the columns that a column of dates becomes.

    Raises:
        DataError: a cell is no date of this format.
    """
    parts, wrong_values = date_parts(table.column(name), settings.format, settings.parts)
    if wrong_values:
        raise DataError(
            f"{table.path}: column `{name}` holds {wrong_values[0]!r}, which is not a date of the format {settings.format!r}"
        )
    return {date_column(name, part): values for part, values in parts.items()}


def date_formats(source: Csv) -> dict[str, DateColumn]:
    """Returns the columns of dates with the formats that the training file shows.

    Raises:
        DataError: no single format fits a column.
    """
    table = source.table(source.path)
    formatted = {}
    for name, settings in source.dates.items():
        (column,) = source.named([name], table.names)
        values = sorted(set(table.column(column).tolist()) - {None})
        try:
            form = find_format(values) if settings.format == "auto" else settings.format
        except DataError as error:
            raise DataError(f"data.source.dates.{name}: {error}") from None
        formatted[name] = settings.model_copy(update={"format": form})
    return formatted


def _ignored(source: Csv, table: Table) -> dict[str, str]:
    """Returns the columns without a name and without information, each with the reason."""
    if source.revision == 1 or source.features != "all":
        return {}
    mentioned = {*source.named(source.drop, table.names), *source.named(source.targets, table.names)}
    mentioned |= source.kinds_set(table.names).keys()
    reasons: dict[str, str] = {}
    for place, name in enumerate(table.names):
        if not name.startswith("Unnamed: ") or name in mentioned:
            continue
        cells = table.cells[place].tolist()
        if all(cell is None for cell in cells):
            reasons[name] = "no name and no value"
        elif place == 0 and None not in cells and len(set(cells)) == len(cells):
            reasons[name] = "no name and contains row numbers, as written by `to_csv` of pandas"
    return reasons


def _dropped_notes(dropped: dict[str, str]) -> list[str]:
    notes = []
    for why in dict.fromkeys(dropped.values()):
        names = [name for name, reason in dropped.items() if reason == why]
        places = ", ".join(str(int(name.rpartition(" ")[2]) + 1) for name in names[:8]) + (", ..." if len(names) > 8 else "")
        notes.append(f"{f'column {places} has' if len(names) == 1 else f'columns {places} have'} {why}: ignored")
    return notes


def _empty_notes(read: dict[str, Array]) -> list[str]:
    import numpy as np

    return [f"column `{name}` has no value in any training row" for name, values in read.items() if np.isnan(values).all()]


def _facts(
    source: Csv, table: Table, names: list[str], kinds: dict[str, ColumnKind], dropped: dict[str, str]
) -> Iterator[ColumnFact]:
    """Yields what became of each column of the file, in its order."""
    targets, used = set(source.named(source.targets, table.names)), set(names)
    for name, cells in zip(table.names, table.cells, strict=True):
        if name in targets:
            yield ColumnFact(name, "target", len(set(cells.tolist())))
        elif name in used:
            gaps = int(gaps_in(cells).sum())
            kind = kinds.get(name)
            values = len(set(cells.tolist())) - (gaps > 0) if kind is not None and kind.has_categories else None
            yield ColumnFact(name, "date" if kind is None else kind.name, values, gaps)
        else:
            why = dropped.get(name, "data.source.drop" if source.features == "all" else "not in data.source.features")
            yield ColumnFact(name, "dropped", why=why)


def _wide_words(counts: Counter[Any], name: str, rows: str) -> str:
    """Returns how many values a column has, and what keeps it from being a number."""
    filled = Counter({value: count for value, count in counts.items() if value != ""})
    dates = sum(count for value, count in filled.items() if is_date(value)) > 0.9 * filled.total()
    if names_images(filled):
        hint = f" ({IMAGES})"
    elif dates:
        hint = f" ({dates_hint(name)})"
    elif _are_texts(filled):
        hint = f" (`data.source.text: [{in_yaml([name])}]` reads texts as tokens, with `model.kind: sequence`)"
    else:
        hint = number_hint(name, filled)
    return f"`{name}` has {len(filled)} different values in {rows}{hint}"


def _are_texts(counts: Counter[Any]) -> bool:
    """Whether most values have at least four words."""
    return sum(count for value, count in counts.items() if str(value).count(" ") >= 3) > 0.5 * counts.total()


def _refuse_wide(source: Csv, counts: dict[str, Counter[Any]], rows: str, path: str) -> None:
    """Raises DataError for columns of too many values for a category, all of them named."""
    wide = [name for name, values in counts.items() if len(values) - ("" in values) > source.max_categories]
    if wide:
        raise DataError(f"{path}: {_refusal([_wide_words(counts[name], name, rows) for name in wide], wide)}")


def _refusal(descriptions: Sequence[str], names: Sequence[str]) -> str:
    word, put = ("column", "put it") if len(descriptions) == 1 else ("columns", "put them")
    return (
        f"{word} {'; '.join(descriptions)}, too many for a category;"
        f" {put} under `data.source.drop: [{in_yaml(names)}]`, or raise `data.source.max_categories`"
    )


def wide_columns(source: Csv) -> Iterator[tuple[str, str]]:
    """Yields the columns that have too many values for a category in a file's first rows already."""
    beginning = look_at(source.path, source.settings)
    if len(beginning.rows) <= source.max_categories:
        return
    names = beginning.table.names
    rows = f"{'its first ' if beginning.more else ''}{len(beginning.rows):,} rows"
    set_kinds = source.kinds_set(names)
    set_categories = {name for name, kind in set_kinds.items() if kind.has_categories}
    skip = {*source.named(list(source.dates), names), *(set_kinds.keys() - set_categories)}
    places = {name: place for place, name in enumerate(names)}
    wide: dict[str, str] = {}
    for name in source.feature_names(names):
        if name in skip or name.startswith("Unnamed: "):
            continue
        counts = _counts(beginning, places[name], source.marks)
        if len(counts) > source.max_categories and (name in set_categories or _has_text(counts)):
            wide[name] = _wide_words(counts, name, rows)
    if wide:
        yield "drop", _refusal(list(wide.values()), list(wide))


def _has_text(counts: Counter[str]) -> bool:
    return any(not is_number(value) and not is_number(value, ",") for value in counts)


def _counts(beginning: Beginning, place: int, marks: frozenset[str]) -> Counter[str]:
    """Returns the count of each value in a column, without gaps."""
    cells = Counter(row.cells[place] for row in beginning.rows)
    counts: Counter[str] = Counter()
    for cell, count in cells.items():
        if (value := normalized(cell)) not in marks:
            counts[value] += count
    return counts


_KINDS = {
    "identifier": "columns that identify the rows",
    "constant": "columns with the same value in {rows}",
    "date": "columns of dates (`data.source.dates` converts them to numbers)",
    "empty": "columns that are empty in {rows}",
}
"""What a check reports about columns of little use, by their kind."""


def outlook(source: Csv) -> list[str]:
    """Returns lines on how a file is written and what its columns become, by its first rows."""
    beginning = look_at(source.path, source.settings)
    table = beginning.table
    names, set_kinds = source.feature_names(table.names), source.kinds_set(table.names)
    places = {name: place for place, name in enumerate(table.names)}
    rows = [row.cells for row in beginning.rows]
    looks = {name: look_at_column(name, places[name], rows, table.dialect, source.marks) for name in names[:_MOST_SHOWN]}
    count = f"{'at least ' if beginning.more else ''}{counted_rows(beginning.count)}"
    looked_at = f"the first {counted_rows(beginning.count)}" if beginning.more else "all rows"
    lines = [f"table: {table.describe()}, {len(table.names):,} columns, {count}", *table.notes]
    nameless = [
        name
        for name, column in looks.items()
        if name.startswith("Unnamed: ") and source.features == "all" and column.kind in ("identifier", "empty")
    ]
    if nameless:
        lines.append(f"ignored columns without a name: {listed(nameless)}")
    for kind, words in _KINDS.items():
        matches = [name for name in looks if looks[name].kind == kind and name not in {*source.dates, *nameless}]
        if matches:
            lines.append(f"{words.format(rows=looked_at)}: {listed(matches)}")
    for name in (name for name in source.named(source.targets, table.names) if name in places):
        if look_at_column(name, places[name], rows, table.dialect, source.marks).kind == "constant":
            lines.append(f"the target `{name}` has the same value in {looked_at}, so there is nothing to predict")
    for name, column in looks.items():
        if name in set_kinds and not set_kinds[name].has_categories:
            continue
        is_text = column.kind in ("category", "text") or column.decoration or column.non_numbers
        hint = number_hint(name, _counts(beginning, places[name], source.marks)) if is_text else ""
        if hint:
            lines.append(f"`{name}` becomes a category{hint}")
    numbers = [
        name for name, column in looks.items() if (set_kinds[name].is_numeric if name in set_kinds else column.is_number)
    ]
    numbers += [name for name in source.named(source.targets, table.names) if name in places]
    texts = {name: _counts(beginning, places[name], source.marks) for name in numbers}
    return [*lines, *form_notes(texts, table.dialect.separator, table.dialect.decimal)]
