"""How far a run is and what was asked of it, as lists show it, without reading its whole spec."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from dlcli.errors import DlcliError
from dlcli.runs.files import read_text
from dlcli.runs.folder import Run, Status

_SETTING = "# --set "
_SEED = re.compile(r"^seed: *([0-9]{1,18}) *$", re.MULTILINE)


def epochs_of(run: Run, status: Status) -> str:
    """Returns the epoch and how many there are: of a run that is training the epoch that it is in, `1 of 30` at first."""
    total = status.epochs or _planned(run)
    if not total:
        return "-"
    epoch = min(status.epoch + 1, total) if status.state == "running" else status.epoch
    return f"{epoch} of {total}"


def _planned(run: Run) -> int:
    """Returns the epochs of the spec, which the status lacks until the training begins; 0 where they are not known."""
    try:
        return sum(stage.epochs or 0 for stage in run.experiment().stages)
    except DlcliError:
        return 0


def seconds_of(status: Status) -> float | None:
    """Returns how long a run took, or has taken so far; None where its times are not known."""
    try:
        end = datetime.fromisoformat(status.finished) if status.finished else datetime.now(UTC)
        return max(0.0, (end - datetime.fromisoformat(status.started)).total_seconds())
    except (ValueError, TypeError):
        return None


def settings_of(run: Run) -> list[str]:
    """Returns the `--set` options that the run was begun with, as `source.yaml` keeps them at its end."""
    lines = reversed(_text(run, "source.yaml").splitlines())
    found = []
    for line in lines:
        if not line.startswith(_SETTING):
            break
        found.append(line.removeprefix(_SETTING))
    return found[::-1]


def seed_of(run: Run) -> int | None:
    """Returns the run's seed; None where the spec does not say it."""
    found = _SEED.search(_text(run, "spec.yaml"))
    return int(found[1]) if found else None


def _text(run: Run, name: str) -> str:
    """Returns a file of the run; nothing of one that cannot be read, which other commands name."""
    try:
        return read_text(run.path / name)
    except DlcliError:
        return ""
