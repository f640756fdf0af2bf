"""The shape of a loss curve: whether it falls all the time, jumps, or was still falling at its end."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dlcli.report.diagnosis.evidence import Evidence

JUMP, VALIDATION_JUMP = 0.04, 0.12
"""Rise from one epoch to the next, in guesses' losses, that counts as a jump; the validation's curve is rougher."""
OFTEN = 0.15
"""Share of the epochs that must be jumps."""
MANY = 3
"""How many jumps there must be at least."""
TAIL = 0.2
"""Share of the epochs at the end that tells whether the loss still falls."""
STILL_FALLING = 0.04
"""Fall of the loss in the last fifth of the epochs, in guesses' losses, from which on more epochs promise much."""
STEADY = 0.7
"""Share of the epochs in which a loss that falls steadily falls."""


@dataclass(frozen=True)
class Course:
    """A training's loss curve in guesses' losses.

    `late` is the median of its later half; `still_falling` what it fell in the last `tail` epochs by `column`; `jumps` how
    many of `steps` epochs rose by more than `threshold` by `jumping`, 0 where that is not often.
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


def course(seen: Evidence) -> Course:
    """Returns the shape of a run's loss curve."""
    train, validation = seen.losses("loss"), seen.losses("val_loss")
    if not train:
        return Course()
    steps = _steps(seen, train)
    column, tail, fall = _fall(train, validation)
    jumps, jumping, threshold = _jumps(seen, train, validation)
    return Course(
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


def _steps(seen: Evidence, losses: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Returns the changes from epoch to epoch, without those from one stage to the next: the loss may be another there."""
    stages = [row["stage"] for row in seen.rows]
    return np.array([after - before for at, (before, after) in enumerate(pairwise(losses), 1) if stages[at] == stages[at - 1]])


def _fall(train: list[float], validation: list[float]) -> tuple[str, int, float]:
    """Returns by which column, in how many last epochs, and how far the loss fell; the column that fell less."""
    if len(train) == 1:
        return "val_loss", 1, train[0] - validation[0] if validation else 0.0
    tail = max(1, round(TAIL * len(train)))
    falls = [(_smooth_fall(values, tail), name) for values, name in ((train, "loss"), (validation, "val_loss")) if values]
    fall, name = min(falls)
    return name, tail, fall


def _smooth_fall(values: list[float], tail: int) -> float:
    """Returns how far a curve fell in its last epochs: by the least-squares line through them, which noise moves little."""
    window = values[-tail - 1 :]
    if len(window) < 4:
        return window[0] - window[-1]
    return -float(np.polyfit(np.arange(len(window)), window, 1)[0]) * tail


def _jumps(seen: Evidence, train: list[float], validation: list[float]) -> tuple[int, str, float]:
    for values, name, threshold in ((train, "training loss", JUMP), (validation, "val_loss", VALIDATION_JUMP)):
        steps = _steps(seen, values)
        count = int((steps > threshold).sum()) if len(steps) else 0
        if count >= max(MANY, OFTEN * len(steps)):
            return count, name, threshold
    return 0, "training loss", JUMP
