"""One YAML file in; a trained, evaluated, explained and shippable Keras 3 model out.

The names below are for notebooks and other programs; docs/python.md explains them. They are imported when they are first
used, so that importing `dlcli` itself loads nothing else.

Example:
    >>> import dlcli
    >>> run = dlcli.train("configs/digits_mlp.yaml", set={"training.epochs": 3})
    >>> run.metrics()["accuracy"]
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for that of `typing`, whose import takes longer than the rest of this file
if TYPE_CHECKING:
    from typing import Any

    from dlcli.api.predictions import Predictions
    from dlcli.api.run import Run
    from dlcli.api.training import ensemble, finetune, load, resume, train
    from dlcli.errors import DamagedFile, DataError, DlcliError, Interrupted, RunFailed, SpecError, UsageError
    from dlcli.runs.reporter import EpochReport, Reporter
    from dlcli.spec.load import LoadedSpec

__version__ = "0.1.0"
__all__ = [
    "DamagedFile",
    "DataError",
    "DlcliError",
    "EpochReport",
    "Interrupted",
    "LoadedSpec",
    "Predictions",
    "Reporter",
    "Run",
    "RunFailed",
    "SpecError",
    "UsageError",
    "__version__",
    "ensemble",
    "finetune",
    "load",
    "resume",
    "train",
]
_HOMES = {
    "dlcli.api.predictions": ("Predictions",),
    "dlcli.api.run": ("Run",),
    "dlcli.api.training": ("ensemble", "finetune", "load", "resume", "train"),
    "dlcli.errors": ("DamagedFile", "DataError", "DlcliError", "Interrupted", "RunFailed", "SpecError", "UsageError"),
    "dlcli.runs.reporter": ("EpochReport", "Reporter"),
    "dlcli.spec.load": ("LoadedSpec",),
}


def __getattr__(name: str) -> Any:
    """Returns a public name, imported now."""
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'dlcli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
