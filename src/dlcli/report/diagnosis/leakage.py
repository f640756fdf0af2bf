"""Leakage: test examples that are also training examples, or a column that reveals the target (`leaks` in `data.json`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dlcli.data.leak_judgement import COPIES, are_copied_rows, revealing_columns
from dlcli.errors import DamagedFile
from dlcli.report.diagnosis import remedies as try_
from dlcli.report.diagnosis.evidence import Evidence
from dlcli.runs import layout
from dlcli.runs.diagnosis import Finding, Remedy
from dlcli.visible import visible

NEAR, STEMS = 0.02, 0.1
"""Least share of a split's examples that are near copies of training images, or share the stems of their names."""

_Count = Annotated[int, Field(ge=0)]


class _Copies(BaseModel):
    model_config = ConfigDict(strict=True)
    examples: _Count
    of: _Count
    same_label: _Count
    some: list[Annotated[list[str], Field(min_length=2, max_length=2)]]


class _SimilarExamples(BaseModel):
    """Examples of a split that are similar to training examples without being equal."""

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
    """`leaks` in `data.json`, written by `data.leaks`."""

    rows: bool = False
    distinct: float = 0.0
    repeats: float = 0.0
    duplicates: dict[str, _Copies] = {}
    near_copies: dict[str, _SimilarExamples] = {}
    stems: dict[str, _SimilarExamples] = {}
    contradictions: _Contradictions = _Contradictions()
    same_look: _Contradictions = _Contradictions()
    columns: _Columns = _Columns()


def read_leaks(evidence: Evidence) -> _Leaks:
    """Returns the possible leaks of the data; empty for an older run.

    Raises:
        DamagedFile: `data.json` has other contents.
    """
    try:
        return _Leaks.model_validate(evidence.data.get("leaks") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, ("leaks", *first["loc"])))
        raise DamagedFile(f"{evidence.run.data_path}: {place}: {first['msg']}") from None


def leakage(evidence: Evidence) -> Finding | None:
    """Examples in two splits, or a column that reveals the target."""
    leaks = read_leaks(evidence)
    lines, remedies = _copies(leaks)
    for column, target, score in revealing_columns(leaks.columns.targets, leaks.columns.of):
        of_target = f" of {_short(target)!r}" if target else ""
        lines.append(
            f"column {_short(column)!r} alone predicts {score:.1%}{of_target}; no other column comes close ({layout.DATA})"
        )
        remedies.append(
            Remedy(f"exclude {_short(column)!r} if it is not known before the target", _drop_change(evidence, column))
        )
    return Finding("leakage suspected", tuple(lines), try_.applicable(evidence, remedies)) if lines else None


def contradicting_labels(evidence: Evidence) -> Finding | None:
    """The same image, or series, has two labels."""
    leaks, lines = read_leaks(evidence), []
    equal, alike = (leaks.contradictions, "are identical to"), (leaks.same_look, "look the same as")
    for contradictions, verb in (equal, alike):
        pairs = [[_short(text) for text in pair] for pair in contradictions.some[:3]]
        names = "; ".join(f"{ours} ({label}) and {theirs} ({other})" for ours, label, theirs, other in pairs)
        if contradictions.examples:
            lines.append(
                f"{contradictions.examples} of {contradictions.of} examples {verb} one with another label: {names}"
                f" ({layout.DATA})"
            )
    if not lines:
        return None
    texts = [Remedy("decide which label is right, and remove the other file")]
    return try_.finding_of(evidence, "contradicting labels", lines, texts)


def _copies(leaks: _Leaks) -> tuple[list[str], list[Remedy]]:
    lines = []
    for split, copies in leaks.duplicates.items():
        # Copies with another label are a separate finding where examples are not rows.
        count, of = copies.examples if leaks.rows else copies.same_label, max(copies.of, 1)
        if count < 2 or not copies.examples or not _is_copied(count / of, copies.same_label / copies.examples, leaks):
            continue
        names = "; ".join(f"{_short(ours)} is {_short(theirs)}" for ours, theirs in copies.some[:2])
        lines.append(f"{count} of {of} {split} examples are also training examples: {names} ({layout.DATA})")
    nearly = "nearly identical to a training image (mirrored, brighter or cropped)"
    lines += _similar_examples(leaks.near_copies, NEAR, nearly, "looks like")
    lines += _similar_examples(leaks.stems, STEMS, "named like training examples up to the last part of the name", "belongs to")
    remedy = Remedy("keep each example once, or examples that belong together in one split (data.split.group)")
    return lines, [remedy] if lines else []


def _similar_examples(alike_by_split: dict[str, _SimilarExamples], share: float, words: str, verb: str) -> list[str]:
    lines = []
    for split, alike in alike_by_split.items():
        if alike.examples < 2 or alike.examples < share * alike.of:
            continue
        names = "; ".join(f"{_short(ours)} {verb} {_short(theirs)}" for ours, theirs in alike.some[:2])
        lines.append(f"{alike.examples} of {alike.of} {split} examples are {words}: {names} ({layout.DATA})")
    return lines


def _is_copied(share: float, agree: float, leaks: _Leaks) -> bool:
    if not leaks.rows:
        return share >= COPIES
    return are_copied_rows(share, agree, distinct=leaks.distinct, repeats=leaks.repeats, columns=leaks.columns.of)


def _drop_change(evidence: Evidence, column: str) -> str:
    from dlcli.spec.load import to_flow

    return f"data.source.drop+={to_flow(column)}" if hasattr(evidence.experiment.data.source, "drop") else ""


def _short(name: str) -> str:
    return visible(name[:60])
