"""How far an export's answers are from the original's, and how far they may be.

A float format computes the same function, in another order of sums: probabilities within 1e-5, and values within 1e-5 of the
targets' spread. Half precision rounds weights at the fourth digit, 8 bits weights and activations at the third; what matters
then is what is decided, and how often it is right. (So it is where a run's mixed precision is kept: bfloat16 has three
digits, and two ways to run the same file round them differently.) TensorFlow's own table of post-training quantization has
losses of accuracy of 0.2 points (ResNet v2), 0.8 (Inception v3), 5.2 and 8.2 (MobileNet v1 and v2;
github.com/tensorflow/tensorflow `tensorflow/lite/g3doc/performance/model_optimization.md`): over 5 is taken for a failure.
Of values the root of the mean squared difference counts, which adds to the error's square: 5 % of the targets' spread takes
0.0025 of a perfect R2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf, isfinite, nan
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.runs.scored_splits import score_text
from dlcli.spec.training.metrics import MetricSpec
from dlcli.tasks import Task

CLOSE = 1e-5
OTHERWISE = {"float16": 0.01, "int8": 0.1}
"""The largest share of other decisions."""
LOST = {"float16": 0.01, "int8": 0.05}
"""The largest loss of accuracy; the largest root mean squared difference of values as a share of the targets' spread."""
_SUM = 1e-9
"""What shares of examples may lose by being summed."""
_ROUNDED = 16
"""Units in the last place of the largest value, which float32 may lose of values far from 0 whatever their spread."""


@dataclass(frozen=True)
class Agreement:
    """What a comparison found.

    `judged_as` is empty for float32, else `float16` or `int8`. `limit` is the largest `largest_difference` of float32, and the
    largest `difference` of the others: the share of other decisions, or the root mean squared difference as a share of the
    targets' spread. With `mixed_precision` these are differences from the run's model computing in float32, as the export
    does; `original` and `same_decisions` are not.
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
    judged_as: str = ""
    mixed_precision: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Returns the figures as plain data."""
        return asdict(self)

    @property
    def words(self) -> str:
        """The figures in a sentence."""
        decided = "" if self.same_decisions is None else f"; {100 * self.same_decisions:.1f} % equal decisions"
        than = " from the model's in float32" if self.mixed_precision else ""
        return (
            f"{self.metric} {score_text(self.export)}, the run's {score_text(self.original)}"
            f" ({score_text(self.export - self.original, sign='+')}) on"
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
    compared: Compared, export: Array, task: Task, *, metric: MetricSpec | None, spread: Array, judge: str
) -> Agreement:
    """Compares an export's answers with the original's.

    Args:
        compared: the examples.
        export: the export's answers, in the shape of the original's.
        task: the task.
        metric: the metric to report; None where the run has none.
        spread: standard deviation `(targets,)` of the training part's targets, for values; 1 for probabilities.
        judge: `float16`, `int8`, or empty for float32.
    """
    reference, output = (task.output.model_output(scores) for scores in (compared.reference, export))
    largest = float(np.abs(output.astype("float64") - reference).max()) if np.isfinite(output).all() else inf
    decisions = None if task.output.is_numeric else [task.output.decide(scores) for scores in (export, compared.original)]
    if not judge:
        difference, limit, agrees = _of_floats(reference, output, task, spread)
    elif decisions is None:
        difference, limit, agrees = _of_values(compared.reference, export, spread, judge)
    else:
        difference, limit, agrees = _of_decisions(compared, export, task, judge)
    original, ours = (metric.score(compared.truth, one, task) if metric else nan for one in (compared.original, export))
    return Agreement(
        split=compared.split,
        examples=len(export),
        metric=metric.name if metric else "score",
        original=original,
        export=ours,
        largest_difference=largest,
        same_decisions=None if decisions is None else float((decisions[0] == decisions[1]).mean()),
        difference=difference,
        limit=limit,
        agrees=agrees and isfinite(largest),
        judged_as=judge,
        mixed_precision=compared.reference is not compared.original,
    )


def _of_floats(reference: Array, export: Array, task: Task, spread: Array) -> tuple[float, float, bool]:
    """Returns the largest difference, the limit of the narrowest output, and whether all are within theirs."""
    gap = np.abs(export.astype("float64") - reference)
    allowed = CLOSE * spread
    if task.output.is_numeric:
        allowed = allowed + _ROUNDED * np.spacing(np.abs(reference).max(axis=0).astype("float32"))
    return float(gap.max()), float(np.min(allowed)), bool((gap <= allowed).all())


def _of_values(reference: Array, export: Array, spread: Array, quantize: str) -> tuple[float, float, bool]:
    """Returns the largest root mean squared difference of a target, as a share of its spread, and its limit."""
    gap = np.sqrt(((export.astype("float64") - reference) ** 2).mean(axis=0))
    difference = float((gap / np.where(spread > 0, spread, 1.0)).max())
    return difference, LOST[quantize], difference <= LOST[quantize]


def _of_decisions(compared: Compared, export: Array, task: Task, quantize: str) -> tuple[float, float, bool]:
    """Returns the share of other decisions and its limit; of a few examples one may always fall on the other side."""
    ours, theirs = task.output.decide(export), task.output.decide(compared.reference)
    one, difference = 1 / ours.size, float((ours != theirs).mean())
    limit = max(OTHERWISE[quantize], one)
    lost = float((theirs == compared.truth).mean() - (ours == compared.truth).mean())
    return difference, limit, difference <= limit + _SUM and lost <= max(LOST[quantize], one) + _SUM
