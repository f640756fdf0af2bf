"""How much an export's answers differ from the original's, and how much they may differ.

A float format computes the same function with another order of summation: probabilities agree within 1e-5, and values within
1e-5 of the targets' spread. Half precision rounds weights at the fourth digit, 8 bits weights and activations at the third;
then the predicted classes and their accuracy are compared. (The same holds where a run's mixed precision is kept: bfloat16 has
three digits, and two runtimes round the same file differently.) TensorFlow's own table of post-training quantization has
losses of accuracy of 0.2 points (ResNet v2), 0.8 (Inception v3), 5.2 and 8.2 (MobileNet v1 and v2;
github.com/tensorflow/tensorflow `tensorflow/lite/g3doc/performance/model_optimization.md`): over 5 counts as a failure.
For values the root mean squared difference is compared, whose square adds to the mean squared error: 5 % of the targets'
spread costs 0.0025 of a perfect R2.
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
MOST_DIFFERENT_DECISIONS = {"float16": 0.01, "int8": 0.1}
"""The largest share of different decisions."""
MOST_LOST = {"float16": 0.01, "int8": 0.05}
"""The largest loss of accuracy; the largest root mean squared difference of values as a share of the targets' spread."""
_SUMMATION_ERROR = 1e-9
"""The error that the summation of shares may add."""
_ROUNDING_UNITS = 16
"""Units in the last place of the largest value: the rounding of float32 for values far from 0, whatever their spread."""


@dataclass(frozen=True)
class Agreement:
    """The result of a comparison.

    `judged_as` is empty for float32, else `float16` or `int8`. `limit` is the largest allowed `largest_difference` for float32,
    else the largest allowed `difference`: the share of different decisions, or the root mean squared difference as a share of
    the targets' spread. With `mixed_precision` the differences are those from the run's model computed in float32, like the
    export; `original` and `same_decisions` are those of the run's model itself.
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
        decisions = "" if self.same_decisions is None else f"; {100 * self.same_decisions:.1f} % equal decisions"
        reference = " from the model's in float32" if self.mixed_precision else ""
        return (
            f"{self.metric} {score_text(self.export)}, the run's {score_text(self.original)}"
            f" ({score_text(self.export - self.original, sign='+')}) on"
            f" {self.examples:,} {self.split} examples; largest difference of an output{reference}"
            f" {self.largest_difference:.2g}{decisions}"
        )


@dataclass(frozen=True)
class ComparedExamples:
    """Examples with two answers: the original's, and those in the precision of the export's weights before rounding."""

    split: str
    truth: Array
    original: Array
    reference: Array


def agreement(
    compared: ComparedExamples, export: Array, task: Task, *, metric: MetricSpec | None, spread: Array, judge: str
) -> Agreement:
    """Compares an export's answers with the original's.

    Args:
        compared: the examples.
        export: the export's answers, in the shape of the original's.
        task: the task.
        metric: the metric to report; None where the run has none.
        spread: standard deviation `(targets,)` of the training split's targets, for values; 1 for probabilities.
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
    original, export_score = (
        metric.score(compared.truth, answers, task) if metric else nan for answers in (compared.original, export)
    )
    return Agreement(
        split=compared.split,
        examples=len(export),
        metric=metric.name if metric else "score",
        original=original,
        export=export_score,
        largest_difference=largest,
        same_decisions=None if decisions is None else float((decisions[0] == decisions[1]).mean()),
        difference=difference,
        limit=limit,
        agrees=agrees and isfinite(largest),
        judged_as=judge,
        mixed_precision=compared.reference is not compared.original,
    )


def _of_floats(reference: Array, export: Array, task: Task, spread: Array) -> tuple[float, float, bool]:
    """Returns the largest difference, the smallest limit of an output, and whether all differences are within their limits."""
    differences = np.abs(export.astype("float64") - reference)
    limits = CLOSE * spread
    if task.output.is_numeric:
        limits = limits + _ROUNDING_UNITS * np.spacing(np.abs(reference).max(axis=0).astype("float32"))
    return float(differences.max()), float(np.min(limits)), bool((differences <= limits).all())


def _of_values(reference: Array, export: Array, spread: Array, quantize: str) -> tuple[float, float, bool]:
    """Returns the largest root mean squared difference of a target, as a share of its spread, and its limit."""
    differences = np.sqrt(((export.astype("float64") - reference) ** 2).mean(axis=0))
    difference = float((differences / np.where(spread > 0, spread, 1.0)).max())
    return difference, MOST_LOST[quantize], difference <= MOST_LOST[quantize]


def _of_decisions(compared: ComparedExamples, export: Array, task: Task, quantize: str) -> tuple[float, float, bool]:
    """Returns the share of different decisions, its limit, and whether it agrees; one different decision is always allowed."""
    decisions, reference_decisions = task.output.decide(export), task.output.decide(compared.reference)
    one_decision, difference = 1 / decisions.size, float((decisions != reference_decisions).mean())
    limit = max(MOST_DIFFERENT_DECISIONS[quantize], one_decision)
    accuracy_loss = float((reference_decisions == compared.truth).mean() - (decisions == compared.truth).mean())
    return (
        difference,
        limit,
        difference <= limit + _SUMMATION_ERROR and accuracy_loss <= max(MOST_LOST[quantize], one_decision) + _SUMMATION_ERROR,
    )
