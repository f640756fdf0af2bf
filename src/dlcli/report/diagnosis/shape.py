"""The shape of a loss curve: whether it falls steadily, jumps, or was still falling at its end."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dlcli.report.diagnosis.evidence import Evidence

JUMP, VALIDATION_JUMP = 0.04, 0.12
"""Rise from one epoch to the next, in units of the guess's loss, that counts as a jump; validation curves are rougher."""
OFTEN = 0.15
"""The least share of epochs with a jump."""
MANY = 3
"""The least number of jumps."""
TAIL = 0.2
"""The share of last epochs that show whether the loss still falls."""
STILL_FALLING = 0.04
"""Fall of the loss in the last fifth of the epochs, in units of the guess's loss, from which on more epochs help."""
STEADY = 0.7
"""The least share of epochs with a fall for a steadily falling loss."""


@dataclass(frozen=True)
class LossCurve:
    """A training's loss curve in units of the guess's loss.

    `late` is the median of its later half; `still_falling` the fall of `column` in the last `tail` epochs; `jumps` the number
    of `steps` in which `jumping` rose by more than `threshold`, 0 where there are few.
    """

    first: float = 0.0
    last: float = 0.0
    late: float = 0.0
    steady: bool = False
    column: str = "loss"
    still_falling: float = 0.0
    tail: int = 0
    jumps: int = 0
    steps: int = 0
    jumping: str = "loss"
    threshold: float = JUMP


def loss_curve(evidence: Evidence) -> LossCurve:
    """Returns the shape of a run's loss curve."""
    train, validation = evidence.losses("loss"), evidence.losses("val_loss")
    if not train:
        return LossCurve()
    steps = _steps(evidence, train)
    column, tail, fall = _fall(train, validation)
    jumps, jumping, threshold = _jumps(evidence, train, validation)
    return LossCurve(
        first=train[0],
        last=train[-1],
        late=float(np.median(train[len(train) // 2 :])),
        steady=bool(len(steps)) and bool(np.mean(steps < 0) >= STEADY) and train[-1] < train[0],
        column=column,
        still_falling=fall,
        tail=tail,
        jumps=jumps,
        steps=len(steps),
        jumping=jumping,
        threshold=threshold,
    )


def _steps(evidence: Evidence, losses: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Returns the changes from epoch to epoch, without those between stages, which may have different losses."""
    stages = [row["stage"] for row in evidence.rows]
    return np.array(
        [loss - previous_loss for at, (previous_loss, loss) in enumerate(pairwise(losses), 1) if stages[at] == stages[at - 1]]
    )


def _fall(train: list[float], validation: list[float]) -> tuple[str, int, float]:
    """Returns the column that fell less, the number of last epochs, and its fall in them."""
    if len(train) == 1:
        return "val_loss", 1, train[0] - validation[0] if validation else 0.0
    tail = max(1, round(TAIL * len(train)))
    falls = [(_smooth_fall(values, tail), name) for values, name in ((train, "loss"), (validation, "val_loss")) if values]
    fall, name = min(falls)
    return name, tail, fall


def _smooth_fall(values: list[float], tail: int) -> float:
    """Returns the fall of a curve in its last epochs, by the least-squares line through them, which is robust to noise."""
    window = values[-tail - 1 :]
    if len(window) < 4:
        return window[0] - window[-1]
    return -float(np.polyfit(np.arange(len(window)), window, 1)[0]) * tail


def _jumps(evidence: Evidence, train: list[float], validation: list[float]) -> tuple[int, str, float]:
    for values, name, threshold in ((train, "training loss", JUMP), (validation, "val_loss", VALIDATION_JUMP)):
        steps = _steps(evidence, values)
        count = int((steps > threshold).sum()) if len(steps) else 0
        if count >= max(MANY, OFTEN * len(steps)):
            return count, name, threshold
    return 0, "training loss", JUMP
