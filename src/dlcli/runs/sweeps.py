"""The folder of a sweep in a runs folder: the storage of its study, the jobs of its trials, its worker processes."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from dlcli.errors import DamagedFile, UsageError
from dlcli.runs import layout
from dlcli.runs.batches import Batch
from dlcli.runs.files import new_name, own_folder, read_json, write_json
from dlcli.runs.hold import held, is_held

_ID = re.compile(r"\d{8}-\d{6}-[a-z]{4}")
_PATIENCE = 60.0
"""Seconds that a process waits while other processes claim trials; all may start at the same moment."""


class SweepFolder:
    """`runs/.sweeps/<id>`: `sweep.json`, `study.db` if nothing else stores the study, `jobs/`, `workers/`, the report.

    Its trials are jobs like those of a batch, numbered by the study.
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
        return self.path / layout.BEST_SPEC

    @property
    def page_path(self) -> Path:
        """The report."""
        return self.path / layout.SWEEP_PAGE

    @property
    def table_path(self) -> Path:
        """Every trial with its values."""
        return self.path / layout.TRIALS

    @property
    def study_path(self) -> Path:
        """The study, if it is stored in the folder."""
        return self.path / layout.STUDY

    @classmethod
    def make(cls, runs: Path, storage: str) -> SweepFolder:
        """Creates the folder of a new sweep.

        Raises:
            UsageError: the folder cannot be written.
        """
        folder = cls(runs.absolute() / layout.SWEEPS / new_name())
        folder.write(storage)
        return folder

    @classmethod
    def elsewhere(cls, runs: Path, name: str) -> SweepFolder | None:
        """Returns the folder, yet to be created by `write`, of a sweep that another machine started; None if the name is not
        a complete id, since it could be any path."""
        return cls(runs.absolute() / layout.SWEEPS / name) if _ID.fullmatch(name) else None

    def write(self, storage: str) -> None:
        """Creates the folder. An address of the storage with a password is not recorded; the user must then repeat it.

        Raises:
            UsageError: the folder cannot be written.
            DamagedFile: the folder, or a file in it, is a link.
        """
        own_folder(self.path.parent)
        own_folder(self.path, "jobs", "workers")
        try:
            (self.path / "jobs").mkdir(parents=True, exist_ok=True)
            (self.path / "workers").mkdir(exist_ok=True)
            write_json(self.path / layout.SWEEP, {"storage": "" if _has_password(storage) else storage, "own": not storage})
        except OSError as error:
            runs = self.path.parent.parent
            raise UsageError(
                f"cannot write to the runs folder {runs}: {error.strerror}; --runs selects another folder"
            ) from None

    def storage(self, address: str) -> str:
        """Returns the storage of the study; empty for the folder's own file.

        Any other storage must come from the user: the folder may belong to someone else and could make this process write to
        any file or connect to any server.

        Raises:
            UsageError: the study is stored elsewhere and `address` is empty.
            DamagedFile: the folder's file cannot be read.
        """
        if not address and self.needs_storage:
            raise UsageError(f"sweep {self.id} is stored at an address with a password: repeat --storage URL")
        if not address and self.recorded_storage:
            again = f"--storage {shlex.quote(self.recorded_storage)}"
            raise UsageError(f"sweep {self.id} is stored outside its folder: repeat {again}")
        return address

    @property
    def recorded_storage(self) -> str:
        """The storage that the folder records; empty for its own file and for an address with a password.

        Raises:
            DamagedFile: the folder's file cannot be read.
        """
        return str(self._content()["storage"])

    @property
    def needs_storage(self) -> bool:
        """Whether the address of the study had a password, so that the user must repeat it.

        Raises:
            DamagedFile: the folder's file cannot be read.
        """
        stored = self._content()
        return not stored["storage"] and not stored.get("own")

    def _content(self) -> dict[str, Any]:
        content = read_json(self.path / layout.SWEEP)
        if not isinstance(content, dict) or not isinstance(content.get("storage"), str):
            raise DamagedFile(f"{self.path / layout.SWEEP}: lacks `storage`")
        return content

    @contextmanager
    def working(self) -> Iterator[str]:
        """Yields a name for this process with that of its machine; the process counts as a worker of the sweep while the block
        runs."""
        machine = re.sub(r"[^\w-]", "-", socket.gethostname())
        name = f"{machine}-{secrets.token_hex(6)}"
        with held(self._worker_path(name), f"sweep {self.id}"):
            yield name

    def works(self, name: str) -> bool:
        """Whether a worker of this folder is running."""
        return bool(is_held(self._worker_path(name)))

    def is_known(self, name: str) -> bool:
        """Whether a process is or was a worker of this folder, not of a folder on another machine."""
        return self._worker_path(name).exists()

    def others(self, own: str) -> list[str]:
        """Returns the names of the other running workers."""
        names = [path.stem for path in (self.path / "workers").glob("*.lock")]
        return [name for name in names if name != own and self.works(name)]

    @contextmanager
    def claiming_trials(self) -> Iterator[None]:
        """Prevents other processes from claiming trials while the block runs, after waiting for those that do.

        Raises:
            UsageError: another process has held the lock for a minute.
        """
        end = monotonic() + _PATIENCE
        while True:
            with ExitStack() as stack:
                try:
                    stack.enter_context(held(self.path / "taking-up.lock", f"sweep {self.id}"))
                except UsageError:
                    if monotonic() > end:
                        raise
                    sleep(0.1)
                    continue
                yield
                return

    def _worker_path(self, name: str) -> Path:
        return self.path / "workers" / f"{os.path.basename(name)}.lock"


_SQLITE = "sqlite:///"


def storage_path(storage: str) -> Path | None:
    """Returns the file of a storage that is a journal or a SQLite database; None for other addresses."""
    if not storage or ("://" in storage and not storage.startswith(_SQLITE)) or storage.startswith(f"{_SQLITE}file:"):
        return None
    if storage.startswith(_SQLITE):
        return Path(storage.removeprefix(_SQLITE).partition("?")[0]).absolute()
    return Path(storage).absolute()


def absolute_storage(storage: str) -> str:
    """Returns a storage with an absolute path, valid in every working folder."""
    path = storage_path(storage)
    if path is None or not storage.startswith(_SQLITE):
        return storage if path is None else str(path)
    _, mark, options = storage.partition("?")
    return f"{_SQLITE}{path}{mark}{options}"


def without_password(storage: str) -> str:
    """Returns an address, or a text that contains one, with passwords masked.

    Everything before the last @ may belong to a password, which may contain any character. SQLAlchemy's `hide_password` would
    show `p@secret` from the @ on, and passwords in options (`?password=`), and it takes a single whole address only.
    """
    text = re.sub(r"(://[^:/]*):.*@", r"\1:***@", storage, flags=re.DOTALL)
    return re.sub(r"([?&][^=&]*(?:password|passwd|pwd|secret|token)[^=&]*=)[^&]*", r"\1***", text, flags=re.IGNORECASE)


def _has_password(storage: str) -> bool:
    return without_password(storage) != storage


def find_sweep(text: str, runs: Path) -> SweepFolder:
    """Returns the sweep with an id or a unique prefix of it; `latest` is the newest sweep.

    Raises:
        UsageError: no sweep or several sweeps match.
        DamagedFile: the folder, or a file in it, is a link.
    """
    folder = own_folder(runs.absolute() / layout.SWEEPS)
    names = sorted(path.name for path in folder.iterdir() if (path / layout.SWEEP).exists()) if folder.is_dir() else []
    matching = names[-1:] if text == "latest" else [name for name in names if name.startswith(text)] if text else []
    if len(matching) != 1:
        listed = ", ".join(names[-5:]) or "none"
        raise UsageError(f"{len(matching) or 'no'} sweeps match {text!r} in {runs}; the latest are {listed}")
    return SweepFolder(own_folder(folder / matching[0], "jobs", "workers"))
