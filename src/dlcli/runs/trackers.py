"""`trackers/<kind>.json` of a run, the state of a tracker, and `trackers/<kind>.log`, the output of its process."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from dlcli.errors import DlcliError
from dlcli.runs.files import read_json, write_json
from dlcli.runs.folder import RunFolder

_ENDING = ".json"


@dataclass(frozen=True)
class TrackerFile:
    """The state of a tracker in the run folder: the id of its run there, and the last epoch that was sent to it."""

    id: str = ""
    epochs: int = 0

    @classmethod
    def read(cls, run: RunFolder, kind: str) -> TrackerFile:
        """Returns the state of a tracker; an empty state if the file cannot be read: the tracker then gets a new run."""
        path = _path(run, kind)
        if not os.path.lexists(path):
            return cls()
        try:
            content = read_json(path)
            return cls(str(content["id"]), int(content["epochs"]))
        except (DlcliError, KeyError, TypeError, ValueError):
            return cls()

    def write(self, run: RunFolder, kind: str) -> None:
        """Replaces the file."""
        write_json(_path(run, kind), asdict(self))


def tracker_ids(run: RunFolder) -> dict[str, str]:
    """Returns the id of the run in each kind of tracker; unreadable files are ignored."""
    ids = {}
    for path in sorted(run.trackers_path.glob(f"*{_ENDING}")):
        with suppress(DlcliError, KeyError, TypeError):
            ids[path.stem] = str(read_json(path)["id"])
    return ids


def tracker_log(run: RunFolder, kind: str) -> Path:
    """Returns the file with the output of a tracker's process."""
    return run.trackers_path / f"{kind}.log"


def _path(run: RunFolder, kind: str) -> Path:
    return run.trackers_path / f"{kind}{_ENDING}"
