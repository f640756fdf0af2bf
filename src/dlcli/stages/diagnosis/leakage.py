"""Leakage: test examples that were trained on, or a column that gives the target away; from `leaks` in `data.json`."""

from __future__ import annotations

from typing import Any

from dlcli.stages.diagnosis import remedies as try_
from dlcli.stages.diagnosis.evidence import Evidence
from dlcli.stages.diagnosis.finding import Finding, Remedy
from dlcli.visible import visible

COPIES, COPIED_ROWS = 0.01, 0.05
"""Share of a part that must be training examples: of images and series; of rows, which may be equal by coincidence."""
DISTINCT = 0.5
"""Share of different values in some column from which on equal rows are no coincidence."""
SAME = 0.9
"""Share of equal rows whose labels must be equal too: copies agree, coincidences less often."""
TELLS, OTHERS = 0.98, 0.9
"""Skill of a column that gives the target away, and what no other column may reach: else the task is merely easy."""


def leakage(seen: Evidence) -> Finding | None:
    """Examples in two parts at once, or a column from which the target can be read off."""
    leaks = seen.data.get("leaks") or {}
    evidence, remedies = _copies(leaks)
    for column, target, score in _telling(leaks):
        of = f" of {visible(target)!r}" if target else ""
        evidence.append(f"column {visible(column)!r} alone tells {score:.1%}{of}; no other column comes near (data.json)")
        remedies.append(
            Remedy(f"if {visible(column)!r} is not known before the target is, leave it out", _without(seen, column))
        )
    return Finding("leakage suspected", tuple(evidence), try_.taken(seen, remedies)) if evidence else None


def _copies(leaks: dict[str, Any]) -> tuple[list[str], list[Remedy]]:
    evidence = []
    for part, found in (leaks.get("duplicates") or {}).items():
        count, of = found["examples"], max(found["of"], 1)
        if count < 2 or not _is_copied(count / of, found["same_label"] / count, leaks):
            continue
        named = "; ".join(f"{visible(ours)} is {visible(theirs)}" for ours, theirs in found["some"][:2])
        evidence.append(f"{count} of {of} {part} examples are training examples as well: {named} (data.json)")
    remedy = Remedy("keep each example once, and groups of near copies in one part: a split.csv as data.split.file says which")
    return evidence, [remedy] if evidence else []


def _is_copied(share: float, agree: float, leaks: dict[str, Any]) -> bool:
    if not leaks.get("rows") or leaks.get("distinct", 0.0) >= DISTINCT:
        return share >= COPIES
    return agree >= SAME and (share >= 0.5 or share >= max(COPIED_ROWS, 2 * leaks.get("repeats", 0.0)))


def _telling(leaks: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Returns the columns that give a target away: at most a third of all, while no other comes near."""
    columns = leaks.get("columns") or {}
    found = []
    for target, scores in (columns.get("targets") or {}).items():
        telling = [(name, target, score) for name, score in scores if score >= TELLS]
        rest = [score for _, score in scores if score < TELLS]
        few = len(telling) <= max(1, columns.get("of", 0) // 3)
        if telling and few and rest and max(rest) < OTHERS:
            found += telling
    return found


def _without(seen: Evidence, column: str) -> str:
    from dlcli.spec.file import to_flow

    return f"data.source.drop+={to_flow(column)}" if getattr(seen.experiment.data.source, "kind", "") == "csv" else ""
