"""The types of a table's columns: decided on the training rows, applied to all other rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlcli.errors import DataError
from dlcli.spec.data.sources.table.cells import canonical, is_date, is_number, normalized, plain_number
from dlcli.spec.data.sources.table.contents import gaps_in, numbers_in
from dlcli.spec.data.sources.table.dates import Part, date_parts, find_format
from dlcli.spec.data.sources.table.facts import (
    IMAGES,
    Became,
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
        numbers: those that are numbers, with their training values float64 `(n,)`.
        facts: what became of each column of the file.
        notes: remarks for the user.
    """

    source: Csv
    table: Table
    names: list[str]
    numbers: dict[str, Array]
    facts: tuple[ColumnFact, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, source: Csv, table: Table) -> Columns:
        """Returns what the columns of a training table become.

        Raises:
            DataError: columns have too many values for a category, all of them named.
        """
        import numpy as np

        dropped = _ignored(source, table)
        names = [name for name in source.feature_names(table.names) if name not in dropped]
        dates = dict(zip(source.named(list(source.dates), table.names), source.dates.values(), strict=True))
        categorical = set(source.named(source.categorical, table.names))
        numeric = set(source.named(source.numeric, table.names))
        read: dict[str, Array] = {}
        for name in names:
            if name in categorical or name in dates:
                continue
            values = _numbers(source, table, name, decorated=name in numeric)
            if name in numeric or not (np.isnan(values) & ~gaps_in(table.column(name))).any():
                read[name] = values
        categories = [name for name in names if name not in read and name not in dates]
        cells = {name: _texts(source, table, name) for name in categories}
        _refuse_wide(source, {name: Counter(cells[name].tolist()) for name in categories}, f"{len(table)} rows", table.path)
        facts = _facts(source, table, names, read, set(dates), dropped)
        notes = [*_dropped_notes(dropped), *(remarks(cells, read, categories) if source.revision > 1 else _empty_notes(read))]
        if source.revision > 1:
            texts = {
                name: set(table.column(name).tolist()) - {None} for name in (*read, *source.named(source.targets, table.names))
            }
            notes += form_notes(texts, table.separator, table.decimal)
        return cls(source, table, names, read, tuple(facts), tuple(notes))

    @property
    def summary(self) -> str:
        """What the columns became, in one line."""
        return summary(self.facts)

    @property
    def as_json(self) -> list[dict[str, Any]]:
        """What each column became, as plain data."""
        return [fact.as_json() for fact in self.facts]

    def read(self, table: Table) -> dict[str, Array]:
        """Returns the columns of a table, float32 with NaN for gaps, or text with "" for gaps.

        Raises:
            DataError: the table lacks one, or a cell is no number or date where the training file has them.
        """
        present = set(table.names)
        absent = [name for name in self.names if name not in present]
        if absent:
            raise DataError(f"{table.path}: no column {', '.join(f'`{name}`' for name in absent[:20])}")
        dates = dict(zip(self.source.named(list(self.source.dates), table.names), self.source.dates.values(), strict=True))
        numeric = set(self.source.named(self.source.numeric, table.names))
        columns: dict[str, Array] = {}
        for name in self.names:
            if name in dates:
                columns |= _dates(table, name, dates[name])
            elif name in self.numbers:
                is_training = table is self.table
                values = self.numbers[name] if is_training else _numbers(self.source, table, name, decorated=name in numeric)
                columns[name] = _float32(table, name, values, is_training=is_training)
            else:
                columns[name] = _without_gaps(_texts(self.source, table, name))
        return columns


def date_column(name: str, part: Part) -> str:
    """Returns the name of the column for a component of a date."""
    return f"{name}.{part}"


def _texts(source: Csv, table: Table, name: str) -> Array:
    """Returns a column's texts with None for gaps; numbers among them in one form, so that 3.0 is 3."""
    import numpy as np

    column = table.column(name)
    if source.revision == 1:
        return column
    return np.array([cell if cell is None else canonical(cell) for cell in column.tolist()], dtype=object)


def _without_gaps(column: Array) -> Array:
    import numpy as np

    return np.array(["" if cell is None else cell for cell in column.tolist()], dtype=object)


def _numbers(source: Csv, table: Table, name: str, *, decorated: bool) -> Array:
    return numbers_in(
        table.column(name),
        decimal=table.decimal,
        thousands=source.thousands,
        decorated=decorated,
        revision=source.revision,
    )


def _float32(table: Table, name: str, values: Array, *, is_training: bool) -> Array:
    """Returns a column of numbers.

    Raises:
        DataError: a cell is no number, or too large.
    """
    import numpy as np

    column = table.column(name)
    wrong = np.isnan(values) & ~gaps_in(column)
    if wrong.any():
        examples = Counter(column[wrong].tolist()).most_common(3)
        listed = ", ".join(
            f"{value!r} in {counted_rows(count)}" if len(examples) > 1 else repr(value) for value, count in examples
        )
        if is_training:
            raise DataError(
                f"{table.path}: column `{name}` is `numeric`, but contains {listed}; list marks of missing values in `missing`"
            )
        hint = decimal_hint(table.decimal, examples[0][0]) or "; if it marks a missing value, list it in `data.source.missing`"
        raise DataError(f"{table.path}: column `{name}` is numeric in the training file, but contains {listed} here{hint}")
    with np.errstate(over="ignore"):
        small: Array = values.astype("float32")
    if np.isinf(small).any():
        raise DataError(f"{table.path}: column `{name}` contains {column[np.isinf(small)][0]}, which is infinite or too large")
    return small


def decimal_hint(decimal: str, cell: str) -> str:
    """Returns the remedy for a number that is not written like the file's other numbers."""
    if decimal == "," and "." in cell and plain_number(cell, ",", "."):
        return "; beside decimal commas, a dot can only separate thousands: `thousands: '.'`"
    if decimal == "." and "," in cell and plain_number(cell, ",", None):
        return "; if it is a decimal comma, set `decimal: ','`"
    return ""


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
    reasons: dict[str, str] = {}
    for place, name in enumerate(table.names):
        if not name.startswith("Unnamed: ") or name in mentioned or name in source.categorical:
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
    source: Csv, table: Table, names: list[str], numbers: dict[str, Array], dates: set[str], dropped: dict[str, str]
) -> Iterator[ColumnFact]:
    """Yields what became of each column of the file, in its order."""
    targets, used = set(source.named(source.targets, table.names)), set(names)
    for name, cells in zip(table.names, table.cells, strict=True):
        if name in targets:
            yield ColumnFact(name, "target", len(set(cells.tolist())))
        elif name in used:
            gaps = int(gaps_in(cells).sum())
            became: Became = "date" if name in dates else "number" if name in numbers else "category"
            yield ColumnFact(name, became, len(set(cells.tolist())) - (gaps > 0) if became == "category" else None, gaps)
        else:
            why = dropped.get(name, "data.source.drop" if source.features == "all" else "not in data.source.features")
            yield ColumnFact(name, "dropped", why=why)


def _wide_words(counts: Counter[Any], name: str, rows: str) -> str:
    """Returns how many values a column has, and what keeps it from being a number."""
    filled = Counter({value: count for value, count in counts.items() if value is not None})
    dates = sum(count for value, count in filled.items() if is_date(value)) > 0.9 * filled.total()
    hint = f" ({IMAGES})" if names_images(filled) else f" ({dates_hint(name)})" if dates else number_hint(name, filled)
    return f"`{name}` has {len(filled)} different values in {rows}{hint}"


def _refuse_wide(source: Csv, counts: dict[str, Counter[Any]], rows: str, path: str) -> None:
    """Raises DataError for columns of too many values for a category, all of them named."""
    wide = [name for name, values in counts.items() if len(values) - (None in values) > source.max_categories]
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
    names = beginning.table.names
    rows = f"{'its first ' if beginning.more else ''}{len(beginning.rows):,} rows"
    other = set(source.named(source.categorical, names))
    skip = {*source.named([*source.numeric, *source.dates], names)}
    places = {name: place for place, name in enumerate(names)}
    wide: dict[str, str] = {}
    for name in source.feature_names(names):
        if name in skip or name.startswith("Unnamed: "):
            continue
        counts = _counts(beginning, places[name], source.marks)
        if len(counts) > source.max_categories and (name in other or _has_text(counts)):
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
    names = source.feature_names(table.names)
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
        if name in source.numeric:
            continue
        is_text = column.kind in ("category", "text") or column.decoration or column.non_numbers
        hint = number_hint(name, _counts(beginning, places[name], source.marks)) if is_text else ""
        if hint:
            lines.append(f"`{name}` becomes a category{hint}")
    numbers = [name for name, column in looks.items() if column.is_number or name in source.numeric]
    numbers = [name for name in numbers if name not in source.categorical]
    numbers += [name for name in source.named(source.targets, table.names) if name in places]
    texts = {name: _counts(beginning, places[name], source.marks) for name in numbers}
    return [*lines, *form_notes(texts, table.dialect.separator, table.dialect.decimal)]
