"""What is written for people once a run has ended well: diagnosis, model card, report."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from dlcli.runs import Run
from dlcli.stages.work import Say


def write_for_people(run: Run, say: Say) -> None:
    """Writes diagnosis, model card and report of a completed run.

    The run's results stand already: what fails here is said and logged with its traceback, and leaves the run completed.
    """
    for what, write in _writers().items():
        try:
            write(run)
        except Exception as error:
            run.log(traceback.format_exc())
            say(f"note: the {what} could not be written ({error}); log.txt says where, and the run is complete without it")


def _writers() -> dict[str, Callable[[Run], Any]]:
    from dlcli.stages.diagnosis import write_diagnosis
    from dlcli.stages.reporting import write_model_card, write_report

    return {"diagnosis": write_diagnosis, "model card": write_model_card, "report": write_report}
