"""The folder of a run, with its files and their content."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from dlcli.errors import DamagedFile, UsageError
from dlcli.runs.checkpoints import checkpoint_files
from dlcli.runs.contents import (
    CalibrationFile,
    Count,
    DataFile,
    EnvironmentFile,
    MetricsFile,
    StagesFile,
    VocabularyFile,
    as_dataclass,
)
from dlcli.runs.files import append_line, new_name, read_json, read_table, replacing, write_json, write_table, write_text
from dlcli.runs.history import History
from dlcli.runs.hold import held, is_held
from dlcli.runs.layout import EVALUATION, METRICS, OTHER_DATA, OUT_OF_FOLD, RunPaths
from dlcli.runs.split_groups import GROUP, recorded_groups
from dlcli.spec.data.sources.part_names import SPLITS
from dlcli.spec.experiment import Experiment

REVISION = 2
"""The revision of training behaviour beyond the fields of a spec. New runs record it; docs/design.md lists all revisions."""
State = Literal["running", "completed", "failed", "interrupted"]


@dataclass(frozen=True)
class Status:
    """`status.json`: the state of the run. Times are UTC, ISO 8601. `step` counts all steps of the run, `resumed` how often
    it was resumed; `children` is the batch whose runs are the folds, or the fractions of the data, of this run."""

    state: State = "running"
    stage: str = "train"
    epoch: Count = 0
    epochs: Count = 0
    step: Count = 0
    pid: Annotated[int, Field(ge=1, lt=2**31)] = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    process_started: str = ""
    started: str = ""
    first_step: str = ""
    finished: str = ""
    best_epoch: Count = 0
    best_value: Annotated[float, Field(allow_inf_nan=False)] | None = None
    best_stage: str = ""
    monitor: str = ""
    reason: str = ""
    parent: str = ""
    batch: str = ""
    children: str = ""
    resumed: int = 0
    error: str = ""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_only_a_number(pid)


def _is_only_a_number(pid: int) -> bool:
    """Whether a process is a zombie: it has ended, but its parent has not read its exit code, so its number is in use."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def now() -> str:
    """Returns the time in UTC as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class RunFolder(RunPaths):
    """A run folder that exists."""

    @classmethod
    def create(cls, runs: Path, name: str, *, spec: str, source: str, batch: str = "", children: str = "") -> RunFolder:
        """Creates a folder `runs/<name>/<UTC time>-<4 letters>` with the resolved and the original spec.

        `batch` names the job of a batch that the run belongs to, `children` the batch whose runs belong to the run.

        Raises:
            UsageError: the folder cannot be written.
        """
        for _ in range(10):
            path = runs / name / new_name()
            temporary = path.with_name(f".{path.name}.tmp")
            try:
                temporary.mkdir(parents=True)
                run = cls(temporary)
                run.write_spec(spec)
                write_text(run.source_path, source)
                run.write_status(Status(started=now(), batch=batch, children=children))
                temporary.rename(path)
                return cls(path.absolute())
            except FileExistsError:
                continue
            except OSError as error:
                raise UsageError(
                    f"cannot write to the runs folder {runs}: {error.strerror}; --runs selects another folder"
                ) from None
        raise UsageError(f"no free name for a run in {runs / name}")

    @property
    def id(self) -> str:
        """`name/time-letters`: the name of the run in commands."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def has_generated_name(self) -> bool:
        """Whether the folder has a name that dlcli generates for a run."""
        return re.fullmatch(r"\d{8}-\d{6}-[a-z]{4}", self.path.name) is not None

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.path.parent.name

    @property
    def has_model(self) -> bool:
        """Whether there is a model, or anything at its path, which is refused on loading."""
        return os.path.lexists(self.model_path)

    def refuse_missing_model(self) -> None:
        """Raises UsageError if there is no model yet."""
        if not self.has_model:
            raise UsageError(self.reason_without_model())

    def reason_without_model(self) -> str:
        """Returns why there is no model, or not yet."""
        status = self.status()
        if status.children and status.state == "completed":
            return f"{self.id} has no model: its results are those of the runs of batch {status.children}"
        if status.children:
            return f"{self.id} has no model: not all runs of batch {status.children} are completed"
        return f"{self.id} has no model: it has not finished an epoch"

    @property
    def shown_state(self) -> str:
        """The state for lists: `dead` is a running run whose process has ended."""
        status = self.status()
        if status.state != "running":
            return status.state
        holds = is_held(self.lock_path)
        if holds is None:  # without a lock, a process with this number on this machine counts as the run's
            holds = status.host == socket.gethostname() and _is_alive(status.pid)
        return "running" if holds else "dead"

    def remove_half_written(self) -> None:
        """Removes the temporary files of a killed process."""
        for path in self.path.rglob(".*.tmp*"):
            if path.is_file() and not path.is_symlink():
                path.unlink(missing_ok=True)

    @property
    def is_resumable(self) -> bool:
        """Whether the run ended early and has a checkpoint, or runs of its own, to resume from."""
        if self.shown_state not in ("interrupted", "dead", "failed"):
            return False
        return bool(self.status().children or checkpoint_files(self.checkpoints_path))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Holds the run for this process while the block runs: no other process may write it.

        Raises:
            UsageError: another process holds the run.
        """
        with held(self.lock_path, self.id):
            yield

    def experiment(self) -> Experiment:
        """Returns the resolved experiment.

        Raises:
            SpecError: the run's spec was changed and is no longer valid.
        """
        from dlcli.spec.load import load_resolved

        return load_resolved(self.spec_path)

    def write_spec(self, text: str) -> None:
        """Replaces `spec.yaml`, the resolved spec."""
        write_text(self.spec_path, text)

    def status(self) -> Status:
        """Returns the status of the run; unknown fields of other versions are ignored.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        path = self.status_path
        status: Status = as_dataclass(Status, read_json(path), path, required={"state", "started", "pid", "host"})
        return status

    def write_status(self, status: Status) -> None:
        """Replaces `status.json`."""
        write_json(self.status_path, asdict(status))

    def update_status(self, **changes: Any) -> None:
        """Changes some fields of `status.json`."""
        self.write_status(replace(self.status(), **changes))

    def data(self) -> dict[str, Any]:
        """Returns `data.json`: classes, counts, shapes, fingerprint; empty before the data was opened.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        return _read(self.data_path, DataFile)

    def write_data(self, data: dict[str, Any]) -> None:
        """Replaces `data.json`."""
        DataFile.of(data).write(self.data_path)

    def vocabularies(self) -> dict[str, tuple[str, ...]]:
        """Returns `vocabulary.json`: the tokens of each column of texts, in the order of their numbers; empty without texts.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        path = self.vocabulary_path
        content = VocabularyFile.read(path).content() if os.path.lexists(path) else {}
        return {name: tuple(tokens) for name, tokens in content.items()}

    def write_vocabularies(self, tokens: Mapping[str, Sequence[str]]) -> None:
        """Replaces `vocabulary.json`."""
        VocabularyFile.of({name: list(of_column) for name, of_column in tokens.items()}).write(self.vocabulary_path)

    def environment(self) -> dict[str, Any]:
        """Returns `environment.json`: versions, devices, precision, commit, command line; empty before the run has started.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        return _read(self.environment_path, EnvironmentFile)

    def write_environment(self, data: dict[str, Any]) -> None:
        """Replaces `environment.json`."""
        EnvironmentFile.of(data).write(self.environment_path)

    def revision(self) -> int:
        """Returns the revision of dlcli's behaviour that the run was started with and keeps when it is resumed.

        It is 1 if `environment.json` names none, and the newest revision before the run has started.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        environment = self.environment()
        return int(environment.get("revision", 1)) if environment else REVISION

    def split(self) -> dict[str, str]:
        """Returns the split of each example by its id: train, validation or test.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        path = self.split_path
        rows = read_table(path)
        if not rows or not {"id", "split"} <= rows[0].keys():
            raise DamagedFile(f"{path}: needs the columns id and split, and rows")
        unknown_split = next((row["split"] for row in rows if row["split"] not in SPLITS), None)
        if unknown_split is not None:
            raise DamagedFile(f"{path}: has the unknown split {unknown_split[:40]!r}; splits are {', '.join(SPLITS)}")
        return {row["id"]: row["split"] for row in rows}

    def groups(self) -> dict[str, str]:
        """Returns the group of each example by its id; empty where the examples were not split by groups.

        Raises:
            DamagedFile: the file cannot be read.
        """
        return recorded_groups(self.split_path)

    def write_split(self, ids_by_split: Mapping[str, Sequence[str]], groups: Mapping[str, str] | None = None) -> None:
        """Replaces `split.csv` by the ids of each split, with the group of each id where there are groups."""
        rows = ((example, split_name) for split_name, split_ids in ids_by_split.items() for example in split_ids)
        if groups:
            write_table(self.split_path, ("id", "split", GROUP), ((*row, groups.get(row[0], row[0])) for row in rows))
        else:
            write_table(self.split_path, ("id", "split"), rows)

    @property
    def history_file(self) -> History:
        """The reader and writer of `history.csv`."""
        return History(self.history_path)

    def history(self) -> list[dict[str, str]]:
        """Returns the rows of `history.csv`, one per epoch; empty before the first epoch.

        Raises:
            DamagedFile: the file cannot be read, or contains cells that are not numbers.
        """
        return self.history_file.rows()

    def write_history(self, rows: list[dict[str, Any]]) -> None:
        """Replaces `history.csv`."""
        self.history_file.replace(rows)

    def stages(self) -> list[dict[str, Any]]:
        """Returns `stages.json`: the training, verification and best epoch of each stage; empty before the first stage.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        path = self.stages_path
        return list(StagesFile.read(path).content()) if os.path.lexists(path) else []

    def write_stages(self, stages: list[dict[str, Any]]) -> None:
        """Replaces `stages.json`."""
        StagesFile.of(stages).write(self.stages_path)

    def metrics(self, split: str = "test") -> dict[str, Any]:
        """Returns `metrics.json` of one split; empty if it was not scored.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        return _read(self.evaluation(split) / METRICS, MetricsFile)

    def scored_splits(self) -> list[str]:
        """Returns the scored splits, test first, then the out-of-fold scores of a cross-validation, other data last."""
        folders = self.evaluation_path.glob(f"{OTHER_DATA}*")
        others = sorted(folder.name for folder in folders if folder.is_dir())
        others = [name for name in others if re.fullmatch(OTHER_DATA + r"[a-z0-9-]+", name)]
        splits = ["test", OUT_OF_FOLD, "train", "validation", *others]
        return [split for split in splits if os.path.lexists(self.evaluation(split) / METRICS)]

    def temperature(self) -> float | None:
        """Returns the temperature of `calibration.json`; None if none was fitted.

        Raises:
            DamagedFile: the file cannot be read, or has invalid content.
        """
        calibration = _read(self.calibration_path, CalibrationFile)
        return float(calibration["temperature"]) if calibration else None

    def write_temperature(self, temperature: float, split: str, examples: int) -> None:
        """Replaces `calibration.json`: the temperature, and the split that it was fitted on."""
        data = {"temperature": temperature, "split": split, "examples": examples}
        CalibrationFile.of(data).write(self.calibration_path)

    def save_model(self, model: Any) -> None:
        """Replaces `model.keras` by an uncompiled model, which plain Keras can load, and removes scores of the earlier one."""
        from dlcli.runtime.keras_file import save_keras_file

        with replacing(self.model_path) as temporary:
            save_keras_file(model, temporary)
        shutil.rmtree(self.path / EVALUATION, ignore_errors=True)
        self.calibration_path.unlink(missing_ok=True)

    def log(self, line: str) -> None:
        """Adds a line to `log.txt`."""
        append_line(self.log_path, f"{now()} {line}")


def _read(path: Path, content: Any) -> dict[str, Any]:
    return dict(content.read(path).content()) if os.path.lexists(path) else {}
