"""The scale of MASE: the error of the seasonal naive forecast, one season ahead, in the training split."""

from __future__ import annotations

import numpy as np

from dlcli.data.splits import Splits
from dlcli.runtime.windows import Windows
from dlcli.spec.experiment import Experiment
from dlcli.spec.training.forecast_metrics import Mase


def with_series_scale(experiment: Experiment, splits: Splits) -> Experiment:
    """Returns the experiment whose MASE has the scale of the training split, unless the spec sets it."""
    metrics, inputs = experiment.training.metrics or [], splits.train.inputs
    if not isinstance(inputs, Windows) or not any(isinstance(metric, Mase) and metric.scale is None for metric in metrics):
        return experiment
    scale = seasonal_scale(inputs)
    if scale is None:
        return experiment
    filled = [
        metric.model_copy(update={"scale": scale}) if isinstance(metric, Mase) and metric.scale is None else metric
        for metric in metrics
    ]
    return experiment.model_copy(update={"training": experiment.training.model_copy(update={"metrics": filled})})


def seasonal_scale(train: Windows) -> list[float] | None:
    """Returns the mean absolute difference of each target to its value a season earlier, over the rows of the windows.

    Differences to values before the windows count, those to another series do not. None for a constant series, or where the
    split is shorter than a season.
    """
    rows = np.flatnonzero(train.covered)
    firsts = train.starts if train.firsts is None else train.firsts
    begins = np.zeros(len(train.series), dtype="int64")
    begins[train.starts] = firsts
    begins = np.maximum.accumulate(begins)
    rows = rows[rows - train.season >= begins[rows]]
    if not len(rows):
        return None
    differences = np.abs(train.series[rows, : train.targets] - train.series[rows - train.season, : train.targets])
    scale = np.nanmean(differences.astype("float64"), axis=0)
    return [float(value) for value in scale] if (scale > 0).all() else None
