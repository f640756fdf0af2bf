"""`checks.json`: measurements of a trained model that only its diagnosis uses."""

from __future__ import annotations

import os

from dlcli.runs.contents import Count, FileContent, Number, RunFile
from dlcli.runs.folder import RunFolder


class InputScale(FileContent):
    """The inputs of the first layer with weights, for a number of training examples.

    Attributes:
        layer: the layer's kind.
        examples: the number of examples.
        size: root mean square of all inputs.
        deviation: standard deviation of all inputs.
        largest: root mean square of the largest column, and `smallest` of the smallest, if examples are rows.
    """

    layer: str
    examples: Count
    size: Number
    deviation: Number
    largest: Number = None
    smallest: Number = None


class Modes(FileContent):
    """Predictions for the same training examples in training mode and in inference mode.

    Attributes:
        layers: the number of layers that compute differently in training (batch normalisation).
        examples: the number of examples.
        score: the name of the score.
        training: the score with the statistics of each batch.
        inference: the score with the model's own statistics.
        worse: the number of examples with a larger error in inference mode, and `better` of those with a smaller one.
    """

    layers: Count
    examples: Count
    score: str
    training: Number
    inference: Number
    worse: Count
    better: Count


class SimpleModel(FileContent):
    """A simple model that was fitted on the same data.

    Attributes:
        scores: its score by each metric.
        related: the p-value of the hypothesis that its predictions are independent of the labels.
        better: the p-value of the hypothesis that it is no better than the run's model (one-sided, paired by example).
    """

    name: str
    scores: dict[str, Number]
    related: Number
    better: Number


class SimpleModels(FileContent):
    """The scores of simple models and of the run's model on examples of the scored split."""

    part: str
    examples: Count
    trained_on: Count
    own: dict[str, Number]
    rows: list[SimpleModel]


class ChecksFile(RunFile, FileContent):
    """The content of `checks.json`; entries that were not measured are missing."""

    inputs: InputScale | None = None
    modes: Modes | None = None
    simple_models: SimpleModels | None = None


def read_checks(run: RunFolder) -> ChecksFile:
    """Returns the measurements of a run; empty for a run of an older version.

    Raises:
        DamagedFile: the file cannot be read, or has invalid content.
    """
    path = run.checks_path
    return ChecksFile.read(path) if os.path.lexists(path) else ChecksFile()
