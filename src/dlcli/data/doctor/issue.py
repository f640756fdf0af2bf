"""An issue: what a check of the data doctor has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""`error`: scores would be wrong, or the training fails; `warning`: the model is probably worse; `note`: good to know."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

REVEALING = "column that reveals the target"
"""A kind of issue that the diagnosis of a run reports too."""


@dataclass(frozen=True, kw_only=True)
class Issue:
    """An issue of the data, with its evidence and the examples that have it.

    Attributes:
        kind: the fixed name of this kind of issue: `near duplicates across splits`.
        severity: how much it matters.
        summary: one sentence that says what was found and how often.
        advice: one sentence that says what to do.
        evidence: further lines: numbers, pairs of examples, values.
        examples: the ids of all affected examples (the path of a file below its folder, the id of a row), sorted.
        columns: the names of all affected columns of a table.
        exclude: the ids of those examples that a quarantine list should contain; of two copies only one.
    """

    kind: str
    severity: Severity
    summary: str
    advice: str
    evidence: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
