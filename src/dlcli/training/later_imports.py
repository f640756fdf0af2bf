"""Imports the packages that only the end of a training needs while the device computes its steps.

matplotlib takes half a second to import. The computations of TensorFlow leave Python free, so that a thread imports it
meanwhile, where they are long: between short ones, each step would wait for the thread to give Python back.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from threading import Thread
from time import perf_counter
from typing import Any

from dlcli.runtime.engine import keras

LATER = (
    *("dlcli.charts.confusion", "dlcli.charts.learning", "dlcli.charts.ranking", "dlcli.charts.regression"),
    *("dlcli.report.card", "dlcli.report.diagnosis", "dlcli.report.report"),
)
"""Modules that pictures and documents need. scikit-learn is needed by some metrics, and by the diagnosis of small data."""
LONG_CALL = 0.1
"""Seconds of a call of the device from which on Python is free most of the time; the thread may take it for 0.005 s at once."""


def import_later_modules() -> None:
    """Starts a thread that imports the modules of `LATER`, unless all are loaded."""
    if not all(name in sys.modules for name in LATER):
        Thread(target=_import_all, name="later imports", daemon=True).start()  # as daemon it does not delay the process's end


def _import_all() -> None:
    for name in LATER:
        with suppress(Exception):  # it is raised where the module is needed
            importlib.import_module(name)


class LaterImports(keras.callbacks.Callback):  # type: ignore[misc]
    """Imports the later modules once a call of the device was long; the first call compiles the step and does not count."""

    _calls = 0
    _began = 0.0
    _started = False

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Starts the clock of a call."""
        self._began = perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Starts the thread after a long call."""
        self._calls += 1
        seconds = perf_counter() - self._began
        if not self._started and self._calls > 1 and seconds >= LONG_CALL:
            self._started = True
            import_later_modules()
