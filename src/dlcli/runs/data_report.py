"""`data_report.json`: the issues of the data that the fast checks of the data doctor found before the first epoch."""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel, ConfigDict

from dlcli.runs.contents import Count, RunFile
from dlcli.runs.folder import RunFolder

MOST = 100
"""Examples, columns and lines of evidence that the file lists for an issue."""


class RecordedIssue(BaseModel):
    """An issue of the data.

    Attributes:
        kind: the name of this kind of issue.
        severity: `error`, `warning` or `note`.
        summary: what was found.
        advice: what to do.
        evidence: further lines.
        examples: the ids of affected examples, at most 100.
        columns: the names of affected columns, at most 100.
        count: the number of affected examples.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", defer_build=True)

    kind: str
    severity: str
    summary: str
    advice: str = ""
    evidence: list[str] = []
    examples: list[str] = []
    columns: list[str] = []
    count: Count = 0


class DataReportFile(RunFile, BaseModel):
    """The content of `data_report.json`.

    Attributes:
        issues: the issues, the most important first.
        notes: why checks were not made.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", defer_build=True)

    issues: list[RecordedIssue]
    notes: list[str] = []


def write_data_report(run: RunFolder, issues: list[dict[str, Any]], notes: list[str]) -> None:
    """Writes the issues, given with all their entries; of long lists the first entries."""
    shortened = [
        issue
        | {name: list(issue[name])[:MOST] for name in ("evidence", "examples", "columns")}
        | {"count": len(issue["examples"])}
        for issue in issues
    ]
    DataReportFile.of({"issues": shortened, "notes": notes}).write(run.data_report_path)


def data_report(run: RunFolder) -> DataReportFile:
    """Returns the issues of a run's data; none for a run of an older version.

    Raises:
        DamagedFile: the file cannot be read, or has invalid content.
    """
    path = run.data_report_path
    return DataReportFile.read(path) if os.path.lexists(path) else DataReportFile(issues=[])
