"""`trackers/<kind>.json` of a run: what is kept of a tracker, and `trackers/<kind>.log`: what its process prints."""

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
    """What the run folder keeps of a tracker: the id of its run there, and the last epoch that it was told of."""

    id: str = ""
    epochs: int = 0

    @classmethod
    def read(cls, run: RunFolder, kind: str) -> TrackerFile:
        """Returns what is kept of a tracker; nothing where that cannot be read: it then gets a new run."""
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
    """Returns under which id each kind of tracker knows the run; a file that cannot be read is ignored."""
    ids = {}
    for path in sorted(run.trackers_path.glob(f"*{_ENDING}")):
        with suppress(DlcliError, KeyError, TypeError):
            ids[path.stem] = str(read_json(path)["id"])
    return ids


def tracker_log(run: RunFolder, kind: str) -> Path:
    """Returns the file of what a tracker's process prints."""
    return run.trackers_path / f"{kind}.log"


def _path(run: RunFolder, kind: str) -> Path:
    return run.trackers_path / f"{kind}{_ENDING}"
