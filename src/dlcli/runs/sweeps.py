"""The folder of a sweep in a runs folder: where its study is stored, the jobs of its trials, who works on it."""

from __future__ import annotations

import os
import re
import secrets
import string
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from dlcli.errors import DamagedFile, UsageError
from dlcli.runs.batches import Batch
from dlcli.runs.files import read_json, write_json
from dlcli.runs.hold import held, is_held

FOLDER = ".sweeps"


class SweepFolder:
    """`runs/.sweeps/<id>`: `sweep.json`, `study.db` if nothing else stores the study, `jobs/`, `workers/`, the report.

    Its trials are jobs as those of a batch are, numbered by the study.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.batch = Batch(path)

    @property
    def id(self) -> str:
        """The folder's name, and the study's: time and four letters."""
        return self.path.name

    @property
    def best_path(self) -> Path:
        """The best trial's spec."""
        return self.path / "best.yaml"

    @property
    def page_path(self) -> Path:
        """The report."""
        return self.path / "sweep.html"

    @property
    def table_path(self) -> Path:
        """Every trial with its values."""
        return self.path / "trials.csv"

    @classmethod
    def make(cls, runs: Path, storage: str, name: str = "") -> SweepFolder:
        """Makes the folder of a new sweep, or of one, `name`, that another machine began.

        `storage` is written down without a password, which must then be given again.

        Raises:
            UsageError: the folder cannot be written.
        """
        letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(4))
        path = runs.absolute() / FOLDER / (name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{letters}")
        try:
            (path / "jobs").mkdir(parents=True, exist_ok=True)
            (path / "workers").mkdir(exist_ok=True)
            write_json(path / "sweep.json", {"storage": "" if _has_password(storage) else storage, "own": not storage})
        except OSError as error:
            raise UsageError(f"cannot write to the runs folder {runs}: {error.strerror}; --runs names another") from None
        return cls(path)

    def storage(self, given: str) -> str:
        """Returns where the study is stored, empty for the folder's own file.

        Raises:
            UsageError: it had a password and is not given.
            DamagedFile: the folder's file cannot be read.
        """
        found = read_json(self.path / "sweep.json")
        if not isinstance(found, dict) or not isinstance(found.get("storage"), str):
            raise DamagedFile(f"{self.path / 'sweep.json'}: lacks `storage`")
        if not given and not found["storage"] and not found.get("own"):
            raise UsageError(f"sweep {self.id} is stored under an address with a password: give it again by --storage URL")
        return given or found["storage"]

    @contextmanager
    def working(self) -> Iterator[str]:
        """Yields a name for this process among those that work on the sweep; it is known to be there while the block runs."""
        name = secrets.token_hex(6)
        with held(self._worker_path(name), f"sweep {self.id}"):
            yield name

    def works(self, name: str) -> bool:
        """Whether a process of this folder is at work."""
        return bool(is_held(self._worker_path(name)))

    def is_known(self, name: str) -> bool:
        """Whether a process was one of this folder, and not of another machine's."""
        return self._worker_path(name).exists()

    def others(self, own: str) -> list[str]:
        """Returns the names of the other processes at work."""
        names = [path.stem for path in (self.path / "workers").glob("*.lock")]
        return [name for name in names if name != own and self.works(name)]

    @contextmanager
    def taking_up(self) -> Iterator[None]:
        """Keeps other processes from taking up trials while the block runs."""
        with held(self.path / "taking-up.lock", f"sweep {self.id}"):
            yield

    def _worker_path(self, name: str) -> Path:
        return self.path / "workers" / f"{os.path.basename(name)}.lock"


def without_password(storage: str) -> str:
    """Returns an address as it may be shown."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", storage)


def _has_password(storage: str) -> bool:
    return without_password(storage) != storage


def find_sweep(text: str, runs: Path) -> SweepFolder:
    """Returns the sweep of an id, or the beginning of one; `latest` is the newest.

    Raises:
        UsageError: there is none, or more than one.
    """
    folder = runs.absolute() / FOLDER
    known = sorted(path.name for path in folder.iterdir() if (path / "sweep.json").exists()) if folder.is_dir() else []
    found = known[-1:] if text == "latest" else [name for name in known if name.startswith(text)] if text else []
    if len(found) != 1:
        listed = ", ".join(known[-5:]) or "none"
        raise UsageError(f"{'no' if not found else len(found)} sweep of the id {text!r} in {runs}; the latest are {listed}")
    return SweepFolder(folder / found[0])
