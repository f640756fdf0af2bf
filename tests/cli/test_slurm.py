"""`dlcli batch --engine slurm`: by submitit's tasks on this machine, and (slow) on a real SLURM cluster of one node."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest
from conftest import Dlcli, command, environment, start_process
from submitit.core.utils import pickle_load

from cli import killing
from cli.slurm_cluster import cluster, missing, slurm
from dlcli.errors import SpecError, UsageError
from dlcli.fleet.batch.engines.choose import fleet_for
from dlcli.fleet.batch.engines.slurm import SlurmEngine, SlurmProcess, refuse_left_tasks, requested
from dlcli.fleet.batch.engines.slurm_queue import noted
from dlcli.fleet.batch.engines.slurm_task import SlurmTask
from dlcli.fleet.batch.plan import planned
from dlcli.fleet.batch.worker import Order
from dlcli.program import install_command
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Settings, find_batch
from dlcli.runs.files import read_json
from dlcli.runtime.engine import keras

SPEC = """\
name: {name}
task: classification
data: {{source: {{kind: builtin, name: iris}}, batch_size: 16}}
model: {{kind: mlp, units: [8], dropout: 0.2}}
training: {{epochs: {epochs}, optimizer: {{kind: sgd, learning_rate: {rate}}}}}
hardware: {{device: cpu, resources: {{minutes: {minutes}, memory_gb: 1, slurm: {{comment: "a test"}}}}}}
"""


Start = Callable[..., "Watched"]


def write(folder: Path, name: str, *, epochs: int = 4, rate: float = 0.05, minutes: int = 10) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(SPEC.format(name=name, epochs=epochs, rate=rate, minutes=minutes))
    return path


def weights(run: RunFolder) -> list[bytes]:
    return [one.tobytes() for one in keras.saving.load_model(run.model_path, compile=False).get_weights()]


def runs_of(folder: Path) -> dict[int, list[RunFolder]]:
    try:
        found = find_batch("latest", folder)
    except UsageError:  # it has not been made yet
        return {}
    return found.runs_by_job(found.jobs())


class Watched:
    """A `dlcli batch` in a process of its own."""

    def __init__(self, folder: Path, *arguments: str | Path, **variables: str) -> None:
        self.path = folder / "output.txt"
        with self.path.open("a") as output:
            asked = command("batch", *arguments, "--engine", "slurm", "--runs", folder / "runs")
            self.process = start_process(asked, stdout=output, stderr=output, cwd=folder, env=environment(**variables))

    def until(self, what: Callable[[], Any]) -> None:
        """Waits until something is true; the process must not end before."""
        assert killing.wait_for(what, self.process), self.path.read_text()

    def end(self) -> int:
        """Waits for the process."""
        return self.process.wait(400)


def notes(folder: Path) -> list[str]:
    """Returns the numbers of the tasks that the jobs of the latest batch were submitted as."""
    found = find_batch("latest", folder)
    paths = [found.task_path(job) for job in found.jobs()]
    return [path.read_text() for path in paths if path.exists()]


def epoch_of(folder: Path, job: int) -> int:
    """Returns how far the run of a job has come."""
    return max((run.status().epoch for run in runs_of(folder).get(job, [])), default=0)


def order(folder: Path, *settings: str) -> Order:
    (job,) = planned([str(write(folder, "one"))], [], list(settings))
    return Order(folder, job, [])


def test_what_a_spec_says_of_its_resources_is_asked_of_slurm(tmp_path: Path) -> None:
    settings = ["cpus=4", "gpus=2", "memory_gb=1.5", "minutes=89.5", "slurm={partition: gpu, exclusive: true, nice: false}"]
    asked = requested(order(tmp_path, *(f"hardware.resources.{one}" for one in settings)), Settings())
    assert asked.parameters() == {
        "cpus_per_task": 4,
        "gpus_per_node": 2,
        "mem_gb": 1.5,
        "timeout_min": 90,
        "slurm_signal_delay_s": 90,
        "slurm_array_parallelism": 1000,
        "slurm_srun_args": ["--cpus-per-task=4"],
        "slurm_additional_parameters": {"requeue": True, "exclusive": True, "partition": "gpu"},
    }


def test_gpus_in_slurm_s_own_words_stand_in_place_of_ours(tmp_path: Path) -> None:
    gres = 'hardware.resources.slurm={gres: "gpu:a100:2"}'
    asked = requested(order(tmp_path, gres, "hardware.strategy=mirrored", "hardware.device=gpu"), Settings())
    assert (asked.gpus, asked.has_gpus) == (0, True)
    assert requested(order(tmp_path, gres, "hardware.device=gpu", "hardware.resources.gpus=1"), Settings()).gpus == 1


def test_the_command_line_has_the_last_word_on_time_and_memory(tmp_path: Path) -> None:
    asked = requested(order(tmp_path), Settings(minutes=0.5, memory_gb=3))
    assert (asked.cpus, asked.gpus, asked.memory_gb, asked.minutes) == (1, 0, 3, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("{array: 0-9}", "no option 'array': dlcli sets it"),
        ("{time: 5}", "no option 'time': use `minutes`"),
        ("{'--wrap=x': y}", "expected long option names of sbatch, e.g. `partition`, found '--wrap=x'"),
        ('{comment: "a\\n#SBATCH --uid=0"}', "expected only letters, digits, spaces and simple signs in 'comment'"),
        ('{comment: "a\'b"}', "expected only letters, digits, spaces and simple signs in 'comment'"),
    ],
)
def test_options_that_would_say_something_else_to_sbatch_are_refused(tmp_path: Path, options: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        order(tmp_path, f"hardware.resources.slurm={options}")
    assert words in str(caught.value)


def test_what_slurm_needs_and_does_not_take_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--gpus and --per-gpu are for the GPUs of this machine"):
        fleet_for(Settings(engine="slurm", gpus="0"), [])
    with pytest.raises(UsageError, match="only takes `local`"):
        fleet_for(Settings(engine="slurm", address="host:1"), [])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="`sbatch` is missing"):
        fleet_for(Settings(engine="slurm"), [])
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=re.escape(f"needs the package submitit: {install_command('slurm')}")):
        fleet_for(Settings(engine="slurm", address="local"), [])


SBATCH = """\
#!/bin/sh
for last; do :; done
if grep -q partition=nowhere "$last"; then echo "sbatch: error: invalid partition specified: nowhere" >&2; exit 1; fi
if [ -e "$0.busy" ]; then echo "sbatch: error: Unable to contact slurm controller (connect failure)" >&2; exit 1; fi
if [ -e "$0.limit" ] && grep -q "array=0-[2-9]" "$last"; then echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1; fi
cp "$last" "$0.script"
echo "Submitted batch job 7"
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that answer as SLURM's would, where `sbatch.busy` makes the controller unreachable."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "squeue": "#!/bin/sh\necho '7 RUNNING'\n", "srun": "", "scancel": ""}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def submitted(folder: Path, *specs: str) -> tuple[SlurmEngine, Batch, list[Any]]:
    """Has an engine begin a job for each spec's `hardware.resources.slurm`."""
    jobs = [
        replace(planned([str(write(folder, "one"))], [], [f"hardware.resources.slurm={spec}"])[0], number=at)
        for at, spec in enumerate(specs, 1)
    ]
    batch = Batch.create(folder / "runs", jobs, Settings(engine="slurm"))
    engine = SlurmEngine(Settings(engine="slurm"))
    return engine, batch, list(engine.begin([Order(batch.path, job, []) for job in jobs]))


def test_what_slurm_refuses_fails_alone(stand_in: Path, tmp_path: Path) -> None:
    _, batch, (good, bad) = submitted(tmp_path, "{comment: good}", "{partition: nowhere}")
    assert (good.exit_code(), bad.exit_code()) == (None, 1)
    told = read_json(batch.result_path(batch.jobs()[1]))["text"]
    assert told == "SLURM rejected the job: sbatch: error: invalid partition specified: nowhere"


def test_what_slurm_cannot_take_now_is_submitted_later(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlcli.fleet.batch.engines.slurm._ASK_AGAIN", 0.0)
    busy = stand_in / "sbatch.busy"
    busy.touch()
    engine, batch, (first, second) = submitted(tmp_path, "{comment: one}", "{comment: two}")
    engine.wait([first, second])
    assert (first.exit_code(), first.has_begun(), notes(tmp_path / "runs")) == (None, False, [])
    assert "SLURM does not accept it now" in batch.log_path(batch.jobs()[0]).read_text()
    second.send(signal.SIGTERM)
    assert second.exit_code() == -signal.SIGTERM
    busy.unlink()
    engine.wait([first, second])
    first.exit_code()
    assert (notes(tmp_path / "runs"), first.has_begun()) == (["7"], True)
    with pytest.raises(UsageError, match=rf"SLURM still has 1 of its runs \(7\): .* scancel --name=dlcli-{batch.id}"):
        refuse_left_tasks(batch, Settings(engine="slurm"))


def test_an_array_above_the_limit_of_jobs_is_submitted_in_parts(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlcli.fleet.batch.engines.slurm._ASK_AGAIN", 0.0)
    (stand_in / "sbatch.limit").touch()
    engine, batch, processes = submitted(tmp_path, *["{comment: same}"] * 3)
    assert [isinstance(one, SlurmProcess) for one in processes] == [True, False, False]
    assert [path.name for path in (batch.path / "slurm").glob("*.pkl")] == ["7_submitted.pkl"]
    engine.wait(processes)
    assert notes(tmp_path / "runs") == ["7", "7_0", "7_1"]


def test_one_job_waits_where_others_of_the_user_fill_the_limit(stand_in: Path, tmp_path: Path) -> None:
    (stand_in / "sbatch").write_text('#!/bin/sh\necho "sbatch: error: AssocMaxSubmitJobLimit" >&2\nexit 1\n')
    _, _, processes = submitted(tmp_path, *["{comment: same}"] * 2)
    assert [one.exit_code() for one in processes] == [None, None]


def test_a_job_that_alone_is_above_a_limit_is_refused(stand_in: Path, tmp_path: Path) -> None:
    words = "sbatch: error: violates policy (job submit limit, time limits)"
    (stand_in / "sbatch").write_text(f'#!/bin/sh\necho "{words}" >&2\nexit 1\n')
    _, batch, processes = submitted(tmp_path, *["{comment: same}"] * 2)
    assert [one.exit_code() for one in processes] == [1, 1]
    assert "violates policy" in read_json(batch.result_path(batch.jobs()[0]))["text"]


@pytest.mark.parametrize(("spec", "hidden"), [('{gres: "gpu:a100:1"}', False), ("{partition: gpu}", True)])
def test_gpus_that_slurm_is_asked_for_by_its_own_words_are_not_hidden(
    spec: str, hidden: bool, stand_in: Path, tmp_path: Path
) -> None:
    _, batch, _ = submitted(tmp_path, spec)
    (path,) = (batch.path / "slurm").glob("*_submitted.pkl")
    task = pickle_load(path).function
    assert ("CUDA_VISIBLE_DEVICES" in task.order.variables) == hidden


def test_a_job_that_was_submitted_twice_is_the_first_noted_task_s(tmp_path: Path) -> None:
    batch = Batch.create(tmp_path / "runs", planned([str(write(tmp_path, "one"))], [], []), Settings())
    (job,) = batch.jobs()
    assert noted(batch, job) == ""
    assert noted(batch, job, "7_0") == "7_0"
    assert noted(batch, job, "8_0") == "7_0"
    batch.update(job, state="running")
    task = SlurmTask(Order(batch.path, job, []))
    assert task.due("8_0") == 75
    assert task.due("7_0") == task.order
    batch.task_path(job).unlink()
    for state in ("interrupted", "failed"):
        batch.update(job, state=state)
        assert task.due("9_0") == 75
    assert not batch.task_path(job).exists()


@pytest.mark.slow
def test_a_preempted_task_goes_on_and_gives_the_bits_of_the_local_engine(tmp_path: Path, dlcli: Dlcli) -> None:
    fine, wild = write(tmp_path, "fine", epochs=25), write(tmp_path, "wild", rate=1e30)
    batch = Watched(tmp_path, fine, wild, "--address", "local", "--jobs", "2")
    runs = tmp_path / "runs"
    batch.until(lambda: epoch_of(runs, 1) >= 2)
    for task in psutil.Process(int(notes(runs)[0])).children():
        task.send_signal(signal.SIGUSR2)
    assert batch.end() == 1, batch.path.read_text()
    told = batch.path.read_text()
    assert "fine, seed 0: completed\n" in told
    assert "wild, seed 0: failed: the loss became nan" in told
    (run,) = runs_of(runs)[1]
    assert "resuming " in (run.path / "log.txt").read_text()
    done = dlcli("batch", fine, "--runs", "alone", timeout=180)
    assert done.returncode == 0, done.stderr
    assert weights(run) == weights(runs_of(tmp_path / "alone")[1][0])
    assert not notes(runs)


@pytest.fixture(scope="module")
def configuration() -> Iterator[Path]:
    """The configuration file of a real cluster."""
    reason = missing()
    if reason:
        pytest.skip(f"no SLURM here: {reason}")
    with cluster() as found:
        yield found


@pytest.fixture
def watched(configuration: Path, tmp_path: Path) -> Start:
    """Starts `dlcli batch` on the cluster."""
    return lambda *arguments: Watched(tmp_path, *arguments, SLURM_CONF=str(configuration))


def unfinished(configuration: Path) -> list[str]:
    return slurm(configuration, "squeue", "--array", "--noheader", "--format=%i").split()


@pytest.mark.slow
def test_a_batch_is_an_array_and_tasks_go_on_after_preemption_and_ctrl_c(
    configuration: Path, watched: Start, tmp_path: Path, dlcli: Dlcli
) -> None:
    spec, runs = write(tmp_path, "long", epochs=80), tmp_path / "runs"
    batch = watched(spec, "--seeds", "0-2")
    batch.until(lambda: epoch_of(runs, 1) >= 2)
    (number,) = {note.partition("_")[0] for note in notes(runs)}
    assert [note.partition("_")[2] for note in notes(runs)] == ["0", "1", "2"]
    slurm(configuration, "scancel", "--signal=USR2", f"{number}_0")  # as SLURM tells of a preemption, or of the end of the time
    batch.until(lambda: "Restarts=1" in slurm(configuration, "scontrol", "show", "job", f"{number}_0"))
    batch.until(lambda: epoch_of(runs, 3) >= 2)
    batch.process.send_signal(signal.SIGINT)
    assert batch.end() == 75, batch.path.read_text()
    assert not unfinished(configuration)
    assert watched("--resume", "latest").end() == 0, batch.path.read_text()
    found = runs_of(runs)
    assert [len(found[job]) for job in (1, 2, 3)] == [1, 1, 1]
    assert all(len(one.history()) == 80 for (one,) in found.values())
    alone = dlcli("train", spec, "--quiet", "--runs", "alone")
    assert weights(found[1][0]) == weights(RunFolder(Path(alone.stdout.strip())))


@pytest.mark.slow
def test_a_batch_that_was_killed_finds_its_tasks_again(configuration: Path, watched: Start, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    batch = watched(write(tmp_path, "long", epochs=40), "--seeds", "0-2")
    batch.until(lambda: epoch_of(runs, 1) >= 2)
    batch.process.kill()
    batch.end()
    before = notes(runs)
    assert len(before) == 3
    again = watched("--resume", "latest")
    assert again.end() == 0, again.path.read_text()
    assert {path.name for path in (next((runs / ".batches").iterdir()) / "slurm").glob("*_submitted.pkl")} == {
        f"{note}_submitted.pkl" for note in before
    }
    assert [len(one) for one in runs_of(runs).values()] == [1, 1, 1]


@pytest.mark.slow
def test_jobs_that_were_submitted_twice_are_done_once(configuration: Path, watched: Start, tmp_path: Path) -> None:
    runs, later = tmp_path / "runs", "hardware.resources.slurm.begin=now+20"
    batch = watched(write(tmp_path, "twice"), "--seeds", "0-1", "--set", later)
    batch.until(lambda: runs.exists() and len(notes(runs)) == 2)
    batch.process.kill()
    batch.end()
    found = find_batch("latest", runs)
    before = notes(runs)
    for job in found.jobs():  # as if it had been killed before it could note what SLURM had just taken
        found.task_path(job).unlink()
    assert watched("--resume", "latest").end() == 0, batch.path.read_text()
    folder = found.path / "slurm"
    assert len({path.name for path in folder.glob("*_submitted.pkl")}) == 4
    end = monotonic() + 120
    while unfinished(configuration):
        assert monotonic() < end
        sleep(1)
    assert {(folder / f"{number}_0_result.pkl").exists() for number in before} == {True}
    assert [[run.status().state for run in made] for made in runs_of(runs).values()] == [["completed"]] * 2
    assert [found.status(job).failures for job in found.jobs()] == [0, 0]


@pytest.mark.slow
def test_a_task_that_slurm_kills_is_tried_again_and_what_slurm_refuses_stops_the_batch(
    configuration: Path, watched: Start, tmp_path: Path
) -> None:
    runs, spec = tmp_path / "runs", write(tmp_path, "hurt", epochs=40)
    batch = watched(spec)
    batch.until(lambda: epoch_of(runs, 1) >= 2)
    slurm(configuration, "scancel", notes(runs)[0])
    assert batch.end() == 0, batch.path.read_text()
    found = find_batch("latest", runs)
    assert [found.status(job).failures for job in found.jobs()] == [1]
    refused = watched(write(tmp_path, "other"), "--set", "hardware.resources.slurm.partition=nowhere")
    assert refused.end() == 1
    latest: Batch = find_batch("latest", runs)
    status = latest.status(latest.jobs()[0])
    assert (status.state, status.reason) == (
        "failed",
        "SLURM rejected the job: sbatch: error: invalid partition specified: nowhere",
    )
