"""One model on several devices gives what one device gives with the same batch, up to the rounding of float32.

The tolerance: 1e-6 for numbers of size 1 (eight units of the last place of float32), on SGD and smooth activations, over
a few epochs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Dlcli, command, environment, run_process, start_process
from trainings import trained, write_spec

from dlcli.errors import UsageError
from dlcli.runs import RunFolder
from dlcli.runtime.spread import refuse_empty_shares
from dlcli.spec.load import load_text
from dlcli.training.fit import facts_of
from training.spread_cases import CASES, differences

pytestmark = pytest.mark.usefixtures("without_pictures")

HERE = Path(__file__).parent
ROUNDING = 1e-6
ON_CPU = "hardware: {device: cpu}"
LONG = "epochs: 12, optimizer: {kind: sgd, learning_rate: 0.05}, callbacks: [{kind: reduce_lr_on_plateau, patience: 1}]"


def spread(*cases: str) -> dict[str, dict[str, float]]:
    """Returns the differences between one device and two, in a process that has two."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from training.spread_cases import main; main()"
    done = run_process([sys.executable, "-c", code, str(HERE.parent), *cases], timeout=600)
    assert not done.returncode, done.stderr
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_same(found: dict[str, float], epochs: int, tolerance: float = ROUNDING) -> None:
    assert found["epochs"] == epochs
    assert found["moved"] > 0.01  # it learned something, so that sameness says something
    assert found["history"] < tolerance
    assert found["weights"] < tolerance


def latest(folder: Path) -> RunFolder:
    """Returns the only run below a folder."""
    (path,) = folder.glob("*/2*")
    return RunFolder(path)


def test_two_devices_give_what_one_gives() -> None:
    """Iris: 17 a batch, so shares of 9 and 8, and a smaller last batch; validation ends with a batch of one example."""
    found = spread("plain", "clipped")
    assert_same(found["plain"], 3)
    assert_same(found["clipped"], 2)


def test_targets_in_the_hundred_thousands_are_scaled_alike_on_two_devices() -> None:
    found = spread("scaled")["scaled"]
    assert found["epochs"] == 3
    assert found["moved"] > 1e9  # in squares of a deviation of 80,000
    assert found["relative"] < 1e-4


@pytest.mark.slow
def test_what_unfreezing_gave_is_tested_on_two_devices_as_on_one() -> None:
    found = spread("staged")["staged"]
    # The digits differ by the draws of dropout, which are each device's own.
    first, second = (re.sub(r"[\d.]+", "#", words) for words in found["compared"])
    assert (
        first
        == second
        == "unfreezing helped: top is better: its loss is lower by #; # % interval # to #; the model of top is kept"
    )


@pytest.mark.slow
def test_batch_normalisation_clipping_accumulation_averages_and_callbacks_are_those_of_the_whole_batch() -> None:
    names = ("batch_norm", "accumulated", "averaged", "called_back")
    found = spread(*names)
    for name, epochs in zip(names, (2, 2, 2, 3), strict=True):
        assert_same(found[name], epochs)


@pytest.mark.slow
def test_dropout_draws_apart_on_each_device_and_half_precision_keeps_its_scale() -> None:
    found = spread("dropped", "half")
    assert 1e-4 < found["dropped"]["history"] < 0.1  # other masks than those of one device, of the same sort
    assert_same(found["half"], 2, tolerance=1e-3)  # half precision: 11 bits


@pytest.mark.slow
def test_devices_go_on_from_the_middle_of_an_epoch_with_the_same_weights_bit_for_bit() -> None:
    found = spread("left")["left"]
    assert found["weights"] == 0.0
    assert found["history"] < ROUNDING  # sums of metrics are shared out anew over the devices
    assert found["moved"] > 0.001


def test_what_devices_cannot_share_is_refused_in_words(tmp_path: Path, dlcli: Dlcli) -> None:
    spec = write_spec(tmp_path, data="batch_size: 16", more=ON_CPU)
    done = dlcli("train", spec, "--set", "hardware.strategy=mirrored")
    assert done.returncode == 2
    assert "TensorFlow sees no GPU" in done.stderr
    assert "devices: 2" in done.stderr
    done = dlcli("train", spec, "--set", "hardware.strategy=multi_worker")
    assert done.returncode == 2
    assert "needs the addresses of the workers" in done.stderr
    assert "--local-workers" in done.stderr
    for options in (
        ["--workers", "a:1,b:2"],
        ["--index", "0"],
        ["--workers", "a:1,b:2", "--index", "0", "--local-workers", "2"],
    ):
        done = dlcli("train", spec, *options)
        assert done.returncode == 2
        assert "neither can be combined with --local-workers" in done.stderr


@pytest.mark.parametrize(("examples", "batch", "devices"), [(87, 10, 8), (33, 32, 2), (5, 16, 8), (81, 16, 2)])
def test_a_last_batch_without_an_example_for_every_device_is_refused(examples: int, batch: int, devices: int) -> None:
    with pytest.raises(UsageError, match=rf"the last batch of an epoch has \d+ of {examples} examples") as raised:
        refuse_empty_shares(examples, batch, devices)
    fitting = re.search(r"data\.batch_size: (\d+) has none", str(raised.value))
    if fitting is None:
        assert examples < devices
    else:
        refuse_empty_shares(examples, int(fitting[1]), devices)


def test_batches_with_an_example_for_every_device_are_taken() -> None:
    refuse_empty_shares(87, 16, 7)
    refuse_empty_shares(96, 16, 8)


def test_a_model_is_measured_before_the_devices_that_share_its_batches_train_it(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, more="hardware: {device: cpu, strategy: mirrored, devices: 2}")
    code = (
        "import sys\nfrom pathlib import Path\nfrom dlcli.runtime.device import joined\nfrom dlcli.spec.load import load\n"
        "from dlcli.fleet.sweep.limits import Limits\n"
        "experiment = load(sys.argv[1]).experiment\n"
        "Limits(Path(sys.argv[2]))(experiment)\nprint(joined(experiment.hardware, None).devices)\n"
    )
    done = run_process([sys.executable, "-c", code, str(spec), str(tmp_path / "size.json")], timeout=200)
    assert not done.returncode, done.stderr
    assert done.stdout == "2\n"
    assert json.loads((tmp_path / "size.json").read_text())["parameters"] == 4 * 8 + 8 + 8 * 3 + 3


FULL = """\
name: one
task: classification
data: {source: {kind: builtin, name: digits}, augment: [{kind: random_flip, mode: horizontal}]}
model: {kind: mlp, units: [8], kernel_regularizer: {kind: l2, l2: 0.01}}
training: {epochs: 2, loss: categorical_crossentropy, metrics: [accuracy]}
"""


def facts(*settings: str, text: str = FULL) -> dict[str, dict[str, object]]:
    return facts_of(load_text(text, "one.yaml", settings).experiment)


@pytest.mark.parametrize(
    ("setting", "section"),
    [
        ("seed=3", "seed"),
        ("data.augment.0.mode=vertical", "data"),
        ("model.units=[9]", "model"),
        ("model.kernel_regularizer.l2=0.1", "model"),
        ("training.loss=mse", "training"),
        ("training.metrics=[f1]", "training"),
        ("training.optimizer=sgd", "training"),
        ("hardware.precision=mixed_float16", "hardware"),
    ],
)
def test_workers_compare_what_changes_results(setting: str, section: str) -> None:
    one, other = facts(), facts(setting)
    assert {name for name in one if one[name] != other[name]} == {section}


@pytest.mark.parametrize(
    "setting",
    [
        "name=other",
        "training.checkpoint_minutes=3",
        "training.callbacks=[mlflow]",
        "hardware.resources.cpus=4",
        "hardware.strategy=multi_worker",
    ],
)
def test_workers_may_differ_in_what_changes_no_result(setting: str) -> None:
    assert facts(setting) == facts()


def test_workers_may_have_the_data_in_other_folders(tmp_path: Path) -> None:
    found = []
    for place in ("here", "there"):
        path = tmp_path / place / "rows.csv"
        path.parent.mkdir()
        path.write_text("a,label\n1,x\n2,y\n")
        found.append(
            facts(
                text=FULL.replace("kind: builtin, name: digits", f"kind: csv, path: {path}, target: label").replace(
                    ", augment: [{kind: random_flip, mode: horizontal}]", ""
                )
            )
        )
    assert found[0] == found[1]


def test_two_local_workers_give_what_one_process_gives(tmp_path: Path, dlcli: Dlcli) -> None:
    spec = write_spec(tmp_path, data=CASES["plain"]["data"], training=CASES["plain"]["training"], more=ON_CPU)
    one = trained(spec)
    two = dlcli("train", spec, "--runs", "two", "--local-workers", "2", "-q", timeout=300)
    assert not two.returncode, two.stderr
    run = latest(tmp_path / "two")
    assert two.stdout.strip() == str(run.path)
    assert_same(differences(one, run), 3)
    told = run.environment()
    assert (told["strategy"], told["devices"]) == ("multi_worker", 2)
    one_scores, two_scores = one.metrics("test")["metrics"], run.metrics("test")["metrics"]
    assert two_scores["accuracy"]["value"] == one_scores["accuracy"]["value"]


def started(tmp_path: Path, spec: Path, folder: str, *options: str) -> tuple[subprocess.Popen[str], RunFolder]:
    """Starts two local workers and returns them once two epochs are over."""
    line = command("train", spec, "--runs", tmp_path / folder, "--local-workers", "2", *options)
    process = start_process(line, stderr=subprocess.PIPE, cwd=tmp_path)
    end = time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None:
        found = list((tmp_path / folder).glob("*/2*/history.csv"))
        if found and len(found[0].read_text().splitlines()) > 2:
            return process, RunFolder(found[0].parent)
        time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate()[1])


PLAY = """\
import signal, socket, sys
host, _, port = sys.argv[-3].split(",")[int(sys.argv[-1])].partition(":")
"""
"""Stands in for the program of a worker, to play one without TensorFlow."""


def played(folder: Path, parts: str) -> subprocess.Popen[str]:
    """Starts two workers of a program that is no training."""
    package = folder / "play" / "dlcli"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(PLAY + parts)
    code = (
        "import os, sys\nfrom dlcli.training.local_workers import run_local_workers\n"
        "os.environ['PYTHONPATH'] = sys.argv[1]\nsys.exit(run_local_workers(2, []))\n"
    )
    line = [sys.executable, "-c", code, str(folder / "play")]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def test_a_local_worker_that_ends_before_it_can_be_reached_ends_all(tmp_path: Path) -> None:
    process = played(tmp_path, "if sys.argv[-1] == '1': sys.exit('no such data')\nsignal.pause()\n")
    words = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert words.splitlines() == [
        "worker 1 ended before all workers had connected",
        "worker 1 ended with exit code 1",
        "  no such data",
    ]


def test_an_interrupt_of_local_workers_reaches_each_worker_once(tmp_path: Path) -> None:
    parts = """
import time
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
with socket.create_server((host, int(port))):
    print("ready", flush=True)
    while not got: time.sleep(0.05)
    time.sleep(0.5)
sys.exit(70 + len(got))
"""
    process = played(tmp_path, parts)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # the other one is not seen to be ready
    process.send_signal(signal.SIGINT)
    words = process.communicate(timeout=30)[1]
    assert process.returncode == 71, words
    assert not words  # the other one has ended as the chief did


def worker(of: subprocess.Popen[str], index: int) -> int:
    """Returns the process of a worker, from the system's list of processes."""
    import psutil

    (found,) = [one.pid for one in psutil.Process(of.pid).children() if one.cmdline()[-2:] == ["--index", str(index)]]
    return int(found)


@pytest.mark.slow
def test_a_run_whose_worker_was_killed_goes_on_with_two_with_three_and_with_one(tmp_path: Path, dlcli: Dlcli) -> None:
    spec = write_spec(tmp_path, data="batch_size: 17, split: {validation: 0.2}", training=LONG, more=ON_CPU)
    whole = dlcli("train", spec, "--runs", "whole", timeout=300)
    assert not whole.returncode, whole.stderr
    process, run = started(tmp_path, spec, "two")
    os.kill(worker(process, 1), signal.SIGKILL)
    words = process.communicate(timeout=200)[1]
    assert process.returncode == 75, words
    assert "the loss of a worker" in words
    assert "worker 1 was ended by SIGKILL" in words
    assert f"dlcli train --resume {run.path}" in words
    assert run.status().state == "interrupted"
    for options in ([], ["--local-workers", "2"], ["--local-workers", "3"]):
        again = tmp_path / f"again-{len(options)}-{options[-1] if options else 1}" / run.name / run.path.name
        shutil.copytree(run.path, again)
        done = dlcli("train", "--resume", again, *options, timeout=300)
        assert not done.returncode, done.stderr
        assert_same(differences(latest(tmp_path / "whole"), RunFolder(again)), 12, tolerance=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_signal_to_one_worker_leaves_all_at_the_same_step(tmp_path: Path, index: int) -> None:
    spec = write_spec(tmp_path, data="batch_size: 17, split: {validation: 0.2}", training=LONG, more=ON_CPU)
    process, run = started(tmp_path, spec, "two")
    os.kill(worker(process, index), signal.SIGTERM)
    words = process.communicate(timeout=200)[1]
    assert process.returncode == 75, words
    assert "worker 1" not in words.partition("waiting for the others")[2]  # it ended as the chief did
    assert run.status().state == "interrupted"
    assert run.status().error.startswith("stopped by SIGTERM" if index == 0 else "stopped by a signal to another worker")
