"""A sweep's folder and study, without a trial that trains: who may join, what is kept, what is told where it cannot go on."""

from __future__ import annotations

import importlib.util
import shlex
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from conftest import Dlcli

from cli.test_sweep import GRID, write
from dlcli.cli.sweeping import _existing_sweep
from dlcli.errors import RunFailed, UsageError
from dlcli.fleet.batch.active import Fleet
from dlcli.fleet.batch.devices import slots
from dlcli.fleet.batch.engines.local import LocalEngine
from dlcli.runs import RunFolder
from dlcli.runs.folder import Status
from dlcli.runs.sweeps import SweepFolder, absolute_storage, without_password
from dlcli.spec.load import load

pytest.importorskip("optuna", reason="the extra `sweep` is not installed")

import optuna
from optuna.exceptions import StorageInternalError  # they need the extra

from dlcli.fleet.sweep.study import Search, create, open_search, pruner_of, resume_hint
from dlcli.fleet.sweep.sweep import Watcher, Working, run_sweep
from dlcli.fleet.sweep.trials import WORKER, PruningWatch, job_of, objective_values
from dlcli.fleet.sweep.write import write_results

pytestmark = pytest.mark.usefixtures("without_pictures")


def test_epochs_are_told_and_a_poor_run_is_pruned_with_the_reason(tmp_path: Path) -> None:
    path = write(tmp_path, trials=9, epochs=10)
    folder = SweepFolder.make(tmp_path / "runs", str(tmp_path / "journal.log"))
    search = create(folder, str(tmp_path / "journal.log"), load(path))
    search.study.pruner = pruner_of(search)
    run = RunFolder.create(tmp_path / "runs", "small", spec="", source="")
    run.write_status(Status(started="now", epochs=3))

    def followed(values: list[float]) -> tuple[Any, str]:
        trial = search.study.ask()
        following = PruningWatch(search, trial)
        said = ""
        for last in range(1, len(values) + 1):
            run.write_history(
                [{"stage": "train", "epoch": at + 1, "val_accuracy": one} for at, one in enumerate(values[:last])]
            )
            said = said or following.verdict(run)
        return trial, said

    for value in (0.7, 0.8, 0.9, 0.8, 0.9):
        trial, said = followed([value] * 3)
        assert said == ""
        search.study.tell(trial, value)
    assert followed([0.9, 0.9, float("nan")])[1] == ""
    assert followed([0.1])[1] == ""
    trial, said = followed([0.1, 0.2, 0.3])
    assert said == "pruned after epoch 2: val_accuracy 0.2 was worse than others at that epoch"
    assert dict(search.study.trials[trial.number].intermediate_values) == {1: 0.1, 2: 0.2}
    assert followed([0.9, 0.9, 0.1])[1] == "", "a run that is at its end is let end"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:secret@host/sweeps", "postgresql://me:***@host/sweeps"),
        ("postgresql://me:pa/secret@host/sweeps", "postgresql://me:***@host/sweeps"),
        ("postgresql://me:p@secret@host/sweeps", "postgresql://me:***@host/sweeps"),
        ("postgresql://me@host/sweeps?user=me&password=secret", "postgresql://me@host/sweeps?user=me&password=***"),
        (
            "mysql+pymysql://me@host/sweeps?ssl_key_password=secret&a=b",
            "mysql+pymysql://me@host/sweeps?ssl_key_password=***&a=b",
        ),
    ],
)
def test_no_password_is_written_down_or_shown(tmp_path: Path, address: str, shown: str) -> None:
    folder = SweepFolder.make(tmp_path, address)
    assert without_password(address) == shown
    assert "secret" not in "".join(path.read_text() for path in folder.path.rglob("*.json"))
    assert folder.storage(address) == address
    with pytest.raises(Exception, match="repeat --storage URL"):
        folder.storage("")


def test_an_address_without_a_password_is_kept(tmp_path: Path) -> None:
    for address in ("postgresql://me@host:5432/sweeps?sslmode=require", "/shared/journal.log", ""):
        folder = SweepFolder.make(tmp_path, address)
        assert (folder.recorded_storage, folder.needs_storage) == (address, False)


def test_a_storage_outside_the_folder_is_given_again_by_the_user(tmp_path: Path) -> None:
    """The folder may be somebody else's."""
    for address in ("postgresql://me@host:5432/sweeps?a=b", "/shared/my journal.log"):
        folder = SweepFolder.make(tmp_path, address)
        with pytest.raises(UsageError) as caught:
            folder.storage("")
        again = f"repeat --storage {shlex.quote(address)}"
        assert str(caught.value) == f"sweep {folder.id} is stored outside its folder: {again}"
        assert folder.storage(address) == address
        assert resume_hint(folder).endswith(f" --storage {shlex.quote(address)}")
    assert SweepFolder.make(tmp_path, "").storage("") == ""


@pytest.mark.parametrize(
    ("storage", "kept"),
    [
        ("study.log", "{}/study.log"),
        ("sqlite:///x.db?timeout=9", "sqlite:///{}/x.db?timeout=9"),
        ("postgresql://db/x", "postgresql://db/x"),
    ],
)
def test_a_file_is_found_from_every_working_folder(
    storage: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_storage(storage) == kept.format(tmp_path)


def test_a_storage_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    folder = SweepFolder.make(tmp_path / "runs", str(tmp_path / "study.log"))
    with pytest.raises(UsageError, match=r"study\.log does not exist"):
        open_search(folder, folder.recorded_storage)
    assert not (tmp_path / "study.log").exists()


@pytest.mark.filterwarnings("ignore:Query string")  # SQLite takes no password
def test_a_study_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/other.db?password=geheim"
    optuna.create_study(storage=storage, study_name="another")
    folder = SweepFolder.make(tmp_path / "runs", storage)
    with pytest.raises(UsageError) as caught:
        open_search(folder, storage)
    assert "geheim" not in str(caught.value)


def test_joining_what_is_no_sweep_removes_and_writes_nothing(tmp_path: Path, dlcli: Dlcli) -> None:
    folder = SweepFolder.make(tmp_path / "runs", "")
    (folder.path / "study.db").write_text("kept")
    (tmp_path / "runs" / "mine.txt").write_text("kept")

    def contents() -> dict[Path, str]:
        return {path: path.read_text() for path in (tmp_path / "runs").rglob("*") if path.is_file()}

    before = contents()
    for name in (".", "../..", str(folder.path), folder.id, "20200101-000000-abcd"):
        done = dlcli("sweep", "--join", name, "--storage", "wrong.log", "--runs", "runs")
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert contents() == before
    assert [path.name for path in (tmp_path / "runs" / ".sweeps").iterdir()] == [folder.id]


def begun(tmp_path: Path, **settings: Any) -> tuple[SweepFolder, Search]:
    """Returns a sweep with a journal and no trials yet."""
    journal = str(tmp_path / "journal.log")
    folder = SweepFolder.make(tmp_path / "runs", journal)
    return folder, create(folder, journal, load(write(tmp_path, **settings)))


class Given(Fleet):
    """Notes whether it was given up."""

    given_up = False

    def abort(self) -> None:
        self.given_up = True
        super().abort()


@pytest.mark.parametrize("error", [StorageInternalError("the server has gone"), OSError(28, "the server has gone")])
def test_a_storage_that_is_lost_ends_the_trials_and_tells_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder, search = begun(tmp_path, trials=2)

    def lost() -> None:
        raise error

    monkeypatch.setattr(search.study, "ask", lost)
    fleet = Given(LocalEngine(), slots(1, "none", 1))
    with pytest.raises(RunFailed, match=f"the server has gone; to resume: dlcli sweep --resume {folder.id} --runs "):
        run_sweep(folder, search, Working("me", fleet), Watcher())
    assert fleet.given_up


def test_a_grid_whose_making_was_cut_off_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(self: Any, point: Any) -> None:
        raise KeyboardInterrupt

    (tmp_path / "grid.yaml").write_text(GRID.replace(", 500.0", ""))
    journal = str(tmp_path / "journal.log")
    folder = SweepFolder.make(tmp_path / "runs", journal)
    monkeypatch.setattr("optuna.Study.enqueue_trial", cut_off)
    with pytest.raises(KeyboardInterrupt):
        create(folder, journal, load(tmp_path / "grid.yaml"))
    with pytest.raises(UsageError, match="if its creation was interrupted, start a new sweep"):
        open_search(folder, journal)


def test_processes_that_join_at_the_same_moment_wait_for_each_other(tmp_path: Path) -> None:
    folder, others = SweepFolder.make(tmp_path, ""), Event()
    left: list[bool] = []

    def take_up() -> None:
        with folder.claiming_trials():
            others.set()
            time.sleep(0.5)
            left.append(True)

    thread = Thread(target=take_up)
    thread.start()
    assert others.wait(60)
    with folder.claiming_trials():
        assert left, "the first one still claims trials"
    thread.join()


def test_the_end_tells_of_trials_of_other_machines_and_leaves_no_best_that_is_none(tmp_path: Path) -> None:
    folder, search = begun(tmp_path, trials=1)
    folder.best_path.write_text("name: of an earlier call\n")
    search.study.ask().set_user_attr(WORKER, "far-1-0a1b2c")
    results = write_results(folder, search)
    assert (results.best, folder.best_path.exists(), results.go_on) == (None, False, "")
    assert results.notes == [
        "trial 0 is with far-1-0a1b2c, a process with another runs folder; if it has ended,"
        f" `dlcli sweep --resume {folder.id}` on far-1 resumes the trial"
    ]


def test_a_run_that_kept_the_weights_it_began_with_is_scored_by_them(tmp_path: Path) -> None:
    folder, search = begun(tmp_path, trials=1)
    run = RunFolder.create(tmp_path / "runs", "small", spec="", source="")
    run.write_status(Status(started="now", best_epoch=0, best_value=0.9, monitor="val_accuracy"))
    run.write_history([{"stage": "train", "epoch": 1, "val_accuracy": 0.4}])
    assert objective_values(search, folder.batch, job_of(search, search.study.ask()), run) == [0.9]
    run.update_status(best_epoch=1, best_value=0.4)
    assert objective_values(search, folder.batch, job_of(search, search.study.ask()), run) == [0.4]


def test_a_machine_without_what_the_sampler_needs_does_not_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = begun(tmp_path, trials=1, sampler="cma-es")
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "cmaes" else there(name))
    with pytest.raises(UsageError, match="the sampler cma-es needs the package cmaes"):
        _existing_sweep("", folder.id, folder.recorded_storage, None, tmp_path / "runs")
