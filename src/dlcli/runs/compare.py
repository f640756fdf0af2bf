"""Two or more runs side by side: what differs in their specs, and their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlcli.runs.folder import Run
from dlcli.spec.base import dump


@dataclass(frozen=True)
class Comparison:
    """`differences`: dotted field -> each run's value (None where it has none); `scores`: metric -> each run's value."""

    runs: list[Run]
    differences: dict[str, list[Any]]
    scores: dict[str, list[float | None]]
    notes: list[str]


def compare_runs(runs: list[Run], split: str = "test") -> Comparison:
    """Compares runs: only what differs of their resolved specs, and every metric of one split."""
    specs = [flat(dump(run.experiment())) for run in runs]
    keys = sorted({key for spec in specs for key in spec})
    differences = {key: [spec.get(key) for spec in specs] for key in keys if len({repr(spec.get(key)) for spec in specs}) > 1}
    scores = [run.metrics(split).get("metrics", {}) for run in runs]
    names = list(dict.fromkeys(name for one in scores for name in one))
    table = {name: [one.get(name, {}).get("value") for one in scores] for name in names}
    return Comparison(runs, differences, table, _notes(runs, split))


def _notes(runs: list[Run], split: str) -> list[str]:
    """Returns what stands against comparing the scores."""
    notes = [f"{run.id} was not scored on {split}" for run in runs if not run.metrics(split)]
    if len({run.data().get("fingerprint") for run in runs}) > 1:
        notes.append("the runs have different data or splits: their scores are not of the same examples")
    return notes


def flat(value: Any, place: str = "") -> dict[str, Any]:
    """Returns every scalar (and list of scalars) of nested data by its dotted place."""
    items: list[tuple[Any, Any]]
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        items = list(enumerate(value))
    else:
        return {place: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found |= flat(item, f"{place}.{key}" if place else str(key))
    return found
