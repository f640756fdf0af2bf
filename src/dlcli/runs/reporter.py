"""What is reported while a training runs. The command line shows it; programs may log it or ignore it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

Log = Callable[[str], None]
"""Takes one line of plain text."""


def unreported(line: str) -> None:
    """Takes a line that nobody reads."""


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch. `row` is its row of the history; `improved` tells whether it is the best so far."""

    epoch: int
    epochs: int
    row: dict[str, Any]
    previous: dict[str, Any] | None
    improved: bool


class Reporter:
    """Receives what a training reports; this one ignores it. A subclass overrides what it wants to show."""

    def waiting(self, reason: str) -> AbstractContextManager[None]:
        """Returns a context that is open while the training waits, such as for the start of TensorFlow."""
        return nullcontext()

    def log(self, line: str) -> None:
        """Takes one line of plain text, such as the device that is used."""

    def fit_started(self, epochs: int, steps: int) -> None:
        """Takes the start of training."""

    def step_finished(self, epoch: int, step: int, examples: int) -> None:
        """Takes the end of a step; `step` counts from 1 in its epoch, `examples` are those of the epoch so far."""

    def epoch_finished(self, report: EpochReport) -> None:
        """Takes the end of an epoch."""

    def fit_finished(self) -> None:
        """Takes the end of training."""
