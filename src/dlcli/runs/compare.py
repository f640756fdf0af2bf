"""Compares runs: the differences of their specs, and their scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dlcli.program import command
from dlcli.runs.folder import RunFolder
from dlcli.runs.layout import OUT_OF_FOLD
from dlcli.runs.scored_splits import split_title
from dlcli.spec.base import Spec, dump
from dlcli.spec.support import words_against

Score = dict[str, Any]
"""An entry of `metrics.json`: `value` and, if there is one, `interval`."""


@dataclass(frozen=True)
class Comparison:
    """The differences between runs.

    Attributes:
        runs: the compared runs.
        split: the split of the scores.
        differences: each run's value of every differing field, by the field's dotted name, without defaults.
        scores: each run's entry of every metric, by the metric's name; None for a run without it.
    """

    runs: list[RunFolder]
    split: str
    differences: dict[str, list[Any]]
    scores: dict[str, list[Score | None]]

    @property
    def title(self) -> str:
        """The shown name of the split."""
        return " or ".join(dict.fromkeys(split_title(run, self.split) for run in self.runs))


def default_split(runs: list[RunFolder]) -> str:
    """Returns the split whose scores are compared by default: test, or that of cross-validations without a test split."""
    scored = [run.scored_splits() for run in runs]
    if all(OUT_OF_FOLD in splits for splits in scored) and not all("test" in splits for splits in scored):
        return OUT_OF_FOLD
    return "test"


def compare_runs(runs: list[RunFolder], split: str = "test") -> Comparison:
    """Compares runs: the differing fields of their resolved specs, and every metric of one split."""
    scores = [run.metrics(split).get("metrics", {}) for run in runs]
    names = dict.fromkeys(name for run_scores in scores for name in run_scores)
    table = {name: [run_scores.get(name) for run_scores in scores] for name in names}
    return Comparison(runs, split, dict(_differing([run.experiment() for run in runs])), table)


def _differing(values: list[Any], place: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Yields the places at which values differ, and the values; specs of one kind and lists of one length are searched."""
    first = values[0]
    if isinstance(first, Spec) and len({(type(value), getattr(value, "kind", "")) for value in values}) == 1:
        for name in type(first).model_fields:
            yield from _differing([getattr(value, name) for value in values], f"{place}.{name}" if place else name)
    elif isinstance(first, list) and all(isinstance(value, list) and len(value) == len(first) for value in values):
        for index in range(len(first)):
            yield from _differing([value[index] for value in values], f"{place}.{index}")
    elif any(repr(value) != repr(first) for value in values):
        yield place, [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """Returns plain data for a value; for a spec only the fields that differ from their default."""
    if isinstance(value, Spec):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        changed = {name: entry for name, entry in fields.items() if name != "kind" and entry != _default(value, name)}
        kind = {"kind": fields["kind"]} if "kind" in fields else {}
        return kind | {name: _plain(entry) for name, entry in changed.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else dump(value)


def _default(spec: Spec, name: str) -> Any:
    return type(spec).model_fields[name].get_default(call_default_factory=True)


def not_scored(run: RunFolder, split: str) -> str:
    """Returns the message for a run without scores of a split, with a remedy if there is one."""
    sizes = run.data().get("examples", {})
    if not sizes and run.status().children:
        return run.reason_without_model()
    if split not in sizes:
        return f"{run.id} has no {split} split" + (
            f"; it has {', '.join(sizes)}" if sizes else ": its data has not been read yet"
        )
    if not run.has_model:
        return f"{run.id} was not scored on {split}: it has no model yet"
    evaluate = f"`{command()} evaluate {run.id} --split {split}`"
    return f"{run.id} was not scored on {split}: " + (
        words_against(run.experiment(), "evaluate", f"`{command()} evaluate`") or f"{evaluate} does that"
    )


def flat(value: Any, place: str = "") -> dict[str, Any]:
    """Returns every scalar, and every list of scalars, of nested data by its dotted path."""
    items: list[tuple[Any, Any]]
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        items = list(enumerate(value))
    else:
        return {place: value}
    flattened: dict[str, Any] = {}
    for key, item in items:
        flattened |= flat(item, f"{place}.{key}" if place else str(key))
    return flattened
