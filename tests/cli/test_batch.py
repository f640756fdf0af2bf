"""`dlcli batch` in real processes: killed, crashed, out of memory, interrupted; nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Dlcli, command, environment, start_process

from cli.killing import assert_same_bits, started, wait_for
from dlcli.cli.fleet_display import BatchDisplay
from dlcli.errors import SpecError, UsageError
from dlcli.fleet.batch.plan import planned, seeds_of, values_of
from dlcli.runs import RunFolder, all_runs
from dlcli.runs.batches import Batch, Settings, find_batch
from dlcli.runtime.engine import keras

pytestmark = pytest.mark.usefixtures("without_pictures")

SPEC = """\
name: {name}
task: classification
data: {{source: {{kind: builtin, name: iris}}, batch_size: 16}}
model: {{kind: mlp, units: [{units}], dropout: 0.2}}
training: {{epochs: {epochs}, optimizer: {{kind: sgd, learning_rate: {rate}}}}}
"""


def write(folder: Path, name: str, *, units: int = 8, epochs: int = 4, rate: float = 0.05) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(SPEC.format(name=name, units=units, epochs=epochs, rate=rate))
    return path


def board(folder: Path, batch: str = "latest") -> dict[str, Any]:
    """Returns how every job of a batch stands, its runs, and the files that say so."""
    found = find_batch(batch, folder / "runs")
    jobs = found.jobs()
    runs = found.runs_by_job(jobs)
    return {job.number: (found.status(job), runs.get(job.number, []), job) for job in jobs}  # type: ignore[misc]


def weights(run: RunFolder) -> list[bytes]:
    return [one.tobytes() for one in keras.saving.load_model(run.model_path, compile=False).get_weights()]


def test_seeds_settings_and_specs_are_combined_and_named(tmp_path: Path) -> None:
    specs = [str(write(tmp_path, "one")), str(write(tmp_path, "two"))]
    jobs = planned(specs, seeds_of("0-2,7"), ["data.batch_size=16,32", "model.units=[4,4]", "training.epochs=1"])
    assert len(jobs) == 2 * 4 * 2
    assert Counter(job.group for job in jobs) == {
        f"{name} data.batch_size={size}": 4 for name in ("one", "two") for size in (16, 32)
    }
    assert jobs[0].overrides == ["data.batch_size=16", "model.units=[4,4]", "training.epochs=1", "seed=0"]
    assert [job.seed for job in jobs[:4]] == [0, 1, 2, 7]


@pytest.mark.parametrize(
    ("values", "items"),
    [
        ("{kind: x, y: 1},'p,q',3", ["{kind: x, y: 1}", "'p,q'", "3"]),
        ("1e-3, 0.10 ,none", ["1e-3", "0.10", "none"]),
        ("[[1, 2], [3]],[4]", ["[[1, 2], [3]]", "[4]"]),
        ("${HOME}/a,${HOME}/b", ["${HOME}/a", "${HOME}/b"]),
        ("it's,żółć 猫 😀,C:\\data", ["it's", "żółć 猫 😀", "C:\\data"]),
        ("", [""]),
        ("a}b", ["a}b"]),
        ('"x, y"', ['"x, y"']),
    ],
)
def test_values_are_the_items_of_a_yaml_list_as_they_are_written(values: str, items: list[str]) -> None:
    assert values_of(f"a.b={values}") == [f"a.b={item}" for item in items]


@pytest.mark.parametrize("values", ["8,,9", "8,", ",", "[1,2", "'x, y", "a],[b", "a #b,c", "x}y,z"])
def test_values_that_are_not_a_list_are_refused(values: str) -> None:
    reason = "an item is empty, or a bracket or a quote is not closed; put quotes around text with commas or brackets"
    with pytest.raises(UsageError) as caught:
        values_of(f"a.b={values}")
    assert str(caught.value) == f"--set a.b: expected values separated by commas, found {values!r}: {reason}"


def test_tags_in_values_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="found '!t a,b': tags such as `!t` are not supported"):
        values_of("a.b=!t a,b")


def test_specs_of_one_name_have_a_line_each_and_what_is_named_twice_runs_once(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, second = write(tmp_path, "same"), write(tmp_path / "other", "same", units=16)
    jobs = planned([str(first), str(second), str(first)], [0], ["training.epochs=1,1"])
    assert [job.group for job in jobs] == [f"same ({first})", f"same ({second})"]


def test_a_resumed_batch_keeps_its_limits_unless_others_are_given(tmp_path: Path) -> None:
    made = Batch.create(tmp_path, planned([str(write(tmp_path, "one"))], [], []), Settings(minutes=3, memory_gb=2, jobs=4))
    assert find_batch("latest", tmp_path).settings() == Settings(minutes=3, memory_gb=2, jobs=4)
    assert made.status(made.jobs()[0]).state == "queued"


def test_a_batch_of_several_processes_a_run_is_refused_with_its_line(tmp_path: Path) -> None:
    spec = write(tmp_path, "one")
    spec.write_text(spec.read_text() + "hardware: {strategy: multi_worker}\n")
    with pytest.raises(SpecError, match=r"one\.yaml:6:12: hardware\.strategy: a batch trains each run in one process"):
        planned([str(spec)], [0, 1], [])
    assert len(planned([str(spec)], [0, 1], ["hardware.strategy=one_device"])) == 2


def test_every_wrong_spec_is_told_before_anything_starts(tmp_path: Path, dlcli: Dlcli) -> None:
    good, bad = write(tmp_path, "good"), write(tmp_path, "bad", epochs=-1)
    done = dlcli("batch", good, bad, "--set", "data.batch_size=8,none", "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert "training.epochs" in done.stderr
    assert "data.batch_size" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UsageError, match="expected numbers and ranges"):
        seeds_of("3-1")
    with pytest.raises(UsageError, match="the limit is 10,000"):
        planned([str(good)], seeds_of("0-9999"), ["data.batch_size=8,16"])
    with pytest.raises(SpecError):
        planned([str(bad)], [], [])


@pytest.mark.slow
def test_a_batch_gives_the_bits_of_separate_trainings_and_a_leaderboard(tmp_path: Path, dlcli: Dlcli) -> None:
    spec, wrong = write(tmp_path, "fine"), write(tmp_path, "wild", rate=1e30)
    done = dlcli("batch", spec, wrong, "--seeds", "0,1", "--runs", "runs", "--json", timeout=240)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    lines = {line["group"]: line for line in found["lines"]}
    assert (lines["fine"]["completed"], lines["wild"]["completed"]) == (2, 0)
    assert [one["reason"].split(":")[0] for one in found["failures"]] == ["the loss became nan in epoch 1, step 2"] * 2
    together = {run.experiment().seed: run for run in all_runs(tmp_path / "runs") if run.name == "fine"}
    values = [run.metrics()["metrics"]["accuracy"]["value"] for run in together.values()]
    assert lines["fine"]["scores"]["accuracy"][0] == pytest.approx(sum(values) / 2)
    alone = dlcli("train", spec, "--set", "seed=1", "--quiet", "--runs", "alone")
    assert weights(RunFolder(Path(alone.stdout.strip()))) == weights(together[1])
    assert weights(together[0]) != weights(together[1])
    assert (together[0].path / "report.html").exists()
    again = dlcli("batch", "--resume", "latest", "--retry-failed", "--runs", "runs", timeout=240)
    assert again.returncode == 1, again.stderr
    assert Counter(run.name for run in all_runs(tmp_path / "runs")) == {"fine": 2, "wild": 4}


def test_two_runs_at_once_have_the_results_of_separate_ones_and_a_failed_report_stops_neither(
    tmp_path: Path, dlcli: Dlcli
) -> None:
    spec = write(tmp_path, "fine")
    process = started("batch", "fine.yaml", "--seeds", "0-1", "--jobs", "2", "--runs", "runs", cwd=tmp_path)
    runs: dict[int, RunFolder] = {}

    def have_begun() -> bool:
        runs.update({run.experiment().seed: run for run in all_runs(tmp_path / "runs")})
        return len(runs) == 2

    assert wait_for(have_begun, process)
    (runs[0].path / "report.html").mkdir()  # the file cannot take its place
    assert process.wait(240) == 0, (tmp_path / "output.txt").read_text()
    assert [runs[seed].status().state for seed in (0, 1)] == ["completed", "completed"]
    failure = "the report could not be written"
    assert [failure in (runs[seed].path / "log.txt").read_text() for seed in (0, 1)] == [True, False]
    assert [(runs[seed].path / "report.html").is_file() for seed in (0, 1)] == [False, True]
    assert (runs[0].path / "model_card.md").is_file()
    for seed in (0, 1):
        alone = dlcli("train", spec, "--set", f"seed={seed}", "--quiet", "--runs", "alone")
        assert_same_bits(RunFolder(Path(alone.stdout.strip())), runs[seed])


def test_the_number_of_runs_at_once_is_shown_where_dlcli_decides_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = Batch.create(tmp_path, planned([str(write(tmp_path, "one"))], [0, 1, 2], []), Settings())
    with BatchDisplay(batch, "2 at once (small networks; --jobs changes it)", quiet=False):
        pass
    with BatchDisplay(batch, "", quiet=False):
        pass
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{second}, 2 at once (small networks; --jobs changes it)"
    assert second.endswith("3 runs")


def _kill_at(process: subprocess.Popen[str], folder: Path, completed: int) -> None:
    """Kills a batch, not its runs, once so many runs are complete and another one has begun."""

    def there() -> bool:
        states = [run.status().state for run in all_runs(folder / "runs")]
        return states.count("completed") >= completed and "running" in states

    assert wait_for(there, process)
    process.kill()
    process.wait()


def _survive(folder: Path, arguments: list[str], kills: list[int]) -> None:
    """Runs a batch that is killed so often, and goes on with it until its end."""
    process = started("batch", *arguments, "--runs", "runs", cwd=folder)
    for completed in kills:
        _kill_at(process, folder, completed)
        process = started("batch", "--resume", "latest", "--runs", "runs", cwd=folder)
    process.wait(600)


def refuse_lost_or_doubled(found: dict[str, Any]) -> None:
    for status, runs, job in found.values():
        states = [run.shown_state for run in runs]
        assert status.state in ("completed", "failed"), (job, status)
        assert states.count("completed") == (status.state == "completed"), (job, states)
        assert len(runs) == 1, (job, states)


def test_a_batch_that_is_killed_twice_loses_no_run_and_does_none_twice(tmp_path: Path) -> None:
    write(tmp_path, "fine", epochs=6)
    write(tmp_path, "wild", rate=1e30)
    _survive(tmp_path, ["fine.yaml", "wild.yaml", "--seeds", "0-1"], kills=[0, 1])
    found = board(tmp_path)
    refuse_lost_or_doubled(found)
    assert [status.state for status, _, _ in found.values()] == ["completed", "completed", "failed", "failed"]


def test_an_interrupted_batch_leaves_checkpoints_exits_75_and_goes_on(tmp_path: Path) -> None:
    write(tmp_path, "long", epochs=3000)
    process = started("batch", "long.yaml", "--runs", "runs", cwd=tmp_path)
    assert wait_for(lambda: any(run.status().epoch > 2 for run in all_runs(tmp_path / "runs")), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 75
    assert "dlcli batch --resume" in (tmp_path / "output.txt").read_text()
    (run,) = all_runs(tmp_path / "runs")
    assert run.status().state == "interrupted"
    process = started("batch", "--resume", "latest", "--runs", "runs", "--minutes", "0.15", cwd=tmp_path)
    assert process.wait(90) == 1
    assert "time limit of the run reached" in (tmp_path / "output.txt").read_text()
    (run,) = all_runs(tmp_path / "runs")
    assert run.status().resumed == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_interrupts_and_loses_nothing(tmp_path: Path, number: int) -> None:
    write(tmp_path, "long", epochs=2000)
    with (tmp_path / "output.txt").open("a") as output:
        arguments = command("batch", "long.yaml", "--runs", "runs")
        process = start_process(arguments, stdout=output, stderr=output, cwd=tmp_path, start_new_session=True)
    assert wait_for(lambda: any(run.status().epoch > 2 for run in all_runs(tmp_path / "runs")), process)
    os.killpg(process.pid, number)
    assert process.wait(60) == 75, (tmp_path / "output.txt").read_text()
    ((status, runs, _),) = board(tmp_path).values()
    assert (status.state, runs[0].status().state) == ("interrupted", "interrupted")


@pytest.mark.slow
def test_a_run_whose_fork_server_was_killed_goes_on_and_counts(tmp_path: Path) -> None:
    write(tmp_path, "long", epochs=150)
    write(tmp_path, "short", epochs=2)
    process = started("batch", "long.yaml", "short.yaml", "--runs", "runs", cwd=tmp_path)
    assert wait_for(lambda: _epoch_of(tmp_path, "long") > 2, process)
    os.kill(psutil.Process(_run(tmp_path, "long").status().pid).ppid(), signal.SIGKILL)
    assert process.wait(120) == 0, (tmp_path / "output.txt").read_text()
    refuse_lost_or_doubled(board(tmp_path))


@pytest.mark.slow
def test_a_process_that_crashes_takes_no_other_with_it_and_is_tried_again(tmp_path: Path) -> None:
    write(tmp_path, "long", epochs=400)
    write(tmp_path, "short", epochs=2)
    process = started("batch", "long.yaml", "short.yaml", "--retries", "1", "--runs", "runs", cwd=tmp_path)
    for epoch in (2, 30):
        assert wait_for(lambda: _epoch_of(tmp_path, "long") > epoch and _alive(tmp_path, "long"), process)  # noqa: B023
        os.kill(_run(tmp_path, "long").status().pid, signal.SIGSEGV)
        time.sleep(0.5)
    assert process.wait(120) == 1
    found = board(tmp_path)
    (crashed, runs, _), (other, _, _) = found.values()
    assert (crashed.state, crashed.attempts, len(runs)) == ("failed", 2, 1)
    assert "SIGSEGV" in crashed.reason
    assert "SIGSEGV" in runs[0].status().error
    assert other.state == "completed"


def _run(folder: Path, name: str) -> RunFolder:
    return next(run for run in all_runs(folder / "runs") if run.name == name)


def _epoch_of(folder: Path, name: str) -> int:
    return max((run.status().epoch for run in all_runs(folder / "runs") if run.name == name), default=0)


def _alive(folder: Path, name: str) -> bool:
    return _run(folder, name).shown_state == "running"


@pytest.mark.slow
def test_a_run_out_of_memory_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    write(tmp_path, "big", units=60_000_000)
    write(tmp_path, "short", epochs=1)
    process = started("batch", "big.yaml", "short.yaml", "--memory", "4", "--retries", "0", "--runs", "runs", cwd=tmp_path)
    assert process.wait(180) == 1
    (big, _, _), (other, _, _) = board(tmp_path).values()
    assert (big.state, other.state) == ("failed", "completed")
    assert "it exceeded the memory limit of 4 GB" in big.reason


@pytest.mark.slow
def test_a_second_batch_cannot_take_the_same_queue(tmp_path: Path, dlcli: Dlcli) -> None:
    write(tmp_path, "long", epochs=3000)
    process = started("batch", "long.yaml", "--runs", "runs", cwd=tmp_path)
    assert wait_for(lambda: any(run.status().epoch for run in all_runs(tmp_path / "runs")), process)
    done = dlcli("batch", "--resume", "latest", "--runs", "runs")
    process.kill()
    process.wait()
    assert done.returncode == 2
    assert f"process {process.pid}" in done.stderr
    unknown = dlcli("batch", "--resume", "2999", "--runs", "runs")
    assert (unknown.returncode, "no batches match '2999'" in unknown.stderr) == (2, True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_21_runs_survive_three_kills_of_the_batch_and_three_more_fail_for_their_reasons(tmp_path: Path) -> None:
    for name, epochs in (("first", 5), ("second", 7), ("third", 9)):
        write(tmp_path, name, epochs=epochs)
    write(tmp_path, "wild", rate=1e30)
    write(tmp_path, "big", units=60_000_000)
    write(tmp_path, "crash", epochs=2000)
    specs = [f"{name}.yaml" for name in ("first", "second", "third")]
    process = started("batch", *specs, "--seeds", "0-6", "--runs", "runs", cwd=tmp_path)
    for completed in (2, 7, 13):
        _kill_at(process, tmp_path, completed)
        process = started("batch", "--resume", "latest", "--runs", "runs", cwd=tmp_path)
    assert process.wait(900) == 0
    found = board(tmp_path)
    refuse_lost_or_doubled(found)
    assert [status.state for status, _, _ in found.values()] == ["completed"] * 21
    process = started(
        *("batch", "wild.yaml", "big.yaml", "crash.yaml", "--memory", "4", "--retries", "0", "--runs", "runs"), cwd=tmp_path
    )
    assert wait_for(lambda: _epoch_of(tmp_path, "crash") > 2, process)
    os.kill(_run(tmp_path, "crash").status().pid, signal.SIGSEGV)
    assert process.wait(300) == 1
    reasons = [status.reason for status, _, _ in board(tmp_path).values()]
    assert [("nan" in reasons[0]), ("memory" in reasons[1]), ("SIGSEGV" in reasons[2])] == [True] * 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_tiny_runs_take_at_most_half_the_time_of_separate_trainings(tmp_path: Path) -> None:
    spec = write(tmp_path, "tiny", epochs=2)

    def start(*words: str | Path) -> str:
        """Starts a process as a user does: what is compared is how often TensorFlow is imported."""
        done = subprocess.run(command(*words), cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    began = time.monotonic()
    start("batch", spec, "--seeds", "0-19", "--jobs", "1", "--runs", "runs")
    together = time.monotonic() - began
    began = time.monotonic()
    alone = [start("train", spec, "--set", f"seed={seed}", "--quiet", "--runs", "alone") for seed in range(20)]
    separate = time.monotonic() - began
    found = {run.experiment().seed: run for run in all_runs(tmp_path / "runs")}
    assert all(weights(RunFolder(Path(path))) == weights(found[seed]) for seed, path in enumerate(alone))
    print(f"20 runs: {together:.1f} s together, {separate:.1f} s apart: {together / separate:.2f}")
    assert together <= 0.5 * separate
