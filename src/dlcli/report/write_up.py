"""The documents of a completed run: diagnosis, model card, report."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dlcli.errors import DlcliError
from dlcli.program import command
from dlcli.runs import RunFolder, layout
from dlcli.runs.reporter import Log
from dlcli.spec.support import supports


def write_documents(run: RunFolder, log: Log, measure: Callable[[RunFolder], Any] | None = None) -> None:
    """Writes diagnosis, model card and report of a completed run; before them `measure` writes the diagnosis's measurements.

    A run whose kind of model has no scores is not diagnosed: the rules compare losses and scores with guesses of the labels.
    The run's results are already stored: an error here is reported and logged with its traceback, and the run stays completed.
    """
    for name, writer in (({"measurements": measure} if measure else {}) | _writers()).items():
        try:
            writer(run)
        except KeyboardInterrupt:
            _log_or_ignore(log, f"note: stopped before the {name} was written; `{command()} report {run.id}` writes it")
            return
        except Exception as error:
            _log_or_ignore(run.log, traceback.format_exc())
            _log_or_ignore(
                log, f"note: the {name} could not be written ({error}); see {layout.LOG}; the rest of the run is complete"
            )


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


def _writers() -> dict[str, Callable[[RunFolder], Any]]:
    from dlcli.report.card import write_model_card
    from dlcli.report.report import write_report

    return {"diagnosis": _diagnose, "model card": write_model_card, "report": write_report}
