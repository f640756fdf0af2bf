"""A small model is saved when the last saving has paid off, and its file is the one that saving at once gives."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import CIRCLES, Heard, column, trained, write_spec

from dlcli.runs import RunFolder
from dlcli.runs.checkpoints import checkpoint_files
from dlcli.runtime.checkpoint import read_snapshot
from dlcli.runtime.engine import keras
from dlcli.training import stage_trainer
from dlcli.training.resume import resume
from training.test_resume import Stopping, stopped

pytestmark = pytest.mark.usefixtures("without_pictures")

MODEL = "{kind: mlp, units: [8, 8], activation: tanh, dropout: 0.2, batch_normalization: true}"
TRAINING = (
    "epochs: 14, optimizer: {kind: sgd, learning_rate: {kind: piecewise_constant_decay, boundaries: [40], values: [0.1, 9]}}"
)


def _values(run: RunFolder) -> list[Any]:
    """Returns the weights and statistics of the saved model; Keras saves no states of random draws."""
    return [np.asarray(variable) for variable in keras.saving.load_model(run.model_path, compile=False).weights]


@pytest.fixture
def saves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs after which a model was saved, each late saving taking a quarter of a second."""
    epochs: list[int] = []
    save = RunFolder.save_model

    def slow_save(run: RunFolder, model: Any) -> None:
        epochs.append(len(run.history()))
        time.sleep(0.25 if stage_trainer._SMALL else 0)
        save(run, model)

    monkeypatch.setattr(RunFolder, "save_model", slow_save)
    return epochs


def test_the_file_of_a_model_that_is_saved_later_is_that_of_one_saved_at_once(
    tmp_path: Path, saves: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_spec(tmp_path, CIRCLES, task="binary", model=MODEL, data="batch_size: 16", training=TRAINING)
    late = trained(spec)
    late_saves = list(saves)
    saves.clear()
    monkeypatch.setattr(stage_trainer, "_SMALL", 0)
    at_once = trained(spec)
    losses = column(late, "val_loss")
    improved = [epoch for epoch in range(1, 15) if losses[epoch - 1] == min(losses[:epoch])]
    assert saves == improved
    assert len(improved) > 3
    assert late_saves[0] == 1
    assert late_saves[-1] == 14, "what is not saved yet is saved at the end of the training"
    assert len(late_saves) < len(improved)
    assert improved[-1] < 14, "the last epochs are worse, so the saved weights are not the last ones"
    assert (late.status().best_epoch, late.status().best_value) == (improved[-1], min(losses))
    assert at_once.status().best_epoch == late.status().best_epoch
    for ours, theirs in zip(_values(late), _values(at_once), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_checkpoint_is_that_of_the_saved_model_and_holds_no_weights_of_another(tmp_path: Path, saves: list[int]) -> None:
    """It can be resumed with other stages or devices, whose stage holds other variables or none."""
    spec = write_spec(tmp_path, CIRCLES, task="binary", model=MODEL, data="batch_size: 16", training=TRAINING)
    run = stopped(spec, Stopping(epoch=4))
    snapshot = read_snapshot(checkpoint_files(run.checkpoints_path)[0])
    assert saves[0] < saves[-1], "the best model was saved when the run was interrupted"
    assert snapshot.state["record"]["best"]["epoch"] == run.status().best_epoch == saves[-1]
    assert snapshot.state["recorder"]["unsaved"] is None
    assert snapshot.arrays["kept"] == []


def test_a_completed_run_with_dropout_is_extended_by_a_new_stage(tmp_path: Path) -> None:
    training = "epochs: 3, optimizer: {kind: sgd, learning_rate: {kind: cosine_decay, initial_learning_rate: 0.1}}"
    run = trained(write_spec(tmp_path, CIRCLES, task="binary", model=MODEL, data="batch_size: 16", training=training))
    resume(run, Heard(), overrides=["training.epochs=5"], schedule="rewarm", offline=True)
    assert run.status().state == "completed"
    assert [row["stage"] for row in run.history()] == ["train"] * 3 + ["rewarm"] * 2
