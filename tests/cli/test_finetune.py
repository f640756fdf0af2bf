"""`dlcli finetune` as a user types it, in processes of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import command, run_process
from trainings import newest_run, save_images, write_spec

from dlcli.runs import RunFolder

pytestmark = pytest.mark.usefixtures("without_pictures")

CNN = "{kind: cnn, layers: [{kind: conv2d, filters: 4, kernel_size: 3}, batch_normalization, flatten]}"
IMAGES = "{kind: npz, path: images.npz}"
DATA = "batch_size: 16, split: {validation: 0.25, test: 0.25}"


def dlcli(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Calls `dlcli` in a process of its own."""
    return run_process(command(*arguments), cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, the spec `low`, a run of it, and a spec `high` on that run."""
    folder = tmp_path_factory.mktemp("finetune")
    save_images(folder / "images.npz", examples=96)
    write_spec(folder, IMAGES, model=CNN, data=DATA, training="epochs: 2", name="low")
    model = "{kind: transfer, backbone: {kind: run, run: runs/low}}"
    write_spec(folder, IMAGES, model=model, data=DATA, training="epochs: 1", name="high")
    assert dlcli("train", "low.yaml", cwd=folder).returncode == 0
    return folder


def run_of(done: Any) -> RunFolder:
    """Returns the run whose folder `--quiet` printed."""
    assert done.returncode == 0, done.stderr
    return RunFolder(Path(done.stdout.strip()))


def test_a_spec_without_stages_gets_head_then_everything_at_a_hundredth_of_the_rate(folder: Path) -> None:
    done = dlcli("finetune", "high.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    run = newest_run(folder / "runs" / "high")
    assert [(stage["name"], stage["train"]) for stage in run.stages()] == [("head", "head"), ("all", "all")]
    rates = [stage.optimizer.learning_rate for stage in run.experiment().training.stages if stage.optimizer]
    assert rates == pytest.approx([1e-3, 1e-5])
    assert "stage head: the head" in done.stderr
    assert done.stderr.count("verified after step") == 2
    assert re.search(r"unfreezing(:| helped| did not help)", done.stderr)
    assert "the head" in done.stdout
    assert "everything" in done.stdout


def test_train_on_the_same_spec_trains_the_head_alone(folder: Path) -> None:
    run = run_of(dlcli("train", "high.yaml", "--quiet", cwd=folder))
    assert [stage["train"] for stage in run.stages()] == ["head"]


def test_a_finished_run_goes_on_in_a_new_run_that_names_its_parent(folder: Path) -> None:
    parent = RunFolder(next((folder / "runs" / "low").glob("*")))
    before = {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()}
    done = dlcli("finetune", "low", "--train", "last:3", "--learning-rate", "1e-5", "--epochs", "2", "--quiet", cwd=folder)
    run = run_of(done)
    assert run.status().parent == parent.id
    assert run.split() == parent.split()
    (stage,) = run.stages()
    assert (stage["train"], stage["epochs"]) == ({"last": 3}, 2)
    assert [float(row["learning_rate"]) for row in run.history()] == pytest.approx([1e-5, 1e-5])
    assert before == {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()}
    shutil.rmtree(run.path)


def test_a_run_that_only_gets_worse_keeps_its_parents_model(folder: Path) -> None:
    parent = RunFolder(next((folder / "runs" / "low").glob("*")))
    run = run_of(dlcli("finetune", str(parent.path), "--learning-rate", "50", "--epochs", "1", "--quiet", cwd=folder))
    status = run.status()
    assert (status.best_epoch, status.best_stage) == (0, "start")
    assert run.metrics()["metrics"] == parent.metrics()["metrics"]
    shown = dlcli("runs", "show", run.id, cwd=folder).stdout
    assert parent.id in shown
    shutil.rmtree(run.path)


def test_describe_shows_the_stages(folder: Path) -> None:
    write_spec(
        folder,
        IMAGES,
        model="{kind: transfer, backbone: {kind: run, run: runs/low}}",
        data=DATA,
        training="stages: [{name: head, train: head}, {name: top, train: {last: 3}, epochs: 4}]",
        name="staged",
    )
    described = json.loads(dlcli("describe", "staged.yaml", "--json", cwd=folder).stdout)
    first, second = described["stages"]
    assert (first["name"], first["trainable"], second["epochs"]) == ("head", described["stages"][0]["trainable"], 4)
    assert first["trainable"] < second["trainable"]
    shown = dlcli("describe", "staged.yaml", cwd=folder).stdout
    assert "the head and the backbone's last 3 layers" in shown


WRONG = {
    "a spec with options for runs": (("high.yaml", "--epochs", "3"), "need a RUN"),
    "nothing trained before": (("low.yaml",), "it has no pretrained weights"),
    "no such run": (("lwo",), "did you mean 'low'?"),
    "a way that there is not": (("low", "--train", "first:3"), "expected `head`, `all`, {last: n}"),
    "more layers than there are": (("low", "--train", "last:900"), "900 layers were requested, but the backbone has only"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_done_is_told_in_words(folder: Path, what: str) -> None:
    arguments, said = WRONG[what]
    done = dlcli("finetune", *arguments, cwd=folder)
    assert done.returncode == (1 if "900" in arguments[-1] else 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_weights_of_another_architecture_are_refused_by_name(folder: Path) -> None:
    write_spec(
        folder,
        IMAGES,
        model=CNN.replace("filters: 4", "filters: 5"),
        data=DATA,
        training="epochs: 1, initial_weights: runs/low",
        name="other",
    )
    done = dlcli("train", "other.yaml", cwd=folder)
    assert done.returncode == 1
    assert "the model of low/" in done.stderr
    assert "(3, 3, 1, 4), here" in done.stderr


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        (CNN, DATA + ", normalize: symmetric", "`normalize: unit`, here it is `symmetric`"),
        (CNN.replace("kernel_size: 3}", "kernel_size: 3, activation: tanh}"), DATA, "is Conv2D (linear), here Conv2D (tanh)"),
    ],
)
def test_weights_that_fit_and_mean_something_else_are_refused(folder: Path, model: str, data: str, said: str) -> None:
    write_spec(folder, IMAGES, model=model, data=data, training="epochs: 1, initial_weights: runs/low", name="other")
    done = dlcli("train", "other.yaml", cwd=folder)
    assert done.returncode == 1
    assert said in done.stderr


def test_one_more_stage_takes_optimizer_rate_and_epochs_of_the_last(folder: Path) -> None:
    stage = "{name: all, train: all, epochs: 2, optimizer: {kind: sgd, learning_rate: {backbone: 1e-3, head: 1e-2}}}"
    model = "{kind: transfer, backbone: {kind: run, run: runs/low}}"
    write_spec(folder, IMAGES, model=model, data=DATA, training=f"stages: [{stage}]", name="parts")
    assert dlcli("train", "parts.yaml", cwd=folder).returncode == 0
    run = run_of(dlcli("finetune", "parts", "--train", "head", "--quiet", cwd=folder))
    (stage_of_run,) = run.experiment().training.stages
    assert stage_of_run.epochs == 2
    assert stage_of_run.optimizer is not None
    assert (stage_of_run.optimizer.kind, stage_of_run.optimizer.learning_rate) == ("sgd", 1e-2)
