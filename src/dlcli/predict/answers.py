"""Predictions for new examples, and how each output type is shown: as a table, as JSON, on the terminal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from dlcli.arrays import Array
from dlcli.runs.numbers import digits
from dlcli.tasks import Classes, Forecasts, Labels, OutputType, Task, Values, required_entry
from dlcli.tasks.columns import MANY_CLASSES


@dataclass(frozen=True)
class Answers:
    """The predictions of a run for some examples.

    Attributes:
        task: the run's task.
        classes: the names of the classes, labels or targets.
        ids: the examples.
        scores: float32 `(n, len(classes))`, as `Outcome.scores`.
    """

    task: Task
    classes: tuple[str, ...]
    ids: list[str]
    scores: Array


class AnswerLayout(ABC):
    """The layout of the answers of one output type. `top` is the number of classes that are shown of each example."""

    @abstractmethod
    def order(self, answers: Answers, top: int) -> tuple[Array, Array]:
        """Returns the indices of the names in the order of display, `(n, names)`, and how many are shown, `(n,)`."""

    def ranked(self, answers: Answers, top: int) -> Iterator[list[tuple[str, float]]]:
        """Yields the names of each example with their scores, in the order of display.

        Of classes the predicted one comes first, then the most likely ones; of labels the predicted ones, the most likely
        first; of values all targets.
        """
        order, counts = self.order(answers, top)
        for scores, places, count in zip(answers.scores, order, counts, strict=True):
            yield [(answers.classes[place], float(scores[place])) for place in places[:count]]

    def columns(self, classes: Sequence[str], top: int) -> list[str]:
        """Returns the columns of a table: those of `predictions.csv` without the labels."""
        return ["id", *(f"predicted_{name}" for name in classes)]

    def rows(self, answers: Answers, top: int) -> Iterator[list[str]]:
        """Yields the rows for `columns`; a float has nine digits, so that it reads back as the same bits."""
        for example, scores in zip(answers.ids, answers.scores, strict=True):
            yield [example, *map(digits, scores)]

    @abstractmethod
    def objects(self, answers: Answers, top: int) -> Iterator[dict[str, Any]]:
        """Yields each answer as plain data."""

    @abstractmethod
    def headings(self, classes: Sequence[str], top: int) -> list[str]:
        """Returns the headings of a table on the terminal."""

    @abstractmethod
    def cells(self, answers: Answers, top: int) -> Iterator[list[str]]:
        """Yields the cells of a table on the terminal."""


class _OfClasses(AnswerLayout):
    def order(self, answers: Answers, top: int) -> tuple[Array, Array]:
        order, predicted = _most_likely_first(answers.scores), answers.task.output.decide(answers.scores)[:, None]
        other_places = order[order != predicted].reshape(len(order), order.shape[1] - 1)
        return np.concatenate([predicted, other_places], axis=1), np.full(len(order), top)

    def columns(self, classes: Sequence[str], top: int) -> list[str]:
        shares = (f"p_{name}" for name in classes if len(classes) <= MANY_CLASSES)
        return ["id", "predicted", "probability", *_further_columns(classes, top, "{word}_{place}", "probability"), *shares]

    def rows(self, answers: Answers, top: int) -> Iterator[list[str]]:
        for example, ranked, scores in zip(answers.ids, self.ranked(answers, top), answers.scores, strict=True):
            shares = map(digits, scores) if len(answers.classes) <= MANY_CLASSES else ()
            yield [example, *(cell for name, share in ranked for cell in (name, digits(share))), *shares]

    def objects(self, answers: Answers, top: int) -> Iterator[dict[str, Any]]:
        """Yields `predicted`, `probability` and, with `top` above 1, `top`."""
        for example, ranked in zip(answers.ids, self.ranked(answers, top), strict=True):
            entries = [{"class": name, "probability": _number(share)} for name, share in ranked]
            best = {"id": example, "predicted": ranked[0][0], "probability": entries[0]["probability"]}
            yield best | ({"top": entries} if top > 1 else {})

    def headings(self, classes: Sequence[str], top: int) -> list[str]:
        return ["", "class", "p", *_further_columns(classes, top, "{word} {place}", "p")]

    def cells(self, answers: Answers, top: int) -> Iterator[list[str]]:
        for example, ranked in zip(answers.ids, self.ranked(answers, top), strict=True):
            yield [example, *(cell for name, share in ranked for cell in (name, f"{share:.4f}"))]


class _OfLabels(AnswerLayout):
    def order(self, answers: Answers, top: int) -> tuple[Array, Array]:
        return _most_likely_first(answers.scores), answers.task.output.decide(answers.scores).sum(axis=1)

    def objects(self, answers: Answers, top: int) -> Iterator[dict[str, Any]]:
        """Yields `labels` and `probabilities`."""
        for example, ranked, scores in zip(answers.ids, self.ranked(answers, top), answers.scores, strict=True):
            shares = dict(zip(answers.classes, map(_number, scores), strict=True))
            yield {"id": example, "labels": [name for name, _ in ranked], "probabilities": shares}

    def headings(self, classes: Sequence[str], top: int) -> list[str]:
        return ["", "labels"]

    def cells(self, answers: Answers, top: int) -> Iterator[list[str]]:
        for example, ranked in zip(answers.ids, self.ranked(answers, top), strict=True):
            yield [example, ", ".join(f"{name} {share:.4f}" for name, share in ranked) or "-"]


class _OfValues(AnswerLayout):
    def order(self, answers: Answers, top: int) -> tuple[Array, Array]:
        examples, names = answers.scores.shape
        return np.tile(np.arange(names), (examples, 1)), np.full(examples, names)

    def objects(self, answers: Answers, top: int) -> Iterator[dict[str, Any]]:
        """Yields `values`."""
        for example, ranked in zip(answers.ids, self.ranked(answers, top), strict=True):
            yield {"id": example, "values": {name: _number(value) for name, value in ranked}}

    def headings(self, classes: Sequence[str], top: int) -> list[str]:
        return ["", *classes]

    def cells(self, answers: Answers, top: int) -> Iterator[list[str]]:
        for example, ranked in zip(answers.ids, self.ranked(answers, top), strict=True):
            yield [example, *(f"{value:.6g}" for _, value in ranked)]


class _OfForecasts(_OfValues):
    def objects(self, answers: Answers, top: int) -> Iterator[dict[str, Any]]:
        """Yields `forecast`, a mapping for each step."""
        headings = self.headings(answers.classes, top)[1:]
        for example, steps in zip(answers.ids, self._steps(answers), strict=True):
            rows = [dict(zip(headings[1:], map(_number, row), strict=True)) for row in steps]
            yield {"id": example, "forecast": [{headings[0]: step} | row for step, row in enumerate(rows, 1)]}

    def headings(self, classes: Sequence[str], top: int) -> list[str]:
        first = [name.partition("@") for name in classes]
        return ["", "step", *(f"{name[:-2]}{mark}{level}" for name, mark, level in first if name.endswith("+1"))]

    def cells(self, answers: Answers, top: int) -> Iterator[list[str]]:
        for example, steps in zip(answers.ids, self._steps(answers), strict=True):
            for step, row in enumerate(steps, 1):
                yield [example if step == 1 else "", str(step), *(f"{value:.6g}" for value in row)]

    @staticmethod
    def _steps(answers: Answers) -> Iterator[Array]:
        """Yields the forecasts of each example `(horizon, columns)`: those of the targets, then their other quantiles."""
        output = cast("Forecasts", answers.task.output)
        for scores in answers.scores:
            blocks = scores.reshape(len(output.blocks), output.horizon, len(output.series))
            yield blocks.transpose(1, 0, 2).reshape(output.horizon, -1)


_LAYOUTS: dict[type[OutputType], AnswerLayout] = {
    Classes: _OfClasses(),
    Labels: _OfLabels(),
    Forecasts: _OfForecasts(),
    Values: _OfValues(),
}


def layout_of(task: Task) -> AnswerLayout:
    """Returns the layout of a task's answers."""
    return required_entry(_LAYOUTS, task, "`dlcli predict`")


def _most_likely_first(scores: Array) -> Array:
    return np.argsort(-scores, axis=1, kind="stable")


def _further_columns(classes: Sequence[str], top: int, pattern: str, probability: str) -> Iterator[str]:
    """Yields the names of the columns of the second class, the third and so on."""
    for place in range(2, min(top, len(classes)) + 1):
        yield from (pattern.format(word=word, place=place) for word in ("class", probability))


def _number(value: float) -> float:
    return float(digits(value))
