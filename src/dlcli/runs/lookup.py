"""Finds the run that a user's text names: a folder, a name, `name@best`, or a prefix of an id."""

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
    """Returns the sorted entries of a folder without hidden ones; empty if the folder does not exist."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError:
        return []


def find_run(text: str, runs: Path, *, newest: bool = False) -> RunFolder:
    """Returns the run that `text` names; for a name, its latest completed run.

    A name without a completed run means its latest run with a model, or else its latest run.

    Args:
        text: a folder, a name, `name@best`, `name@latest`, or a prefix of an id.
        runs: the runs folder.
        newest: whether a name means its latest run in any state, as for a resume.

    Raises:
        UsageError: no run or several runs match.
    """
    if not text.strip():
        raise UsageError("the name of the run is empty")
    path = Path(text)
    if os.path.lexists(path / STATUS):  # Path.exists raises for a text that is too long
        return RunFolder(path.absolute())
    candidates = list(all_runs(runs))
    name, mark, which = text.partition("@")
    if mark:
        return _marked(name, which, candidates)
    same_name = [run for run in candidates if run.name == text.rstrip("/")]
    if same_name:
        return same_name[-1] if newest else max(enumerate(same_name), key=_use)[1]
    prefix_matches = [run for run in candidates if run.id.startswith(text) or run.path.name.startswith(text)]
    if len(prefix_matches) == 1:
        return prefix_matches[0]
    if prefix_matches:
        listed = ", ".join(run.id for run in prefix_matches[:5])
        raise UsageError(f"{len(prefix_matches)} runs match {text!r}: {listed}{', ...' if len(prefix_matches) > 5 else ''}")
    raise UsageError(_no_run(text, candidates, runs))


def _use(numbered: tuple[int, RunFolder]) -> tuple[bool, bool, int]:
    """Returns the rank of a run for its name: completed runs first, then runs with a model, then later runs."""
    number, run = numbered
    try:
        is_completed = run.status().state == "completed"
    except DlcliError:
        is_completed = False
    return is_completed, run.has_model, number


def parent_of(batch: str, runs: Path) -> RunFolder | None:
    """Returns the run whose results are those of the runs of a batch; None for a batch that stands for itself."""
    for run in all_runs(runs):
        try:
            if run.status().children == batch:
                return run
        except DlcliError:
            continue
    return None


def newer_run(run: RunFolder, text: str, runs: Path) -> RunFolder | None:
    """Returns the latest run of a name if the name means an earlier run; else None."""
    if text.rstrip("/") != run.name:
        return None
    latest = [candidate for candidate in all_runs(runs) if candidate.name == run.name][-1:]
    return latest[0] if latest and latest[0].path != run.path else None


def _marked(name: str, which: str, candidates: list[RunFolder]) -> RunFolder:
    """Returns `name@latest` or `name@best`."""
    same_name = [run for run in candidates if run.name == name]
    if not same_name:
        raise UsageError(f"no run named {name!r}")
    if which == "latest":
        return same_name[-1]
    if which != "best":
        raise UsageError(f"{name}@{which}: expected {name}@best or {name}@latest")
    best = max(same_name, key=_quality)
    if has_quality(best):
        return best
    if any(map(_keeps_last_epoch, same_name)):
        raise UsageError(f"no run of {name!r} is the best: with `monitor: epoch` none has a monitored score; try {name}@latest")
    raise UsageError(f"no run of {name!r} has finished an epoch")


def has_quality(run: RunFolder) -> bool:
    """Whether a run has a monitored score, so that `name@best` may mean it."""
    return _quality(run) > -math.inf


def _keeps_last_epoch(run: RunFolder) -> bool:
    """Whether a run has finished epochs and keeps the last; false if its status cannot be read."""
    from dlcli.spec.training.metrics import LAST_EPOCH

    try:
        status = run.status()
    except DlcliError:
        return False
    return status.monitor == LAST_EPOCH and status.best_value is not None


def _quality(run: RunFolder) -> float:
    """Returns the monitored value of the best epoch, negated if lower is better.

    A run without such a value, or one that cannot be read, has the value minus infinity, so that it never hides others. The
    number of the last epoch is no such value.
    """
    from dlcli.spec.training.metrics import LAST_EPOCH, higher_is_better

    try:
        status, metrics = run.status(), run.experiment().training.metrics
    except DlcliError:
        return -math.inf
    value = status.best_value
    if value is None or status.monitor == LAST_EPOCH:
        return -math.inf
    return value if higher_is_better(status.monitor, list(metrics or [])) else -value


def _no_run(text: str, candidates: list[RunFolder], runs: Path) -> str:
    from difflib import get_close_matches

    if not candidates:
        return (
            f"no run {text!r}: {runs} contains no runs yet; `{command()} train SPEC` starts one, --runs selects another folder"
        )
    names = sorted({run.name for run in candidates})
    suggestions = get_close_matches(text, names, 1)
    guess = f"did you mean {suggestions[0]!r}?" if suggestions else f"names in {runs}: {', '.join(names[:10])}"
    return f"no run {text!r}; {guess}"
