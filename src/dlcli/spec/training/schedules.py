"""Learning-rate schedules. A schedule stands where the rate stands; lengths left out become the stage's steps."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from dlcli.spec.base import Count, Fraction, KerasSpec, NotNegative, OneOf, Positive, built

_INITIAL = "Initial learning rate."
_STEPS = "Number of steps over which the learning rate falls; all steps of the stage if not set."


class ScheduleSpec(KerasSpec):
    """A learning rate as a function of the step."""

    def for_steps(self, steps: int) -> Self:
        """Returns the schedule with missing lengths filled in for a stage of `steps` steps."""
        if "decay_steps" in type(self).model_fields and getattr(self, "decay_steps", 1) is None:
            return self.model_copy(update={"decay_steps": max(1, steps)})
        return self

    def of_any_length(self) -> Self:
        """Returns the schedule with its length set by the stage, where it can be."""
        return self.model_copy(update={"decay_steps": None}) if hasattr(self, "decay_steps") else self

    def stretched(self, old: int, new: int) -> Self:
        """Returns the schedule drawn out from a stage of `old` steps to one of `new` steps; warm-up steps stay as they are."""
        lengths = {name: getattr(self, name) for name in _LENGTHS if getattr(self, name, None)}
        return self.model_copy(update={name: _longer(length, old, new) for name, length in lengths.items()})

    def scaled(self, factor: float) -> Self:
        """Returns the schedule with every rate in it multiplied."""
        return self.model_copy(update={name: _times(getattr(self, name), factor) for name in _RATES if hasattr(self, name)})


_LENGTHS = ("decay_steps", "first_decay_steps", "boundaries")
_RATES = (
    "initial_learning_rate",
    "end_learning_rate",
    "learning_rate",
    "max_learning_rate",
    "warmup_target",
    "values",
)


def _longer(length: Any, old: int, new: int) -> Any:
    if isinstance(length, list):
        return [_longer(item, old, new) for item in length]
    return max(1, round(length * new / max(old, 1)))


def _times(value: Any, factor: float) -> Any:
    return [_times(item, factor) for item in value] if isinstance(value, list) else None if value is None else value * factor


class ExponentialDecay(ScheduleSpec):
    """Multiplies the learning rate by `decay_rate` every `decay_steps` steps."""

    keras_class: ClassVar[str] = "optimizers.schedules.ExponentialDecay"
    kind: Literal["exponential_decay"]
    initial_learning_rate: Positive = Field(description=_INITIAL)
    decay_steps: Count | None = Field(default=None, description=_STEPS)
    decay_rate: Positive = Field(description="Factor of the learning rate after `decay_steps` steps.")
    staircase: bool = Field(default=False, description="Whether the learning rate falls in discrete steps.")


class InverseTimeDecay(ScheduleSpec):
    """Divides the learning rate by `1 + decay_rate * step / decay_steps`."""

    keras_class: ClassVar[str] = "optimizers.schedules.InverseTimeDecay"
    kind: Literal["inverse_time_decay"]
    initial_learning_rate: Positive = Field(description=_INITIAL)
    decay_steps: Count | None = Field(default=None, description=_STEPS)
    decay_rate: Positive = Field(description="Decay rate.")
    staircase: bool = Field(default=False, description="Whether the learning rate falls in discrete steps.")


class PiecewiseConstantDecay(ScheduleSpec):
    """Uses each of several learning rates for a number of steps (step schedule)."""

    keras_class: ClassVar[str] = "optimizers.schedules.PiecewiseConstantDecay"
    kind: Literal["piecewise_constant_decay"]
    boundaries: list[Count] = Field(
        description="Steps after which the next learning rate is used, in increasing order.", min_length=1
    )
    values: list[Positive] = Field(description="Learning rates, one more than boundaries.", min_length=2)


class PolynomialDecay(ScheduleSpec):
    """Lowers the learning rate to `end_learning_rate` by a polynomial; power 1 is linear."""

    keras_class: ClassVar[str] = "optimizers.schedules.PolynomialDecay"
    kind: Literal["polynomial_decay"]
    initial_learning_rate: Positive = Field(description=_INITIAL)
    decay_steps: Count | None = Field(default=None, description=_STEPS)
    end_learning_rate: NotNegative = Field(default=1e-4, description="Learning rate at the end.")
    power: Positive = Field(default=1.0, description="Power of the polynomial.")
    cycle: bool = Field(default=False, description="Whether the schedule restarts after its end.")


class CosineDecay(ScheduleSpec):
    """Lowers the learning rate by half a cosine, after an optional warm-up (Loshchilov, Hutter 2016)."""

    keras_class: ClassVar[str] = "optimizers.schedules.CosineDecay"
    kind: Literal["cosine_decay"]
    initial_learning_rate: NotNegative = Field(description=_INITIAL)
    decay_steps: Count | None = Field(
        default=None, description="Number of steps over which the learning rate falls; the rest of the stage if not set."
    )
    alpha: NotNegative = Field(default=0.0, description="Final learning rate, as a fraction of the highest.")
    warmup_target: Positive | None = Field(default=None, description="Rate at the end of the warm-up.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(default=0, description="Number of warm-up steps.")

    def for_steps(self, steps: int) -> Self:
        """Returns the schedule with the fall filling what the warm-up leaves of the stage."""
        return self if self.decay_steps else self.model_copy(update={"decay_steps": max(1, steps - self.warmup_steps)})

    def stretched(self, old: int, new: int) -> Self:
        """Returns the schedule drawn out: one that filled the old stage, warm-up and all, fills the new one."""
        if self.decay_steps == max(1, old - self.warmup_steps):
            return self.of_any_length().for_steps(new)
        return super().stretched(old, new)


class CosineDecayRestarts(ScheduleSpec):
    """Cosine decay with restarts, each period longer than the last (SGDR)."""

    keras_class: ClassVar[str] = "optimizers.schedules.CosineDecayRestarts"
    kind: Literal["cosine_decay_restarts"]
    initial_learning_rate: Positive = Field(description=_INITIAL)
    first_decay_steps: Count = Field(description="Number of steps of the first period.")
    t_mul: Positive = Field(default=2.0, description="Factor by which each period is longer than the one before.")
    m_mul: Positive = Field(
        default=1.0, description="Factor of the initial learning rate of each period, relative to the one before."
    )
    alpha: NotNegative = Field(default=0.0, description="Rate at the end of a period, as a fraction of its start.")


class Warmup(ScheduleSpec):
    """Raises the learning rate linearly to `learning_rate`, then keeps it."""

    kind: Literal["warmup"]
    learning_rate: Positive = Field(description="Learning rate after the warm-up.")
    warmup_steps: Count = Field(description="Number of warm-up steps.")

    def build(self, **extra: Any) -> Any:
        """Returns Keras's cosine decay with a constant cosine (`alpha=1`)."""
        import keras

        return keras.optimizers.schedules.CosineDecay(
            0.0, 1, alpha=1.0, warmup_target=self.learning_rate, warmup_steps=self.warmup_steps, **extra
        )


class OneCycle(ScheduleSpec):
    """Raises the learning rate to `max_learning_rate`, then lowers it by a cosine far below the start (Smith, Topin 2017)."""

    kind: Literal["one_cycle"]
    max_learning_rate: Positive = Field(description="Highest learning rate.")
    decay_steps: Count | None = Field(
        default=None, description="Number of steps of the cycle; all steps of the stage if not set."
    )
    warmup_share: Fraction = Field(default=0.3, description="Fraction of the steps in which the learning rate rises.")
    start_factor: Positive = Field(default=0.04, description="First learning rate, as a fraction of the highest.")
    end_factor: NotNegative = Field(default=1e-4, description="Last learning rate, as a fraction of the highest.")

    def build(self, **extra: Any) -> Any:
        """Returns Keras's cosine decay with a warm-up of this shape."""
        import keras

        steps = self.decay_steps or 1
        rising = round(steps * self.warmup_share)
        return keras.optimizers.schedules.CosineDecay(
            self.max_learning_rate * self.start_factor,
            max(1, steps - rising),
            alpha=self.end_factor,
            warmup_target=self.max_learning_rate,
            warmup_steps=rising,
            **extra,
        )


class ByPart(ScheduleSpec):
    """Separate learning rates for the backbone and the head: `{backbone: 1e-5, head: 1e-3}`."""

    kind: Literal["by_part"] = "by_part"
    backbone: "Rate" = Field(description="Learning rate of the backbone: a number or a schedule.")
    head: "Rate" = Field(description="Learning rate of the head and the output layer: a number or a schedule.")

    def for_steps(self, steps: int) -> Self:
        """Returns the rates with the lengths of both schedules filled in."""
        return self._changed(lambda rate: rate.for_steps(steps) if isinstance(rate, ScheduleSpec) else rate)

    def of_any_length(self) -> Self:
        """Returns the rates with the lengths of both schedules set by the stage."""
        return self._changed(lambda rate: rate.of_any_length() if isinstance(rate, ScheduleSpec) else rate)

    def stretched(self, old: int, new: int) -> Self:
        """Returns the rates with both schedules drawn out."""
        return self._changed(lambda rate: rate.stretched(old, new) if isinstance(rate, ScheduleSpec) else rate)

    def scaled(self, factor: float) -> Self:
        """Returns both rates multiplied."""
        return self._changed(lambda rate: scaled_rate(rate, factor))

    def _changed(self, change: Callable[[Any], Any]) -> Self:
        return self.model_copy(update={"backbone": change(self.backbone), "head": change(self.head)})

    def build(self, **extra: Any) -> Any:
        """Returns the head's rate, built; the backbone's is separate (`training/part_rates.py`)."""
        return built(self.head)


def scaled_rate(rate: Any, factor: float) -> Any:
    """Returns a rate, a number or a schedule, multiplied by a factor."""
    return rate.scaled(factor) if isinstance(rate, ScheduleSpec) else rate * factor


Rate = Annotated[
    ExponentialDecay
    | InverseTimeDecay
    | PiecewiseConstantDecay
    | PolynomialDecay
    | CosineDecay
    | CosineDecayRestarts
    | Warmup
    | OneCycle
    | ByPart
    | float,
    OneOf("LearningRate", number=True),
]
