"""Optuna: what of a study can be reached by private names alone; see `tests/upstream/test_optuna.py`."""

from __future__ import annotations

from typing import Any


def running_trial(study: Any, frozen: Any) -> Any:
    """Returns a trial of a study that can report and end, from its record: Optuna gives one for new trials only.

    The number that its storage knows it by is private (github.com/optuna/optuna `optuna/trial/_frozen.py`).
    """
    import optuna

    return optuna.trial.Trial(study, frozen._trial_id)
