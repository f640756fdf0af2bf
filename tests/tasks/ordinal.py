"""A fifth task in one file: ordered classes with their own decision, metric and words. It is not part of dlcli.

Run as a program it is dlcli with this task: `python ordinal.py train spec.yaml`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from dlcli.runtime.estimates import Estimate, of_values
from dlcli.spec.base import OneOf
from dlcli.spec.training.metrics import MetricSpec
from dlcli.tasks import Classes, OutputType, Task, register

Array = np.ndarray[Any, Any]


class Levels(Classes):
    """One of several ordered levels: the median level is predicted, and an error counts by its distance."""

    noun: ClassVar[str] = "level"
    nouns: ClassVar[str] = "levels"

    def decide(self, scores: Array) -> Array:
        """Returns the lowest level at which the cumulative probability reaches a half."""
        predicted: Array = (np.cumsum(scores, axis=1) >= 0.5 - 1e-6).argmax(axis=1)
        return predicted


class LevelDistance(MetricSpec):
    """Mean distance between the predicted and the true level."""

    higher_is_better: ClassVar[bool] = False
    outputs: ClassVar[tuple[type[OutputType], ...]] = (Levels,)
    kind: Literal["level_distance"]

    def score(self, truth: Array, scores: Array, task: Task) -> float:
        """Returns the mean distance in levels."""
        return float(self._distances(truth, scores, task).mean())

    def estimate(self, truth: Array, scores: Array, task: Task) -> Estimate:
        """Returns the mean distance with its interval."""
        return of_values(self._distances(truth, scores, task))

    def _distances(self, truth: Array, scores: Array, task: Task) -> Array:
        return np.abs(task.output.decide(scores) - truth).astype("float64")


ORDINAL = Task(
    name="ordinal",
    meaning="one level of several in order",
    action="places each example on one of {count}{names}",
    activation="softmax",
    loss="sparse_categorical_crossentropy",
    metrics=("level_distance", "accuracy"),
    output=Levels(),
)


def add() -> None:
    """Adds the task and its metric to dlcli."""
    register(ORDINAL)
    OneOf.registry["Metric"].extend(LevelDistance)


if __name__ == "__main__":
    from dlcli.__main__ import main

    add()
    main()
