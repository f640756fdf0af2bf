"""Every metric: how it is followed while training, and how it is scored on predictions.

Scores come from scikit-learn over all predictions at once; they are the numbers a run reports. While training, Keras's
own metric follows the same quantity batch by batch where it has an equal one; the others are scored by scikit-learn on
the validation predictions after each epoch, so they have no training value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from dlcli.spec.base import Count, OneOf, keras_attribute
from dlcli.spec.training.forecast_metrics import Coverage, Mase, Smape, errors_by_step
from dlcli.spec.training.metric_base import MetricSpec, MetricTable
from dlcli.tasks import Classes, Decisions, Forecasts, Labels, OutputType, Task, TwoClasses, Values
from dlcli.upstream.sklearn import import_sklearn

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.estimates import Estimate

__all__ = [
    "AUC",
    "LAST_EPOCH",
    "Accuracy",
    "Averaged",
    "Metric",
    "MetricSpec",
    "MetricTable",
    "PlainMetric",
    "TopK",
    "higher_is_better",
    "macro_f1_of",
]


@dataclass(frozen=True)
class _Row:
    """A metric without settings: what follows it in Keras, and scikit-learn's function."""

    function: str
    outputs: tuple[type[OutputType], ...]
    keras_class: str = ""
    higher_is_better: bool = True


_PLAIN = {
    "balanced_accuracy": _Row("balanced_accuracy_score", (Classes,)),
    "macro_f1": _Row("f1_score", (Classes,)),
    "mcc": _Row("matthews_corrcoef", (Classes,)),
    "kappa": _Row("cohen_kappa_score", (Classes,)),
    "hamming": _Row("hamming_loss", (Classes, Labels), higher_is_better=False),
    "mae": _Row("mean_absolute_error", (Values,), "MeanAbsoluteError", higher_is_better=False),
    "mse": _Row("mean_squared_error", (Values,), "MeanSquaredError", higher_is_better=False),
    "rmse": _Row("root_mean_squared_error", (Values,), "RootMeanSquaredError", higher_is_better=False),
    "mape": _Row("mean_absolute_percentage_error", (Values,), "MeanAbsolutePercentageError", higher_is_better=False),
    "r2": _Row("r2_score", (Values,), "R2Score"),
}


class PlainMetric(MetricSpec):
    """A metric without settings: balanced accuracy, macro F1, correlation, Cohen's kappa, Hamming loss; errors and R2."""

    ends_at_one: ClassVar[bool] = True
    meanings: ClassVar[dict[str, str]] = {
        "balanced_accuracy": "Mean recall of the classes.",
        "macro_f1": "Mean F1 of the classes, of both for a binary task; it is scored after each epoch on the validation split.",
        "mcc": "Matthews correlation: 1 perfect, 0 random, -1 all wrong; suitable for rare classes.",
        "kappa": "Cohen's kappa: agreement corrected for chance.",
        "hamming": "Fraction of wrong labels; lower is better.",
        "mae": "Mean absolute error.",
        "mse": "Mean squared error.",
        "rmse": "Root of the mean squared error, in the target's unit.",
        "mape": "Mean absolute error in percent of the target.",
        "r2": "Fraction of the targets' variance that is explained; 1 is perfect, 0 is as good as the mean.",
    }
    kind: Literal["balanced_accuracy", "macro_f1", "mcc", "kappa", "hamming", "mae", "mse", "rmse", "mape", "r2"]

    @property
    def row(self) -> _Row:
        """What the table says of this kind."""
        return _PLAIN[self.kind]

    def fits(self, task: Task) -> bool:
        """Tells whether the metric makes sense for the task."""
        is_measurable = task.output.is_row or self.kind != "r2"  # Keras's R2Score takes rows only
        return is_measurable and isinstance(task.output, self.row.outputs)

    def is_followed(self, task: Task) -> bool:
        """Tells whether it is an error or R2, of outputs that are all predictions."""
        return bool(self.row.keras_class) and task.output.points_only

    def follow(self, task: Task, *, integer_labels: bool) -> Any:
        """Returns Keras's metric for errors and R2, None for the others."""
        return keras_attribute(f"metrics.{self.row.keras_class}")(name=self.name) if self.is_followed(task) else None

    def score(self, truth: Array, scores: Array, task: Task) -> float:
        """Returns scikit-learn's value; MAPE in percent, as Keras has it."""
        import_sklearn()
        from sklearn import metrics

        truth, predicted = task.output.points(truth), task.output.points(task.output.decide(scores))
        if truth.ndim > 2:  # of an output that is not a row
            truth, predicted = truth.reshape(len(truth), -1), predicted.reshape(len(truth), -1)
        if self.kind == "rmse":  # over all targets at once, as in Keras; scikit-learn would average theirs
            truth, predicted = truth.reshape(-1), predicted.reshape(-1)
        options: dict[str, Any] = {"average": "macro", "zero_division": 0} if self.kind == "macro_f1" else {}
        value = float(getattr(metrics, self.row.function)(truth, predicted, **options))
        return 100.0 * value if self.kind == "mape" else value

    def estimate(self, truth: Array, scores: Array, task: Task) -> Estimate:
        """Returns the score with its interval."""
        from dlcli.runtime import class_estimates, estimates

        if task.output.is_numeric:
            points = task.output.points
            value = self.score(truth, scores, task) if self.kind == "r2" else 0.0
            return self._of_errors(points(truth).astype("float64"), points(scores).astype("float64"), value)
        predicted = task.output.decide(scores)
        if self.kind == "hamming":
            return estimates.of_shares((predicted != truth).reshape(len(truth), -1).mean(axis=1))
        classes = scores.shape[1]
        if self.kind in ("balanced_accuracy", "macro_f1"):
            kind = self.kind.removeprefix("macro_")
            return class_estimates.of_classes(kind, "macro", truth, predicted, classes)
        return class_estimates.agreement(self.kind, truth, predicted, classes)

    def tables(self, truth: Array, scores: Array, classes: Sequence[str], task: Task) -> Sequence[MetricTable]:
        """Returns the mean absolute error of forecasts by step."""
        is_forecast = self.kind == "mae" and isinstance(task.output, Forecasts)
        return [errors_by_step(truth, scores, cast("Forecasts", task.output))] if is_forecast else []

    def _of_errors(self, truth: Array, predicted: Array, value: float) -> Estimate:
        import numpy as np

        from dlcli.runtime import estimates

        if self.kind == "r2":
            return estimates.explained(truth, predicted, value)
        errors = np.abs(predicted - truth)
        if self.kind == "mape":
            errors = 100 * errors / np.maximum(np.abs(truth), np.finfo("float64").eps)
        if self.kind in ("mae", "mape"):
            return estimates.of_values(errors.reshape(len(truth), -1).mean(axis=1))
        squares = (errors**2).reshape(len(truth), -1).mean(axis=1)
        squared = estimates.of_values(squares, estimates.FEWEST_SQUARES)
        return estimates.root(squared) if self.kind == "rmse" else squared


class Accuracy(MetricSpec):
    """Fraction of correct predictions; for multilabel, of correct decisions for single labels."""

    ends_at_one: ClassVar[bool] = True
    kind: Literal["accuracy"]

    def follow(self, task: Task, *, integer_labels: bool) -> Any:
        """Returns Keras's accuracy for the form of the labels."""
        form = "Binary" if task.output.has_thresholds else "SparseCategorical" if integer_labels else "Categorical"
        return keras_attribute(f"metrics.{form}Accuracy")(name=self.name)

    def score(self, truth: Array, scores: Array, task: Task) -> float:
        """Returns the share of equal entries."""
        return float((task.output.decide(scores) == truth).mean())

    def estimate(self, truth: Array, scores: Array, task: Task) -> Estimate:
        """Returns the score with its interval."""
        from dlcli.runtime.estimates import of_shares

        return of_shares((task.output.decide(scores) == truth).reshape(len(truth), -1).mean(axis=1))


class TopK(MetricSpec):
    """Fraction of examples whose class is among the `k` most probable."""

    ends_at_one: ClassVar[bool] = True
    outputs: ClassVar[tuple[type[OutputType], ...]] = (Classes,)
    kind: Literal["top_k"]
    k: Count = Field(default=5, description="Number of most probable classes that count as predicted.")

    @property
    def name(self) -> str:
        """The kind with its k: `top_5`."""
        return f"top_{self.k}"

    def fits(self, task: Task) -> bool:
        """Tells whether there may be more than two classes: of two, the likeliest is among them always."""
        return super().fits(task) and not task.output.has_thresholds

    def follow(self, task: Task, *, integer_labels: bool) -> Any:
        """Returns Keras's top-k accuracy for the form of the labels."""
        form = "SparseTopK" if integer_labels else "TopK"
        return keras_attribute(f"metrics.{form}CategoricalAccuracy")(k=self.k, name=self.name)

    def score(self, truth: Array, scores: Array, task: Task) -> float:
        """Returns the share of examples with fewer than k classes ahead of the right one."""
        return float(self._among(truth, scores).mean())

    def estimate(self, truth: Array, scores: Array, task: Task) -> Estimate:
        """Returns the score with its interval."""
        from dlcli.runtime.estimates import of_shares

        return of_shares(self._among(truth, scores))

    def _among(self, truth: Array, scores: Array) -> Array:
        """Returns 1 where the right class is among the `k` likeliest, else 0."""
        import numpy as np

        right = scores[range(len(truth)), truth][:, None]
        later = np.arange(scores.shape[1]) > truth[:, None]
        # Of equal scores the later class comes first, as in scikit-learn.
        ahead = (scores > right) | ((scores == right) & later)
        return (np.isfinite(right[:, 0]) & (ahead.sum(axis=1) < self.k)).astype("float64")  # type: ignore[no-any-return]


Average = Literal["micro", "macro", "weighted"]
_AVERAGE = "Average over classes or labels: `macro` weights them equally, `weighted` by size; `micro` weights examples equally."


class Averaged(MetricSpec):
    """Precision, recall or F1. For a binary task it is that of the second class; otherwise the average over classes."""

    ends_at_one: ClassVar[bool] = True
    meanings: ClassVar[dict[str, str]] = {
        "precision": "Fraction of the predictions of a class that are correct.",
        "recall": "Fraction of the examples of a class that are predicted correctly.",
        "f1": "Harmonic mean of precision and recall.",
    }
    kind: Literal["precision", "recall", "f1"]
    average: Average = Field(default="macro", description=_AVERAGE)

    @property
    def name(self) -> str:
        """The kind, with its average unless that is macro: `f1`, `f1_micro`."""
        return self.kind if self.average == "macro" else f"{self.kind}_{self.average}"

    def one_hot(self, task: Task) -> bool:
        """F1 over classes is followed on one-hot labels."""
        return self.kind == "f1" and task.output.loss_form == "classes"

    def is_followed(self, task: Task) -> bool:
        """Tells whether it is F1, or precision or recall of two classes."""
        return self.kind == "f1" or isinstance(task.output, TwoClasses)

    def follow(self, task: Task, *, integer_labels: bool) -> Any:
        """Returns Keras's F1 score, or its binary precision and recall."""
        if self.kind == "f1":
            threshold = 0.5 if task.output.has_thresholds else None
            average = "micro" if isinstance(task.output, TwoClasses) else self.average
            return keras_attribute("metrics.F1Score")(average=average, threshold=threshold, name=self.name)
        return keras_attribute(f"metrics.{self.kind.title()}")(name=self.name) if isinstance(task.output, TwoClasses) else None

    def score(self, truth: Array, scores: Array, task: Task) -> float:
        """Returns scikit-learn's value over the classes that are there or predicted; 0 for one that is never predicted."""
        import_sklearn()
        from sklearn import metrics

        function: Callable[..., Any] = getattr(metrics, f"{self.kind}_score")
        average = "binary" if isinstance(task.output, TwoClasses) else self.average
        return float(function(truth, task.output.decide(scores), average=average, zero_division=0))

    def estimate(self, truth: Array, scores: Array, task: Task) -> Estimate:
        """Returns the score with its interval."""
        from dlcli.runtime import class_estimates, estimates

        predicted = task.output.decide(scores)
        if isinstance(task.output, TwoClasses):
            return class_estimates.of_labels(self.kind, "macro", truth[:, None], predicted[:, None])
        if isinstance(task.output, Labels):
            return class_estimates.of_labels(self.kind, self.average, truth, predicted)
        if self.average == "micro":  # of one class an example it is the share of right answers
            return estimates.of_shares(truth == predicted)
        return class_estimates.of_classes(self.kind, self.average, truth, predicted, scores.shape[1])


class AUC(MetricSpec):
    """Area under the ROC or precision-recall curve; for several classes, the mean of each class against the rest.

    Keras's own metric approximates it by 200 thresholds; the exact area is scored after each epoch instead.
    """

    ends_at_one: ClassVar[bool] = True
    kind: Literal["auc"]
    curve: Literal["roc", "pr"] = Field(default="roc", description="Curve whose area is computed.")

    @property
    def name(self) -> str:
        """`auc`, or `auc_pr`."""
        return "auc" if self.curve == "roc" else "auc_pr"

    def score(self, truth: Array, scores: Array, task: Task) -> float:
        """Returns the mean area over the classes that have both members and others; NaN if there is none."""
        import numpy as np

        import_sklearn()
        from sklearn import metrics

        area = metrics.roc_auc_score if self.curve == "roc" else metrics.average_precision_score
        members, probabilities = cast("Decisions", task.output).members(truth, scores)
        pairs = [(ours, column) for ours, column in zip(members.T, probabilities.T, strict=True) if 0 < ours.sum() < len(ours)]
        return float(np.mean([area(ours, column) for ours, column in pairs])) if pairs else nan

    def estimate(self, truth: Array, scores: Array, task: Task) -> Estimate:
        """Returns the score with its interval; NaN without one if no class has both positive and negative examples."""
        import numpy as np

        from dlcli.runtime import class_estimates, estimates

        members, probabilities = cast("Decisions", task.output).members(truth, scores)
        area = class_estimates.area_under_roc if self.curve == "roc" else class_estimates.average_precision
        result = area(members, probabilities)
        return result or estimates.Estimate(nan, np.zeros(len(truth)), None, "no class has both positive and negative examples")


Metric = Annotated[Accuracy | TopK | Averaged | AUC | PlainMetric | Mase | Smape | Coverage, OneOf("Metric")]


LAST_EPOCH = "epoch"
"""The monitor of a training whose best epoch is the last one: the number of the epoch, a column of the history."""


def macro_f1_of(metrics: Sequence[MetricSpec], task: Task, *, integer_labels: bool) -> MetricSpec:
    """Returns the metric of a list that is the mean F1 of all classes or labels, or the one to add to it.

    `f1` of a binary task is that of the second class only, and on integer labels Keras cannot follow it.
    """
    other = isinstance(task.output, TwoClasses) or integer_labels
    existing = next((metric for metric in metrics if metric.name in ("macro_f1", "" if other else "f1")), None)
    return existing or (PlainMetric(kind="macro_f1") if other else Averaged(kind="f1"))


def higher_is_better(monitor: str, metrics: list[MetricSpec]) -> bool:
    """Tells which way a column of the history improves; losses improve downwards."""
    if monitor == LAST_EPOCH:
        return True
    name = monitor.removeprefix("val_")
    for metric in metrics:
        if metric.name == name:
            return metric.row.higher_is_better if isinstance(metric, PlainMetric) else metric.higher_is_better
    return False
