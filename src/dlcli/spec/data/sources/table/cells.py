"""Reads a cell of a table as a gap, a number or a date; the same for training, evaluating and predicting."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

MARKS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""Usual marks of a missing value, as in pandas."""
SPACES = " \t\r\n\f\v\u00a0\u2007\u202f\ufeff\u200b"
"""Characters that are stripped from the ends of a cell: blanks, no-break blanks, and marks without width."""
MINUS = "\u2212"
"""The typographic minus sign, which word processors write in place of a hyphen."""
Decimal = Literal[".", ","]

_CURRENCY = r"(?:[$€£¥₹₽₩]|USD|EUR|GBP|CHF|JPY)"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf(?:inity)?", re.IGNORECASE | re.ASCII)
_COMMA_NUMBER = re.compile(r"[+-]?(?:\d+,?\d*|,\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+(?:\.0*)?", re.ASCII)
_WHOLE_FLOAT = re.compile(r"-?(?:0|[1-9]\d{0,14})\.0+", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:([,.' \u00a0\u202f\u2009’_])\d{3})(?:\1\d{3})*(?:([.,])\d*)?", re.ASCII)
_DECORATED = re.compile(
    rf"\(?[+\-{MINUS}]?\s*{_CURRENCY}?\s*[+\-{MINUS}]?[\d.,' \u00a0\u202f]*\d[\d.,]*\s*{_CURRENCY}?\s*%?\)?", re.ASCII
)
_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
_DATE = re.compile(
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})"
    rf"|(?:\d{{1,2}}[ -])?{_MONTH}\.?[ -]\d{{1,2}}(?:, ?|[ -])\d{{4}}|\d{{1,2}}[ -]{_MONTH}\.?,?[ -](?:\d{{4}}|\d{{2}}))"
    r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?(?: ?(?:AM|PM|Z|UTC|[+-]\d{2}:?\d{2}))?"
    rf"|(?:19|20)\d\d[-/](?:0[1-9]|1[0-2])|(?:0[1-9]|1[0-2])/(?:19|20)\d\d|{_MONTH}[- ](?:\d{{4}}|\d{{2}})",
    re.IGNORECASE | re.ASCII,
)
Decoration = Literal["", "currency", "percent", "thousands", "typographic minus", "decimal comma"]


def normalized(cell: str) -> str:
    """Returns a cell or a name without blanks at its ends, its letters composed (NFC)."""
    cell = cell.strip(SPACES)
    return cell if cell.isascii() else unicodedata.normalize("NFC", cell)


def filled_text(cell: str | None) -> str | None:
    """Returns a text as the cell of a CSV file, `normalized`; None for a gap, also for the usual marks of missing values."""
    text = None if cell is None else normalized(cell)
    return None if text in MARKS else text


def canonical(cell: str) -> str:
    """Returns a category as it is compared: a whole number without decimals, so that 3.0 is 3."""
    return cell.partition(".")[0] if _WHOLE_FLOAT.fullmatch(cell) else cell


def is_number(cell: str, decimal: str = ".") -> bool:
    """Whether a cell is a number without changes."""
    return (_NUMBER if decimal == "." else _COMMA_NUMBER).fullmatch(cell) is not None


def plain_number(cell: str, decimal: str, thousands: str | None, *, decorated: bool = False) -> str:
    """Returns a number as Python writes it; "" if the cell is no number.

    Marks of thousands are accepted between groups of three digits only, so that `1.23` is never 123. With `decorated`,
    currency and percent signs are removed, `(5)` is -5, and the mark that is not the decimal mark may separate thousands.
    """
    if decorated:
        cell = re.sub(rf"{_CURRENCY}|%|[ \u00a0\u202f]", "", cell).replace(MINUS, "-")
        cell = f"-{cell[1:-1]}" if cell.startswith("(") and cell.endswith(")") else cell
        grouped = _GROUPED.fullmatch(cell)
        apostrophes = "'" if grouped and grouped[1] in ("'", "’") else ""
        thousands = thousands or apostrophes or ("." if decimal == "," else ",")
    other = "." if decimal == "," else ","
    if thousands:
        marks = {" ": " \u00a0\u202f\u2009", "'": "'’"}.get(thousands, thousands)
        if any(mark in cell for mark in marks):
            whole, dot, rest = cell.partition(decimal)
            groups = re.split(f"[{re.escape(marks)}]", whole.lstrip("+-"))
            if not groups[0].isdigit() or len(groups[0]) > 3 or any(len(g) != 3 or not g.isdigit() for g in groups[1:]):
                return ""
            cell = ("-" if whole.startswith("-") else "") + "".join(groups) + dot + rest
    if decimal == ",":
        cell = "" if other in cell else cell.replace(",", ".")
    return cell if _NUMBER.fullmatch(cell) else ""


def is_whole(cell: str) -> bool:
    """Whether a number is a whole one."""
    return _WHOLE.fullmatch(cell) is not None


def is_date(cell: str) -> bool:
    """Whether a cell is a date, with or without a time of day."""
    return len(cell) <= 40 and _DATE.fullmatch(cell) is not None


def decoration(cell: str) -> Decoration:
    """Returns why a cell that means a number is not read as one: a currency, a percent sign, marks of thousands."""
    if not cell or len(cell) > 40 or not _DECORATED.fullmatch(cell):
        return ""
    if "%" in cell:
        return "percent"
    if re.search(_CURRENCY, cell) or cell.startswith("("):
        return "currency"
    grouped = _GROUPED.fullmatch(cell)
    if grouped and (grouped[1] != "." or grouped[2]):
        return "thousands"
    if MINUS in cell:
        return "typographic minus"
    return "decimal comma" if _COMMA_NUMBER.fullmatch(cell) else ""


def without_currency(cell: str) -> str:
    """Returns a number without the currency and percent signs at its ends; other cells as they are."""
    if not cell or (cell[0].isdigit() and cell[-1].isdigit()) or not decoration(cell):
        return cell
    return re.sub(rf"{_CURRENCY}|[()%]", "", cell).strip(SPACES)


def find_decimal(cells: Iterable[str], separator: str) -> Decimal:
    """Returns the decimal mark that the cells show: a comma where some have one that can be no mark of thousands.

    A dot where cells show both, or neither. `1,234` and `1.234` may be either; between commas a dot is then the likelier
    decimal mark, and beside commas that are decimals the dot is one of thousands. Numbers with a currency or a percent sign
    decide where no other does.
    """
    plain: list[str] = []
    decorated: list[str] = []
    for cell in cells:
        bare = without_currency(cell)
        (plain if bare == cell else decorated).append(bare)
    return _shown_decimal(plain, separator) or _shown_decimal(decorated, separator) or "."


def _shown_decimal(cells: Iterable[str], separator: str) -> Decimal | None:
    """Returns the decimal mark that the cells show, if any."""
    comma = maybe_dot = False
    for cell in cells:
        grouped = None if cell.lstrip("+-").startswith("0") else _GROUPED.fullmatch(cell)
        if grouped and not grouped[2]:
            maybe_dot = maybe_dot or grouped[1] == "."
        elif (grouped and grouped[2] == ".") or (not grouped and "." in cell and _NUMBER.fullmatch(cell)):
            return "."
        elif (grouped and grouped[2] == ",") or ("," in cell and _COMMA_NUMBER.fullmatch(cell)):
            comma = True
    return "," if comma and not (maybe_dot and separator == ",") else None
