"""`dlcli sweep` in real processes: the best spec, what is skipped, kills, several processes on one study."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from conftest import REPOSITORY, Dlcli

from cli.killing import CLOCKS, started, wait_for
from dlcli.cli.sweeping import _found
from dlcli.errors import RunFailed, UsageError
from dlcli.runs import Run, all_runs
from dlcli.runs.folder import Status
from dlcli.runs.sweeps import SweepFolder, find_sweep, without_password
from dlcli.spec.file import load, load_text
from dlcli.stages.batch.active import Fleet
from dlcli.stages.batch.devices import slots
from dlcli.stages.batch.engines.local import LocalEngine

pytest.importorskip("optuna", reason="the extra `sweep` is not installed")

from optuna.exceptions import StorageInternalError  # they need the extra

from dlcli.stages.sweep.study import Search, create, open_search, pruner_of
from dlcli.stages.sweep.sweep import Watcher, Working, run_sweep
from dlcli.stages.sweep.trials import WORKER, Following, job_of, objective_values
from dlcli.stages.sweep.write import write_results

SPEC = """\
name: small
task: classification
data: {{source: {{kind: builtin, name: iris}}, batch_size: 16}}
model: {{kind: mlp, units: [8]}}
training: {{epochs: {epochs}, optimizer: {{kind: sgd, learning_rate: 0.05}}}}
sweep:
  trials: {trials}
  objective: val_accuracy
  sampler: {sampler}
{more}  space:
    training.optimizer.learning_rate: {{log: [1e-3, 0.5]}}
    model.units: {{count: [1, 2], of: {{int: [4, 32], step: 4}}}}
"""
GRID = """\
name: small
task: classification
data: {source: {kind: builtin, name: iris}, batch_size: 16}
model: {kind: mlp, units: [8]}
training: {epochs: 2, optimizer: {kind: sgd, learning_rate: 0.05}}
sweep:
  trials: 4
  objective: [val_accuracy, parameters]
  sampler: grid
  max_parameters: 1000
  space:
    model.units.0: {choice: [8, 500, 500.0]}
    model.dropout: {choice: [0.0, 0.1], when: {model.units.0: 8}}
"""


def write(folder: Path, *, trials: int, epochs: int = 3, sampler: str = "tpe", more: str = "") -> Path:
    path = folder / "small.yaml"
    path.write_text(SPEC.format(trials=trials, epochs=epochs, sampler=sampler, more=more))
    return path


def trials_of(folder: Path, runs: str = "runs") -> list[dict[str, str]]:
    """Returns the rows of a sweep's table."""
    with find_sweep("latest", folder / runs).table_path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def history(run: Run) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in run.history()]


def states(folder: Path) -> Counter[str]:
    return Counter(run.shown_state for run in all_runs(folder / "runs"))


def refuse_lost_or_doubled(folder: Path, trials: int) -> None:
    rows = trials_of(folder)
    assert [int(row["trial"]) for row in rows] == list(range(trials))
    assert {row["state"] for row in rows} <= {"completed", "pruned", "skipped"}
    runs = Counter(run.status().batch for run in all_runs(folder / "runs"))
    assert set(runs.values()) == {1}, runs
    trained = [row for row in rows if row["run"]]
    assert len(runs) == len({row["run"] for row in trained}) == len(trained)


def test_the_best_trial_is_an_ordinary_spec_that_gives_its_bits_again(tmp_path: Path, dlcli: Dlcli) -> None:
    write(tmp_path, trials=2)
    done = dlcli("sweep", "small.yaml", "--runs", "runs", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["state"] for row in found["trials"]] == ["completed"] * 2
    best = max(found["trials"], key=lambda row: row["values"][0])
    assert found["best"] == [best["number"]]
    run = Run(tmp_path / "runs" / found["best_run"])
    rows = {int(row["epoch"]): row for row in run.history()}
    assert float(rows[run.status().best_epoch]["val_accuracy"]) == best["values"][0]
    assert "sweep" not in (run.path / "spec.yaml").read_text() + (run.path / "source.yaml").read_text()
    assert (run.path / "report.html").exists()
    again = dlcli("train", found["best_spec"], "--quiet", "--runs", "again")
    assert history(Run(Path(again.stdout.strip()))) == history(run)
    page = Path(found["page"]).read_text()
    assert all(word in page for word in ("Not explored", "model.units.count", "across", run.id))


def test_a_grid_tries_every_point_and_skips_models_that_are_too_large(tmp_path: Path, dlcli: Dlcli) -> None:
    (tmp_path / "grid.yaml").write_text(GRID.replace(", 500.0", ""))
    done = dlcli("sweep", "grid.yaml", "--runs", "runs")
    assert done.returncode == 0, done.stderr
    rows = trials_of(tmp_path)
    assert Counter((row["model.units.0"], row["model.dropout"], row["state"]) for row in rows) == {
        ("8", "0.0", "completed"): 1,
        ("8", "0.1", "completed"): 1,
        ("500", "", "skipped"): 1,
    }
    assert {row["parameters"] for row in rows if row["state"] == "completed"} == {str(float(4 * 8 + 8 + 8 * 3 + 3))}
    assert [row["reason"] for row in rows if row["state"] == "skipped"] == ["4,003 parameters, and the sweep allows 1,000"]
    assert len(list(all_runs(tmp_path / "runs"))) == 2
    assert "3 of 3 trials: 2 completed, 1 skipped" in done.stdout
    assert "to go on" not in done.stdout


@pytest.mark.slow
def test_a_trial_that_diverges_is_a_failure_that_the_search_learns_from(tmp_path: Path, dlcli: Dlcli) -> None:
    spec = GRID.split("  space:")[0].replace("[val_accuracy, parameters]", "val_accuracy")
    (tmp_path / "grid.yaml").write_text(f"{spec}  space: {{training.optimizer.learning_rate: {{choice: [1e30, 0.05]}}}}\n")
    done = dlcli("sweep", "grid.yaml", "--runs", "runs")
    assert done.returncode == 1
    rows = {row["training.optimizer.learning_rate"]: row for row in trials_of(tmp_path)}
    assert (rows["1e+30"]["state"], rows["0.05"]["state"]) == ("failed", "completed")
    assert rows["1e+30"]["reason"].startswith("the loss became")
    assert "failed: trial" in done.stdout
    folder = find_sweep("latest", tmp_path / "runs")
    states = {trial.state.name for trial in open_search(folder, "").study.trials}
    assert states == {"COMPLETE", "PRUNED"}


def test_nothing_starts_where_the_space_is_wrong_or_the_command_line_is(tmp_path: Path, dlcli: Dlcli) -> None:
    (tmp_path / "grid.yaml").write_text(GRID)
    done = dlcli("sweep", "grid.yaml", "--runs", "runs")
    assert done.returncode == 2
    assert done.stderr.startswith("grid.yaml:12:38: sweep.space.model.units.0.choice.2: expected a whole number, found 500.0")
    assert dlcli("check", "grid.yaml").returncode == 2
    write(tmp_path, trials=2)
    for arguments, said in (
        (["small.yaml", "--resume", "x"], "sweep needs one of SPEC, --resume ID and --join ID"),
        (["--resume", "x"], "no sweep of the id 'x' in runs; the latest are none"),
        (["small.yaml", "--storage", "nowhere/journal.log"], "--storage nowhere/journal.log: there is no folder"),
        (["small.yaml", "--storage", "nosuch://host/x"], "the storage nosuch://host/x cannot be used"),
    ):
        done = dlcli("sweep", *arguments, "--runs", "runs")
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
    assert not list((tmp_path / "runs").glob("*/*"))


def _killed_and_resumed(folder: Path, trials: int, kills: list[int]) -> None:
    process = started("sweep", "small.yaml", "--runs", "runs", cwd=folder)
    finished: dict[str, list[dict[str, str]]] = {}
    for completed in kills:

        def there(completed: int = completed) -> bool:
            found = states(folder)
            return found["completed"] >= completed and found["running"] > 0

        assert wait_for(there, process), (folder / "output.txt").read_text()
        process.kill()
        process.wait()
        for run in all_runs(folder / "runs"):
            if run.status().state == "completed":
                finished.setdefault(run.id, history(run))
        process = started("sweep", "--resume", "latest", "--runs", "runs", cwd=folder)
    assert process.wait(600) == 0, (folder / "output.txt").read_text()
    refuse_lost_or_doubled(folder, trials)
    rows = {row["run"]: row["state"] for row in trials_of(folder)}
    for name, before in finished.items():
        assert rows[name] == "completed"
        assert history(Run(folder / "runs" / name)) == before


def test_a_sweep_that_is_killed_loses_no_finished_trial(tmp_path: Path) -> None:
    write(tmp_path, trials=2)
    _killed_and_resumed(tmp_path, 2, kills=[1])


def test_an_interrupted_sweep_exits_75_and_leaves_a_checkpoint_results_and_no_password(tmp_path: Path) -> None:
    write(tmp_path, trials=2, epochs=3000)
    storage = f"sqlite:///file:{tmp_path}/study.db?uri=true&password=s3cret"
    process = started("sweep", "small.yaml", "--runs", "runs", "--storage", storage, cwd=tmp_path)
    assert wait_for(lambda: any(run.status().epoch > 2 for run in all_runs(tmp_path / "runs")), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 75
    folder = find_sweep("latest", tmp_path / "runs")
    said = f"to go on: dlcli sweep --resume {folder.id} --runs {tmp_path / 'runs'} --storage URL\n"
    assert said in (tmp_path / "output.txt").read_text()
    (run,) = all_runs(tmp_path / "runs")
    assert (run.status().state, run.can_go_on) == ("interrupted", True)
    assert [row["state"] for row in trials_of(tmp_path)] == ["running"]
    assert folder.page_path.exists()
    written = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert run.path / "environment.json" in written
    assert [path for path in written if b"s3cret" in path.read_bytes()] == []


def _shared(folder: Path, storage: str, trials: int) -> list[dict[str, str]]:
    """Has two processes with runs folders of their own work on one study, and returns the trials as the first one tells."""
    write(folder, trials=trials, epochs=1, sampler="random", more="  pruner: none\n")
    first = started("sweep", "small.yaml", "--runs", "runs", "--storage", storage, cwd=folder)
    assert wait_for(lambda: states(folder)["running"], first), (folder / "output.txt").read_text()
    name = find_sweep("latest", folder / "runs").id
    second = started("sweep", "--join", name, "--runs", "others", "--storage", storage, cwd=folder)
    assert (first.wait(900), second.wait(900)) == (0, 0), (folder / "output.txt").read_text()
    study = find_sweep("latest", folder / "others")
    assert study.id == name
    # The process that ended last has told of all.
    rows = max((trials_of(folder, runs) for runs in ("runs", "others")), key=lambda rows: sum(bool(row["run"]) for row in rows))
    assert [int(row["trial"]) for row in rows] == list(range(trials))
    assert {row["state"] for row in rows} == {"completed"}
    made = [Counter(run.id for run in all_runs(folder / runs)) for runs in ("runs", "others")]
    assert set(made[0] | made[1]) == {row["run"] for row in rows}
    assert sum((made[0] + made[1]).values()) == trials
    drawn = {tuple(value for name, value in row.items() if "model" in name or "training" in name) for row in rows}
    assert len(drawn) == trials
    assert min(len(one) for one in made) > 0
    return rows


def test_two_processes_share_a_study_in_a_journal_without_a_duplicate(tmp_path: Path) -> None:
    _shared(tmp_path, str(tmp_path / "journal.log"), 3)


def test_epochs_are_told_and_a_poor_run_is_pruned_with_the_reason(tmp_path: Path) -> None:
    path = write(tmp_path, trials=9, epochs=10)
    folder = SweepFolder.make(tmp_path / "runs", str(tmp_path / "journal.log"))
    search = create(folder, str(tmp_path / "journal.log"), load(path))
    search.study.pruner = pruner_of(search)
    run = Run.create(tmp_path / "runs", "small", spec="", source="")
    run.write_status(Status(started="now", epochs=3))

    def followed(values: list[float]) -> tuple[Any, str]:
        trial = search.study.ask()
        following = Following(search, trial)
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
    with pytest.raises(Exception, match="give it again by --storage URL"):
        folder.storage("")


def test_an_address_without_a_password_is_kept(tmp_path: Path) -> None:
    for address in ("postgresql://me@host:5432/sweeps?sslmode=require", "/shared/journal.log", ""):
        folder = SweepFolder.make(tmp_path, address)
        assert (folder.storage(""), folder.needs_storage) == (address, False)


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

    def give_up(self) -> None:
        self.given_up = True
        super().give_up()


@pytest.mark.parametrize("error", [StorageInternalError("the server has gone"), OSError(28, "the server has gone")])
def test_a_storage_that_is_lost_ends_the_trials_and_tells_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder, search = begun(tmp_path, trials=2)

    def lost() -> None:
        raise error

    monkeypatch.setattr(search.study, "ask", lost)
    fleet = Given(LocalEngine(), slots(1, "none", 1))
    with pytest.raises(RunFailed, match=f"the server has gone; to go on: dlcli sweep --resume {folder.id} --runs "):
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
    with pytest.raises(UsageError, match="if that was cut off, begin a new sweep"):
        open_search(folder, journal)


def test_processes_that_join_at_the_same_moment_wait_for_each_other(tmp_path: Path) -> None:
    folder, others = SweepFolder.make(tmp_path, ""), Event()

    def take_up() -> None:
        with folder.taking_up():
            others.set()
            time.sleep(1.5)

    thread = Thread(target=take_up)
    thread.start()
    assert others.wait(10)
    began = time.monotonic()
    with folder.taking_up():
        assert time.monotonic() - began > 1
    thread.join()


def test_the_end_tells_of_trials_of_other_machines_and_leaves_no_best_that_is_none(tmp_path: Path) -> None:
    folder, search = begun(tmp_path, trials=1)
    folder.best_path.write_text("name: of an earlier call\n")
    search.study.ask().set_user_attr(WORKER, "far-1-0a1b2c")
    results = write_results(folder, search)
    assert (results.best, folder.best_path.exists(), results.go_on) == (None, False, "")
    assert results.notes == [
        "trial 0 is with far-1-0a1b2c, which works in another runs folder; if it has ended,"
        f" `dlcli sweep --resume {folder.id}` on far-1 takes the trial up"
    ]


def test_a_run_that_kept_the_weights_it_began_with_is_scored_by_them(tmp_path: Path) -> None:
    folder, search = begun(tmp_path, trials=1)
    run = Run.create(tmp_path / "runs", "small", spec="", source="")
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
        _found("", folder.id, "", None, tmp_path / "runs")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_poor_trials_end_early_with_a_checkpoint_and_trials_are_limited_in_time(tmp_path: Path, dlcli: Dlcli) -> None:
    text = SPEC.format(trials=12, epochs=150, sampler="random", more="  pruner: hyperband\n")
    (tmp_path / "small.yaml").write_text(text.replace("[1e-3, 0.5]", "[1e-6, 0.1]"))
    done = dlcli("sweep", "small.yaml", "--runs", "runs", timeout=600)
    assert done.returncode == 0, done.stderr
    pruned = [row for row in trials_of(tmp_path) if row["state"] == "pruned"]
    assert pruned
    for row in pruned:
        run = Run(tmp_path / "runs" / row["run"])
        assert (run.status().state, run.can_go_on) == ("interrupted", True)
        assert run.status().reason == row["reason"]
        assert row["reason"].startswith("pruned after epoch")
    write(tmp_path, trials=50, epochs=3000, more="  minutes: 0.4\n  pruner: none\n")
    began = time.monotonic()
    done = dlcli("sweep", "small.yaml", "--runs", "timed", timeout=200)
    assert time.monotonic() - began < 90
    assert done.returncode == 0, done.stderr
    assert [row["reason"] for row in trials_of(tmp_path, "timed")][-1].startswith("the time for the sweep was over")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sampler", ["cma-es", "gp", "tpe"])
def test_every_sampler_makes_its_trials(sampler: str, tmp_path: Path, dlcli: Dlcli) -> None:
    if sampler == "gp":
        pytest.importorskip("torch", reason="the gp sampler needs the package torch")
    write(tmp_path, trials=12, epochs=1, sampler=sampler)
    done = dlcli("sweep", "small.yaml", "--runs", "runs", timeout=600)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    refuse_lost_or_doubled(tmp_path, 12)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_sweep_survives_three_kills(tmp_path: Path) -> None:
    write(tmp_path, trials=10, epochs=5)
    _killed_and_resumed(tmp_path, 10, kills=[1, 3, 6])


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """A PostgreSQL of the test's own, as its address."""
    folders = [
        Path(path).parent for path in (shutil.which("initdb"), *Path("/usr/lib/postgresql").glob("*/bin/initdb")) if path
    ]
    pytest.importorskip("psycopg", reason="the extra `sweep` is not installed: psycopg is missing")
    if not folders:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = "nobody" if os.geteuid() == 0 else ""  # PostgreSQL refuses to run as root
    data = Path(tempfile.mkdtemp(prefix="dlcli-postgresql-"))
    port = _free_port()
    if user:
        shutil.chown(data, user)
    tools = folders[0]

    def run(*command: str | Path) -> None:
        subprocess.run(list(map(str, command)), check=True, capture_output=True, user=user or None, cwd=data)

    try:
        run(tools / "initdb", "-D", data / "db", "-A", "trust", "-U", "dlcli", "--no-sync")
        run(
            *(tools / "pg_ctl", "-D", data / "db", "-w", "-l", data / "log"),
            *("-o", f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={data} -c fsync=off", "start"),
        )
        try:
            yield f"postgresql://dlcli@127.0.0.1:{port}/postgres"
        finally:
            run(tools / "pg_ctl", "-D", data / "db", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_processes_share_thirty_trials_in_postgresql_without_a_duplicate(tmp_path: Path, postgresql: str) -> None:
    _shared(tmp_path, postgresql, 30)


DIGITS = """
sweep:
  trials: 25
  jobs: 2
  objective: val_loss
  space:
    training.optimizer.learning_rate: {log: [3e-4, 1e-2]}
    model.layers.0.filters: {int: [16, 48], step: 16}
    model.layers.3.rate: {float: [0.0, 0.5]}
    model.layers.5.units: {int: [32, 160], step: 32}
    model.layers.6.rate: {float: [0.0, 0.5]}
    data.batch_size: {choice: [32, 64]}
"""


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_25_trials_beat_the_default_and_take_at_most_0_6_of_the_time_of_separate_processes(
    tmp_path: Path, dlcli: Dlcli
) -> None:
    given = (REPOSITORY / "configs" / "digits_cnn.yaml").read_text()
    (tmp_path / "default.yaml").write_text(given)
    (tmp_path / "digits.yaml").write_text(given + DIGITS)
    began = time.monotonic()
    done = dlcli("sweep", "digits.yaml", "--runs", "runs", "--json", timeout=3600)
    together = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["trials"]) == 25
    best = min(row["values"][0] for row in found["trials"] if row["values"])
    default = Run(Path(dlcli("train", "default.yaml", "--quiet", "--runs", "default", timeout=600).stdout.strip()))
    reached = {int(row["epoch"]): float(row["val_loss"]) for row in default.history()}[default.status().best_epoch]
    # Separate processes know nothing of each other, so that none is pruned.
    began = time.monotonic()
    for run in list(all_runs(tmp_path / "runs")):
        assert dlcli("train", run.path / "spec.yaml", "--quiet", "--runs", "alone", timeout=600).returncode == 0
    separate = time.monotonic() - began
    print(f"25 trials: val_loss {best:.4f}, of the default {reached:.4f}; {together:.0f} s together, {separate:.0f} s apart")
    assert best < reached
    assert together <= 0.6 * separate
    assert load_text((Path(found["best_spec"])).read_text(), found["best_spec"]).experiment.name == "digits_cnn"
