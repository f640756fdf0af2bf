"""Every error a user can cause, with its exit code.

    DlcliError            1
    ├── SpecError         2   the YAML is wrong: a list of faults, each with its line
    ├── UsageError        2   the command line is wrong: no such run, folder not writable, ...
    ├── DataError         1   the data is wrong where only opening it can tell: a truncated image, an empty class
    ├── DamagedFile       1   a file that dlcli wrote is not as it wrote it: a run's status, a saved model
    └── RunFailed         1   training or evaluation went wrong: NaN loss, out of memory, disk full
        ├── OutOfMemory   1   the device has too little memory for a batch of this size
        ├── TooLarge      1   a model is over a limit of the sweep that tries it
        └── Interrupted   75  stopped by a signal

Anything else that escapes is a defect of dlcli and keeps its traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass

from dlcli.visible import visible

NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS)
"""Errors of the system for a disk, a quota or a limit that lets nothing more be written."""
_LONGEST = 2000
"""Characters of one part of a fault that are shown."""


class DlcliError(Exception):
    """A fault of the user's input or machine: printed as text, never as a traceback."""

    exit_code = 1


@dataclass(frozen=True, order=True)
class Fault:
    """One thing wrong with one place of a spec.

    `line` and `column` count from 1; 0 means that the place is not in the file (an option of the command line).
    `text` is the source line itself.
    """

    file: str
    line: int
    column: int
    key: str
    message: str
    text: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f"{self.key}: " if self.key else ""
        line = visible(self.text.strip(), keep="\t")
        return visible(f"{_short(place)}: {_short(key)}{_short(self.message)}") + (f"\n    {line}" if line else "")


def _short(text: str) -> str:
    """Returns a text, cut where it is longer than anyone reads: a key of a spec may be as long as the file."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class SpecError(DlcliError):
    """All faults of one or more specs, in file order."""

    exit_code = 2

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = sorted(set(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class UsageError(DlcliError):
    """The command line asks for something that does not exist or cannot be done."""

    exit_code = 2


class DataError(DlcliError):
    """The data itself is wrong, found when it was opened."""


class DamagedFile(DlcliError):
    """A file that dlcli wrote was changed or damaged since, or is not what it should be."""


class RunFailed(DlcliError):
    """The run started and could not finish."""


class OutOfMemory(RunFailed):
    """The device has too little memory for a batch of this size."""


class TooLarge(RunFailed):
    """A model is over a limit of the sweep that tries it."""


class Interrupted(RunFailed):
    """The run was stopped by a signal."""

    exit_code = 75
