"""The documents of a completed run: diagnosis, model card, report.

They are written by the helper process where there is one, so this module imports no TensorFlow, and matplotlib only where it is
needed.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

from dlcli import program
from dlcli.errors import DlcliError
from dlcli.program import command
from dlcli.runs import RunFolder, layout
from dlcli.runs.reporter import Log
from dlcli.runtime.helper_process import helper_process, submit
from dlcli.spec.support import supports
from dlcli.upstream.sklearn import import_sklearn

MODULES = (
    *("dlcli.charts.confusion", "dlcli.charts.learning", "dlcli.charts.ranking", "dlcli.charts.regression"),
    *("dlcli.score.record", "dlcli.report.card", "dlcli.report.diagnosis", "dlcli.report.report"),
)
"""Modules that pictures and documents need. Some metrics need scikit-learn, and so does the diagnosis of weak models."""
_OF_SIMPLE_MODELS = tuple(f"sklearn.{name}" for name in ("ensemble", "linear_model", "neighbors", "pipeline", "preprocessing"))


def beside_training(*, enabled: bool = True) -> AbstractContextManager[None]:
    """Runs a helper process beside the block for the pictures and documents of its runs.

    There is none in a program that imports dlcli, whose processes are its own affair.
    """
    return helper_process(_import_modules, enabled=enabled and program.owns_process)


def _import_modules() -> None:
    """Imports what pictures and documents need."""
    for name in MODULES:
        importlib.import_module(name)


def import_simple_models() -> None:
    """Imports what simple models need: scikit-learn, in a second."""
    import_sklearn()
    for name in _OF_SIMPLE_MODELS:
        importlib.import_module(name)


def write_documents(run: RunFolder, log: Log, measure: Callable[[RunFolder], Any] | None = None) -> None:
    """Writes diagnosis, model card and report of a completed run; before them `measure` writes the diagnosis's measurements.

    A run whose kind of model has no scores is not diagnosed: the rules compare losses and scores with guesses of the labels.
    The run's results are already stored: an error here is reported and logged with its traceback, and the run stays completed.
    """
    steps = {name: partial(_write_beside, writer) for name, writer in WRITERS.items()}
    for name, step in (({"measurements": measure} if measure else {}) | steps).items():
        try:
            step(run)
        except KeyboardInterrupt:
            _log_or_ignore(log, f"note: stopped before the {name} was written; `{command()} report {run.id}` writes it")
            return
        except Exception as error:
            _log_or_ignore(run.log, traceback.format_exc())
            _log_or_ignore(
                log, f"note: the {name} could not be written ({error}); see {layout.LOG}; the rest of the run is complete"
            )


def _write_beside(writer: Callable[[RunFolder], Any], run: RunFolder) -> None:
    """Writes a document in the helper process and waits for it."""
    submit(writer, run).result()


def diagnose_failure(run: RunFolder) -> None:
    """Writes the diagnosis of a failed run, if its files allow one."""
    try:
        _diagnose(run)
    except Exception:
        _log_or_ignore(run.log, traceback.format_exc())


def is_written(run: RunFolder) -> bool:
    """Whether all documents exist."""
    paths = [run.model_card_path, run.report_path, *([run.diagnosis_path] if _is_diagnosed(run) else [])]
    return all(path.exists() for path in paths)


def _is_diagnosed(run: RunFolder) -> bool:
    return supports(run.experiment(), "evaluate")


def _diagnose(run: RunFolder) -> None:
    """Writes the diagnosis of a run whose kind of model has scores."""
    from dlcli.report.diagnosis import write_diagnosis

    if _is_diagnosed(run):
        write_diagnosis(run)


def _log_or_ignore(log: Log, words: str) -> None:
    with suppress(OSError, DlcliError):  # a full disk must not turn a completed run into a failed one
        log(words)


def draw_curves(run: RunFolder) -> None:
    """Writes `curves.png`; see `save_curves`."""
    from dlcli.charts.learning import save_curves

    save_curves(run)


def _write_card(run: RunFolder) -> None:
    from dlcli.report.card import write_model_card

    write_model_card(run)


def _write_report(run: RunFolder) -> None:
    from dlcli.report.report import write_report

    write_report(run)


WRITERS: dict[str, Callable[[RunFolder], Any]] = {
    "diagnosis": _diagnose,
    "model card": _write_card,
    "report": _write_report,
}
"""The documents by name, in the order in which they are written: the report contains the diagnosis."""
