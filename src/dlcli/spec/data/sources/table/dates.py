"""Columns of dates as numbers: days since 1970, and parts such as the month."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from dlcli.errors import DataError

if TYPE_CHECKING:
    from dlcli.arrays import Array

Part = Literal["days", "year", "month", "day", "weekday", "hour"]
_ISO = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d")
_DAY_FIRST = ("%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%d/%m/%y", "%d-%m-%y", "%d.%m.%y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%m-%d-%y")
_WORDS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y")
_MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b-%y", "%b-%Y", "%b %Y", "%B %Y")
_CLOCK = ("%H:%M", "%H:%M:%S", "%I:%M %p")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", "T%H:%M", " %I:%M %p", " %I:%M:%S %p")


def find_format(values: Iterable[str]) -> str:
    """Returns the one format that all dates have: `ISO 8601`, or as `strptime` takes it.

    Raises:
        DataError: no format fits, or the day and the month cannot be distinguished.
    """
    texts = list(values)
    if all(_iso(text) for text in texts):
        return "ISO 8601"
    fitting = [form for form in _formats() if all(_fits(text, form) for text in texts)]
    if not fitting:
        example = next((text for text in texts if not any(_fits(text, form) for form in _formats())), texts[0] if texts else "")
        raise DataError(f"no format of dates fits all of its values, such as {example!r}; set `format`, such as '%d/%m/%Y'")
    meanings = {tuple(datetime.strptime(text, form) for text in texts): form for form in reversed(fitting)}
    if len(meanings) > 1:
        first, other = list(meanings.values())[:2]
        raise DataError(f"its dates, such as {texts[0]!r}, may be {other!r} or {first!r}; set `format`")
    return next(iter(meanings.values()))


def _formats() -> list[str]:
    return [*(date + time for date in (*_ISO, *_DAY_FIRST, *_MONTH_FIRST, *_WORDS) for time in _TIMES), *_MONTHS, *_CLOCK]


def date_of(text: str, form: str) -> datetime | None:
    """Returns the date that a text means in a format of `find_format`; None if it is none."""
    return _iso(text) if form == "ISO 8601" else _fits(text, form)


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None) if len(text) >= 10 else None
    except ValueError:
        return None


def _fits(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None


def date_parts(column: Array, form: str, parts: Iterable[Part]) -> tuple[dict[Part, Array], list[str]]:
    """Returns the components of a column of dates as float32 `(n,)`, NaN for gaps, and the values that are not dates.

    Days count from 1970 with the time of day as a fraction; Monday is weekday 0.
    """
    import numpy as np

    by_text = {text: date_of(text, form) for text in set(column.tolist()) - {None}}
    wrong_values = sorted(text for text, date in by_text.items() if date is None)
    dates = [by_text.get(text) if text is not None else None for text in column.tolist()]
    columns = {
        part: np.array([np.nan if date is None else _part(date, part) for date in dates], dtype="float32") for part in parts
    }
    return columns, wrong_values


def _part(date: datetime, part: Part) -> float:
    if part == "days":
        return (date - datetime(1970, 1, 1)).total_seconds() / 86400
    if part == "weekday":
        return date.weekday()
    if part == "hour":
        return date.hour + date.minute / 60
    return {"year": date.year, "month": date.month, "day": date.day}[part]
