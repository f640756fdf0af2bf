"""Imports the packages that only the end of a training needs while the device computes its steps.

scikit-learn and matplotlib take over a second to import. The computations of TensorFlow leave Python free, so that a thread
imports them meanwhile; a training that ends earlier imports the rest itself.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from threading import Thread
from typing import Any

from dlcli.runtime.engine import keras

LATER = (
    *("dlcli.charts.confusion", "dlcli.charts.learning", "dlcli.charts.ranking", "dlcli.charts.regression"),
    *("dlcli.report.card", "dlcli.report.diagnosis", "dlcli.report.report"),
    *("sklearn.metrics", "sklearn.linear_model", "sklearn.ensemble", "sklearn.neighbors", "sklearn.multioutput"),
)
"""Modules that scores, pictures and documents need."""


def import_later_modules() -> Thread | None:
    """Starts a thread that imports the modules of `LATER`, and returns it; None where all are loaded."""
    if all(name in sys.modules for name in LATER):
        return None
    thread = Thread(target=_import_all, name="later imports", daemon=True)  # does not delay the end of the process
    thread.start()
    return thread


def _import_all() -> None:
    for name in LATER:
        with suppress(Exception):  # it is raised where the module is needed
            importlib.import_module(name)


class LaterImports(keras.callbacks.Callback):  # type: ignore[misc]
    """Imports the later modules once the first step has been compiled, which is Python's work alone."""

    _started = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Starts the thread after the first steps."""
        if not self._started:
            self._started = True
            import_later_modules()
