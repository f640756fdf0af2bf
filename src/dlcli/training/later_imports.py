"""Imports the packages that only the end of a training needs while the device computes its steps.

matplotlib takes half a second to import, scikit-learn a second. A helper process imports matplotlib while TensorFlow is
imported, and scikit-learn after the first steps: before, all cores are busy with the data. Without a helper process, a thread
imports matplotlib: the computations of TensorFlow leave Python free meanwhile, if they are long. Between short ones, each step
would wait for the thread to give Python back.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from threading import Thread
from time import perf_counter
from typing import Any

from dlcli.report.write_up import MODULES, import_simple_models
from dlcli.runtime.engine import keras
from dlcli.runtime.helper_process import has_helper, submit

LONG_CALL = 0.1
"""Seconds of a call of the device from which on Python is free most of the time; the thread may take it for 0.005 s at once."""


def import_later_modules() -> None:
    """Starts a thread that imports the modules, unless all are loaded."""
    if not all(name in sys.modules for name in MODULES):
        Thread(target=_import_all, name="later imports", daemon=True).start()  # as daemon it does not delay the process's end


def _import_all() -> None:
    for name in MODULES:
        with suppress(Exception):  # it is raised where the module is needed
            importlib.import_module(name)


class LaterImports(keras.callbacks.Callback):  # type: ignore[misc]
    """Imports the later modules once a call of the device was long; the first call compiles the step and does not count.

    A helper process starts after the first call.
    """

    _calls = 0
    _began = 0.0
    _started = False

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Starts the clock of a call."""
        self._began = perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Starts the imports in the helper process, or the thread after a long call."""
        self._calls += 1
        seconds = perf_counter() - self._began
        if self._started:
            return
        if has_helper():
            self._started = True
            submit(import_simple_models)
        elif self._calls > 1 and seconds >= LONG_CALL:
            self._started = True
            import_later_modules()
