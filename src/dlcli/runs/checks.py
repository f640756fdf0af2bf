"""`checks.json`: what was measured of a trained model for its diagnosis alone."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dlcli.runs.contents import Count, RunFile
from dlcli.runs.folder import RunFolder

Number = Annotated[float, Field(allow_inf_nan=False)] | None


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


class InputScale(_Part):
    """What the first layer with weights is given, of some training examples.

    Attributes:
        layer: the layer's kind.
        examples: how many examples were looked at.
        size: root mean square of all inputs.
        deviation: standard deviation of all inputs.
        largest: root mean square of the largest column, and `smallest` of the smallest, where examples are rows.
    """

    layer: str
    examples: Count
    size: Number
    deviation: Number
    largest: Number = None
    smallest: Number = None


class Modes(_Part):
    """The same training examples answered as in training and as in a prediction.

    Attributes:
        layers: how many layers compute in another way while they train (batch normalisation).
        examples: how many examples were answered in both ways.
        score: the name of the score.
        training: the score with the statistics of each batch.
        inference: the score with the statistics that the model keeps.
        worse: examples whose error is larger in a prediction, and `better` where it is smaller.
    """

    layers: Count
    examples: Count
    score: str
    training: Number
    inference: Number
    worse: Count
    better: Count


class SimpleModel(_Part):
    """A simple model that was fitted on the same data.

    Attributes:
        scores: its score by each metric.
        related: the probability that its answers have nothing to do with the labels.
        better: the probability that it is no better than the run's model (one-sided, paired on the same examples).
    """

    name: str
    scores: dict[str, Number]
    related: Number
    better: Number


class SimpleModels(_Part):
    """What simple models reach on some examples of the scored part, beside the run's model."""

    part: str
    examples: Count
    trained_on: Count
    own: dict[str, Number]
    rows: list[SimpleModel]


class ChecksFile(RunFile, _Part):
    """`checks.json`; what was not measured is missing."""

    inputs: InputScale | None = None
    modes: Modes | None = None
    simple_models: SimpleModels | None = None


def read_checks(run: RunFolder) -> ChecksFile:
    """Returns what was measured of a run; nothing of an older one.

    Raises:
        DamagedFile: the file cannot be read, or holds something else.
    """
    path = run.checks_path
    return ChecksFile.read(path) if os.path.lexists(path) else ChecksFile()
