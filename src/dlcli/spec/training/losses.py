"""Every loss, and the form of the labels and outputs that it reads."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.spec.base import Fraction, KerasSpec, NotNegative, OneOf, Positive, Share, keras_attribute
from dlcli.tasks import Task
from dlcli.tasks.output import LossForm

if TYPE_CHECKING:
    from dlcli.arrays import Array

VALUES: frozenset[LossForm] = frozenset({"values"})
CLASSES: frozenset[LossForm] = frozenset({"classes"})
YES_NO: frozenset[LossForm] = frozenset({"yes_no"})
ALL = VALUES | CLASSES | YES_NO


class LossSpec(KerasSpec):
    """A loss. `forms` are those it reads; `integer_labels` tells that a class is read as its number, not one-hot."""

    forms: ClassVar[frozenset[LossForm]] = frozenset()
    integer_labels: ClassVar[bool] = False

    def fits(self, task: Task) -> bool:
        """Tells whether the loss can train the task's output."""
        return task.output.loss_form in self.forms

    def each(self, labels: Any, outputs: Any) -> Any:
        """Returns the loss of every example `(batch,)`; Dice's is one number for all of them, `()`."""
        loss = self.build()
        return getattr(loss, "call", loss)(labels, outputs)

    def counted(self, labels: Any) -> Any:
        """Returns which examples the mean is taken over, as Keras does; None where it is all of them."""
        return None

    def reason_against_shares(self) -> str:
        """Returns why labels cannot be shares of several classes, as those of mixed examples; empty if they can."""
        return ""

    def of_shares(self) -> "LossSpec":
        """Returns the loss of labels that are shares of several classes; of whole labels it has the same value."""
        return self

    def reason_against_weights(self) -> str:
        """Returns why examples cannot have weights in the loss; empty if they can."""
        return ""

    def unit(self, deviation: "Array") -> "Array":
        """Returns what an error of one deviation costs, about, for each target `(targets,)`: 1 where the loss has no unit."""
        return deviation**0

    def of_columns(self, labels: Any, outputs: Any) -> Any:
        """Returns the loss of each column `(batch, columns)` of values."""
        return self.build().call(labels[..., None], outputs[..., None])


@dataclass(frozen=True)
class _Row:
    """A loss without settings."""

    keras_class: str
    forms: frozenset[LossForm]
    signed: bool = False


_PLAIN = {
    "mse": _Row("MeanSquaredError", ALL),
    "mae": _Row("MeanAbsoluteError", VALUES),
    "mape": _Row("MeanAbsolutePercentageError", VALUES),
    "msle": _Row("MeanSquaredLogarithmicError", VALUES),
    "log_cosh": _Row("LogCosh", VALUES),
    "hinge": _Row("Hinge", YES_NO, signed=True),
    "squared_hinge": _Row("SquaredHinge", YES_NO, signed=True),
    "kl_divergence": _Row("KLDivergence", CLASSES),
    "categorical_hinge": _Row("CategoricalHinge", CLASSES),
    "dice": _Row("Dice", CLASSES | YES_NO),
}


class PlainLoss(LossSpec):
    """A loss without settings.

    Hinge losses want labels and scores in [-1, 1]: Keras converts 0/1 labels itself, and the sigmoid output p is
    converted to 2p - 1 here, so that the model still gives probabilities.
    """

    meanings: ClassVar[dict[str, str]] = {
        "mse": "Mean squared error: large errors dominate.",
        "mae": "Mean absolute error: less sensitive to outliers.",
        "mape": "Mean absolute error in percent of the target.",
        "msle": "Mean squared logarithmic error: for positive targets of different orders of magnitude.",
        "log_cosh": "Logarithm of the hyperbolic cosine of the error: like mse for small errors, like mae for large ones.",
        "hinge": "Hinge loss, as in support vector machines.",
        "squared_hinge": "Squared hinge loss.",
        "kl_divergence": "Kullback-Leibler divergence of the predictions from the labels.",
        "categorical_hinge": "Hinge loss between the correct class and the most probable wrong one.",
        "dice": "Dice loss: one minus the overlap of labels and predictions, for rare classes.",
    }
    kind: Literal[
        "mse", "mae", "mape", "msle", "log_cosh", "hinge", "squared_hinge", "kl_divergence", "categorical_hinge", "dice"
    ]

    def fits(self, task: Task) -> bool:
        """Tells whether the loss can train the task's output."""
        return task.output.loss_form in _PLAIN[self.kind].forms

    def reason_against_shares(self) -> str:
        """Returns a reason for hinge losses, which are defined for two signs, or one right class."""
        return f"`{self.kind}` is defined for whole labels alone" if "hinge" in self.kind else ""

    def reason_against_weights(self) -> str:
        """Returns a reason for the Dice loss."""
        return "`dice` has one value per batch, so examples have no weights" if self.kind == "dice" else ""

    def unit(self, deviation: "Array") -> "Array":
        """Returns what an error of one deviation costs; mape and msle are relative to the target and have no unit."""
        turns = {"mse": deviation, "mae": deviation**0, "log_cosh": deviation.clip(max=1.0)}
        return deviation * turns[self.kind] if self.kind in turns else deviation**0

    def build(self, **extra: Any) -> Any:
        """Returns the Keras loss, for hinge losses over the rescaled output."""
        row = _PLAIN[self.kind]
        if not row.signed:
            return keras_attribute(f"losses.{row.keras_class}")(**extra)
        each = keras_attribute(f"losses.{self.kind}")

        def signed(labels: Any, probabilities: Any) -> Any:
            """Returns one loss an example, so that weights of examples and classes still apply."""
            return each(labels, 2.0 * probabilities - 1.0)

        return signed


class Huber(LossSpec):
    """Squared for small errors, absolute for large ones: less sensitive to outliers."""

    keras_class: ClassVar[str] = "losses.Huber"
    forms: ClassVar[frozenset[LossForm]] = VALUES
    kind: Literal["huber"]
    delta: Positive = Field(
        default=1.0, description="Error at which the loss changes from squared to absolute, in the unit of the target."
    )

    def unit(self, deviation: "Array") -> "Array":
        """Returns what an error of one deviation costs: its square up to `delta`, beyond it `delta` times as much."""
        largest: Array = deviation.clip(max=self.delta)
        return deviation * largest


def _rising(value: Any) -> Any:
    is_list = isinstance(value, (list, tuple)) and bool(value)
    are_fractions = is_list and all(isinstance(item, float) and 0 < item < 1 for item in value)
    if are_fractions and sorted(set(value)) == list(value) and 0.5 in value:
        return list(value)
    what = "rising numbers between 0 and 1, with 0.5 among them, such as [0.1, 0.5, 0.9]"
    raise PydanticCustomError("expected", "expected {what}", {"what": what})


Quantiles = Annotated[list[float], PlainValidator(_rising, json_schema_input_type=list[float])]


class Pinball(LossSpec):
    """The loss of quantiles of forecasts: the model has an output for each, and the median is the forecast."""

    forms: ClassVar[frozenset[LossForm]] = VALUES
    kind: Literal["pinball"]
    quantiles: Quantiles = Field(default=[0.1, 0.5, 0.9], description="Quantiles, in rising order, with 0.5 among them.")

    def fits(self, task: Task) -> bool:
        """Tells whether the task forecasts."""
        return task.output.needs_series

    def unit(self, deviation: "Array") -> "Array":
        """Returns what an error of one deviation costs, about."""
        return deviation

    def of_columns(self, labels: Any, outputs: Any) -> Any:
        """Returns the loss of each column; the columns of the median come first, then those of the other quantiles."""
        import numpy as np

        ops = keras_attribute("ops")
        blocks = [0.5, *(quantile for quantile in self.quantiles if quantile != 0.5)]
        levels = np.repeat(np.array(blocks, dtype="float32"), int(outputs.shape[-1]) // len(blocks))
        errors = labels - outputs
        return ops.maximum(levels * errors, (levels - 1.0) * errors)

    def build(self, **extra: Any) -> Any:
        """Returns a function from labels and outputs to one loss for each example."""
        mean = keras_attribute("ops.mean")

        def pinball(labels: Any, outputs: Any) -> Any:
            """Returns the mean of the columns."""
            return mean(self.of_columns(labels, outputs), axis=-1)

        return pinball


class BinaryCrossentropy(LossSpec):
    """The loss of binary outputs."""

    keras_class: ClassVar[str] = "losses.BinaryCrossentropy"
    forms: ClassVar[frozenset[LossForm]] = YES_NO
    kind: Literal["binary_crossentropy"]
    label_smoothing: Fraction = Field(
        default=0.0, description="Label smoothing: how far labels are moved from 0 and 1 towards 0.5."
    )


class BinaryFocalCrossentropy(LossSpec):
    """Binary cross-entropy that gives easy examples less weight (Lin et al. 2017)."""

    keras_class: ClassVar[str] = "losses.BinaryFocalCrossentropy"
    forms: ClassVar[frozenset[LossForm]] = YES_NO
    kind: Literal["binary_focal_crossentropy"]
    apply_class_balancing: bool = Field(default=False, description="Whether `alpha` weights the classes.")
    alpha: Share = Field(default=0.25, description="Weight of class 1; class 0 gets 1 - alpha.")
    gamma: NotNegative = Field(default=2.0, description="Focusing parameter: how strongly easy examples are down-weighted.")
    label_smoothing: Fraction = Field(
        default=0.0, description="Label smoothing: how far labels are moved from 0 and 1 towards 0.5."
    )


class SparseCategoricalCrossentropy(LossSpec):
    """The loss of one class of several, with class indices as labels. Label smoothing is an addition to Keras's loss."""

    keras_class: ClassVar[str] = "losses.SparseCategoricalCrossentropy"
    forms: ClassVar[frozenset[LossForm]] = CLASSES
    integer_labels: ClassVar[bool] = True
    kind: Literal["sparse_categorical_crossentropy"]
    ignore_class: int | None = Field(default=None, description="Index of a class whose examples the loss ignores.")
    label_smoothing: Fraction = Field(
        default=0.0, description="Label smoothing: fraction of the label that is spread evenly over all classes."
    )

    def counted(self, labels: Any) -> Any:
        """Returns which examples are of another class than the ignored one."""
        return None if self.ignore_class is None else labels != self.ignore_class

    def reason_against_shares(self) -> str:
        """Returns a reason for `ignore_class`: a mixed example may have a share of the ignored class."""
        return "`ignore_class` leaves out whole examples" if self.ignore_class is not None else ""

    def reason_against_weights(self) -> str:
        """Returns a reason for `ignore_class`: weights have the mean 1 over all examples."""
        return (
            "weights are scaled for all examples, but `ignore_class` leaves some out" if self.ignore_class is not None else ""
        )

    def of_shares(self) -> LossSpec:
        """Returns the loss of one-hot labels."""
        return CategoricalCrossentropy(kind="categorical_crossentropy", label_smoothing=self.label_smoothing)

    def build(self, **extra: Any) -> Any:
        """Returns Keras's sparse loss; where labels are smoothed, its categorical loss over the labels made one-hot."""
        if not self.label_smoothing:
            return keras_attribute(self.keras_class)(ignore_class=self.ignore_class, **extra)
        each, one_hot = keras_attribute("losses.categorical_crossentropy"), keras_attribute("ops.one_hot")

        def smoothed(labels: Any, probabilities: Any) -> Any:
            """Returns one loss an example, so that weights of examples and classes still apply."""
            spread = one_hot(labels, probabilities.shape[-1])
            return each(spread, probabilities, label_smoothing=self.label_smoothing)

        return smoothed


class CategoricalCrossentropy(LossSpec):
    """The loss of one class of several, with one-hot labels; it has the same value as the sparse loss."""

    keras_class: ClassVar[str] = "losses.CategoricalCrossentropy"
    forms: ClassVar[frozenset[LossForm]] = CLASSES
    kind: Literal["categorical_crossentropy"]
    label_smoothing: Fraction = Field(
        default=0.0, description="Label smoothing: fraction of the label that is spread evenly over all classes."
    )


class CategoricalFocalCrossentropy(LossSpec):
    """Categorical cross-entropy that gives easy examples less weight (Lin et al. 2017)."""

    keras_class: ClassVar[str] = "losses.CategoricalFocalCrossentropy"
    forms: ClassVar[frozenset[LossForm]] = CLASSES
    kind: Literal["categorical_focal_crossentropy"]
    alpha: Positive = Field(default=0.25, description="Scale of the loss.")
    gamma: NotNegative = Field(default=2.0, description="Focusing parameter: how strongly easy examples are down-weighted.")
    label_smoothing: Fraction = Field(
        default=0.0, description="Label smoothing: fraction of the label that is spread evenly over all classes."
    )


Loss = Annotated[
    PlainLoss
    | Huber
    | Pinball
    | BinaryCrossentropy
    | BinaryFocalCrossentropy
    | SparseCategoricalCrossentropy
    | CategoricalCrossentropy
    | CategoricalFocalCrossentropy,
    OneOf("Loss", words=("auto",)),
]
