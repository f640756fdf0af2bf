"""A separate learning rate for the backbone, in one optimizer.

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
from dlcli.upstream.keras import optimizer_by_part, variable_key


def build_optimizer(spec: OptimizerSpec, backbone: Iterable[Any]) -> Any:
    """Returns the Keras optimizer of a spec; with rates by part, `backbone` are the variables that take the backbone's."""
    optimizer, rates = spec.build(), spec.learning_rate
    if not isinstance(rates, ByPart):
        return optimizer
    optimizer.__class__ = optimizer_by_part(type(optimizer))
    optimizer.backbone_keys = frozenset(variable_key(optimizer, variable) for variable in backbone)
    optimizer.backbone_rate = built(rates.backbone)
    # The ratio of the two rates stays the same, so that a callback which lowers the rate lowers both.
    numbers = isinstance(rates.backbone, float) and isinstance(rates.head, float)
    optimizer.backbone_share = rates.backbone / rates.head if numbers else None  # type: ignore[operator]
    return optimizer


def backbone_rate(optimizer: Any) -> float | None:
    """Returns the rate that the backbone's variables get at the next step; None where all get one rate."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return float(optimizer.rate_of_backbone()) if hasattr(optimizer, "rate_of_backbone") else None
