"""`folds.json` and `fractions.json`: the results of the runs of a cross-validation, or of fractions of the training data."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dlcli.runs.contents import Count, RunFile
from dlcli.runs.folder import RunFolder

Value = Annotated[float, Field(allow_inf_nan=False)] | None
Interval = Annotated[list[Value], Field(min_length=2, max_length=2)] | None


class _Frozen(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow", defer_build=True)


class FoldRun(_Frozen):
    """The run of a fold: the number of the fold and of the repetition, from 1, and its scores on the fold's `examples`."""

    run: str
    fold: Count
    repeat: Count
    examples: Count
    metrics: dict[str, Value]


class Spread(_Frozen):
    """The mean of a score over runs, its sample deviation (None for a single run), the smallest and the largest score."""

    mean: Value
    deviation: Value
    smallest: Value
    largest: Value


class FoldsFile(RunFile, _Frozen):
    """`folds.json`."""

    batch: str
    folds: Count
    repeats: Count
    runs: list[FoldRun]
    metrics: dict[str, Spread]


class FractionScore(_Frozen):
    """The mean of a score over the seeds of a fraction, and its 95 % interval."""

    mean: Value
    deviation: Value
    interval: Interval = None


class FractionPoint(_Frozen):
    """The runs that were trained on one fraction of the training data; `examples` is the mean number of training examples."""

    fraction: Annotated[float, Field(gt=0, le=1)]
    examples: Annotated[float, Field(ge=0)]
    runs: list[str]
    metrics: dict[str, FractionScore]


class Extrapolation(_Frozen):
    """A power law of the error: `scale * examples ** -exponent`, and the score that it predicts for `examples` examples."""

    examples: Annotated[float, Field(gt=0)]
    scale: Annotated[float, Field(gt=0)]
    exponent: float
    exponent_interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    value: float
    interval: Annotated[list[float], Field(min_length=2, max_length=2)]


class FractionsFile(RunFile, _Frozen):
    """`fractions.json`: `metric` is the score of the sentence; `extrapolation` is None where nothing can be predicted."""

    batch: str
    metric: str
    higher_is_better: bool
    seeds: list[int]
    points: list[FractionPoint]
    extrapolation: Extrapolation | None = None
    sentence: str
    notes: list[str] = []


def read_folds(run: RunFolder) -> FoldsFile | None:
    """Returns the results of a cross-validation; None for a run that is none, or is not complete.

    Raises:
        DamagedFile: the file cannot be read, or has invalid content.
    """
    return FoldsFile.read(run.folds_path) if os.path.lexists(run.folds_path) else None


def read_fractions(run: RunFolder) -> FractionsFile | None:
    """Returns the results for fractions of the training data; None for a run that has none, or is not complete.

    Raises:
        DamagedFile: the file cannot be read, or has invalid content.
    """
    return FractionsFile.read(run.fractions_path) if os.path.lexists(run.fractions_path) else None
