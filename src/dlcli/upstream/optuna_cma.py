"""CMA-ES of Optuna whose state is JSON in the study's storage.

Optuna pickles the state into an attribute of a trial and unpickles it for the next one (`optuna/samplers/_cmaes.py`): whoever
writes to the database, or hands over a folder with one, has every process of the sweep run code.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from cmaes import CMA
from optuna.samplers import CmaEsSampler

_MOST = 1000
"""Parameters of a search that a state is read for; more are no search."""


class JsonCmaEsSampler(CmaEsSampler):  # type: ignore[misc]
    """The same points as Optuna's sampler with its usual settings; what is not its state is no state."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._current: Any = None

    @property
    def _attr_key_optimizer(self) -> str:
        return f"{self._attr_prefix}json"

    def _init_optimizer(self, *arguments: Any) -> Any:
        self._current = super()._init_optimizer(*arguments)
        return self._current

    def _restore_optimizer(self, completed_trials: list[Any]) -> Any:
        """Returns the state that the newest trial with one holds; None where none does."""
        for trial in reversed(completed_trials):
            parts = {key: value for key, value in trial.system_attrs.items() if key.startswith(f"{self._attr_key_optimizer}:")}
            optimizer = _restored(
                "".join(str(parts.get(f"{self._attr_key_optimizer}:{place}", "")) for place in range(len(parts)))
            )
            if optimizer is not None:
                self._current = optimizer
                return optimizer
        return None

    def _split_optimizer_str(self, optimizer_str: str) -> dict[str, str]:
        """Returns the state in parts that an attribute holds. Optuna's pickle of it is not stored."""
        return dict(super()._split_optimizer_str(json.dumps(_state(self._current))))


def _state(optimizer: Any) -> dict[str, Any]:
    """Returns every number of a state; the random numbers start again with each trial."""
    values = {name: value for name, value in vars(optimizer).items() if name != "_rng"}
    values["_C"] = np.triu(optimizer._C) + np.triu(optimizer._C, 1).T  # as cmaes pickles it: rounding makes the halves differ
    return {name: value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value for name, value in values.items()}


def _restored(text: str) -> Any:
    """Returns the optimizer of a state; None for a text that is none: it has every number of a new one, in its shape."""
    try:
        state = json.loads(text)
        mean = _array(state["_mean"], (len(state["_mean"]),))
        count, bounds = len(mean), _array(state["_bounds"], (len(mean), 2))
        if not 1 <= count <= _MOST or not 1 <= int(state["_popsize"]) <= 100 * _MOST:
            return None
        size = int(state["_popsize"])
        new = CMA(mean=mean, sigma=1.0, bounds=bounds, population_size=size, n_max_resampling=10 * count)
        for name, usual in vars(new).items():
            if name != "_rng":
                setattr(new, name, _like(state[name], usual, name, count))
    except (ValueError, TypeError, KeyError, AssertionError, OverflowError, RecursionError):
        return None
    return new


def _like(value: Any, usual: Any, name: str, count: int) -> Any:
    """Returns a value of a state as a new optimizer has it, a number or an array of one shape."""
    if name in ("_B", "_D"):  # a new one has none
        return None if value is None else _array(value, (count, count) if name == "_B" else (count,))
    if isinstance(usual, np.ndarray):
        return _array(value, usual.shape)
    if isinstance(usual, bool) or usual is None:
        if value is not usual:
            raise ValueError(name)
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(name)
    return int(value) if isinstance(usual, int) else float(value)


def _array(value: Any, shape: tuple[int, ...]) -> Any:
    array = np.asarray(value, dtype="float64")
    if array.shape != shape:
        raise ValueError(f"shape {array.shape}, expected {shape}")
    return array
