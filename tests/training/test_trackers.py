"""MLflow and Weights & Biases follow real trainings: a local store, offline mode, a server that is not there."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
from cli.killing import started, wait_for
from trainings import PLANE, Heard, losses, trained, write_spec

from dlcli.errors import Interrupted, RunFailed, UsageError
from dlcli.program import install_command
from dlcli.runs import RunFolder
from dlcli.runs.reporter import EpochReport
from dlcli.runtime.engine import keras
from dlcli.spec.load import load, to_yaml
from dlcli.spec.training.callbacks import MLflow
from dlcli.training.resume import resume
from dlcli.training.trackers.notify import followed
from training.wandb_file import summary_of

pytestmark = pytest.mark.usefixtures("without_pictures")

STORE = "{kind: mlflow, tracking_uri: store, experiment: flowers}"
WANDB = "{kind: wandb, project: flowers, mode: offline}"


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's own client, as a user of the store has it."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    return mlflow


def with_callbacks(folder: Path, *callbacks: str, epochs: int = 3, name: str = "tiny") -> Path:
    return write_spec(folder, training=f"epochs: {epochs}, callbacks: [{', '.join(callbacks)}]", name=name)


def only_run(mlflow: Any, store: Path) -> Any:
    client = mlflow.MlflowClient(store.as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("flowers").experiment_id])
    return run


def offline_run(run: RunFolder, number: int = 0) -> dict[str, Any]:
    return summary_of(sorted(run.trackers_path.glob("wandb/offline-run-*/run-*.wandb"))[number])


def troubles(heard: Heard) -> list[str]:
    """Returns what MLflow's tracker said; that it is waited for depends on how busy the machine is."""
    return [line for line in heard.lines if line.startswith("mlflow:") and "is receiving the results" not in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trackers")


@pytest.fixture(scope="module")
def tracked(folder: Path) -> RunFolder:
    return trained(with_callbacks(folder, STORE, WANDB))


def test_trackers_change_nothing_of_a_training(folder: Path, tracked: RunFolder) -> None:
    plain = trained(with_callbacks(folder, name="plain"))
    assert losses(tracked) == losses(plain)
    ours, theirs = (keras.saving.load_model(run.model_path, compile=False).get_weights() for run in (tracked, plain))
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert (tracked.evaluation("test") / "predictions.csv").read_bytes() == (
        plain.evaluation("test") / "predictions.csv"
    ).read_bytes()


def test_mlflow_holds_spec_epochs_scores_files_and_the_end(mlflow: Any, folder: Path, tracked: RunFolder) -> None:
    kept = only_run(mlflow, folder / "store")
    assert (kept.info.status, kept.info.run_name) == ("FINISHED", tracked.id)
    assert kept.data.params["training.epochs"] == "3"
    assert kept.data.params["data.source.name"] == "iris"
    assert kept.data.tags["dlcli.run"] == tracked.id
    client = mlflow.MlflowClient((folder / "store").as_uri())
    points = client.get_metric_history(kept.info.run_id, "val_loss")
    assert [(point.step, point.value) for point in points] == [
        (int(row["epoch"]), float(row["val_loss"])) for row in tracked.history()
    ]
    entry = tracked.metrics()["metrics"]["accuracy"]
    assert kept.data.metrics["test.accuracy"] == entry["value"]
    assert [kept.data.metrics[f"test.accuracy_{end}"] for end in ("low", "high")] == entry["interval"]
    names = {file.path for file in client.list_artifacts(kept.info.run_id)}
    assert {"spec.yaml", "history.csv", "curves.png", "evaluation"} <= names
    assert "model.keras" not in names
    inside = {file.path for file in client.list_artifacts(kept.info.run_id, "evaluation/test")}
    assert "evaluation/test/confusion_matrix.png" in inside
    assert "evaluation/test/predictions.csv" not in inside


def test_wandb_holds_spec_epochs_scores_files_and_the_end(tracked: RunFolder) -> None:
    kept = offline_run(tracked)
    assert (kept["project"], kept["name"], kept["exit"]) == ("flowers", tracked.id, 0)
    assert kept["config"]["training"]["epochs"] == 3
    assert kept["config"]["dlcli"]["dlcli.run"] == tracked.id
    rows = [row for row in kept["rows"] if "val_loss" in row]
    assert [(row["epoch"], row["_step"]) for row in rows] == [(1, 1), (2, 2), (3, 3)]
    assert [row["val_loss"] for row in rows] == [float(row["val_loss"]) for row in tracked.history()]
    entry = tracked.metrics()["metrics"]["accuracy"]
    assert kept["summary"]["test/accuracy"] == entry["value"]
    assert [kept["summary"][f"test/accuracy_{end}"] for end in ("low", "high")] == entry["interval"]
    assert kept["summary"]["state"] == "completed"
    assert kept["rows"][-1]["test/confusion_matrix._type"] == "image-file"
    files = next(tracked.trackers_path.glob("wandb/offline-run-*/files"))
    assert (files / "spec.yaml").read_text() == (tracked.path / "spec.yaml").read_text()
    assert not [path for path in files.rglob("*") if path.is_symlink()]


class Stopping(Heard):
    """Stops the training by a signal after an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def epoch_finished(self, report: EpochReport) -> None:
        if report.epoch == self._epoch:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_that_goes_on_goes_on_in_its_trackers(mlflow: Any, tmp_path: Path) -> None:
    spec = with_callbacks(tmp_path, STORE, WANDB, epochs=4)
    with pytest.raises(Interrupted):
        trained(spec, reporter=Stopping(2))
    (path,) = (tmp_path / "runs" / "tiny").iterdir()
    run = RunFolder(path)
    first = only_run(mlflow, tmp_path / "store")
    assert first.info.status == "KILLED"
    assert "test.accuracy" not in first.data.metrics
    stopped = offline_run(run)
    assert (stopped["exit"], stopped["preempting"], stopped["summary"]["state"]) == (1, True, "interrupted")
    resume(run, Heard(), overrides=["training.epochs=5"], schedule=None, offline=False)
    again = only_run(mlflow, tmp_path / "store")
    assert (again.info.run_id, again.info.status) == (first.info.run_id, "FINISHED")
    assert "test.accuracy" in again.data.metrics
    assert again.data.tags["resumed.training.epochs"] == "5"
    client = mlflow.MlflowClient((tmp_path / "store").as_uri())
    assert [point.step for point in client.get_metric_history(again.info.run_id, "loss")] == [1, 2, 3, 4, 5]
    went_on = offline_run(run, 1)
    assert (went_on["id"], went_on["exit"]) == (stopped["id"], 0)
    assert [row["epoch"] for one in (stopped, went_on) for row in one["rows"] if "loss" in row] == [1, 2, 3, 4, 5]


class Losing(Heard):
    """Takes the store away after an epoch, and puts it back after another, as a server that is gone for a while.

    The store is a link, which a file replaces in one step: the tracker writes all the while, and must not find a moment
    at which it could make a store of its own.
    """

    def __init__(self, store: Path, away: int, back: int) -> None:
        super().__init__()
        self._store, self._away, self._back = store, away, back
        self._folder = store.with_name("folder")
        self._folder.mkdir()
        store.symlink_to(self._folder)

    def epoch_finished(self, report: EpochReport) -> None:
        replacement = self._store.with_name("replacement")
        if report.epoch == self._away:
            while not list(self._store.glob("*/*/metrics/loss")):  # until it was told of the first epoch
                pass
            replacement.write_text("no folder")
            replacement.replace(self._store)
        if report.epoch == self._back:
            while not any("cannot be reached" in line for line in self.lines):
                pass
            replacement.symlink_to(self._folder)
            replacement.replace(self._store)


def test_a_store_that_is_gone_for_a_while_misses_nothing(mlflow: Any, tmp_path: Path) -> None:
    reporter = Losing(tmp_path / "store", 2, 5)
    run = trained(with_callbacks(tmp_path, STORE, epochs=6), reporter=reporter)
    told = troubles(reporter)
    assert len(told) == 2
    assert told[0].endswith("; the training continues and tries again after every epoch")
    assert told[1] == "mlflow: has received all missing results"
    assert run.status().state == "completed"
    kept = only_run(mlflow, tmp_path / "store")
    client = mlflow.MlflowClient((tmp_path / "store").as_uri())
    assert kept.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(kept.info.run_id, "loss")] == [1, 2, 3, 4, 5, 6]


def test_a_server_that_is_not_there_neither_ends_nor_holds_up_a_training(tmp_path: Path) -> None:
    reporter, began = Heard(), monotonic()
    run = trained(with_callbacks(tmp_path, "{kind: mlflow, tracking_uri: 'http://127.0.0.1:9'}"), reporter=reporter)
    assert monotonic() - began < 60
    assert run.status().state == "completed"
    told = troubles(reporter)
    assert 1 <= len(told) <= 2
    assert told[0] in (run.path / "log.txt").read_text()


def test_a_failed_training_is_a_failed_run(mlflow: Any, tmp_path: Path) -> None:
    training = f"epochs: 2, callbacks: [{STORE}], optimizer: {{kind: sgd, learning_rate: 1e30}}"
    with pytest.raises(RunFailed, match="loss"):
        trained(write_spec(tmp_path, PLANE, task="regression", training=training))
    kept = only_run(mlflow, tmp_path / "store")
    assert kept.info.status == "FAILED"
    assert "loss" in kept.data.tags["dlcli.error"]


def test_nothing_goes_over_the_network_where_it_may_not(tmp_path: Path) -> None:
    server = "{kind: mlflow, tracking_uri: 'http://127.0.0.1:9'}"
    loaded, heard = load(with_callbacks(tmp_path, server, "{kind: wandb, mode: online}")), Heard()
    run = RunFolder.create(tmp_path / "runs", "tiny", spec=to_yaml(loaded.experiment), source="")
    with followed(run, heard, heard.log) as following:
        following.begin(loaded.experiment, offline=True)
        run.update_status(state="completed")
    assert heard.lines[0] == "mlflow: this run is not logged, since --offline forbids network access"
    assert (offline_run(run)["project"], offline_run(run)["summary"]["state"]) == ("tiny", "completed")


def test_a_package_that_is_not_installed_is_told_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MLflow, "packages", ("no-such-package",))
    with pytest.raises(UsageError) as caught:
        trained(with_callbacks(tmp_path, STORE))
    assert str(caught.value) == f"the callback `mlflow` needs a package that is not installed: {install_command('mlflow')}"
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_the_packages_name_is_not_the_package(tmp_path: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").write_text("raise SystemExit('imported from the working folder')")
    monkeypatch.chdir(tmp_path)
    loaded, heard = load(with_callbacks(tmp_path, STORE)), Heard()
    run = RunFolder.create(tmp_path / "runs", "tiny", spec=to_yaml(loaded.experiment), source="")
    with followed(run, heard, heard.log) as following:
        following.begin(loaded.experiment, offline=False)
        run.update_status(state="completed")
    assert troubles(heard) == []
    assert only_run(mlflow, tmp_path / "store").info.status == "FINISHED"


def test_a_run_may_go_on_with_another_tracker_but_no_other_callback(tmp_path: Path) -> None:
    loaded, heard = load(with_callbacks(tmp_path, STORE)), Heard()
    run = RunFolder.create(tmp_path / "runs", "tiny", spec=to_yaml(loaded.experiment), source="")
    run.update_status(state="completed")
    for override in ("training.callbacks+=wandb", "training.callbacks.0.tracking_uri=https://other"):
        resume(run, heard, overrides=[override], schedule=None, offline=False)
        assert heard.lines.pop().startswith(f"{run.id} is complete")
    with pytest.raises(UsageError, match=r"training\.callbacks\.0\.kind"):
        resume(run, heard, overrides=["training.callbacks+=early_stopping"], schedule=None, offline=False)


def test_a_link_leads_no_tracker_out_of_the_run_folder(tmp_path: Path) -> None:
    loaded, heard = load(with_callbacks(tmp_path, STORE, WANDB)), Heard()
    run = RunFolder.create(tmp_path / "runs", "tiny", spec=to_yaml(loaded.experiment), source="")
    outside = tmp_path / "outside"
    outside.mkdir()
    run.trackers_path.mkdir()
    (run.trackers_path / "mlflow.log").symlink_to(outside / "log")
    (run.trackers_path / "wandb").symlink_to(outside)
    with followed(run, heard, heard.log) as following:
        following.begin(loaded.experiment, offline=False)
    assert list(outside.iterdir()) == []
    assert heard.lines[0].startswith("mlflow: this run is not logged: ")
    assert "wandb: not a folder inside the run" in heard.lines[1]


@pytest.mark.slow
def test_a_run_that_was_killed_is_killed_in_mlflow_and_goes_on_there(mlflow: Any, tmp_path: Path) -> None:
    spec = with_callbacks(tmp_path, STORE, epochs=60)
    process = started("train", spec, "--quiet", cwd=tmp_path)
    assert wait_for(lambda: list(tmp_path.glob("store/*/*/metrics/loss")), process)
    process.kill()
    process.wait()
    end = monotonic() + 30
    while only_run(mlflow, tmp_path / "store").info.status != "KILLED":
        assert monotonic() < end
        sleep(0.1)
    (path,) = (tmp_path / "runs" / "tiny").iterdir()
    resume(RunFolder(path), Heard(), overrides=[], schedule=None, offline=False)
    kept = only_run(mlflow, tmp_path / "store")
    assert kept.info.status == "FINISHED"
    client = mlflow.MlflowClient((tmp_path / "store").as_uri())
    steps = [point.step for point in client.get_metric_history(kept.info.run_id, "loss")]
    assert steps == list(range(1, 61))
