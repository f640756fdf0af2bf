"""`dlcli` called in this process, so that a traceback, a wrong exit code or a hang is seen for what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import process_time

from typer.testing import CliRunner

from dlcli.cli.app import app

DEADLINE = 5.0
"""CPU seconds that a call may take on anything that is wrong."""
ESCAPE = "\x1b"


@dataclass(frozen=True)
class Called:
    """What a call gave: `crash` is the exception that a user would see as a traceback."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str
    crash: BaseException | None
    seconds: float

    def __str__(self) -> str:
        return (
            f"dlcli {' '.join(self.arguments)} -> {self.code} in {self.seconds:.1f} s\n{self.out}\n{self.err}\n{self.crash!r}"
        )


def call(*arguments: str | Path) -> Called:
    """Calls `dlcli` and returns what it gave."""
    words = tuple(map(str, arguments))
    started = process_time()
    done = CliRunner().invoke(app, words, prog_name="dlcli")
    seconds = process_time() - started
    crash = None if isinstance(done.exception, SystemExit) else done.exception
    return Called(words, done.exit_code, done.stdout, done.stderr, crash, seconds)


def told(called: Called) -> str:
    """Returns what the call said went wrong: the last lines of stderr, from `error:` on where it has one."""
    return called.err.partition("error: ")[2] or called.err


def refuse_crash(called: Called, *, codes: tuple[int, ...] = (0, 1, 2), deadline: float = DEADLINE) -> None:
    """Fails for a traceback, an exit code that is not among `codes`, control characters, or too long a time."""
    if called.crash is not None:
        raise AssertionError(str(called)) from called.crash
    assert called.code in codes, str(called)
    assert called.seconds < deadline, str(called)
    for text in (called.out, called.err):
        odd = {char for char in text if not char.isprintable() and char not in "\n\t\xa0"}
        assert not odd, f"{odd}: {called}"
    assert called.code == 0 or called.err.strip(), str(called)
    if called.code == 1:
        assert "error: " in called.err, str(called)
        assert len(told(called).strip().splitlines()) == 1, str(called)
