"""From what a user types to a run: a folder, a name, `name@best`, or the beginning of an id."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from dlcli.errors import DlcliError, UsageError
from dlcli.program import command
from dlcli.runs.folder import RunFolder
from dlcli.runs.layout import STATUS


def all_runs(runs: Path) -> Iterator[RunFolder]:
    """Yields every run below the runs folder, by name and time."""
    for name in _visible(runs):
        for path in _visible(name):
            if os.path.lexists(path / STATUS):
                yield RunFolder(path.absolute())


def _visible(folder: Path) -> list[Path]:
    """Returns what is in a folder but for hidden entries, sorted; nothing of one that has gone, or is none."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError:
        return []


def find_run(text: str, runs: Path, *, newest: bool = False) -> RunFolder:
    """Returns the run that `text` names: of a name, its latest completed run.

    Where a name has no completed run, it stands for its latest run with a model, and without one for its latest run.

    Args:
        text: a folder, a name, `name@best`, `name@latest`, or the beginning of an id.
        runs: the runs folder.
        newest: whether a name stands for its latest run in any state, as for a resume.

    Raises:
        UsageError: there is none, or more than one id begins so.
    """
    if not text.strip():
        raise UsageError("the name of the run is empty")
    path = Path(text)
    if os.path.lexists(path / STATUS):  # Path's own test raises where the text is too long
        return RunFolder(path.absolute())
    candidates = list(all_runs(runs))
    name, at, which = text.partition("@")
    if at:
        return _marked(name, which, candidates)
    named = [run for run in candidates if run.name == text.rstrip("/")]
    if named:
        return named[-1] if newest else max(enumerate(named), key=_use)[1]
    begun = [run for run in candidates if run.id.startswith(text) or run.path.name.startswith(text)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        listed = ", ".join(run.id for run in begun[:5])
        raise UsageError(f"{len(begun)} runs match {text!r}: {listed}{', ...' if len(begun) > 5 else ''}")
    raise UsageError(_no_run(text, candidates, runs))


def _use(numbered: tuple[int, RunFolder]) -> tuple[bool, bool, int]:
    """Returns how well a run stands for its name: a completed one first, then one with a model, then the latest."""
    number, run = numbered
    try:
        is_completed = run.status().state == "completed"
    except DlcliError:
        is_completed = False
    return is_completed, run.has_model, number


def newer_run(run: RunFolder, text: str, runs: Path) -> RunFolder | None:
    """Returns the latest run of a name, where the name stands for an earlier one."""
    if text.rstrip("/") != run.name:
        return None
    latest = [other for other in all_runs(runs) if other.name == run.name][-1:]
    return latest[0] if latest and latest[0].path != run.path else None


def _marked(name: str, which: str, candidates: list[RunFolder]) -> RunFolder:
    """Returns `name@latest` or `name@best`."""
    named = [run for run in candidates if run.name == name]
    if not named:
        raise UsageError(f"no run named {name!r}")
    if which == "latest":
        return named[-1]
    if which != "best":
        raise UsageError(f"{name}@{which}: expected {name}@best or {name}@latest")
    best = max(named, key=_quality)
    if _quality(best) == -math.inf:
        raise UsageError(f"no run of {name!r} has finished an epoch")
    return best


def _quality(run: RunFolder) -> float:
    """Returns the monitored value of the best epoch, with its sign turned where lower is better.

    The least number stands for a run that has none, or that cannot be read: it does not hide the others.
    """
    from dlcli.spec.training.metrics import higher_is_better

    try:
        status, metrics = run.status(), run.experiment().training.metrics
    except DlcliError:
        return -math.inf
    value = status.best_value
    if value is None:
        return -math.inf
    return value if higher_is_better(status.monitor, list(metrics or [])) else -value


def _no_run(text: str, candidates: list[RunFolder], runs: Path) -> str:
    from difflib import get_close_matches

    if not candidates:
        return (
            f"no run {text!r}: {runs} contains no runs yet; `{command()} train SPEC` starts one, --runs selects another folder"
        )
    names = sorted({run.name for run in candidates})
    near = get_close_matches(text, names, 1)
    guess = f"did you mean {near[0]!r}?" if near else f"names in {runs}: {', '.join(names[:10])}"
    return f"no run {text!r}; {guess}"
