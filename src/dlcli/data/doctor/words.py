"""Phrases of issues: counts, names and shares."""

from __future__ import annotations

from collections.abc import Sequence

from dlcli.visible import visible

_NAMED = 5
_LONGEST_NAME = 60


def count(number: int, singular: str, plural: str = "") -> str:
    """Returns a number with its noun: `1 row`, `1,200 rows`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def name(text: str) -> str:
    """Returns a name from the data for a sentence: quoted, short and without control characters."""
    short = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    return f"'{visible(short)}'"


def names(texts: Sequence[str], most: int = _NAMED) -> str:
    """Returns the first names, and how many more there are."""
    rest = len(texts) - most
    return ", ".join(map(name, texts[:most])) + (f" and {rest:,} more" if rest > 0 else "")


def columns(texts: Sequence[str]) -> str:
    """Returns the names of columns with their noun: `column 'age'`."""
    return f"{'column' if len(texts) == 1 else f'{len(texts):,} columns'} {names(texts)}"


def share(part: float) -> str:
    """Returns a share in percent: whole numbers, below 10 % and where they would be 100 % with one decimal."""
    if 0 < part < 0.0005:
        return "less than 0.1 %"
    if 0.9995 <= part < 1:
        return "more than 99.9 %"
    return f"{100 * part:.1f} %" if 0 < part < 0.1 or 0.995 <= part < 1 else f"{100 * part:.0f} %"


def is_or_are(number: int) -> str:
    """Returns the verb for a number of subjects."""
    return "is" if number == 1 else "are"


def has_or_have(number: int) -> str:
    """Returns the verb for a number of subjects."""
    return "has" if number == 1 else "have"
