"""What an evaluation shows beyond scores, by output type: tables with their pictures, and notable examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import cast

from dlcli.runs import layout
from dlcli.runs.files import write_table
from dlcli.score.classes import write_classes, write_labels
from dlcli.score.notable import NotableExample, largest_errors, of_classes
from dlcli.score.outcome import Outcome
from dlcli.score.residuals import deciles
from dlcli.tasks import Classes, Forecasts, Labels, OutputType, Task, Values, entry_of


class Details:
    """The details of an evaluation: none. An output type that has details overrides a method and has an entry in `_DETAILS`."""

    def write(self, folder: Path, outcome: Outcome) -> None:
        """Writes the tables of an evaluation into its folder, with their pictures."""

    def notable(self, outcome: Outcome) -> Iterator[NotableExample]:
        """Yields the examples of an outcome with scores that show the errors best, by kind, the worst of each kind first."""
        yield from ()


class _OfClasses(Details):
    def write(self, folder: Path, outcome: Outcome) -> None:
        write_classes(folder, outcome)

    def notable(self, outcome: Outcome) -> Iterator[NotableExample]:
        yield from of_classes(outcome)


class _OfLabels(Details):
    def write(self, folder: Path, outcome: Outcome) -> None:
        write_labels(folder, outcome)


class _OfValues(Details):
    def write(self, folder: Path, outcome: Outcome) -> None:
        """Writes the errors by tenths of the target."""
        from dlcli.charts.regression import save_regression

        if outcome.scores is not None and outcome.has_finite_scores:
            names = ("target", "decile", "from", "to", "examples", "mae", "bias")
            write_table(folder / layout.DECILES, names, (asdict(row).values() for row in deciles(outcome)))  # type: ignore[misc]
            save_regression(outcome.classes, outcome.truth, outcome.scores, folder)

    def notable(self, outcome: Outcome) -> Iterator[NotableExample]:
        yield from largest_errors(outcome)


class _OfForecasts(Details):
    def write(self, folder: Path, outcome: Outcome) -> None:
        """Draws forecasts beside the values, and the error by step."""
        from dlcli.charts.forecasts import ForecastTable, save_forecasts

        if outcome.scores is not None and outcome.has_finite_scores:
            output = cast("Forecasts", outcome.task.output)
            save_forecasts(ForecastTable(output, outcome.ids, outcome.truth, outcome.scores), folder)

    def notable(self, outcome: Outcome) -> Iterator[NotableExample]:
        yield from largest_errors(outcome)


_DETAILS: dict[type[OutputType], Details] = {
    Classes: _OfClasses(),
    Labels: _OfLabels(),
    Forecasts: _OfForecasts(),
    Values: _OfValues(),
}


def details_of(task: Task) -> Details:
    """Returns the details of a task's evaluations."""
    return entry_of(_DETAILS, task.output) or Details()


def notable_examples(outcome: Outcome) -> list[NotableExample]:
    """Returns the notable examples of an outcome; none without scores."""
    return [] if outcome.scores is None else list(details_of(outcome.task).notable(outcome))
