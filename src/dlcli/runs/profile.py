"""`profile.csv`: the time of each layer in the profiled steps of a training."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from dlcli.errors import DamagedFile, UsageError
from dlcli.runs.files import read_table, write_table
from dlcli.runs.folder import RunFolder


@dataclass(frozen=True)
class StepRange:
    """Steps of a training, counted from 1 over all its epochs; both ends belong to it."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}:{self.last}"

    @classmethod
    def parse(cls, text: str) -> StepRange:
        """Returns the range that `FIRST:LAST` names.

        Raises:
            UsageError: the text is no range, or the range is empty.
        """
        match = re.fullmatch(r"([1-9]\d{0,8}):([1-9]\d{0,8})", text, re.ASCII)
        if match is None or int(match[1]) > int(match[2]):
            raise UsageError(
                f"--profile: expected FIRST:LAST, two steps counted from 1, the earlier first, such as 20:30; found {text!r}"
            )
        return cls(int(match[1]), int(match[2]))

    def refuse_outside(self, *, done: int, epoch_steps: int, epochs: int) -> None:
        """Checks the range against the steps of a training, of which `done` steps are over.

        Raises:
            UsageError: the training has no such steps any more, or they belong to several epochs.
        """
        total = epoch_steps * epochs
        if self.last > total:
            raise UsageError(
                f"--profile: expected steps up to {total}, the last step of the training ({epoch_steps} steps in an epoch);"
                f" found {self}"
            )
        if self.first <= done:
            raise UsageError(f"--profile: expected steps after {done}, where the training is resumed; found {self}")
        begin, end = ((step - 1) // epoch_steps for step in (self.first, self.last))
        if begin != end:
            limit = (begin + 1) * epoch_steps
            raise UsageError(
                f"--profile: expected steps of one epoch, such as {self.first}:{limit} (an epoch has {epoch_steps} steps);"
                f" found {self}, which belong to epochs {begin + 1} to {end + 1}"
            )


@dataclass(frozen=True)
class ProfileRow:
    """The time of a part of a training step, in milliseconds.

    Attributes:
        part: `layer`, `optimizer`, `loss`, `other`, `input`, `waiting` or `idle`.
        name: the path of a layer in the model, or a description.
        forward_ms: time in the forward pass, or without a direction.
        backward_ms: time in the backward pass.
        ms: the sum of both.
        share: the fraction of the sum of all rows.
        operations: the number of operations.
    """

    part: str
    name: str
    forward_ms: float
    backward_ms: float
    ms: float
    share: float
    operations: float


COLUMNS = tuple(field.name for field in fields(ProfileRow))


def write_profile(run: RunFolder, rows: Sequence[ProfileRow]) -> None:
    """Replaces `profile.csv`."""
    write_table(run.profile_path, COLUMNS, (astuple(row) for row in rows))


def merged_rows(rows: Sequence[ProfileRow]) -> list[ProfileRow]:
    """Returns one row with the sums of further layers; empty without rows."""
    if not rows:
        return []
    name = f"{len(rows)} further layers" if len(rows) > 1 else "1 further layer"
    sums = (sum(getattr(row, column) for row in rows) for column in COLUMNS[2:])
    return [ProfileRow("layer", name, *sums)]


def read_profile(run: RunFolder) -> list[ProfileRow]:
    """Returns the rows of `profile.csv`; empty for a run that was not profiled.

    Raises:
        DamagedFile: the file cannot be read, or has invalid content.
    """
    path = run.profile_path
    if not os.path.lexists(path):
        return []
    try:
        return [
            ProfileRow(row["part"], row["name"], *(float(row[column]) for column in COLUMNS[2:])) for row in read_table(path)
        ]
    except (KeyError, ValueError):
        raise DamagedFile(f"{path}: is no profile, a table with the columns {', '.join(COLUMNS)}") from None
