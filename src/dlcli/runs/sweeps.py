"""The folder of a sweep in a runs folder: where its study is stored, the jobs of its trials, who works on it."""

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
"""Seconds that a process waits for others to take up trials, all of which may begin at the same moment."""


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
        """The study, where nothing else stores it."""
        return self.path / layout.STUDY

    @classmethod
    def make(cls, runs: Path, storage: str) -> SweepFolder:
        """Makes the folder of a new sweep.

        Raises:
            UsageError: the folder cannot be written.
        """
        folder = cls(runs.absolute() / layout.SWEEPS / new_name())
        folder.write(storage)
        return folder

    @classmethod
    def elsewhere(cls, runs: Path, name: str) -> SweepFolder | None:
        """Returns where the folder of a sweep that another machine began will be, before `write` makes it; None where the
        name is no whole id: it may be any path."""
        return cls(runs.absolute() / layout.SWEEPS / name) if _ID.fullmatch(name) else None

    def write(self, storage: str) -> None:
        """Makes the folder. `storage` is written down without a password, which must then be given again.

        Raises:
            UsageError: the folder cannot be written.
            DamagedFile: the folder, or a file in it, is a link to elsewhere.
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
        """Returns where the study is stored, empty for the folder's own file.

        Another place is given by the user: the folder may be somebody else's, and would have this process write to any file
        or talk to any server.

        Raises:
            UsageError: it is elsewhere and is not given.
            DamagedFile: the folder's file cannot be read.
        """
        if not address and self.needs_storage:
            raise UsageError(f"sweep {self.id} is stored at an address with a password: repeat --storage URL")
        if not address and self.kept_storage:
            again = f"--storage {shlex.quote(self.kept_storage)}"
            raise UsageError(f"sweep {self.id} is stored outside its folder: repeat {again}")
        return address

    @property
    def kept_storage(self) -> str:
        """Where the folder says that the study is stored; empty for its own file and for an address with a password.

        Raises:
            DamagedFile: the folder's file cannot be read.
        """
        return str(self._kept()["storage"])

    @property
    def needs_storage(self) -> bool:
        """Whether the address of the study had a password, so that it must be given again.

        Raises:
            DamagedFile: the folder's file cannot be read.
        """
        stored = self._kept()
        return not stored["storage"] and not stored.get("own")

    def _kept(self) -> dict[str, Any]:
        content = read_json(self.path / layout.SWEEP)
        if not isinstance(content, dict) or not isinstance(content.get("storage"), str):
            raise DamagedFile(f"{self.path / layout.SWEEP}: lacks `storage`")
        return content

    @contextmanager
    def working(self) -> Iterator[str]:
        """Yields a name for this process among those that work on the sweep, with its machine's; it is known to be there while
        the block runs."""
        machine = re.sub(r"[^\w-]", "-", socket.gethostname())
        name = f"{machine}-{secrets.token_hex(6)}"
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
        """Keeps other processes from taking up trials while the block runs, once those that do have let it go.

        Raises:
            UsageError: one has held it for a minute.
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
    """Returns the file of a storage that is one, a journal or a SQLite database; None for other addresses."""
    if not storage or ("://" in storage and not storage.startswith(_SQLITE)) or storage.startswith(f"{_SQLITE}file:"):
        return None
    if storage.startswith(_SQLITE):
        return Path(storage.removeprefix(_SQLITE).partition("?")[0]).absolute()
    return Path(storage).absolute()


def from_everywhere(storage: str) -> str:
    """Returns a storage as it is called in every working folder."""
    path = storage_path(storage)
    if path is None or not storage.startswith(_SQLITE):
        return storage if path is None else str(path)
    _, mark, options = storage.partition("?")
    return f"{_SQLITE}{path}{mark}{options}"


def without_password(storage: str) -> str:
    """Returns an address, or a text with one in it, as it may be shown.

    Whatever stands before the last @ may be of a password, which may hold any character. SQLAlchemy's `hide_password` would
    show `p@secret` from the @ on, and passwords that are options (`?password=`), and it takes nothing but a whole address.
    """
    text = re.sub(r"(://[^:/]*):.*@", r"\1:***@", storage, flags=re.DOTALL)
    return re.sub(r"([?&][^=&]*(?:password|passwd|pwd|secret|token)[^=&]*=)[^&]*", r"\1***", text, flags=re.IGNORECASE)


def _has_password(storage: str) -> bool:
    return without_password(storage) != storage


def find_sweep(text: str, runs: Path) -> SweepFolder:
    """Returns the sweep of an id, or the beginning of one; `latest` is the newest.

    Raises:
        UsageError: there is none, or more than one.
        DamagedFile: the folder, or a file in it, is a link to elsewhere.
    """
    folder = own_folder(runs.absolute() / layout.SWEEPS)
    names = sorted(path.name for path in folder.iterdir() if (path / layout.SWEEP).exists()) if folder.is_dir() else []
    matching = names[-1:] if text == "latest" else [name for name in names if name.startswith(text)] if text else []
    if len(matching) != 1:
        listed = ", ".join(names[-5:]) or "none"
        raise UsageError(f"{len(matching) or 'no'} sweeps match {text!r} in {runs}; the latest are {listed}")
    return SweepFolder(own_folder(folder / matching[0], "jobs", "workers"))
