"""Commands read the options of their functions only when they are needed."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from dlcli.cli import deferred
from dlcli.cli.deferred import DeferredCommand, deferred_command


def _add(number: Annotated[int, typer.Option(help="A number.")] = 1) -> None:
    """Print the number after it."""
    print(number + 1)


def _say(word: str) -> None:
    """Print a word."""
    print(word)


def _app() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)
    for name, function in (("add-one", _add), ("say", _say)):
        deferred_command(app, name)(function)
    return app


def test_only_the_command_that_is_called_reads_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str | None] = []
    build = deferred.get_command_from_info
    monkeypatch.setattr(deferred, "get_command_from_info", lambda info, **how: read.append(info.name) or build(info, **how))
    shown = CliRunner().invoke(_app(), ["--help"]).stdout
    assert "add-one" in shown
    assert "Print the number after it." in shown
    assert read == []
    assert CliRunner().invoke(_app(), ["add-one", "--number", "4"]).stdout == "5\n"
    assert read == ["add-one"]
    assert "A number." in CliRunner().invoke(_app(), ["add-one", "--help"]).stdout


def test_other_attributes_are_missing_as_usual() -> None:
    group = get_command(_app())
    assert isinstance(group, TyperGroup)
    command = group.commands["say"]
    assert isinstance(command, DeferredCommand)
    assert not hasattr(command, "nothing")
    assert [parameter.name for parameter in command.params] == ["word"]
