"""Tables that fit the terminal: where a table is too wide, each of its rows becomes a short list of its cells.

Ids, settings and paths are never cut or broken: lines break at spaces alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from dlcli.visible import visible

_WIDEST = 100_000


def fitted(console: Console, table: Table) -> RenderableType:
    """Returns the table, or its rows as lists where it is wider than the console."""
    options = console.options.update(max_width=_WIDEST)
    if Measurement.get(console, options, table).maximum <= console.width:
        return table
    return Text("\n".join(_as_lists(table, console.width)), no_wrap=True, overflow="ignore")


def _as_lists(table: Table, width: int) -> list[str]:
    """Returns each row as a line with its first cells, and below it the others with their headings."""
    headings = [_plain(column.header) for column in table.columns]
    titles = next((place + 1 for place, heading in enumerate(headings) if heading), 1)
    rows = zip(*([_plain(cell) for cell in column.cells] for column in table.columns), strict=True)
    lines = [_plain(table.title)] if table.title else []
    for row in rows:
        lines.append(" ".join(filter(None, row[:titles])))
        pieces = [f"{heading}: {cell}" if heading else cell for heading, cell in zip(headings, row, strict=True)][titles:]
        lines += packed([piece for piece, cell in zip(pieces, row[titles:], strict=True) if cell], width, indent="   ")
    return lines


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else visible(str(cell), keep="\n").replace("\n", " ")


def packed(pieces: Sequence[str], width: int, *, indent: str, between: str = "; ") -> list[str]:
    """Returns pieces in lines of a width: a line breaks between pieces, and inside one that is too long at spaces alone."""
    lines, line = list[str](), ""
    for piece in pieces:
        longer = f"{line}{between}{piece}" if line else piece
        if line and len(indent) + len(longer) + len(between.rstrip()) > width:
            lines.append(f"{line}{between.rstrip()}")
            longer = piece
        line = longer
    if line:
        lines.append(line)
    return [piece for line in lines for piece in _wrapped(line, width, indent)]


def _wrapped(line: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        line,
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
