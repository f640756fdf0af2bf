"""A learning rate of its own for the backbone, in one optimizer.

Keras's `MultiOptimizer` has no `learning_rate` that callbacks could read or lower, and counts and clips in every part
apart (Keras 3.15, github.com/keras-team/keras `src/optimizers/multi_optimizer.py`: "Optimizer-specific callbacks are not
supported yet"). Here one optimizer steps every variable, by the rate of its part.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlcli.spec.base import built
from dlcli.spec.training.optimizers import OptimizerSpec
from dlcli.spec.training.schedules import ByPart


def build_optimizer(spec: OptimizerSpec, backbone: Iterable[Any]) -> Any:
    """Returns the Keras optimizer of a spec; with rates by part, `backbone` are the variables that take the backbone's."""
    optimizer, rates = spec.build(), spec.learning_rate
    if not isinstance(rates, ByPart):
        return optimizer
    optimizer.__class__ = _by_part(type(optimizer))
    optimizer.backbone_keys = frozenset(optimizer._var_key(variable) for variable in backbone)
    optimizer.backbone_rate = built(rates.backbone)
    # Of two numbers the ratio is kept, so that a callback which lowers the rate lowers both.
    numbers = isinstance(rates.backbone, float) and isinstance(rates.head, float)
    optimizer.backbone_share = rates.backbone / rates.head if numbers else None  # type: ignore[operator]
    return optimizer


def backbone_rate(optimizer: Any) -> float | None:
    """Returns the rate that the backbone's variables get at the next step; None where all get one rate."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return float(optimizer.rate_of_backbone()) if hasattr(optimizer, "rate_of_backbone") else None


def _by_part(base: Any) -> Any:
    """Returns an optimizer class that steps and decays some variables by another rate."""

    class ByPartOptimizer(base):  # type: ignore[misc]
        _in_backbone = False

        def rate_of_backbone(self) -> Any:
            if self.backbone_share is not None:
                return super()._get_current_learning_rate() * self.backbone_share
            return self.backbone_rate(self.iterations) if callable(self.backbone_rate) else self.backbone_rate

        def _get_current_learning_rate(self) -> Any:
            return self.rate_of_backbone() if self._in_backbone else super()._get_current_learning_rate()

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            if self._var_key(variable) in self.backbone_keys:
                learning_rate = self.rate_of_backbone()
            super().update_step(gradient, variable, learning_rate)

        def _apply_weight_decay(self, variables: Any) -> None:
            for inside in (False, True):
                self._in_backbone = inside
                super()._apply_weight_decay([one for one in variables if (self._var_key(one) in self.backbone_keys) is inside])
            self._in_backbone = False

    ByPartOptimizer.__name__ = base.__name__
    return ByPartOptimizer
