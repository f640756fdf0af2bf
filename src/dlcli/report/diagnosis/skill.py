"""The skill of a run, from 0 for a guess to 1 for perfect, as a number or as text."""

from __future__ import annotations

from dlcli.report.diagnosis.evidence import Evidence
from dlcli.runs import layout

FIT = 0.15
"""Skill on the training split from which on anything is learned."""
POOR = 0.35
"""Skill below which a model has learned little."""
SOME = 0.8
"""Skill below which a model may still be far from the best possible one."""
HARD = 0.95
"""Skill from which on nothing is missing."""
GAP = 0.2
"""Difference of skill between training and validation from which on a model is overfitted."""


def best_skill(evidence: Evidence) -> float:
    """Returns the best skill on training or validation examples by any measure; NaN where there is none."""
    rows = [evidence.best, evidence.rows[-1] if evidence.rows else None]
    skills = [skills for row in rows for skills in (evidence.training_skills(row), evidence.skills(row, "val_"))]
    return max((value for values in skills for value in values.values()), default=float("nan"))


def gap_text(evidence: Evidence) -> str | None:
    """Returns a text on the difference of skill between training and other examples, where it is large; else None.

    It is that of the saved epoch, by the first common measure, on the evaluated split, else the validation split.
    """
    if not evidence.rows:
        return None
    learned = evidence.training_skills(evidence.best)
    scored = (evidence.scored, evidence.scored_skills, f"{layout.HISTORY}, {evidence.scored_file(layout.METRICS)}")
    for where, other_skills, files in (scored, ("validation", evidence.skills(evidence.best, "val_"), layout.HISTORY)):
        shared = [name for name in learned if name in other_skills]
        if where and shared:
            name = shared[0]
            gap = learned[name] - other_skills[name]
            if gap < max(GAP, evidence.chance) or learned[name] < POOR:
                return None
            return (
                f"skill by {name}: {where} {other_skills[name]:.2f}, training {learned[name]:.2f} (0 is the guess, 1 is"
                f" perfect) ({files})"
            )
    return None
