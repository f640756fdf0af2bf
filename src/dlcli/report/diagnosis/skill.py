"""How much of the way from a guess to perfect a run came, in one number or in words."""

from __future__ import annotations

from dlcli.report.diagnosis.evidence import Evidence
from dlcli.runs import layout

FIT = 0.15
"""Skill on the training part from which on it is learned at all."""
POOR = 0.35
"""Skill below which a model has learned little."""
SOME = 0.8
"""Skill below which a model may still be far from what the data give."""
HARD = 0.95
"""Skill from which nothing is missing."""
GAP = 0.2
"""Skill that is lost between training and validation, from which on a model is overfitted."""


def best_skill(seen: Evidence) -> float:
    """Returns the best skill on training or validation examples by any measure; NaN where none is known."""
    rows = [seen.best, seen.rows[-1] if seen.rows else None]
    values = [value for row in rows for prefix in ("", "val_") for value in seen.skills(row, prefix).values()]
    return max(values, default=float("nan"))


def gap_in_words(seen: Evidence) -> str | None:
    """Returns the words for the skill that is lost between training examples and others, where it is much; else None.

    Of the kept epoch, by the first measure that both have; on the evaluated part, else the validation part.
    """
    if not seen.rows:
        return None
    learned = seen.skills(seen.best)
    scored = (seen.scored, seen.scored_skills, f"{layout.HISTORY}, {seen.scored_file(layout.METRICS)}")
    for where, other, files in (scored, ("validation", seen.skills(seen.best, "val_"), layout.HISTORY)):
        shared = [name for name in learned if name in other]
        if where and shared:
            name = shared[0]
            lost = learned[name] - other[name]
            if lost < max(GAP, seen.chance) or learned[name] < POOR:
                return None
            return (
                f"skill by {name}: {where} {other[name]:.2f}, training {learned[name]:.2f} (0 is the guess, 1 is perfect)"
                f" ({files})"
            )
    return None
