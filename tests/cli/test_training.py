"""`dlcli train` and what follows it, in real processes: exit codes, the two streams, signals, a full disk."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Dlcli, command, environment, run_process, start_process

from dlcli.runs import RunFolder, all_runs
from dlcli.runs.checkpoints import checkpoint_files, is_whole

pytestmark = pytest.mark.usefixtures("without_pictures")

SPEC = """name: tiny
task: classification
data: {source: {kind: builtin, name: iris}}
model: {kind: mlp, units: [8]}
training: {epochs: 3}
"""
LONG = """name: long
task: binary
data: {source: {kind: playground, name: spiral, examples: 400}, batch_size: 4}
model: {kind: mlp, units: [16]}
training: {epochs: 100000, metrics: [accuracy]}
"""


def _call(*arguments: str | Path, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return run_process(command(*arguments), cwd=cwd, env=environment(**changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a folder with a long name, " + "_" * 120)
    (folder / "tiny.yaml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess[str]:
    return _call("train", "tiny.yaml", cwd=folder)


@pytest.fixture(scope="module")
def run(folder: Path, done: subprocess.CompletedProcess[str]) -> RunFolder:
    assert done.returncode == 0, done.stderr
    return next(iter(all_runs(folder / "runs")))


def test_progress_goes_to_stderr_one_plain_line_an_epoch(done: subprocess.CompletedProcess[str], run: RunFolder) -> None:
    lines = [line for line in done.stderr.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all(re.search(r"loss \d+\.\d{4}.* val_loss \d+\.\d{4}.* \d+\.\d s", line) for line in lines)
    assert re.search(r" loss \d\.\d{4} [+-]\d\.\d{3}  ", lines[1])
    assert any(line.endswith("* best") for line in lines)
    assert re.search(r"^device: [CG]PU \(.*\)(, \w+)?$", done.stderr, re.MULTILINE)
    assert "data: 105 train, 15 validation, 30 test; shape (4,), 3 classes" in done.stderr
    assert "best epoch: " in done.stderr


def test_results_go_to_stdout_with_the_baseline_and_what_to_do_next(
    done: subprocess.CompletedProcess[str], run: RunFolder
) -> None:
    assert f"run: {run.path}\n" in done.stdout
    assert "baseline: always " in done.stdout
    assert f"  dlcli evaluate {run.id} --split validation\n" in done.stdout
    assert f"{run.metrics()['metrics']['accuracy']['value']:.4f}" in done.stdout


def test_nothing_is_coloured_or_live_where_there_is_no_terminal(done: subprocess.CompletedProcess[str]) -> None:
    for text in (done.stdout, done.stderr):
        assert "\x1b" not in text
        assert "\r" not in text


def test_a_run_says_nothing_of_tensorflow_itself(done: subprocess.CompletedProcess[str]) -> None:
    for word in ("WARNING", "Warning", "oneDNN", "cuda", "I0000", "E0000", "retracing"):
        assert word not in done.stderr


def test_evaluate_in_a_new_process_gives_the_same_numbers(run: RunFolder, folder: Path) -> None:
    before = run.metrics()
    done = _call("evaluate", "tiny", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"run: {run.path}\n"
    assert json.loads(done.stdout) == {"run": str(run.path)} | before
    assert run.metrics() == before


def test_describe_takes_a_spec_or_a_run(run: RunFolder, folder: Path) -> None:
    of_spec = _call("describe", "tiny.yaml", "--json", cwd=folder)
    of_run = _call("describe", run.path, "--json", cwd=folder)
    assert (of_spec.returncode, of_run.returncode) == (0, 0), of_spec.stderr + of_run.stderr
    spec, kept = json.loads(of_spec.stdout), json.loads(of_run.stdout)
    assert spec["total"] == kept["total"] == 4 * 8 + 8 + 8 * 3 + 3
    assert [(row["kind"], row["shape"], row["parameters"]) for row in spec["rows"]] == [
        (row["kind"], row["shape"], row["parameters"]) for row in kept["rows"]
    ]
    assert spec["data"]["counts"] == kept["data"]["counts"]


def test_quiet_prints_the_path_alone_and_set_and_the_runs_folder_are_honoured(folder: Path, tmp_path: Path) -> None:
    done = _call("train", "-q", folder / "tiny.yaml", "--set", "training.epochs=1", cwd=tmp_path, DLCLI_RUNS="kept here")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    run = RunFolder(Path(done.stdout.removesuffix("\n")))
    assert run.path.parents[1] == tmp_path / "kept here"
    assert len(run.history()) == 1


def test_json_prints_one_object(folder: Path, tmp_path: Path) -> None:
    runs = ("--runs", tmp_path / "runs")
    done = _call("train", "--json", folder / "tiny.yaml", "--set", "training.epochs=0", *runs, cwd=folder)
    result = json.loads(done.stdout)
    assert Path(result["run"]).is_dir()
    assert result["status"]["state"] == "completed"
    assert result["scores"]["metrics"]["accuracy"]["value"] >= 0


def _started(folder: Path) -> tuple[subprocess.Popen[str], RunFolder]:
    """Starts a long training and returns once its second epoch is over."""
    (folder / "long.yaml").write_text(LONG)
    process = start_process(command("train", "long.yaml"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(2000):
        runs = list(all_runs(folder / "runs"))
        if runs and runs[0].status().epoch >= 2:
            return process, runs[0]
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    process.kill()
    raise AssertionError("the training did not start")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_seconds_with_a_checkpoint_that_it_goes_on_from(
    tmp_path: Path, dlcli: Dlcli, number: signal.Signals
) -> None:
    process, run = _started(tmp_path)
    assert run.shown_state == "running"
    for refused in (dlcli("runs", "rm", "long", "--yes"), dlcli("train", "--resume", "long")):
        assert refused.returncode == 2
        assert re.search("is running: stop it first|is being written by process", refused.stderr)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)  # the training would take hours
    assert process.returncode == 75, stderr
    assert "Traceback" not in stderr
    words = (
        rf"^error: stopped by {number.name} (after epoch \d+|in epoch \d+ after step \d+); to resume: dlcli train --resume /"
    )
    assert re.match(words, stderr.splitlines()[-1])
    status = run.status()
    assert status.state == "interrupted"
    assert status.error.startswith(f"stopped by {number.name} ")
    assert len(run.history()) == status.epoch
    assert is_whole(checkpoint_files(run.checkpoints_path)[0])
    shown = dlcli("runs", "show", "long")
    assert f"dlcli train --resume {run.id}" in shown.stdout
    if number == signal.SIGTERM:
        done = dlcli("evaluate", "long", "--json")
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_second_interrupt_ends_the_process_at_once(tmp_path: Path) -> None:
    process, run = _started(tmp_path)
    process.send_signal(signal.SIGSTOP)  # both arrive before a step can end
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode in (-signal.SIGINT, 75)
    assert run.shown_state in ("dead", "interrupted")


def test_a_run_whose_process_was_killed_is_dead_and_goes_on(tmp_path: Path, dlcli: Dlcli) -> None:
    process, run = _started(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    listed = json.loads(dlcli("runs", "list", "--json").stdout)["runs"]
    assert [row["state"] for row in listed] == ["dead"]
    epochs = run.status().epoch
    begun = start_process(command("train", "--resume", "long"), cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 60
        while run.status().epoch <= epochs and time.monotonic() < end:
            time.sleep(0.1)
        assert run.status().epoch > epochs
        assert run.shown_state == "running"
    finally:
        begun.terminate()
        begun.communicate(timeout=30)
    assert begun.returncode == 75


FULL = """
import os, resource, sys
from pathlib import Path
from dlcli.runs import folder
kept = folder.RunFolder.save_model
def limited(self, model):
    if self.model_path.exists():  # the first epoch is kept, then the disk is full
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
    kept(self, model)
folder.RunFolder.save_model = limited
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.argv = ["dlcli", "train", "tiny.yaml"]
from dlcli.__main__ import main
main()
"""


def test_a_full_disk_ends_with_words_and_keeps_the_best_model_so_far(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    done = run_process([sys.executable, "-c", FULL], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    words = r"^error: cannot write to .*: File too large; the best epoch so far is stored there$"
    assert re.search(words, done.stderr, re.MULTILINE)
    (run,) = all_runs(tmp_path / "runs")
    assert run.model_path.stat().st_size > 1024
    assert not list(run.path.glob(".*")), "no half-written file is left"


BUG = """
import sys
from dlcli.training import train
def broken(*_, **__):
    raise KeyError("a defect of ours")
train.open_splits = broken
sys.argv = ["dlcli", "train", "tiny.yaml"]
from dlcli.__main__ import main
main()
"""


def test_a_defect_of_our_own_keeps_its_traceback_and_is_recorded(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    done = run_process([sys.executable, "-c", BUG], cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "KeyError: 'a defect of ours'" in done.stderr
    (run,) = all_runs(tmp_path / "runs")
    assert (run.status().state, run.status().error) == ("failed", "'a defect of ours'")


def test_bad_data_exits_1_with_words_alone(tmp_path: Path, dlcli: Dlcli) -> None:
    rows = "\n".join(f"{i},[red]one" for i in range(30))
    (tmp_path / "rows.csv").write_text(f"a,label\n{rows}\n")
    spec = SPEC.replace("{kind: builtin, name: iris}", "{kind: csv, path: rows.csv, target: label}")
    (tmp_path / "spec.yaml").write_text(spec)
    done = dlcli("train", "spec.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    message = "error: all examples are of one class ([red]one), so there is nothing to classify"
    assert done.stderr.splitlines()[-1] == message


def test_a_wrong_spec_exits_2_without_tensorflow(tmp_path: Path, dlcli: Dlcli) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.replace("units", "unist"))
    done = dlcli("train", "spec.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean `units`" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_runs_folder_that_cannot_be_made_exits_2(tmp_path: Path, dlcli: Dlcli) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    done = dlcli("train", "tiny.yaml", "--runs", "tiny.yaml/runs")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("cannot write to the runs folder tiny.yaml/runs: Not a directory")


def test_bad_calls_exit_2(dlcli: Dlcli) -> None:
    for arguments in (("train",), ("trian", "x.yaml"), ("train", "x.yaml", "--nothing"), ("train", "nothing.yaml")):
        done = dlcli(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert "Traceback" not in done.stderr


def test_a_run_folder_that_is_removed_while_it_is_written_is_told_in_words(tmp_path: Path) -> None:
    process, run = _started(tmp_path)
    run.path.rename(tmp_path / "elsewhere")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "Traceback" not in stderr
    assert "was removed or renamed while the run was writing to it" in stderr
    assert not run.path.exists()


def test_a_training_goes_on_once_the_reader_of_its_output_has_gone(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    line = f"{sys.executable} -m dlcli train tiny.yaml 2>&1 | head -1"
    subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, check=True, timeout=120)
    (run,) = all_runs(tmp_path / "runs")
    for _ in range(300):
        if run.shown_state != "running":
            break
        time.sleep(0.1)
    assert run.shown_state == "completed"


@pytest.mark.slow
def test_a_closed_terminal_leaves_a_checkpoint(tmp_path: Path) -> None:
    process, run = _started(tmp_path)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert run.shown_state == "interrupted"
    assert run.is_resumable
