"""What a stage tells while it runs. The command line shows it; tests and other callers may stay silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Log = Callable[[str], None]
"""Takes one line of plain text."""


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch. `row` is its row of the history; `improved` tells whether it is the best so far."""

    epoch: int
    epochs: int
    row: dict[str, Any]
    previous: dict[str, Any] | None
    improved: bool


class Reporter:
    """Receives what a stage tells; this one says nothing."""

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
