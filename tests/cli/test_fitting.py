"""What fits a terminal of 80 columns: ids and settings are never cut, lines break between words."""

from __future__ import annotations

import io

import pytest
from rich.table import Table
from rich.text import Text

from dlcli.cli.console import PlainConsole, in_lines
from dlcli.cli.fitting import packed

RUN = "a_rather_long_experiment_name/20261126-112939-tmru"
SETTING = "training.optimizer.learning_rate=0.0038622897459183406"


def printed(table: Table, width: int) -> str:
    file = io.StringIO()
    PlainConsole(file=file, width=width).print(table)
    return file.getvalue()


def runs() -> Table:
    table = Table("", "run", "state", "settings")
    table.add_row("1", RUN, "completed", SETTING)
    table.add_row("2", f"{RUN}2", "failed", "")
    return table


@pytest.mark.parametrize("width", [40, 80, 100])
def test_a_table_that_is_too_wide_becomes_lists_without_cutting_an_id(width: int) -> None:
    shown = printed(runs(), width)
    lines = shown.splitlines()
    assert lines[0] == f"1 {RUN}"
    assert f"2 {RUN}2" in lines
    assert SETTING in shown
    assert "…" not in shown
    assert "│" not in shown


def test_a_table_that_fits_stays_one() -> None:
    assert "│" in printed(runs(), 200)


def test_pieces_stand_in_lines_that_break_between_them_and_at_spaces_alone() -> None:
    lines = packed(["state: completed", "seed: 0", SETTING, "a sentence of many words " * 3], 40, indent="   ")
    assert all(len(line) <= 40 or SETTING in line for line in lines)
    assert lines[0] == "   state: completed; seed: 0;"
    assert " ".join(" ".join(lines).split()).count("a sentence of many words") == 3


def test_the_line_of_an_epoch_breaks_between_values() -> None:
    pieces = [Text(f"value_{number} {number / 7:.4f} +0.001") for number in range(7)]
    lines = in_lines("epoch  1/30  ", pieces, 80).plain.splitlines()
    assert len(lines) == 3
    assert all(len(line) <= 80 for line in lines)
    assert all(piece.plain in "\n".join(lines) for piece in pieces)
    assert all(line.startswith(" " * 13 + "value_") for line in lines[1:])
    assert in_lines("epoch  1/30  ", pieces, 10_000).plain.count("\n") == 0
