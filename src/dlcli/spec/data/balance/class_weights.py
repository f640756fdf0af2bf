"""Weights of classes in the minimised loss; the reported loss has none."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.spec.base import Fraction
from dlcli.spec.data.balance.base import BalanceSpec, ClassCounts, first_of, shown_name

_SIDES = ("negative", "positive")
_DIGITS = 6
_ROUNDING = 1e-4
"""Largest difference of a mean weight from 1 that rounded weights explain."""


def _weight(value: Any) -> Any:
    """Returns the weight of a class, or those of a label, checked."""
    if _is_number(value):
        return float(value)
    if isinstance(value, dict) and set(value) == set(_SIDES) and all(map(_is_number, value.values())):
        return {side: float(value[side]) for side in _SIDES}
    what = "a number above 0, or for a label {negative: 0.5, positive: 8}"
    raise PydanticCustomError("expected", "expected {what}", {"what": what})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value) and value > 0


_NUMBER: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0}
_PAIR: dict[str, Any] = {
    "type": "object",
    "properties": dict.fromkeys(_SIDES, _NUMBER),
    "required": list(_SIDES),
    "additionalProperties": False,
}
Weight = Annotated[Any, PlainValidator(_weight), Field(json_schema_extra={"anyOf": [_NUMBER, _PAIR]})]
ClassWeights = Annotated[dict[str, Weight], Field(min_length=1)]


class WeightingSpec(BalanceSpec):
    """Weights of classes in the minimised loss.

    The weights are scaled so that their mean over the training examples is 1, of a label over its positive and negative
    examples. A learning rate therefore means the same as without weights.
    """

    weights_loss: ClassVar[bool] = True
    weights: ClassWeights | None = Field(
        default=None,
        description=(
            "Weight of each class by name; classes that are not named have the weight 1. The weight of a label is that of its"
            " positive examples, or {negative: 0.5, positive: 8}. They are scaled to the mean 1 over the training examples."
            " If not set, they are computed from the training split, and the run's `spec.yaml` contains them."
        ),
    )

    @property
    def named_weights(self) -> Mapping[str, Any]:
        """The weights that the spec names, by class or label."""
        return self.weights or {}

    def relative(self, count: int) -> float:
        """Returns the weight, up to a factor, of a class with a number of training examples."""
        raise NotImplementedError

    def resolved(self, counts: ClassCounts) -> Self:
        """Returns the kind with the weight of each class or label."""
        weigh = self._label_weights if counts.of_labels else self._scaled_weights
        return self.model_copy(update={"weights": weigh(counts)})

    def unresolved(self, counts: ClassCounts) -> Self:
        """Returns the kind without weights if they are those of these counts."""
        computed = self.model_copy(update={"weights": None})
        return computed if computed.resolved(counts) == self else self

    def loss_weights(self, names: Sequence[str], *, of_labels: bool) -> list[Any]:
        """Returns the weight of each class, of labels [weight without the label, weight with it]."""
        weights = self.named_weights
        if of_labels:
            return [[weights[name][side] for side in _SIDES] for name in names]
        return [weights[name] for name in names]

    def in_words(self, counts: ClassCounts, sizes: Sequence[tuple[str, int, int]]) -> str:
        """Returns the weights, and where they are used."""
        weights = self.named_weights
        texts = [f"{_text(weights[name])} for {shown_name(name)}" for name in counts.names]
        return (
            f"weights in the minimised loss are {first_of(texts)}; the reported loss and all metrics have no weights and"
            " are of the natural distribution"
        )

    def _scaled_weights(self, counts: ClassCounts) -> dict[str, float]:
        if self.weights is not None:
            relative = [float(self.weights.get(name, 1.0)) for name in counts.names]
        else:
            relative = [self.relative(count) if count else 0.0 for count in counts.counts]
        scaled = dict(zip(counts.names, _scaled(relative, counts.counts), strict=True))
        # A class without training examples has no loss to weight.
        return {name: weight or 1.0 for name, weight in scaled.items()}

    def _label_weights(self, counts: ClassCounts) -> dict[str, dict[str, float]]:
        result = {}
        for name, positive in zip(counts.names, counts.counts, strict=True):
            sides = (counts.examples - positive, positive)
            chosen = None if self.weights is None else self.weights.get(name, 1.0)
            if isinstance(chosen, dict):
                relative = [chosen[side] for side in _SIDES]
            elif chosen is not None:
                relative = [1.0, chosen]
            else:
                relative = [self.relative(count) for count in sides] if all(sides) else [1.0, 1.0]
            result[name] = dict(zip(_SIDES, _scaled(relative, sides), strict=True))
        return result


def _scaled(weights: Sequence[float], counts: Sequence[int]) -> list[float]:
    """Returns weights with the mean 1 over examples, rounded to six digits; those that have it already are unchanged."""
    mean = sum(weight * count for weight, count in zip(weights, counts, strict=True)) / sum(counts)
    if abs(mean - 1) < _ROUNDING:
        mean = 1.0
    return [float(f"{weight / mean:.{_DIGITS}g}") for weight in weights]


def _text(weight: Any) -> str:
    if isinstance(weight, dict):
        return " and ".join(f"{weight[side]:.3g} ({side})" for side in _SIDES)
    return f"{weight:.3g}"


class ClassWeight(WeightingSpec):
    """Weights each class by the inverse of its number of training examples, or by `weights`."""

    kind: Literal["class_weight"]

    def relative(self, count: int) -> float:
        """Returns 1 / count."""
        return 1 / count


class SquareRoot(WeightingSpec):
    """Weights each class by the inverse square root of its number of training examples: half way to `class_weight`."""

    kind: Literal["sqrt"]

    def relative(self, count: int) -> float:
        """Returns 1 / sqrt(count)."""
        return float(count**-0.5)


class EffectiveNumber(WeightingSpec):
    """Weights each class by the inverse of its effective number of examples, (1 - beta^n) / (1 - beta) (Cui et al. 2019)."""

    kind: Literal["effective_number"]
    beta: Fraction = Field(
        default=0.999,
        description="0: no weights; near 1: those of `class_weight`. A class counts as at most 1 / (1 - beta) examples.",
    )

    def relative(self, count: int) -> float:
        """Returns (1 - beta) / (1 - beta^count)."""
        return float((1 - self.beta) / (1 - self.beta**count))
