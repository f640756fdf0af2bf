"""`dlcli sweep` in real processes: the best spec, what is skipped, kills, several processes on one study."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, Dlcli

from cli.killing import CLOCKS, started, wait_for
from dlcli.runs import RunFolder, all_runs
from dlcli.runs.sweeps import find_sweep
from dlcli.spec.load import load_text

pytest.importorskip("optuna", reason="the extra `sweep` is not installed")

from dlcli.fleet.sweep.study import open_search  # it needs the extra

pytestmark = pytest.mark.usefixtures("without_pictures")

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


def history(run: RunFolder) -> list[dict[str, str]]:
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
    run = RunFolder(tmp_path / "runs" / found["best_run"])
    rows = {int(row["epoch"]): row for row in run.history()}
    assert float(rows[run.status().best_epoch]["val_accuracy"]) == best["values"][0]
    assert "sweep" not in (run.path / "spec.yaml").read_text() + (run.path / "source.yaml").read_text()
    assert (run.path / "report.html").exists()
    again = dlcli("train", found["best_spec"], "--quiet", "--runs", "again")
    assert history(RunFolder(Path(again.stdout.strip()))) == history(run)
    page = Path(found["page"]).read_text()
    assert all(word in page for word in ("Not explored", "model.units.count", "across", run.id))
    told = re.sub(r"<svg.*?</svg>|<style>.*?</style>|<script>.*?</script>", "", page, flags=re.DOTALL)
    read = re.sub(r"<[^>]*>", " ", told)  # the whole numbers that a column is sorted by stand in attributes
    assert "model.units.count" in read
    assert not re.search(r"\d\.\d{7,}", read), "four digits are enough for people"
    assert '<a href="best.yaml">' in told
    assert '<a href="trials.csv">' in told
    assert f'<a href="../../{run.id}/report.html"><code>{run.id}</code></a>' in told


@pytest.mark.slow
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
    assert [row["reason"] for row in rows if row["state"] == "skipped"] == ["4,003 parameters; the sweep allows 1,000"]
    assert len(list(all_runs(tmp_path / "runs"))) == 2
    assert "3 of 3 trials: 2 completed, 1 skipped" in done.stdout
    assert "to resume" not in done.stdout


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
    assert done.stderr.startswith("grid.yaml:12:38: sweep.space.model.units.0.choice.2: expected an integer, found 500.0")
    assert dlcli("check", "grid.yaml").returncode == 2
    write(tmp_path, trials=2)
    for arguments, said in (
        (["small.yaml", "--resume", "x"], "sweep needs a SPEC, --resume ID or --join ID"),
        (["--resume", "x"], "no sweeps match 'x' in runs; the latest are none"),
        (["small.yaml", "--storage", "nowhere/journal.log"], "nowhere/journal.log: there is no folder"),
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
        assert history(RunFolder(folder / "runs" / name)) == before


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
    said = f"to resume: dlcli sweep --resume {folder.id} --runs {tmp_path / 'runs'} --storage URL\n"
    assert said in (tmp_path / "output.txt").read_text()
    (run,) = all_runs(tmp_path / "runs")
    assert (run.status().state, run.is_resumable) == ("interrupted", True)
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


@pytest.mark.slow
def test_two_processes_share_a_study_in_a_journal_without_a_duplicate(tmp_path: Path) -> None:
    _shared(tmp_path, str(tmp_path / "journal.log"), 3)


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
        run = RunFolder(tmp_path / "runs" / row["run"])
        assert (run.status().state, run.is_resumable) == ("interrupted", True)
        assert run.status().reason == row["reason"]
        assert row["reason"].startswith("pruned after epoch")
    write(tmp_path, trials=50, epochs=3000, more="  minutes: 0.4\n  pruner: none\n")
    began = time.monotonic()
    done = dlcli("sweep", "small.yaml", "--runs", "timed", timeout=200)
    assert time.monotonic() - began < 180
    assert done.returncode == 0, done.stderr
    assert [row["reason"] for row in trials_of(tmp_path, "timed")][-1].startswith("time limit of the sweep reached")


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
    default = RunFolder(Path(dlcli("train", "default.yaml", "--quiet", "--runs", "default", timeout=600).stdout.strip()))
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
