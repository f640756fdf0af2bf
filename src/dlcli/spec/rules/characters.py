"""Notes on augmentations that make other characters of digits and letters: no error, since a few classes may stay apart."""

from __future__ import annotations

from collections.abc import Sequence

from dlcli.spec.data.augmentations.base import Motion
from dlcli.spec.experiment import Experiment
from dlcli.spec.rules.augmentations import listed_augmentations

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_25, _MW, _NU = ("2", "5"), ("M", "W"), ("n", "u")
CONFUSED: dict[Motion, tuple[tuple[str, str], ...]] = {
    "mirrored": (_25, ("b", "d"), ("p", "q"), ("J", "L")),
    "upside_down": (_25, ("b", "p"), ("d", "q"), _MW, _NU),
    "quarter_turn": (("N", "Z"), ("C", "U")),
    "half_turn": (("6", "9"), _NU, _MW, ("b", "q"), ("d", "p")),
}
"""Pairs of characters of which a motion makes one of the other."""
_WORDS: dict[Motion, str] = {
    "mirrored": "mirrored",
    "upside_down": "flipped upside down",
    "quarter_turn": "turned by a quarter",
    "half_turn": "turned by half",
}
_SETS = ("mnist", "svhn", "omniglot")
"""Parts of the names of sets of characters."""


def notes_on_characters(experiment: Experiment, classes: Sequence[str]) -> list[str]:
    """Returns a note for each augmentation that makes other characters of digits or letters.

    Args:
        experiment: the experiment.
        classes: the names of the classes; empty if they are not known yet.
    """
    if not _are_characters(classes) and not _is_known_set(str(getattr(experiment.data.source, "name", ""))):
        return []
    characters = {_character(name) for name in classes}
    return [
        f"{'.'.join(map(str, place))}: `{augmentation.kind}`: {_effect(augmentation.motions, characters)}"
        for place, augmentation in listed_augmentations(experiment)
        if augmentation.motions
    ]


def _effect(motions: frozenset[Motion], characters: set[str]) -> str:
    """Returns what motions do to the characters of the classes; to all characters if the classes are not known."""
    ordered = [motion for motion in CONFUSED if motion in motions]
    pairs = dict.fromkeys(pair for motion in ordered for pair in CONFUSED[motion])
    common = [f"{first} and {second}" for first, second in pairs if not characters or {first, second} <= characters]
    *most, last = [_WORDS[motion] for motion in ordered]
    moved = f"{', '.join(most)} or {last}" if most else last
    confused = f"which confuses {', '.join(common)} and" if common else "which"
    return f"images of digits or letters are {moved}, {confused} makes others unreadable"


def _are_characters(classes: Sequence[str]) -> bool:
    return len(classes) > 1 and all(len(_character(name)) == 1 for name in classes)


def _character(name: str) -> str:
    """Returns the digit or letter that a class is named by; else the name."""
    return str(DIGITS.index(name.lower())) if name.lower() in DIGITS else name


def _is_known_set(name: str) -> bool:
    return any(part in name for part in _SETS) and "fashion" not in name
