"""Leakage: test examples that were trained on, or a column that gives the target away; from `leaks` in `data.json`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dlcli.errors import DamagedFile
from dlcli.report.diagnosis import remedies as try_
from dlcli.report.diagnosis.evidence import Evidence
from dlcli.runs import layout
from dlcli.runs.diagnosis import Finding, Remedy
from dlcli.visible import visible

COPIES, COPIED_ROWS = 0.01, 0.05
"""Share of a part that must be training examples: of images and series; of rows, which may be equal by coincidence."""
NEAR, STEMS = 0.02, 0.1
"""Share of a part that must be near copies of training images, or share the stems of their names."""
DISTINCT = 0.5
"""Share of different values in some column from which on equal rows are no coincidence."""
SAME = 0.9
"""Share of equal rows whose labels must be equal too: copies agree, coincidences less often."""
MOSTLY = 0.5
"""The same where equal rows are no coincidence: most may have a noisy label, but not all."""
TELLS, OTHERS = 0.98, 0.9
"""Skill of a column that gives the target away, and what no other column may reach: else the task is merely easy."""


_Count = Annotated[int, Field(ge=0)]


class _Copies(BaseModel):
    model_config = ConfigDict(strict=True)
    examples: _Count
    of: _Count
    same_label: _Count
    some: list[Annotated[list[str], Field(min_length=2, max_length=2)]]


class _Alike(BaseModel):
    """Examples of a part that are alike to training examples without being equal."""

    model_config = ConfigDict(strict=True)
    examples: _Count
    of: _Count
    some: list[Annotated[list[str], Field(min_length=2, max_length=2)]]


class _Contradictions(BaseModel):
    model_config = ConfigDict(strict=True)
    examples: _Count = 0
    of: _Count = 0
    some: list[Annotated[list[str], Field(min_length=4, max_length=4)]] = []


class _Columns(BaseModel):
    model_config = ConfigDict(strict=True)
    of: _Count = 0
    targets: dict[str, list[Annotated[tuple[str, float], Field(strict=False)]]] = {}


class _Leaks(BaseModel):
    """`leaks` in `data.json`, as `data.leaks` writes it."""

    rows: bool = False
    distinct: float = 0.0
    repeats: float = 0.0
    duplicates: dict[str, _Copies] = {}
    near_copies: dict[str, _Alike] = {}
    stems: dict[str, _Alike] = {}
    contradictions: _Contradictions = _Contradictions()
    same_look: _Contradictions = _Contradictions()
    columns: _Columns = _Columns()


def read_leaks(seen: Evidence) -> _Leaks:
    """Returns what the data may have leaked; nothing of an older run.

    Raises:
        DamagedFile: `data.json` holds something else.
    """
    try:
        return _Leaks.model_validate(seen.data.get("leaks") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, ("leaks", *first["loc"])))
        raise DamagedFile(f"{seen.run.data_path}: {place}: {first['msg']}") from None


def leakage(seen: Evidence) -> Finding | None:
    """Examples in two parts at once, or a column from which the target can be read off."""
    leaks = read_leaks(seen)
    evidence, remedies = _copies(leaks)
    for column, target, score in _telling(leaks):
        of = f" of {_short(target)!r}" if target else ""
        evidence.append(
            f"column {_short(column)!r} alone predicts {score:.1%}{of}; no other column comes close ({layout.DATA})"
        )
        remedies.append(Remedy(f"exclude {_short(column)!r} if it is not known before the target", _without(seen, column)))
    return Finding("leakage suspected", tuple(evidence), try_.taken(seen, remedies)) if evidence else None


def contradicting_labels(seen: Evidence) -> Finding | None:
    """The same picture, or series, stands under two labels."""
    leaks, evidence = read_leaks(seen), []
    equal, alike = (leaks.contradictions, "are identical to"), (leaks.same_look, "look the same as")
    for found, words in (equal, alike):
        pairs = [[_short(text) for text in pair] for pair in found.some[:3]]
        named = "; ".join(f"{ours} ({label}) and {theirs} ({other})" for ours, label, theirs, other in pairs)
        if found.examples:
            evidence.append(f"{found.examples} of {found.of} examples {words} one with another label: {named} ({layout.DATA})")
    if not evidence:
        return None
    texts = [Remedy("decide which label is right, and remove the other file")]
    return try_.finding_of(seen, "contradicting labels", evidence, texts)


def _copies(leaks: _Leaks) -> tuple[list[str], list[Remedy]]:
    evidence = []
    for part, found in leaks.duplicates.items():
        # Those under another label are a finding of their own where examples are no rows.
        count, of = found.examples if leaks.rows else found.same_label, max(found.of, 1)
        if count < 2 or not found.examples or not _is_copied(count / of, found.same_label / found.examples, leaks):
            continue
        named = "; ".join(f"{_short(ours)} is {_short(theirs)}" for ours, theirs in found.some[:2])
        evidence.append(f"{count} of {of} {part} examples are also training examples: {named} ({layout.DATA})")
    nearly = "nearly identical to a training image (mirrored, brighter or cropped)"
    evidence += _alike(leaks.near_copies, NEAR, nearly, "looks like")
    evidence += _alike(leaks.stems, STEMS, "named like training examples up to the last part of the name", "belongs to")
    remedy = Remedy(
        f"keep each example once, and groups of near copies in one split: a {layout.SPLIT} as data.split.file defines the"
        " splits"
    )
    return evidence, [remedy] if evidence else []


def _alike(parts: dict[str, _Alike], share: float, words: str, verb: str) -> list[str]:
    evidence = []
    for part, found in parts.items():
        if found.examples < 2 or found.examples < share * found.of:
            continue
        named = "; ".join(f"{_short(ours)} {verb} {_short(theirs)}" for ours, theirs in found.some[:2])
        evidence.append(f"{found.examples} of {found.of} {part} examples are {words}: {named} ({layout.DATA})")
    return evidence


def _is_copied(share: float, agree: float, leaks: _Leaks) -> bool:
    if not leaks.rows:
        return share >= COPIES
    if leaks.distinct >= DISTINCT and leaks.columns.of != 1:  # the different rows of a single column have different values
        return agree >= MOSTLY and share >= COPIES
    return agree >= SAME and share >= min(0.5, max(COPIED_ROWS, 2 * leaks.repeats))


def _telling(leaks: _Leaks) -> list[tuple[str, str, float]]:
    """Returns the columns that give a target away: at most a third of all, while no other comes near."""
    found = []
    for target, scores in leaks.columns.targets.items():
        telling = [(name, target, score) for name, score in scores if score >= TELLS]
        rest = [score for _, score in scores if score < TELLS]
        few = len(telling) <= max(1, leaks.columns.of // 3)
        if telling and few and rest and max(rest) < OTHERS:
            found += telling
    return found


def _without(seen: Evidence, column: str) -> str:
    from dlcli.spec.load import to_flow

    return f"data.source.drop+={to_flow(column)}" if getattr(seen.experiment.data.source, "kind", "") == "csv" else ""


def _short(name: str) -> str:
    return visible(name[:60])
