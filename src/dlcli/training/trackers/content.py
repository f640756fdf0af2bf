"""What every tracker is told of a run, whatever the program."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from dlcli import __version__
from dlcli.runs import RunFolder, layout
from dlcli.runs.scored_splits import split_note

_RECORDS = (layout.SPEC, layout.SOURCE, layout.DATA, layout.ENVIRONMENT, layout.HISTORY, layout.STAGES)
FILES = (*_RECORDS, layout.CHECKS, layout.DIAGNOSIS)
PAGES = (layout.REPORT, layout.MODEL_CARD, layout.CURVES)
_KINDS = (".json", ".png", ".csv")
_OF_EXAMPLES = (layout.PREDICTIONS, layout.LOSSES, layout.GROUPS, layout.EXAMPLES)
_LARGEST = 50 * 2**20
_NO_SCORE = ("stage", "epoch")


def values(row: dict[str, str]) -> dict[str, float]:
    """Returns the numbers of a row of the history; values that are not finite are omitted."""
    numbers = {name: float(cell) for name, cell in row.items() if name not in _NO_SCORE and cell}
    return {name: value for name, value in numbers.items() if isfinite(value)}


def scores(run: RunFolder) -> dict[str, dict[str, float]]:
    """Returns the final scores: split -> metric -> value, with `<metric>_low` and `<metric>_high` of its interval, if any."""
    by_split: dict[str, dict[str, float]] = {}
    for split in run.scored_splits():
        for name, entry in run.metrics(split)["metrics"].items():
            interval = dict(zip((f"{name}_low", f"{name}_high"), entry.get("interval") or (), strict=False))
            entry_values = {name: entry["value"]} | interval
            by_split.setdefault(split, {}).update({key: value for key, value in entry_values.items() if value is not None})
    return by_split


def tags(run: RunFolder) -> dict[str, str]:
    """Returns short facts about a run: its id, versions, commit, device, the run that it continues."""
    environment, status = run.environment(), run.status()
    device, git = environment.get("device", {}), environment.get("git") or {}
    content = {
        "dlcli.run": run.id,
        "dlcli.version": __version__,
        "dlcli.task": run.experiment().task.name,
        "dlcli.host": status.host,
        "dlcli.parent": status.parent,
        "dlcli.device": f"{device.get('kind', '')} {device.get('name', '')}".strip(),
        "dlcli.data": str(run.data().get("fingerprint", "")),
        "dlcli.test": split_note(run, "test"),
        "git.commit": str(git.get("commit", "")),
        "git.changed": str(git.get("changed", "")),
    }
    return {name: value for name, value in content.items() if value}


def outcome(run: RunFolder) -> dict[str, Any]:
    """Returns how a run ended."""
    status = run.status()
    content = {
        "best_epoch": status.best_epoch,
        "best_value": status.best_value,
        "monitor": status.monitor,
        "test": split_note(run, "test"),
        "reason": status.reason,
        "error": status.error.partition("\n")[0],
    }
    return {name: value for name, value in content.items() if value not in ("", None, 0)}


def files(run: RunFolder, *, model: bool) -> Iterator[tuple[Path, str]]:
    """Yields the files that a tracker stores, each with its folder: nothing huge, and no predictions.

    Of examples it stores only those that the report shows.
    """
    named = [(run.path / name, "") for name in (*FILES, *PAGES)]
    for split in run.scored_splits():
        paths = sorted(run.evaluation(split).iterdir())
        named += [
            (path, f"{layout.EVALUATION}/{split}") for path in paths if path.suffix in _KINDS and path.name not in _OF_EXAMPLES
        ]
    for path, folder in named:
        if _is_file(path) and path.stat().st_size <= _LARGEST:
            yield path, folder
    if model and _is_file(run.model_path):
        yield run.model_path, ""


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
