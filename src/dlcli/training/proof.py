"""After the first step of a stage: whether what should move moved, and nothing else did."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlcli.errors import RunFailed
from dlcli.models.selection import Plan
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.learner import optimizers_of
from dlcli.training.part_rates import backbone_rate
from dlcli.upstream.keras import stepped_variables

_LAST_BIT = 2.0**-23
_MOST = 12
"""Variables that the table of a failed proof names."""


class Proof(keras.callbacks.Callback):  # type: ignore[misc]
    """Compares every variable of the model with the stage's plan after the stage's first step (the first call of the
    device: up to ten steps of a head on stored features); RunFailed if they differ.

    Where the first step cannot move anything yet (a schedule that starts at 0, gradients that are gathered over several
    steps, half precision that still searches its scale), unchanged variables are checked again at the end of the first
    epoch. A variable whose gradient is zero (units that no example reaches), or whose step is too small for its last bit,
    is correctly unchanged and is counted.
    """

    def __init__(self, plan: Plan, stream: Any, trained: Any) -> None:
        super().__init__()
        self.result: dict[str, Any] = {}
        self._plan, self._stream, self._trained = plan, stream, trained
        self._waits = False
        self._before: list[bytes] = []

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps of it."""
        before = [] if self.result else [digest.hex() for digest in self._before]
        return {"result": self.result, "before": before}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up the state of a checkpoint."""
        self.result = state["result"]
        if state["before"]:
            self._before = [bytes.fromhex(digest) for digest in state["before"]]

    def on_train_begin(self, logs: Any = None) -> None:
        """Notes what every variable holds."""
        self._before = [_digest(variable) for variable in (*self._plan.moving, *self._plan.still)]
        self._waits = any(_may_rest(named.optimizer) for named in optimizers_of(self.model))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at every variable after the first step."""
        if not self.result:
            self._look(batch + 1, final=not self._waits)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Checks again at the end of the first epoch where the first step was not conclusive."""
        if not self.result:
            self._look(self._stream.steps, final=True)

    def _look(self, step: int, *, final: bool) -> None:
        count = len(self._plan.moving)
        changed = [
            _digest(variable) != before
            for variable, before in zip((*self._plan.moving, *self._plan.still), self._before, strict=True)
        ]
        drifted = [weight for weight, moved in zip(self._plan.still, changed[count:], strict=True) if moved]
        stuck = [weight for weight, moved in zip(self._plan.moving, changed[:count], strict=True) if not moved]
        if stuck and not drifted and not final:
            return
        reasons = self._reasons(stuck) if stuck and not drifted else {}
        broken = [weight for weight in stuck if id(weight) not in reasons]
        if drifted or broken:
            raise RunFailed(_table(self._plan, drifted, broken, step))
        rightly = {
            why: [name_of(weight) for weight in stuck if reasons[id(weight)] == why] for why in ("zero_gradient", "tiny_step")
        }
        self.result = {"step": step, "moved": count - len(stuck), "still": len(self._plan.still), **rightly}

    def _reasons(self, variables: Sequence[Any]) -> dict[int, str]:
        """Returns why variables are correctly unchanged, by id: those whose step on a batch is zero or too small.

        A step that float32 cannot add to a weight (a rate of 1e-9) leaves it unchanged with any optimizer.
        """
        trainable = {id(variable) for variable in self._trained.trainable_variables}
        stepped = [weight for weight in variables if id(weight) in trainable and self._is_stepped(weight)]
        inputs, labels = self._stream.first_batch()[:2]
        with tf.GradientTape() as tape:
            output = self._trained(inputs, training=True)
            loss = self._trained.compute_loss(x=inputs, y=labels, y_pred=output, training=True)
        gradients = tape.gradient(loss, [weight.value for weight in stepped])
        reasons: dict[int, str] = {}
        for weight, gradient in zip(stepped, gradients, strict=True):
            if gradient is None:
                continue
            largest = float(np.abs(tf.convert_to_tensor(gradient).numpy()).max())
            if largest == 0.0:
                reasons[id(weight)] = "zero_gradient"
            elif self._rate() * min(1.0, largest) <= _LAST_BIT * float(np.abs(weight.numpy()).max()):
                reasons[id(weight)] = "tiny_step"
        return reasons

    def _rate(self) -> float:
        """Returns the smallest of the rates of the optimizers and their parts."""
        optimizers = [named.optimizer for named in optimizers_of(self.model)]
        backbone = [backbone_rate(optimizer) for optimizer in optimizers]
        return min([float(optimizer.learning_rate) for optimizer in optimizers] + [rate for rate in backbone if rate])

    def _is_stepped(self, variable: Any) -> bool:
        """Whether an optimizer was built for the variable: none is in a model that was unfrozen and not compiled again."""
        optimizers = [_inner(named.optimizer) for named in optimizers_of(self.model)]
        return any(variable is stepped for optimizer in optimizers for stepped in stepped_variables(optimizer))


def _inner(optimizer: Any) -> Any:
    """Returns the optimizer that changes the variables, of one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _may_rest(optimizer: Any) -> bool:
    """Whether the first step of an optimizer may leave every variable unchanged."""
    inner = _inner(optimizer)
    return inner is not optimizer or bool(inner.gradient_accumulation_steps) or float(inner.learning_rate) == 0.0


def name_of(variable: Any) -> str:
    """Returns a variable's name as the table shows it."""
    return str(getattr(variable, "path", variable.name))


def _digest(variable: Any) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(variable.numpy()).data.cast("B"), digest_size=16).digest()


def _table(plan: Plan, drifted: Sequence[Any], stuck: Sequence[Any], step: int) -> str:
    """Returns the message on variables that do not match the plan, up to a dozen of each kind."""
    lines = [
        f"stage {plan.stage.name}: after step {step} the trained variables do not match the stage:"
        f" {len(drifted)} frozen variables changed, {len(stuck)} trainable variables did not"
    ]
    for what, variables in (("changed, but is frozen", drifted), ("trainable, but unchanged", stuck)):
        lines += [f"  {what:<25} {name_of(variable)} {tuple(variable.shape)}" for variable in variables[:_MOST]]
        if len(variables) > _MOST:
            lines.append(f"  {what:<25} ... {len(variables) - _MOST} more")
    return "\n".join([*lines, "  this is a bug in dlcli or in a layer, not a fault of the spec; the run stops here"])
