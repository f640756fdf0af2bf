"""The findings of a diagnosis as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.diagnosis import Finding
from dlcli.visible import visible

GOOD_FIT = "nothing stands out"


def in_words(run: RunFolder, found: Sequence[Finding]) -> list[str]:
    """Returns the lines that a terminal shows: each finding, its evidence, and what to try."""
    if not found:
        return [f"diagnosis: {GOOD_FIT}"]
    lines = []
    for one in found:
        lines.append(f"diagnosis: {one.name}")
        lines += [f"  {text}" for text in one.evidence]
        lines += [f"  try: {remedy.words}" for remedy in one.remedies]
    if any(remedy.set for one in found for remedy in one.remedies):
        lines.append(f"  as in: {command()} train {quote(str(run.spec_path))} --set ...")
    return [visible(line) for line in lines]
