"""Leaving a run at any place and taking it up again; making a finished one longer. All in one process, by real signals."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.killing import assert_same_bits
from trainings import CIRCLES, PLANE, Heard, trained, write_spec

from dlcli.errors import DataError, Interrupted, RunFailed, UsageError
from dlcli.runs import RunFolder, all_runs
from dlcli.runs.checkpoints import checkpoint_files, is_whole
from dlcli.runs.folder import REVISION
from dlcli.runs.reporter import EpochReport, Reporter
from dlcli.runtime.checkpoint import read_snapshot
from dlcli.runtime.engine import keras
from dlcli.runtime.steps import Validation
from dlcli.training.resume import resume

pytestmark = pytest.mark.usefixtures("without_pictures")

SLOW = pytest.mark.slow
DROPOUT = "{kind: mlp, units: [8, 8], activation: tanh, dropout: 0.2, batch_normalization: true}"
BATCHES = "batch_size: 8"
"""84 training examples: 11 steps an epoch, one in each call of the device."""


class Stopping(Heard):
    """Sends a signal to this process after a step, or after an epoch, counted over the whole run."""

    def __init__(self, *, step: int = 0, epoch: int = 0, what: signal.Signals = signal.SIGTERM) -> None:
        super().__init__()
        self._step, self._epoch, self._what, self._steps = step, epoch, what, 0

    def step_finished(self, epoch: int, step: int, examples: int) -> None:
        self._steps += 1
        if self._steps == self._step:
            os.kill(os.getpid(), self._what)

    def epoch_finished(self, report: EpochReport) -> None:
        if report.epoch == self._epoch:
            os.kill(os.getpid(), self._what)


def stopped(spec: Path, reporter: Reporter, overrides: Sequence[str] = ()) -> RunFolder:
    """Trains a spec until the reporter's signal stops it, and returns the run."""
    before = {run.path for run in all_runs(spec.parent / "runs")}
    with pytest.raises(Interrupted, match="dlcli train --resume"):
        trained(spec, overrides, reporter)
    (run,) = [run for run in all_runs(spec.parent / "runs") if run.path not in before]
    assert run.status().state == "interrupted"
    assert is_whole(checkpoint_files(run.checkpoints_path)[0])
    return run


def gone_on(run: RunFolder, overrides: Sequence[str] = (), schedule: Any = None) -> list[str]:
    """Resumes a run and returns what was said; its report, which takes longer than a few epochs, is not written."""
    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dlcli.training.train.write_documents", lambda *_: None)
        resume(run, heard, overrides=list(overrides), schedule=schedule, offline=True)
    assert run.status().state == "completed"
    return heard.lines


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec with dropout, statistics and two scores."""
    folder = tmp_path_factory.mktemp("resume")
    return write_spec(folder, CIRCLES, model=DROPOUT, data=BATCHES, training="epochs: 3, metrics: [accuracy, auc]")


@pytest.fixture(scope="module")
def whole(spec: Path) -> RunFolder:
    """The spec's run that was never touched."""
    return trained(spec)


@pytest.mark.parametrize("step", [11, *(pytest.param(step, marks=SLOW) for step in (1, 7, 10, 12, 22, 33))])
def test_a_run_left_after_any_step_ends_with_the_same_bits(spec: Path, whole: RunFolder, step: int) -> None:
    run = stopped(spec, Stopping(step=step))
    epoch, after = divmod(step, 11)
    state = read_snapshot(checkpoint_files(run.checkpoints_path)[0]).state
    assert (state["epoch"], state["step"]) == ((epoch, after) if after else (epoch - 1, 11))
    gone_on(run)
    assert_same_bits(whole, run)


@pytest.mark.parametrize("epoch", [pytest.param(1, marks=SLOW), 3])
def test_a_run_left_at_the_end_of_an_epoch_ends_with_the_same_bits(spec: Path, whole: RunFolder, epoch: int) -> None:
    run = stopped(spec, Stopping(epoch=epoch))
    assert "resuming " in " ".join(gone_on(run))
    assert_same_bits(whole, run)


def test_a_resumed_run_keeps_its_revision_and_a_later_one_is_refused(spec: Path) -> None:
    run = stopped(spec, Stopping(step=12))
    environment = run.environment()
    assert environment["revision"] == run.revision() == REVISION
    run.write_environment(environment | {"revision": REVISION + 1})
    with pytest.raises(UsageError, match=rf"was started by a later version of dlcli \(revision {REVISION + 1}; this version"):
        gone_on(run)
    run.write_environment(environment)
    gone_on(run)
    assert run.revision() == REVISION
    assert "revision" not in run.environment()["resumed"][0]


@SLOW
def test_a_run_may_be_left_again_and_again(spec: Path, whole: RunFolder) -> None:
    run = stopped(spec, Stopping(step=5))
    for step in (1, 8, 13):
        with pytest.raises(Interrupted):
            resume(run, Stopping(step=step), overrides=[], schedule=None, offline=True)
    gone_on(run)
    assert run.status().resumed == 4
    assert_same_bits(whole, run)
    assert [row["epoch"] for row in run.history()] == ["1", "2", "3"]


@SLOW
def test_several_steps_in_one_call_give_the_bits_of_single_steps(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, CIRCLES, model=DROPOUT, data="batch_size: 2", training="epochs: 2")
    together, single = (trained(spec, [f"hardware.steps_per_execution={steps}"]) for steps in (10, 1))
    assert_same_bits(together, single)
    run = stopped(spec, Stopping(step=3), ["hardware.steps_per_execution=10"])
    assert read_snapshot(checkpoint_files(run.checkpoints_path)[0]).state["step"] == 30
    gone_on(run, ["hardware.steps_per_execution=7"])
    assert_same_bits(together, run)


def test_early_stopping_stops_at_the_same_epoch_interrupted_or_not(tmp_path: Path) -> None:
    """With Keras's own BackupAndRestore the patience starts again: 7 epochs and not 4 (measured on Keras 3.15.1)."""
    training = "epochs: 20, optimizer: {kind: sgd, learning_rate: 1e-30}, callbacks: [{kind: early_stopping, patience: 3}]"
    spec = write_spec(tmp_path, CIRCLES, data=BATCHES, training=training)
    whole = trained(spec)
    assert len(whole.history()) == 4
    run = stopped(spec, Stopping(epoch=3))
    gone_on(run)
    assert len(run.history()) == 4
    assert_same_bits(whole, run)
    assert "early stopping" in run.status().reason


def test_the_best_model_survives_a_resumed_run_that_only_gets_worse(tmp_path: Path) -> None:
    """A resumed run of Keras overwrites it with a worse one (github.com/keras-team/keras/issues/17012)."""
    rate = "{kind: piecewise_constant_decay, boundaries: [22], values: [0.05, 30.0]}"
    spec = write_spec(tmp_path, CIRCLES, data=BATCHES, training=f"epochs: 5, optimizer: {{kind: sgd, learning_rate: {rate}}}")
    run = stopped(spec, Stopping(epoch=2))
    best, value, model = run.status().best_epoch, run.status().best_value, run.model_path.read_bytes()
    gone_on(run)
    losses = [float(row["val_loss"]) for row in run.history()]
    assert (run.status().best_epoch, run.status().best_value) == (best, value)
    assert min(losses) == value
    assert max(losses[2:]) > value
    assert run.model_path.read_bytes() == model


@pytest.mark.parametrize(
    "training",
    [
        pytest.param("optimizer: adam, callbacks: [{kind: reduce_lr_on_plateau, patience: 1, min_delta: 1.0}]", id="plateau"),
        pytest.param(
            "optimizer: {kind: sgd, learning_rate: {kind: one_cycle, max_learning_rate: 0.3}}", marks=SLOW, id="schedule"
        ),
        pytest.param("optimizer: {kind: adam, use_ema: true, gradient_accumulation_steps: 3}", marks=SLOW, id="moving average"),
        pytest.param(
            "metrics: [accuracy, f1], callbacks: [{kind: target_reached, monitor: val_f1, value: 0.99}]",
            marks=SLOW,
            id="a score of scikit-learn",
        ),
    ],
)
def test_what_callbacks_and_optimizers_remember_is_taken_up(tmp_path: Path, training: str) -> None:
    spec = write_spec(tmp_path, CIRCLES, task="binary", model=DROPOUT, data=BATCHES, training=f"epochs: 5, {training}")
    whole = trained(spec)
    run = stopped(spec, Stopping(step=27))
    gone_on(run)
    assert_same_bits(whole, run)


def test_a_run_in_bfloat16_that_is_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, CIRCLES, model=DROPOUT, data=BATCHES, more="hardware: {precision: mixed_bfloat16}")
    whole = trained(spec)
    run = stopped(spec, Stopping(step=15))
    gone_on(run)
    assert_same_bits(whole, run)


@SLOW
def test_mixed_precision_takes_up_its_scale_of_the_loss(tmp_path: Path) -> None:
    try:
        spec = write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 3", more="hardware: {precision: mixed_float16}")
        whole = trained(spec)
        run = stopped(spec, Stopping(step=15))
        gone_on(run)
        assert_same_bits(whole, run)
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_signal_during_validation_leaves_at_once_and_the_validation_is_done_again(
    spec: Path, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = Validation.scores
    calls: list[int] = []

    def signalled(validation: Validation, hooks: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return scores(validation, hooks)

    monkeypatch.setattr(Validation, "scores", signalled)
    run = stopped(spec, Reporter())
    assert len(calls) == 2
    assert len(run.history()) == 1
    state = read_snapshot(checkpoint_files(run.checkpoints_path)[0]).state
    assert (state["epoch"], state["step"]) == (1, 11)
    gone_on(run)
    assert_same_bits(whole, run)


def test_sigusr1_writes_a_checkpoint_and_the_run_goes_on(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 2")
    run = trained(spec, reporter=Stopping(step=4, what=signal.SIGUSR1))
    assert run.status().state == "completed"
    assert any("checkpoint in epoch 1 after step 4" in line for line in (run.path / "log.txt").read_text().splitlines())


def test_a_damaged_newest_checkpoint_is_passed_over_for_the_one_before(spec: Path, whole: RunFolder) -> None:
    run = stopped(spec, Stopping(step=16))
    newest, before = checkpoint_files(run.checkpoints_path)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    said = gone_on(run)
    assert any(f"{newest.name} is damaged" in line for line in said)
    assert any("after epoch 1" in line for line in said), before
    assert_same_bits(whole, run)


@SLOW
def test_a_run_without_a_whole_checkpoint_begins_anew_in_its_own_folder(spec: Path, whole: RunFolder) -> None:
    run = stopped(spec, Stopping(step=5))
    shutil.rmtree(run.checkpoints_path)
    assert any("starts from the beginning" in line for line in gone_on(run))
    assert_same_bits(whole, run)


@SLOW
def test_a_killed_writing_leaves_the_checkpoint_before_and_is_cleaned_up(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 2")
    run = stopped(spec, Stopping(step=5))
    half = run.checkpoints_path / ".new.1.tmp.npz"
    half.write_bytes(b"half")
    gone_on(run)
    assert not half.exists()
    assert len(checkpoint_files(run.checkpoints_path)) == 1


def test_other_data_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(60, 3)), y=np.arange(60) % 2)
    spec = write_spec(tmp_path, "{kind: npz, path: rows.npz}", data=BATCHES, training="epochs: 2")
    run = stopped(spec, Stopping(step=3))
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(1).normal(size=(60, 3)), y=np.arange(60) % 2)
    with pytest.raises(DataError, match="the data is not what"):
        resume(run, Reporter(), overrides=[], schedule=None, offline=True)


def test_a_run_that_another_process_writes_is_not_resumed(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 2")
    run = stopped(spec, Stopping(step=3))
    with run.hold(), pytest.raises(UsageError, match=f"{run.id} is being written by"):
        resume(run, Reporter(), overrides=[], schedule=None, offline=True)


def test_a_complete_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, CIRCLES, training="epochs: 1"))
    before = run.model_path.stat().st_mtime_ns
    assert any("complete; to train longer" in line for line in gone_on(run))
    assert run.model_path.stat().st_mtime_ns == before


def test_a_longer_run_has_the_bits_of_one_that_was_as_long_from_the_start(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, CIRCLES, model=DROPOUT, data=BATCHES, training="epochs: 2")
    whole = trained(spec, ["training.epochs=5"])
    run = trained(spec)
    assert any("extended by 3 epochs, to 5" in line for line in gone_on(run, ["training.epochs=5"]))
    assert run.experiment().training.epochs == 5
    assert_same_bits(whole, run)


COSINE = "epochs: 2, optimizer: {kind: sgd, learning_rate: {kind: cosine_decay, initial_learning_rate: 0.1}}"


def rates(run: RunFolder) -> list[float]:
    """Returns the learning rate at the end of each epoch."""
    return [float(row["learning_rate"]) for row in run.history()]


def test_a_schedule_needs_a_policy_in_added_epochs(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, CIRCLES, data=BATCHES, training=COSINE))
    with pytest.raises(UsageError, match=r"--schedule continue .* stretch .* or rewarm"):
        resume(run, Reporter(), overrides=["training.epochs=4"], schedule=None, offline=True)
    assert run.status().state == "completed"
    gone_on(run, ["training.epochs=4"], "continue")
    assert rates(run) == pytest.approx([0.05, 0, 0, 0], abs=1e-7)


@SLOW
def test_a_schedule_can_be_stretched_to_the_new_end(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, CIRCLES, data=BATCHES, training=COSINE))
    gone_on(run, ["training.epochs=4"], "stretch")
    assert rates(run) == pytest.approx([0.05, 0, 0.1 * 0.5 * (1 + np.cos(np.pi * 0.75)), 0], abs=1e-7)


def test_a_schedule_can_start_again_in_a_stage_of_its_own(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, CIRCLES, data=BATCHES, training=COSINE))
    gone_on(run, ["training.epochs=4"], "rewarm")
    assert rates(run) == pytest.approx([0.05, 0, 0.05, 0], abs=1e-7)
    assert [row["stage"] for row in run.history()] == ["train", "train", "rewarm", "rewarm"]
    assert [stage.name for stage in run.experiment().training.stages] == ["train", "rewarm"]


@SLOW
def test_a_run_that_stopped_early_gets_its_patience_again(tmp_path: Path) -> None:
    training = "epochs: 5, optimizer: {kind: sgd, learning_rate: 1e-30}, callbacks: [{kind: early_stopping, patience: 2}]"
    run = trained(write_spec(tmp_path, CIRCLES, data=BATCHES, training=training))
    assert len(run.history()) == 3
    gone_on(run, ["training.epochs=9"])
    assert len(run.history()) == 5


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.optimizer.learning_rate=0.5", r"training.optimizer.learning_rate: 0.001 -> 0.5"),
        pytest.param("data.batch_size=16", r"data.batch_size: 8 -> 16", marks=SLOW),
        pytest.param("seed=3", r"seed: 0 -> 3", marks=SLOW),
        ("training.epochs=1", "extended, not shortened"),
    ],
)
def test_a_change_of_results_is_refused_with_both_values(tmp_path: Path, override: str, words: str) -> None:
    run = trained(write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 2"))
    files = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file() and path.name not in ("lock", "log.txt")}
    with pytest.raises(UsageError, match=words):
        resume(run, Reporter(), overrides=[override], schedule=None, offline=True)
    assert all(path.read_bytes() == content for path, content in files.items())


PLANE_400 = "{kind: playground, name: plane, examples: 400}"


def test_a_loss_that_is_no_number_is_told_with_step_rate_gradients_and_what_to_try(tmp_path: Path) -> None:
    training = "epochs: 20, loss: mse, optimizer: {kind: sgd, learning_rate: 100.0}"
    spec = write_spec(tmp_path, PLANE_400, task="regression", data="batch_size: 2", training=training)
    words = r"the (loss|gradients) became (nan|inf) in epoch 1, step \d+: .*\n.* rate 100; norm .*steps: .*(nan|inf)\n.* 10,"
    with pytest.raises(RunFailed, match=words) as single:
        trained(spec, ["hardware.steps_per_execution=1"])
    with pytest.raises(RunFailed, match=words) as together:
        trained(spec, ["hardware.steps_per_execution=10"])
    assert str(single.value) == str(together.value), "the very step is found in a call of ten"


@SLOW
def test_a_later_divergence_is_looked_back_upon_from_a_checkpoint_and_keeps_the_best_model(tmp_path: Path) -> None:
    rate = "{kind: piecewise_constant_decay, boundaries: [22], values: [0.01, 1000.0]}"
    training = f"epochs: 9, loss: mse, optimizer: {{kind: sgd, learning_rate: {rate}}}"
    spec = write_spec(tmp_path, PLANE, task="regression", data=BATCHES, training=training)
    with pytest.raises(RunFailed, match=r"in epoch 3, step \d+: .* best model so far, of epoch 2, is kept\n.* 1e\+03; norm"):
        trained(spec)
    (run,) = all_runs(tmp_path / "runs")
    assert run.status().state == "failed"
    assert run.status().best_epoch == 2
    assert is_whole(checkpoint_files(run.checkpoints_path)[0])


def _on(run: RunFolder, folder: Path, head: str, stages: str, name: str) -> Path:
    model = f"{{kind: transfer, backbone: {{kind: run, run: {run.path}}}, head: [{head}]}}"
    return write_spec(folder, CIRCLES, model=model, data=BATCHES, training=stages, name=name)


def test_stages_of_a_fine_tuning_on_kept_features_are_taken_up(tmp_path: Path, whole: RunFolder) -> None:
    stages = "stages: [{name: head, train: head, epochs: 3}, {name: top, train: {last: 6}, epochs: 2}]"
    spec = _on(whole, tmp_path, "{kind: dropout, rate: 0.2}", stages, "tuned")
    untouched = trained(spec)
    for reporter in (Stopping(epoch=2), Stopping(epoch=4)):
        run = stopped(spec, reporter)
        gone_on(run)
        assert_same_bits(untouched, run)


@SLOW
def test_one_more_stage_of_a_run_is_taken_up_with_its_start_as_its_best(tmp_path: Path, whole: RunFolder) -> None:
    training = f"epochs: 3, initial_weights: {whole.path}, optimizer: {{kind: sgd, learning_rate: 1.0}}"
    spec = write_spec(tmp_path, CIRCLES, model=DROPOUT, data=BATCHES, training=training)
    untouched = trained(spec)
    run = stopped(spec, Stopping(step=14))
    gone_on(run)
    assert_same_bits(untouched, run)


def test_a_spec_changed_by_hand_is_refused(spec: Path) -> None:
    run = stopped(spec, Stopping(step=5))
    path = run.path / "spec.yaml"
    path.write_text(path.read_text().replace("batch_size: 8", "batch_size: 9"))
    with pytest.raises(UsageError, match=r"spec\.yaml has changed since the checkpoint"):
        resume(run, Reporter(), overrides=[], schedule=None, offline=True)


@SLOW
def test_a_longer_run_that_is_killed_at_once_goes_on_to_its_new_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(write_spec(tmp_path, CIRCLES, model=DROPOUT, data=BATCHES, training="epochs: 1"))

    def killed(*_: Any, **__: Any) -> None:
        raise KeyError

    with monkeypatch.context() as broken:
        broken.setattr("dlcli.training.resume.proceed", killed)
        with pytest.raises(KeyError):
            resume(run, Reporter(), overrides=["training.epochs=2"], schedule=None, offline=True)
    gone_on(run)
    assert len(run.history()) == 2


OTHERS = [pytest.param(change, marks=SLOW) for change in ("nothing", "array", "packed", "negative")]


@pytest.mark.parametrize("change", ["text", *OTHERS])
def test_a_checkpoint_made_by_someone_else_is_passed_over(spec: Path, change: str) -> None:
    """Its checksum is right: only what it holds tells."""
    run = stopped(spec, Stopping(step=16))
    newest = checkpoint_files(run.checkpoints_path)[0]
    with np.load(newest) as file:
        arrays = {name: file[name] for name in file.files}
    if change == "text":
        arrays["text"] = np.frombuffer(b"{}", "uint8")
    if change == "negative":
        text = arrays["text"].tobytes().replace(b'"epoch": 1, "step": 5', b'"epoch": -1, "step": 5')
        assert text != arrays["text"].tobytes()
        arrays["text"] = np.frombuffer(text, "uint8")
    if change == "array":
        arrays["model/0"] = np.array([None], dtype=object)
    if change == "nothing":
        del arrays["model/0"]
    save = np.savez_compressed if change == "packed" else np.savez
    other = newest.with_name("other.npz")
    save(other, **arrays)
    newest.unlink()
    other.rename(newest.with_name(f"000009-{hashlib.sha256(other.read_bytes()).hexdigest()}.npz"))
    assert any("is damaged" in line for line in gone_on(run))
    assert len(run.history()) == 3


def test_a_time_limit_counts_the_time_of_training_not_the_rest(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 4, callbacks: [{kind: time_limit, minutes: 30}]")
    run = stopped(spec, Stopping(step=14))
    (newest, *_) = checkpoint_files(run.checkpoints_path)
    clocks = [one for one in read_snapshot(newest).state["callbacks"] if "spent" in one]
    assert [sorted(one) for one in clocks] == [["spent", "stopped"]], "no reading of a clock of this process is kept"
    gone_on(run)
    assert len(run.history()) == 4


def test_a_signal_in_the_validation_of_an_epoch_that_was_cut_short_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 4, callbacks: [{kind: time_limit, minutes: 1e-9}]")
    scores = Validation.scores

    def signalled(validation: Validation, hooks: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return scores(validation, hooks)

    with monkeypatch.context() as patched:
        patched.setattr(Validation, "scores", signalled)
        run = stopped(spec, Reporter())
    whole = trained(spec)
    gone_on(run)
    assert_same_bits(whole, run)


def test_a_signal_after_the_last_step_is_not_lost(tmp_path: Path) -> None:
    class AtTheEnd(Reporter):
        def fit_finished(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    spec = write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 2")
    run = stopped(spec, AtTheEnd())
    gone_on(run)
    assert len(run.history()) == 2


@SLOW
def test_an_unfinished_run_can_be_rewarmed_and_keeps_other_overrides(tmp_path: Path) -> None:
    run = stopped(write_spec(tmp_path, CIRCLES, data=BATCHES, training=COSINE), Stopping(step=5))
    gone_on(run, ["training.epochs=3", "training.checkpoint_minutes=3"], "rewarm")
    assert [row["stage"] for row in run.history()] == ["train", "train", "rewarm"]
    assert run.experiment().training.checkpoint_minutes == 3


def test_a_longer_run_has_no_scores_of_the_model_it_had(tmp_path: Path, whole: RunFolder) -> None:
    from dlcli.score.evaluate import evaluate

    run = trained(write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 1"))
    evaluate(run, "validation")
    gone_on(run, ["training.epochs=3"])
    assert run.status().best_epoch > 1
    assert run.scored_splits() == ["test"]


@SLOW
def test_a_complete_run_without_a_checkpoint_is_not_trained_anew(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 1"))
    shutil.rmtree(run.checkpoints_path)
    model = run.model_path.read_bytes()
    with pytest.raises(UsageError, match="has no complete checkpoint"):
        resume(run, Reporter(), overrides=["training.epochs=2"], schedule=None, offline=True)
    assert run.model_path.read_bytes() == model


def test_every_best_model_has_a_checkpoint_of_its_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed after it must not go on from before it: what comes then may be another best."""
    monkeypatch.setattr("dlcli.training.checkpoints.PAYS_OFF", 1e9)
    run = trained(write_spec(tmp_path, CIRCLES, data=BATCHES, training="epochs: 3"))
    lines = (run.path / "log.txt").read_text()
    assert f"checkpoint after epoch {run.status().best_epoch}" in lines
