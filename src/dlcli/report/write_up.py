"""What is written for people once a run has ended well: diagnosis, model card, report."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dlcli.errors import DlcliError
from dlcli.program import command
from dlcli.runs import RunFolder, layout
from dlcli.runs.reporter import Log


def write_for_people(run: RunFolder, log: Log, measure: Callable[[RunFolder], Any] | None = None) -> None:
    """Writes diagnosis, model card and report of a completed run; before them `measure` takes what the diagnosis looks at.

    The run's results stand already: what fails here is said and logged with its traceback, and leaves the run completed.
    """
    for what, write in (({"measurements": measure} if measure else {}) | _writers()).items():
        try:
            write(run)
        except KeyboardInterrupt:
            _told(log, f"note: stopped before the {what} was written; `{command()} report {run.id}` writes it")
            return
        except Exception as error:
            _told(run.log, traceback.format_exc())
            _told(log, f"note: the {what} could not be written ({error}); see {layout.LOG}; the rest of the run is complete")


def diagnose_failure(run: RunFolder) -> None:
    """Writes the diagnosis of a run that has failed, if it can be told from its files."""
    from dlcli.report.diagnosis import write_diagnosis

    try:
        write_diagnosis(run)
    except Exception:
        _told(run.log, traceback.format_exc())


def is_written(run: RunFolder) -> bool:
    """Whether all of it is there."""
    return all(path.exists() for path in (run.diagnosis_path, run.model_card_path, run.report_path))


def _told(log: Log, words: str) -> None:
    with suppress(OSError, DlcliError):  # a full disk must not turn a run that has its results into a failed one
        log(words)


def _writers() -> dict[str, Callable[[RunFolder], Any]]:
    from dlcli.report import write_model_card, write_report
    from dlcli.report.diagnosis import write_diagnosis

    return {"diagnosis": write_diagnosis, "model card": write_model_card, "report": write_report}
