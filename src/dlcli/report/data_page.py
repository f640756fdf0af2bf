"""The data doctor's page: the issues of a spec's data as HTML, small whatever the size of the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dlcli.data.doctor.doctor import Examination
from dlcli.data.doctor.issue import Issue
from dlcli.report.page import page
from dlcli.report.report import refuse_other_file
from dlcli.runs.files import write_text

MOST_EXAMPLES = 100
MOST_LINES = 20
MOST_ISSUES = 200
MOST_CLASSES = 500
MOST_NOTES = 50
_LONGEST = 300
"""Characters of one text on the page: a name in the data may have any length."""


@dataclass(frozen=True)
class ShownIssue:
    """An issue as the page shows it: long lists and texts are cut, and `count` and `more_evidence` count all entries."""

    kind: str
    severity: str
    summary: str
    advice: str
    evidence: list[str]
    more_evidence: int
    examples: list[str]
    count: int


def write_data_page(examination: Examination, name: str, totals: str, command: str, path: Path) -> None:
    """Writes the page of an examination.

    Args:
        examination: the result of the checks.
        name: the name of the spec.
        totals: the counts of issues and examples, as a sentence.
        command: the command that lists every example.
        path: the file; an earlier page of dlcli is replaced.

    Raises:
        UsageError: another file is in its place.
    """
    refuse_other_file(path, "--html")
    issues = examination.issues[:MOST_ISSUES]
    classes = list(dict.fromkeys(label for row in examination.counts.values() for label in row))
    counts = [(_short(label), [row.get(label, 0) for row in examination.counts.values()]) for label in classes[:MOST_CLASSES]]
    text = page(
        "data",
        title=f"{name}: data",
        name=name,
        totals=totals,
        issues=[_shown(issue) for issue in issues],
        left_out=sum(max(0, len(issue.examples) - MOST_EXAMPLES) for issue in examination.issues),
        most=MOST_EXAMPLES,
        command=command,
        counts=counts,
        more_classes=max(0, len(classes) - MOST_CLASSES),
        splits=list(examination.counts),
        largest=max((count for _, row in counts for count in row), default=0),
        notes=[_short(note) for note in examination.notes[:MOST_NOTES]],
        seconds=examination.seconds,
    )
    write_text(path, text)


def _shown(issue: Issue) -> ShownIssue:
    return ShownIssue(
        kind=issue.kind,
        severity=issue.severity,
        summary=_short(issue.summary),
        advice=_short(issue.advice),
        evidence=[_short(line) for line in issue.evidence[:MOST_LINES]],
        more_evidence=max(0, len(issue.evidence) - MOST_LINES),
        examples=[_short(example) for example in issue.examples[:MOST_EXAMPLES]],
        count=len(issue.examples),
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
