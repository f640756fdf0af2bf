"""The progress and settings of a run for lists, read without validating its whole spec."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

from dlcli.errors import DlcliError
from dlcli.runs.files import read_text
from dlcli.runs.folder import RunFolder, Status
from dlcli.runs.layout import SPEC
from dlcli.spec.document import parse

_SETTING = "# --set "


def epochs_of(run: RunFolder, status: Status) -> str:
    """Returns the epoch and the number of epochs, such as `1 of 30`; for a running run its current epoch."""
    total = status.epochs or (0 if status.children else _planned(run))
    if not total:
        return "-"
    epoch = min(status.epoch + 1, total) if status.state == "running" else status.epoch
    return f"{epoch} of {total}"


def _planned(run: RunFolder) -> int:
    """Returns the epochs of the spec, which the status lacks until the training starts; 0 if they are unknown."""
    try:
        return sum(stage.epochs or 0 for stage in run.experiment().stages)
    except DlcliError:
        return 0


def seconds_of(status: Status) -> float | None:
    """Returns the duration of a run so far in seconds; None if its times are unknown."""
    try:
        end = datetime.fromisoformat(status.finished) if status.finished else datetime.now(UTC)
        return max(0.0, (end - datetime.fromisoformat(status.started)).total_seconds())
    except (ValueError, TypeError):
        return None


def settings_of(run: RunFolder) -> list[str]:
    """Returns the `--set` options that the run was started with, from the end of `source.yaml`."""
    lines = reversed(_text(run.source_path).splitlines())
    last = takewhile(lambda line: line.startswith(_SETTING), lines)
    return [line.removeprefix(_SETTING) for line in last][::-1]


def seed_of(run: RunFolder) -> int | None:
    """Returns the run's seed; None if the spec has none or cannot be read."""
    try:
        seed = parse(_text(run.spec_path), SPEC).data.get("seed")
    except DlcliError:
        return None
    return seed if type(seed) is int else None


def _text(path: Path) -> str:
    """Returns a text file of a run; empty if it cannot be read, which other commands report."""
    try:
        return read_text(path)
    except DlcliError:
        return ""
