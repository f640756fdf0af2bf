"""An optimizer with two rates: the variables of body and head step and decay by their own rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlcli.spec.load  # noqa: F401  (registers every union)
from dlcli.runtime.engine import keras
from dlcli.spec.base import OneOf
from dlcli.spec.document import parse_value
from dlcli.training.part_rates import backbone_rate, build_optimizer


def optimizer_of(text: str, backbone: list[Any]) -> Any:
    """Returns the Keras optimizer of a flow YAML."""
    return build_optimizer(OneOf.registry["Optimizer"].validate(parse_value(text)), backbone)


def stepped(text: str, steps: int = 1) -> tuple[float, float]:
    """Returns by how much a backbone's and a head's variable fall from 1 under gradients of 1."""
    low, high = keras.Variable([1.0]), keras.Variable([1.0])
    optimizer = optimizer_of(text, [low])
    for _ in range(steps):
        optimizer.apply_gradients([(np.ones(1, "float32"), low), (np.ones(1, "float32"), high)])
    return 1 - float(low.numpy()[0]), 1 - float(high.numpy()[0])


def test_body_and_head_step_by_their_own_rates() -> None:
    low, high = stepped("{kind: sgd, learning_rate: {backbone: 0.01, head: 0.1}}")
    assert (low, high) == (pytest.approx(0.01, rel=1e-4), pytest.approx(0.1, rel=1e-4))


@pytest.mark.parametrize("kind", ["adam", "rmsprop", "adamw", "lion", "nadam", "adamax", "adagrad", "muon", "lamb", "ftrl"])
def test_every_optimizer_supports_separate_rates(kind: str) -> None:
    both = stepped(f"{{kind: {kind}, learning_rate: {{backbone: 0.01, head: 0.02}}}}", 3)
    alone = stepped(f"{{kind: {kind}, learning_rate: 0.02}}", 3)
    slow = stepped(f"{{kind: {kind}, learning_rate: 0.01}}", 3)
    assert both == (pytest.approx(slow[0], rel=1e-5), pytest.approx(alone[1], rel=1e-5))


def test_weights_decay_by_their_own_rate() -> None:
    low, high = keras.Variable([1.0]), keras.Variable([1.0])
    optimizer = optimizer_of("{kind: sgd, learning_rate: {backbone: 0.01, head: 0.1}, weight_decay: 0.5}", [low])
    optimizer.apply_gradients([(np.zeros(1, "float32"), low), (np.zeros(1, "float32"), high)])
    assert float(low.numpy()[0]) == pytest.approx(1 - 0.01 * 0.5)
    assert float(high.numpy()[0]) == pytest.approx(1 - 0.1 * 0.5)


def test_a_separate_rate_may_be_a_schedule() -> None:
    schedule = "{kind: piecewise_constant_decay, boundaries: [1], values: [0.1, 0.01]}"
    text = f"{{kind: sgd, learning_rate: {{backbone: {schedule}, head: 0.2}}}}"
    assert stepped(text, 1)[0] == pytest.approx(0.1, rel=1e-4)
    low, high = stepped(text, 4)
    assert low == pytest.approx(0.1 + 0.1 + 0.01 + 0.01, rel=1e-4)
    assert high == pytest.approx(0.8, rel=1e-4)


def test_lowering_the_rate_lowers_both_rates() -> None:
    optimizer = optimizer_of("{kind: adam, learning_rate: {backbone: 1e-5, head: 1e-3}}", [])
    assert backbone_rate(optimizer) == pytest.approx(1e-5)
    optimizer.learning_rate = 1e-4
    assert backbone_rate(optimizer) == pytest.approx(1e-6)


def test_a_single_rate_uses_keras_own_optimizer() -> None:
    optimizer = optimizer_of("{kind: adam, learning_rate: 1e-3}", [])
    assert type(optimizer) is keras.optimizers.Adam
    assert backbone_rate(optimizer) is None
