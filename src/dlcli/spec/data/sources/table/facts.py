"""What each column of a table became, and remarks on columns, reported before training begins."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from dlcli.spec.data.sources.column_kinds import COLUMN_KINDS
from dlcli.spec.data.sources.image_types import EXTENSIONS
from dlcli.spec.data.sources.table.cells import decoration, is_date, is_number, without_currency
from dlcli.spec.data.sources.table.look import named_identifier

if TYPE_CHECKING:
    from dlcli.arrays import Array

_MOST_NAMED = 8
_MOSTLY = 0.95
_DOTTED = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_MEASURE = re.compile(r"[+-]?\d[\d.,]*\s?([^\W\d_]{1,8}[²³]?)")
_COMPACT_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", re.ASCII)
_GAP_NUMBERS = ("-99", "-999", "-9999", "-99999", "-999999")
_EXACT = 2**24
"""Whole numbers up to this one are exact in float32."""
_LARGEST = 3e38
"""Numbers below it are no infinity in float32."""


@dataclass(frozen=True)
class ColumnFact:
    """What became of a column.

    Attributes:
        name: the column.
        became: the name of its kind of column, `date`, `target` or `dropped`.
        values: how many different values a category, or the target, has in the training rows.
        gaps: how many training rows have no value in it.
        why: why it was dropped.
    """

    name: str
    became: str
    values: int | None = None
    gaps: int = 0
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Returns it as plain data, without what does not apply."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}


def listed(names: Sequence[str], most: int = _MOST_NAMED) -> str:
    """Returns names for a sentence, the first few of many."""
    named = ", ".join(f"`{name}`" for name in names[:most])
    return named + (f" and {len(names) - most:,} more" if len(names) > most else "")


def summary(facts: Sequence[ColumnFact]) -> str:
    """Returns what the columns became, in one line."""
    groups: dict[str, list[ColumnFact]] = defaultdict(list)
    for fact in facts:
        groups[fact.became].append(fact)
    plurals = {kind.name: kind.plural for kind in reversed(COLUMN_KINDS.values())}
    plurals |= {"date": "dates", "dropped": "dropped", "target": "target"}
    groups_in_words = []
    for group, plural in plurals.items():
        columns = groups.get(group)
        if columns:
            count = f"{len(columns):,} " if group != "target" or len(columns) > 1 else ""
            word = group if len(columns) == 1 and group != "dropped" else plural
            has_values = group in COLUMN_KINDS and COLUMN_KINDS[group].has_categories
            names = [f"{fact.name} {fact.values}" if has_values else fact.name for fact in columns]
            groups_in_words.append(
                f"{count}{word} ({', '.join(names[:_MOST_NAMED])}{', ...' if len(names) > _MOST_NAMED else ''})"
            )
    return ", ".join(groups_in_words)


def remarks(numbers: dict[str, Array], categories: dict[str, Array]) -> list[str]:
    """Returns remarks on the columns that the model sees, a sentence for each kind.

    Args:
        numbers: the training rows' values of the columns that are numeric, as float64 with NaN for gaps.
        categories: those of the columns that have categories, as text with "" for gaps.
    """
    return [*_number_notes(numbers), *_category_notes(categories)]


def _number_notes(numbers: dict[str, Array]) -> list[str]:
    import numpy as np

    constant, rows, large, empty = [], [], [], []
    for name, values in numbers.items():
        finite = values[np.abs(values) < _LARGEST]
        if not len(finite):
            empty.append(name)
        elif len(finite) > 1 and (finite == finite[0]).all():
            constant.append(name)
        elif _numbers_rows(name, finite, len(values)):
            rows.append(name)
        elif _is_rounded(finite):
            large.append(name)
    notes = [f"column `{name}` has no value in any training row" for name in empty[:_MOST_NAMED]]
    if len(empty) > _MOST_NAMED:
        notes.append(f"{len(empty) - _MOST_NAMED:,} more columns have no value in any training row")
    if rows:
        notes.append(
            f"{_columns(rows, 'number')} the rows and {_say(rows, 'holds', 'hold')} no other information; {_drop(rows)}"
        )
    if constant:
        notes.append(f"{_columns(constant, 'have')} the same value in all training rows; {_drop(constant)}")
    if large:
        value = int(next(value for value in numbers[large[0]].tolist() if abs(value) < _LARGEST and _rounded(value) != value))
        notes.append(
            f"{_columns(large, 'hold')} whole numbers above 16,777,216, which float32 rounds: {value} is read as"
            f" {int(_rounded(value))}; if they are identifiers, use `data.source.categorical` or `data.source.drop`"
        )
    return notes


def form_notes(values: Mapping[str, Collection[str]], separator: str, decimal: str) -> list[str]:
    """Returns a sentence for numbers that may be meant otherwise: dates, marks of a gap, codes, dots that part thousands.

    Args:
        values: the different texts of each column of numbers, without gaps.
        separator: the file's; beside semicolons a dot often separates thousands.
        decimal: the file's decimal mark.
    """
    dates = [name for name, texts in values.items() if _are_dates(texts)]
    codes = [name for name, texts in values.items() if _are_codes(texts) and name not in dates]
    dotted = [name for name, texts in values.items() if decimal == "." and _may_part_thousands(texts, separator)]
    notes = []
    if dates:
        notes.append(f"{_columns(dates, 'hold')} dates as numbers, such as {min(values[dates[0]])}; {dates_hint(dates[0])}")
    for name, mark in [(name, mark) for name, texts in values.items() if (mark := _gap_number(texts, decimal))][:_MOST_NAMED]:
        notes.append(
            f"column `{name}` holds {mark} and no other negative number; if it marks a missing value, set"
            f" `data.source.missing: ['{mark}']`"
        )
    if codes:
        code = min(values[codes[0]])
        notes.append(
            f"{_columns(codes, 'hold')} numbers with leading zeros: {code} is read as {int(code)};"
            f" if they are codes, set `data.source.categorical: [{in_yaml(codes)}]`"
        )
    if dotted:
        text = min(values[dotted[0]])
        notes.append(
            f"{_columns(dotted, 'have')} three digits after every dot, such as {text!r}, where the dot is read as the decimal"
            " mark; if it separates thousands, set `data.source.thousands: '.'`"
        )
    return notes


def _are_dates(texts: Collection[str]) -> bool:
    """Whether whole numbers are all dates of this time, such as 20240131."""
    return len(texts) > 1 and all(map(_COMPACT_DATE.fullmatch, texts))


def _gap_number(texts: Collection[str], decimal: str) -> str:
    """Returns the one negative number of a column where people write it for a gap, such as -999; "" where it has none."""
    negative = list(islice((text for text in texts if text.startswith("-")), 2))
    is_mark = len(negative) == 1 and negative[0].partition(decimal)[0] in _GAP_NUMBERS
    return negative[0] if is_mark and len(texts) > 2 else ""


def _are_codes(texts: Collection[str]) -> bool:
    """Whether whole numbers are all of one length, of three digits or more, and some start with a zero."""
    length = len(next(iter(texts), ""))
    return (
        length > 2
        and len(texts) > 1
        and all(len(text) == length for text in texts)
        and all(map(str.isdecimal, texts))
        and any(text[0] == "0" for text in texts)
    )


def _may_part_thousands(texts: Collection[str], separator: str) -> bool:
    """Whether every number has three digits behind its dot, in a file or a form in which the dot is rarely a decimal mark."""
    # Most columns have another number among their first ones, so that the other questions are rarely asked.
    if not all(_DOTTED.fullmatch(without_currency(text)) for text in texts):
        return False
    is_likely = separator == ";" or any(decoration(text) == "currency" for text in texts)
    return is_likely and len(set(map(without_currency, texts))) > 1


def _rounded(value: float) -> float:
    import numpy as np

    return float(np.float32(value))


def _numbers_rows(name: str, finite: Array, rows: int) -> bool:
    """Whether numbers identify the rows: whole and all different, and named like an identifier or rising by one."""
    import numpy as np

    if len(finite) < 10 or len(finite) < rows or (finite % 1 != 0).any() or len(np.unique(finite)) < len(finite):
        return False
    return named_identifier(name) or bool(finite[0] in (0, 1) and (np.diff(finite) == 1).all())


def _is_rounded(finite: Array) -> bool:
    import numpy as np

    if (np.abs(finite) <= _EXACT).all() or (finite % 1 != 0).any():
        return False
    with np.errstate(over="ignore"):
        return bool((finite.astype("float32").astype("float64") != finite).any())


def _category_notes(categories: dict[str, Array]) -> list[str]:
    constant: list[str] = []
    different: list[str] = []
    dates: list[str] = []
    case: list[str] = []
    images: list[str] = []
    units: list[str] = []
    texts: dict[str, NumberText] = {}
    for name, values in categories.items():
        counts = Counter(values.tolist())
        gaps = counts.pop("", 0)
        count = sum(counts.values())
        text = number_text(counts)
        if len(counts) == 1 and count > 1 and not gaps:
            constant.append(name)
        elif text:
            texts[name] = text
        elif unit := unit_of(counts):
            units.append(f"column `{name}` is a category ({with_unit(unit, min(counts))})")
        elif sum(count for value, count in counts.items() if is_date(value)) >= _MOSTLY * count > 0:
            dates.append(name)
        elif names_images(counts):
            images.append(name)
        elif count >= 10 and len(counts) == count:
            different.append(name)
        if len({value.casefold() for value in counts}) < len(counts):
            case.append(f"`{name}` ({_same_but_for_case(counts)})")
    notes = [*_number_text_notes(texts), *units[:_MOST_NAMED]]
    if constant:
        notes.append(f"{_columns(constant, 'have')} the same value in all training rows; {_drop(constant)}")
    if different:
        notes.append(f"{_columns(different, 'have')} a different value in each training row; {_drop(different)}")
    if images:
        notes.append(f"{_columns(images, 'hold')} {IMAGES}")
    if dates:
        words = "is a category of dates" if len(dates) == 1 else "are categories of dates"
        notes.append(f"column{'s' * (len(dates) > 1)} {listed(dates)} {words}; {dates_hint(dates[0])}")
    if case:
        notes.append(f"values that differ only in case are different categories: {', '.join(case[:_MOST_NAMED])}")
    return notes


def names_images(counts: Counter[str]) -> bool:
    """Whether a column holds names of image files."""
    named = sum(count for value, count in counts.items() if value.lower().endswith(EXTENSIONS))
    return named >= _MOSTLY * counts.total() > 0


IMAGES = "names of image files, which are not opened; `kind: image_table` reads the images that a table lists"


def dates_hint(name: str) -> str:
    """Returns how a column of dates becomes numbers."""
    return f"`data.source.dates: {{{name}: {{parts: [days, month, weekday]}}}}` converts them to numbers"


def _same_but_for_case(counts: Counter[str]) -> str:
    by_case: dict[str, list[str]] = defaultdict(list)
    for value in counts:
        by_case[value.casefold()].append(value)
    pair = next(values for values in by_case.values() if len(values) > 1)
    return ", ".join(f"{value!r}" for value in sorted(pair))


@dataclass(frozen=True)
class NumberText:
    """A column of text that holds mostly numbers.

    Attributes:
        decorated: its numbers with a currency, a percent sign or marks of thousands, the most common first.
        non_numbers: its other values with their counts, the most common first.
    """

    decorated: tuple[str, ...]
    non_numbers: tuple[tuple[str, int], ...]


def number_text(counts: Counter[str]) -> NumberText | None:
    """Returns why a column that is mostly numbers is not read as numbers; None for other columns."""
    count = sum(counts.values())
    plain = sum(count for value, count in counts.items() if is_number(value))
    decorated = Counter({value: count for value, count in counts.items() if not is_number(value) and decoration(value)})
    if count < 2 or plain + decorated.total() < count / 2 or plain == count:
        return None
    non_numbers = Counter({value: count for value, count in counts.items() if not is_number(value) and value not in decorated})
    if len(non_numbers) > 5 and (decorated or non_numbers.total() >= count / 2):
        return None
    return NumberText(tuple(value for value, _ in decorated.most_common(2)), tuple(non_numbers.most_common(3)))


def unit_of(counts: Counter[str]) -> str:
    """Returns the unit of a column of numbers that have one behind them, such as `kg`; "" where it is no such column."""
    units: Counter[str] = Counter()
    for value, count in counts.items():
        measure = _MEASURE.fullmatch(value)
        units[measure[1] if measure else ""] += count
    unit, count = units.most_common(1)[0] if units else ("", 0)
    return unit if count >= _MOSTLY * counts.total() else ""


def number_hint(name: str, counts: Counter[str]) -> str:
    """Returns why a column that is mostly numbers is not read as numbers, with the remedy; "" for other columns."""
    text, unit = number_text(counts), unit_of(counts)
    return f" ({_number_remedy([name], text)})" if text else f" ({with_unit(unit, min(counts))})" if unit else ""


def with_unit(unit: str, example: str) -> str:
    """Returns the remedy for numbers with a unit."""
    return f"numbers with the unit {unit!r}, such as {example!r}: remove the unit"


def _number_remedy(names: Sequence[str], text: NumberText) -> str:
    remedies = []
    if text.decorated:
        examples = ", ".join(map(repr, text.decorated))
        verb = "become numbers" if len(text.decorated) > 1 else "becomes a number"
        remedies.append(f"{examples} {verb} by `data.source.numeric: [{in_yaml(names)}]`")
    if text.non_numbers:
        rows = ", ".join(f"{value!r} in {count:,} row{'s' * (count > 1)}" for value, count in text.non_numbers)
        examples = rows if len(names) == 1 else ", ".join(repr(value) for value, _ in text.non_numbers)
        marks = ", ".join(repr(value) for value, _ in text.non_numbers)
        condition = (
            "if it marks a missing value, list it" if len(text.non_numbers) == 1 else "if they mark missing values, list them"
        )
        remedies.append(f"not all are numbers: {examples}; {condition} in `data.source.missing: [{marks}]`")
    return "; ".join(remedies)


def _number_text_notes(texts: dict[str, NumberText]) -> list[str]:
    """Returns a sentence for all columns of the same kind."""
    groups: dict[tuple[bool, tuple[str, ...]], list[str]] = defaultdict(list)
    for name, text in texts.items():
        groups[(bool(text.decorated), tuple(sorted(value for value, _ in text.non_numbers)))].append(name)
    notes = []
    for names in groups.values():
        words = "is a category" if len(names) == 1 else "are categories"
        subject = f"column{'s' * (len(names) > 1)} {listed(names)} {words}, although most values are numbers"
        notes.append(f"{subject} ({_number_remedy(names, texts[names[0]])})")
    return notes


def in_yaml(names: Sequence[str]) -> str:
    """Returns names as items of a YAML list in one line, the first few of many."""
    words = [repr(name) if not name.replace("_", "").isalnum() or name.isdecimal() else name for name in names]
    return ", ".join(words[:_MOST_NAMED]) + (", ..." if len(words) > _MOST_NAMED else "")


def _columns(names: Sequence[str], verb: str) -> str:
    """Returns the subject of a sentence with its verb."""
    if len(names) == 1:
        return f"column {listed(names)} {'has' if verb == 'have' else verb + 's'}"
    return f"columns {listed(names)} {verb}"


def _say(names: Sequence[str], singular: str, plural: str) -> str:
    return singular if len(names) == 1 else plural


def _drop(names: Sequence[str]) -> str:
    return f"to exclude {'it' if len(names) == 1 else 'them'}, set `data.source.drop: [{in_yaml(names)}]`"
