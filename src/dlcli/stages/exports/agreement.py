"""How far an export's answers are from the original's, and how far they may be.

A float format computes the same function, in another order of sums: probabilities within 1e-5, and values within 1e-5 of the
targets' spread. Half precision rounds weights at the fourth digit, 8 bits activations at the third; what matters then is
what is decided. Accuracy cannot change by more than the share of other decisions, so that is what is limited; for values
the root of the mean squared difference, which adds to the error's square: 5 % of the spread takes at most about 0.0025 of a
perfect R2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dlcli.spec.metrics import MetricSpec, decide

Array = np.ndarray[Any, Any]
CLOSE = 1e-5
DIFFERENT = {"float16": 0.01, "int8": 0.05}
"""The largest share of other decisions, or the largest root mean squared difference as a share of the targets' spread."""
_ROUNDED = 16
"""Units in the last place of the largest value, which float32 may lose of values far from 0 whatever their spread."""


@dataclass(frozen=True)
class Agreement:
    """What a comparison found.

    `limit` is the largest `largest_difference` of a float format, and the largest `difference` of a quantized one: the share
    of other decisions, or the root mean squared difference as a share of the targets' spread. With `mixed_precision` these
    are differences from the run's model computing in float32, as the export does; `original` and `same_decisions` are not.
    """

    split: str
    examples: int
    metric: str
    original: float
    export: float
    largest_difference: float
    same_decisions: float | None
    difference: float
    limit: float
    agrees: bool
    mixed_precision: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Returns the figures as plain data."""
        return asdict(self)

    @property
    def words(self) -> str:
        """The figures in a sentence."""
        decided = "" if self.same_decisions is None else f"; {100 * self.same_decisions:.1f} % the same decisions"
        than = " from the model's in float32" if self.mixed_precision else ""
        return (
            f"{self.metric} {self.export:.4f}, the run's {self.original:.4f} ({self.export - self.original:+.4f}) on"
            f" {self.examples:,} {self.split} examples; largest difference of an output{than}"
            f" {self.largest_difference:.2g}{decided}"
        )


@dataclass(frozen=True)
class Compared:
    """Examples that were answered twice: by the original, and in the precision of the export's weights before rounding."""

    split: str
    truth: Array
    original: Array
    reference: Array


def agreement(
    compared: Compared, export: Array, task: str, *, metric: MetricSpec | None, spread: float, quantize: str
) -> Agreement:
    """Compares an export's answers with the original's.

    Args:
        compared: the examples.
        export: the export's answers, in the shape of the original's.
        task: the task's name.
        metric: the metric to report; None where the run has none.
        spread: standard deviation of the training part's targets, for regression.
        quantize: `float16`, `int8`, or empty for a float format.
    """
    gap = np.abs(export.astype("float64") - compared.reference)
    largest = float(gap.max()) if np.isfinite(export).all() else float("inf")
    same = None if task == "regression" else float((decide(export, task) == decide(compared.original, task)).mean())
    if quantize:
        limit = DIFFERENT[quantize]
        if same is None:
            difference = float(np.sqrt((gap**2).mean())) / (spread or 1.0)
        else:  # of a few examples one may always fall on the other side
            others = float((decide(export, task) != decide(compared.reference, task)).mean())
            difference, limit = others, max(limit, 1 / compared.truth.size)
        agrees = difference <= limit + 1e-12 and np.isfinite(largest)
    else:
        rounding = _ROUNDED * float(np.spacing(np.float32(np.abs(compared.reference).max())))
        limit = CLOSE if same is not None else CLOSE * spread + rounding
        difference, agrees = largest, largest <= limit
    theirs, ours = (metric.score(compared.truth, one, task) if metric else float("nan") for one in (compared.original, export))
    name = metric.name if metric else "score"
    mixed = compared.reference is not compared.original
    return Agreement(compared.split, len(export), name, theirs, ours, largest, same, difference, limit, bool(agrees), mixed)
