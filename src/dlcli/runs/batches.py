"""The durable queue of a batch: a folder in the runs folder with the requested jobs and their states."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from dlcli.errors import DamagedFile, UsageError
from dlcli.runs import layout
from dlcli.runs.contents import Count, as_dataclass
from dlcli.runs.files import new_name, own_folder, read_json, write_json
from dlcli.runs.folder import RunFolder
from dlcli.runs.hold import held
from dlcli.runs.lookup import all_runs

EngineName = Literal["local", "ray", "slurm"]
JobState = Literal["queued", "running", "completed", "failed", "interrupted"]


@dataclass(frozen=True)
class Job:
    """A run that a batch requests. `group` names its spec and settings without the seed; `text` is the text of the spec."""

    number: Count
    name: str
    group: str
    file: str
    text: str
    overrides: list[str]
    seed: int


@dataclass(frozen=True)
class JobStatus:
    """The state of a job. `attempts` counts its starts, `failures` its killed processes; `extra` are overrides that a retry
    added, `reason` is why the job failed; `left` is the id of the run that a retry abandons for a new one."""

    state: JobState = "queued"
    attempts: Count = 0
    failures: Count = 0
    reason: str = ""
    extra: list[str] = field(default_factory=list)
    left: str = ""


@dataclass(frozen=True)
class Settings:
    """The settings of a batch; a resumed batch may have others. `address` is that of a Ray cluster."""

    retries: Annotated[int, Field(ge=0)] = 1
    minutes: Annotated[float, Field(gt=0)] | None = None
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    offline: bool = False
    jobs: Annotated[int, Field(ge=1)] | None = None
    gpus: str = ""
    per_gpu: Annotated[int, Field(ge=1)] = 1
    engine: EngineName = "local"
    address: str = ""


class Batch:
    """A batch's folder: `batch.json` holds the requested jobs, `jobs/<number>.json` the state of each job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        """The folder's name: time and four letters."""
        return self.path.name

    @property
    def runs(self) -> Path:
        """The runs folder."""
        return self.path.parents[1]

    @classmethod
    def create(cls, runs: Path, jobs: list[Job], settings: Settings) -> Batch:
        """Creates a new batch in the runs folder.

        Raises:
            UsageError: the folder cannot be written.
            DamagedFile: the folder is a link.
        """
        path = own_folder(runs.absolute() / layout.BATCHES) / new_name()
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            (temporary / "jobs").mkdir(parents=True)
            write_json(temporary / layout.BATCH, {"settings": asdict(settings), "jobs": [asdict(job) for job in jobs]})
            temporary.rename(path)
        except OSError as error:
            raise UsageError(
                f"cannot write to the runs folder {runs}: {error.strerror}; --runs selects another folder"
            ) from None
        return cls(path)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Holds the batch for this process while the block runs.

        Raises:
            UsageError: another process runs the batch.
        """
        with held(self.path / layout.LOCK, f"batch {self.id}"):
            yield

    def jobs(self) -> list[Job]:
        """Returns the jobs in their order.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        path = self.path / layout.BATCH
        content = read_json(path)
        jobs = content.get("jobs") if isinstance(content, dict) else None
        if not isinstance(jobs, list):
            raise DamagedFile(f"{path}: lacks the list of jobs")
        return [as_dataclass(Job, entry, path, required=set(Job.__dataclass_fields__)) for entry in jobs]

    def settings(self) -> Settings:
        """Returns the settings of the batch.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        path = self.path / layout.BATCH
        settings: Settings = as_dataclass(Settings, read_json(path).get("settings"), path, required=set())
        return settings

    def keep(self, settings: Settings) -> None:
        """Replaces the settings of the batch."""
        path = self.path / layout.BATCH
        write_json(path, read_json(path) | {"settings": asdict(settings)})

    def status(self, job: Job) -> JobStatus:
        """Returns the state of a job.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        path = self._status_path(job)
        if not os.path.lexists(path):
            return JobStatus()
        status: JobStatus = as_dataclass(JobStatus, read_json(path), path, required={"state"})
        return status

    def update(self, job: Job, **changes: Any) -> JobStatus:
        """Changes the state of a job and returns it."""
        status = replace(self.status(job), **changes)
        write_json(self._status_path(job), asdict(status))
        return status

    def queue_failed(self) -> None:
        """Queues every failed job again, without its earlier attempts.

        Raises:
            UsageError: another process runs the batch.
        """
        with self.hold():
            for job in self.jobs():
                if self.status(job).state == "failed":
                    self.update(job, **asdict(JobStatus()))
                    self.task_path(job).unlink(missing_ok=True)  # a task whose end was never recorded

    def tag(self, job: Job) -> str:
        """Returns the text that identifies a job in the status of its runs."""
        return f"{self.id}/{job.number}"

    def runs_of(self, job: Job) -> list[RunFolder]:
        """Returns the runs of a job, the latest last; unreadable runs are ignored."""
        return self.runs_by_job([job]).get(job.number, [])

    def run_of(self, job: Job) -> RunFolder | None:
        """Returns the current run of a job: its latest, unless a retry abandoned that for a new one."""
        return self.current(job, self.runs_of(job))

    def current(self, job: Job, runs: list[RunFolder]) -> RunFolder | None:
        """Returns the current one of a job's runs, given with the latest last."""
        return runs[-1] if runs and runs[-1].id != self.status(job).left else None

    def runs_by_job(self, jobs: list[Job]) -> dict[int, list[RunFolder]]:
        """Returns the runs of jobs by the jobs' numbers, in one pass over the runs folder."""
        numbers = {self.tag(job): job.number for job in jobs}
        names = {job.name for job in jobs}
        by_job: dict[int, list[RunFolder]] = {}
        for run in all_runs(self.runs):
            if run.name not in names:
                continue
            try:
                number = numbers.get(run.status().batch)
            except DamagedFile:
                continue
            if number is not None:
                by_job.setdefault(number, []).append(run)
        return by_job

    def lock_path(self, job: Job) -> Path:
        """Returns the lock of the process that works on a job."""
        return self.path / "jobs" / f"{job.number:04d}.lock"

    def log_path(self, job: Job) -> Path:
        """Returns the file with the output of a job's process."""
        return self.path / "jobs" / f"{job.number:04d}.log"

    def task_path(self, job: Job) -> Path:
        """Returns the file with the number of a job's SLURM task, which exists until the task's end is recorded."""
        return self.path / "jobs" / f"{job.number:04d}.slurm"

    def result_path(self, job: Job) -> Path:
        """Returns the file in which a job's process records how it ended."""
        return self.path / "jobs" / f"{job.number:04d}.result.json"

    def write_result(self, job: Job, kind: str, text: str) -> None:
        """Records how a job's process ended: the kind and the message of its error."""
        write_json(self.result_path(job), {"kind": kind, "text": text})

    def result(self, job: Job) -> tuple[str, str]:
        """Returns the kind and the message of the error of a job's process; both empty if nothing is recorded."""
        try:
            content = read_json(self.result_path(job))
            return str(content["kind"]), str(content["text"])
        except (DamagedFile, KeyError, TypeError):
            return "", ""

    def size_path(self, number: int) -> Path:
        """Returns the file in which the process of a sweep's trial writes the size of its model."""
        return self.path / "jobs" / f"{number:04d}.size.json"

    @property
    def leaderboard_path(self) -> Path:
        """The table of the runs and their scores."""
        return self.path / layout.LEADERBOARD

    @property
    def tasks_path(self) -> Path:
        """The folder of submitit's files, on SLURM."""
        return self.path / "slurm"

    def _status_path(self, job: Job) -> Path:
        return self.path / "jobs" / f"{job.number:04d}.json"


def find_batch(text: str, runs: Path) -> Batch:
    """Returns the batch with an id or a unique prefix of it; `latest` is the newest batch.

    Raises:
        UsageError: no batch or several batches match.
        DamagedFile: the folder, or a file in it, is a link.
    """
    folder = own_folder(runs.absolute() / layout.BATCHES)
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    matching = names[-1:] if text == "latest" else [name for name in names if name.startswith(text)] if text else []
    if len(matching) != 1:
        listed = ", ".join(names[-5:]) or "none"
        raise UsageError(f"{len(matching) or 'no'} batches match {text!r} in {runs}; the latest are {listed}")
    return Batch(own_folder(folder / matching[0], "jobs"))
