"""The findings of a diagnosis as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.diagnosis import Finding
from dlcli.visible import visible

GOOD_FIT = "nothing stands out"


def in_words(run: RunFolder, findings: Sequence[Finding]) -> list[str]:
    """Returns the lines for a terminal: each finding, its evidence, and its remedies."""
    if not findings:
        return [f"diagnosis: {GOOD_FIT}"]
    lines = []
    for finding in findings:
        lines.append(f"diagnosis: {finding.name}")
        lines += [f"  {text}" for text in finding.evidence]
        lines += [f"  try: {remedy.words}" for remedy in finding.remedies]
    if any(remedy.set for finding in findings for remedy in finding.remedies):
        lines.append(f"  as in: {command()} train {quote(str(run.spec_path))} --set ...")
    return [visible(line) for line in lines]
