"""Regression: how the error changes with the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlcli.score.outcome import Outcome


@dataclass(frozen=True)
class Decile:
    """A tenth of the examples by the target's true value: its range, mean absolute error and mean error (bias)."""

    target: str
    decile: int
    low: float
    high: float
    examples: int
    mae: float
    bias: float


def deciles(outcome: Outcome) -> list[Decile]:
    """Returns the tenths of every target, the smallest values first; fewer than ten where there are fewer examples."""
    assert outcome.scores is not None
    rows = []
    for at, name in enumerate(outcome.classes):
        truth, errors = outcome.truth[:, at].astype("float64"), (outcome.scores - outcome.truth)[:, at].astype("float64")
        tenths = np.array_split(np.argsort(truth, kind="stable"), 10)
        for number, places in enumerate((tenth for tenth in tenths if len(tenth)), 1):
            values, missed = truth[places], errors[places]
            mae, bias = float(np.abs(missed).mean()), float(missed.mean())
            rows.append(Decile(name, number, float(values.min()), float(values.max()), len(places), mae, bias))
    return rows
