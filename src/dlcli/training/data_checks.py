"""The fast checks of the data doctor before the first epoch: their issues are logged and recorded in the run folder."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from dlcli.data.doctor.check import Subject
from dlcli.data.doctor.doctor import examine
from dlcli.data.splits import Splits
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.data_report import write_data_report
from dlcli.runs.reporter import Log
from dlcli.spec.data.sources import Opened
from dlcli.spec.experiment import Experiment

_MOST_LINES = 3


def check_data(run: RunFolder, experiment: Experiment, splits: Splits, log: Log) -> dict[str, Any]:
    """Makes the fast checks of the splits, writes `data_report.json` and logs errors and warnings.

    Returns the facts on leaks for `data.json`, which the checks use too.
    """
    parts = {name: examples for name, examples in splits.distinct.items() if name == "train" or name in splits.source_parts}
    opened = Opened(parts, splits.classes)  # the run has the notes of its source already
    subject = Subject(experiment=experiment, opened=opened, splits=splits, unreadable={})
    examination = examine(subject, fast=True)
    write_data_report(run, [asdict(issue) for issue in examination.issues], list(examination.notes))
    serious = [issue for issue in examination.issues if issue.severity != "note"]
    for issue in serious[:_MOST_LINES]:
        log(f"data: {issue.severity}: {issue.kind}: {issue.summary}")
    if serious:
        more = f"{len(serious) - _MOST_LINES} more issues; " if len(serious) > _MOST_LINES else ""
        log(f"data: {more}all checks: {command()} data {shlex.quote(str(run.spec_path))}")
    return subject.leaks
