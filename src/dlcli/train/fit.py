"""The stages of a training: for each what learns, compile, callbacks, the epochs, and why they ended."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from dlcli.data.splits import Splits
from dlcli.errors import Interrupted, RunFailed
from dlcli.models.blocks import plan_lines
from dlcli.models.initial_weights import start_from_run
from dlcli.models.network import build_model
from dlcli.models.penalties import has_penalties, penalties
from dlcli.models.selection import Plan, plan_stage
from dlcli.runs import Run
from dlcli.runs.compare import flat
from dlcli.runs.parts import score_text
from dlcli.runs.reporter import Log, Reporter
from dlcli.runtime.checkpoint import Snapshot
from dlcli.runtime.data_loss import with_data_loss
from dlcli.runtime.engine import keras
from dlcli.runtime.learner import has_own_step
from dlcli.runtime.loop import run_epochs
from dlcli.runtime.signals import StopRequest
from dlcli.runtime.spread import Spread, losses_of_workers
from dlcli.runtime.stream import TrainingStream, data_errors
from dlcli.spec.base import dump
from dlcli.spec.experiment import Experiment
from dlcli.spec.training.metrics import higher_is_better
from dlcli.spec.training.stages import Stage
from dlcli.train.assemble import StageInputs, compile_stage, scores_of, stage_inputs_of, stream_of, validation_of
from dlcli.train.checkpoints import Checkpoints, StageState
from dlcli.train.classifier_head import fit_classifier
from dlcli.train.divergence import looked_back, words_of_divergence
from dlcli.train.proof import Proof
from dlcli.train.recorder import Best, Diverged, Record, Recorder
from dlcli.train.setup import RunTraining
from dlcli.train.trackers.notify import without_trackers
from dlcli.train.unfreezing import can_be_compared, keep_answers, verdict
from dlcli.upstream.devices import equal_copies


@dataclass(frozen=True)
class FitContext:
    """What a fit runs under: what signals ask, the checkpoint to resume from, whether nothing may be fetched, which devices
    share its batches."""

    asked: StopRequest
    begin: Snapshot | None = None
    offline: bool = False
    spread: Spread | None = None


def fit(experiment: Experiment, splits: Splits, run: Run, reporter: Reporter, log: Log, context: FitContext) -> None:
    """Fits the model stage by stage; the run folder then holds the best epoch's model.

    Raises:
        RunFailed: the loss became infinite or no number, or a stage moved what it should not.
        Interrupted: a signal has stopped it; a checkpoint holds where.
        DataError: weights are missing or do not fit.
    """
    with equal_copies() if context.spread else nullcontext(), losses_of_workers(context.spread):
        if context.spread is not None:
            _refuse_other_work(context.spread, experiment, splits, context.begin, run.revision())
        _fit(experiment, splits, run, reporter, log, context)


def _refuse_other_work(spread: Spread, experiment: Experiment, splits: Splits, begin: Snapshot | None, revision: int) -> None:
    """Raises RunFailed where the workers do not train the same thing from the same place."""
    place = () if begin is None else (begin.state["stage"], begin.state["epoch"], begin.state["step"])
    facts = {**facts_of(experiment), "the content of the data": splits.fingerprint, "checkpoint": place, "revision": revision}
    differing = [name for name, fact in facts.items() if not spread.agree(fact)]
    if differing:
        raise RunFailed(
            f"the workers differ in {', '.join(differing)}; all need the same spec,"
            " the same data and, to resume a run, its folder"
        )


def facts_of(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """Returns by section what the spec of every worker must say: all that can change results, of a path its last part."""
    sections = dump(without_trackers(experiment)) | {"hardware": {"precision": experiment.hardware.precision}}
    return {
        name: {
            key: Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
            for key, value in flat(section, name).items()
            if key not in ("training.checkpoint_minutes", "training.features.disk_gb")
        }
        for name, section in sections.items()
        if name not in ("version", "name")
    }


def _fit(experiment: Experiment, splits: Splits, run: Run, reporter: Reporter, log: Log, context: FitContext) -> None:
    keras.utils.set_random_seed(experiment.seed)
    training = experiment.training
    begin = context.begin
    fresh = not training.initial_weights and begin is None
    with context.spread.strategy.scope() if context.spread else nullcontext():
        network = build_model(experiment, splits, load_weights=fresh, offline=context.offline, revision=run.revision())
    known = start_from_run(experiment, network, splits, log) if training.initial_weights and begin is None else False
    log(f"model: {network.whole.count_params():,} parameters")
    if not training.epochs and not training.stages and not experiment.model.fitted_once:
        run.save_model(network.whole)
        return
    stages = experiment.stages
    higher = higher_is_better(training.monitor, list(training.metrics or []))
    epochs = sum(stage.epochs or 0 for stage in stages)
    record = Record(run, network.whole, training.monitor, higher, epochs, len(splits.train), reporter)
    # Losses of revision 1 are those that Keras reports, penalties among them.
    record.without_penalties = run.revision() == 1 and (len(stages) > 1 or bool(training.initial_weights))
    record.has_penalties = run.revision() > 1 and has_penalties(network.whole)
    work = RunTraining(experiment, splits, network, log, record, spread=context.spread, revision=run.revision())
    if work.spread is not None:
        log(
            f"each batch of {work.batch_size} examples is shared by {work.spread.devices} devices; batch size and learning rate"
            " are those of the spec (for a batch k times as large, k times the rate is common)"
        )
    if experiment.model.fitted_once:
        run.write_stages([fit_classifier(work, stages[0])])
        return
    for stage in stages:  # what a later stage cannot do is known before the first one takes its hours
        plan_stage(network, stage)
    checkpoints = Checkpoints(record, context.asked, training.checkpoint_minutes, begin, context.spread)
    for index in range(checkpoints.stage, len(stages)):
        _fit_stage(work, stages, index, checkpoints, score_start=known and index == 0)
        if work.in_stages:
            run.write_stages(checkpoints.stages)
    _tell_end(work, checkpoints.stages)


def _fit_stage(work: RunTraining, stages: list[Stage], index: int, checkpoints: Checkpoints, *, score_start: bool) -> None:
    """Runs one stage, or what a checkpoint leaves of it, and adds what `stages.json` says of it to the checkpoints' stages."""
    stage, after = stages[index], stages[index + 1] if index + 1 < len(stages) else None
    plan = plan_stage(work.network, stage)
    work.record.run.update_status(reason="")
    for line in plan_lines(plan) if work.in_stages else []:
        work.log(line)
    stage_inputs = stage_inputs_of(work, stage, work.record.run.features_path)
    stream = stream_of(work, stage_inputs)
    compile_stage(work, stage, stage_inputs, plan, stream)
    validation, scores = validation_of(work, stage_inputs), scores_of(work, stage_inputs)
    if score_start:
        _score_start(work, stage_inputs.model, validation, scores)
    stage_state = _stage_state(work, plan, stage_inputs, stream, index=index, followed=after is not None)
    pauses = checkpoints.pauses(stage_state)
    for one in scores:
        one.pauses = pauses
    checkpoints.asked.waits = True
    try:
        with losses_of_workers(work.spread), data_errors():
            run_epochs(
                stage_inputs.model,
                stream,
                validation,
                _callbacks(stage_state, scores, proven=work.in_stages),
                pauses,
                start=checkpoints.start(index, stage_state.first),
                last=stage_state.first + (stage.epochs or 0),
                adapt=not work.experiment.hardware.steps_per_execution,
            )
    except Diverged as error:
        raise RunFailed(_why_diverged(work, plan, stage_inputs, stage_state, checkpoints, error)) from None
    finally:
        stage_state.recorder.finish(restore=after is None or after.start == "best")
        checkpoints.asked.waits = False
    if checkpoints.asked.stop:  # it came after the last place where the stage could be left
        raise Interrupted(f"{checkpoints.asked.stop} after epoch {len(work.record.rows)}")
    if can_be_compared(work):
        stage_state.recorder.with_best(lambda: keep_answers(work, index))
    checkpoints.stages.append(_stage_entry(work, plan, stage_state))


def _callbacks(stage_state: StageState, scores: list[Any], *, proven: bool) -> list[Any]:
    """Returns the callbacks of a stage in the order in which they are called: averages first, the spec's own last."""
    proof = [stage_state.proof] if proven else []
    return [*_averaging(stage_state), *scores, *proof, stage_state.recorder, *_others(stage_state)]


def _stage_state(
    work: RunTraining, plan: Plan, stage_inputs: StageInputs, stream: TrainingStream, *, index: int, followed: bool
) -> StageState:
    """Returns all that changes while the stage runs; `followed` tells whether a stage comes after it."""
    stage, record = plan.stage, work.record
    keep = plan.moving if followed or stage_inputs.of_features or can_be_compared(work) else []
    recorder = Recorder(
        record, stream, stage=stage.name, batch_size=work.batch_size, moving=keep, lazy=stage_inputs.of_features
    )
    first = sum(row["stage"] != stage.name for row in record.rows)
    chosen = [_built_callback(work, callback, first) for callback in stage.callbacks or []]
    callbacks = [*_averaged(stage), *chosen, *_tensorboard(work, stage)]
    return StageState(
        index,
        first,
        stage_inputs.model,
        work.network.whole,
        stream,
        recorder,
        Proof(plan, stream, stage_inputs.model),
        callbacks,
    )


def _averaging(stage_state: StageState) -> list[Any]:
    """Returns the callback of the moving average, which stands before whatever looks at the weights."""
    return [one for one in stage_state.callbacks if isinstance(one, keras.callbacks.SwapEMAWeights)]


def _others(stage_state: StageState) -> list[Any]:
    return [one for one in stage_state.callbacks if not isinstance(one, keras.callbacks.SwapEMAWeights)]


def _why_diverged(
    work: RunTraining, plan: Plan, stage_inputs: StageInputs, stage_state: StageState, checkpoints: Checkpoints, error: Diverged
) -> str:
    """Returns the words of a divergence, with the steps before it repeated where they can be."""
    rate, norms = float(stage_inputs.model.optimizer.learning_rate), list[float]()
    compile_stage(work, plan.stage, stage_inputs, plan, stage_state.stream)
    repeatable = not _averaging(stage_state) and work.spread is None and not has_own_step(stage_inputs.model)
    start = checkpoints.rewind(stage_state) if repeatable else None
    if start is not None:
        error, norms = looked_back(stage_inputs.model, stage_state.stream, start, error)
    return words_of_divergence(error, norms, rate, work.record.best)


def _stage_entry(work: RunTraining, plan: Plan, stage_state: StageState) -> dict[str, Any]:
    stage, run, rows, proof = plan.stage, work.record.run, work.record.rows, stage_state.proof
    last = stage_state.first + (stage.epochs or 0)
    built = _others(stage_state)[: len(stage.callbacks or [])]
    reasons = [spec.reason(callback) for spec, callback in zip(stage.callbacks or [], built, strict=True)]
    reason = next(filter(None, reasons), "")
    if reason and len(rows) < last:
        run.update_status(reason=reason)
        work.log(f"{reason}; stopped after epoch {len(rows)} of {last}")
    if proof.result:
        checked = proof.result
        notes = (("zero_gradient", "have zero gradients"), ("tiny_step", "have updates below float32 precision"))
        dead = "".join(f"; {len(checked[name])} {words}" for name, words in notes if checked[name])
        work.log(
            f"verified after step {checked['step']}: {checked['moved']} trainable variables changed{dead},"
            f" {checked['still']} frozen ones did not"
        )
    best = stage_state.recorder.stage_best
    return {
        "name": stage.name,
        "train": stage.train,
        "batch_norm": stage.batch_norm,
        "trainable": plan.trainable,
        "frozen": plan.frozen,
        "blocks": [vars(row) for row in plan.rows],
        "proof": proof.result,
        "epochs": sum(row["stage"] == stage.name for row in rows),
        "monitor": work.record.monitor,
        "best_epoch": best.epoch,
        "best_value": best.value,
        "reason": reason,
    }


def _score_start(work: RunTraining, model: Any, validation: Any, scores: list[Any]) -> None:
    """Keeps the model that the run starts from as its best, until an epoch is better."""
    monitor = work.record.monitor
    if validation is None or not monitor.startswith("val_"):
        work.log(f"start: not scored, since {monitor} is not a validation score; the best epoch is kept even if it is worse")
        return
    scored = with_data_loss(model.evaluate(validation, return_dict=True, verbose=0))
    logs = {f"val_{name}": value for name, value in scored.items()}
    for one in scores:
        one.on_epoch_end(0, logs)
    value = float(logs[monitor]) - (penalties(model) if work.revision == 1 and monitor.endswith("loss") else 0.0)
    if not isfinite(value):
        return
    work.record.save_best(Best(0, value, "start"))
    work.log(f"start: {monitor} {score_text(value)}; this model is kept unless an epoch is better")


def _averaged(stage: Stage) -> list[Any]:
    """Returns the callback that puts the moving average of the weights in place for validation, scores and saving.

    One does both; a second one would undo its swap at validation. It stands before whatever looks at the weights.
    """
    if stage.optimizer is None or not stage.optimizer.use_ema:
        return []
    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]


def _built_callback(work: RunTraining, callback: Any, first: int) -> Any:
    """Returns the Keras callback; epochs that it counts for itself begin with the stage."""
    if callback.kind == "tensorboard":
        return callback.build(log_dir=str(work.record.run.tensorboard_path))
    if callback.kind == "time_limit":  # the training's own limit is one for all of its stages
        shared = callback in work.experiment.training.callbacks
        return callback.build(spent=work.record.seconds if shared else 0.0)
    if not hasattr(callback, "monitor"):
        return callback.build()
    higher = higher_is_better(callback.monitor, list(work.experiment.training.metrics or []))
    built = callback.build(mode="max" if higher else "min")
    if hasattr(built, "start_from_epoch"):
        built.start_from_epoch += first
    return built


def _tensorboard(work: RunTraining, stage: Stage) -> list[Any]:
    """Returns the log that every run writes, unless the spec has settings for it."""
    if any(callback.kind == "tensorboard" for callback in stage.callbacks or []):
        return []
    return [keras.callbacks.TensorBoard(str(work.record.run.tensorboard_path), write_graph=False)]


def _tell_end(work: RunTraining, stages: list[dict[str, Any]]) -> None:
    record, monitor = work.record, work.record.monitor
    best = record.best
    if best.value is None:
        raise RunFailed(f"{monitor} was NaN in every epoch, so there is no best epoch")
    if best.epoch == 0:
        work.log(f"no epoch was better than the start ({monitor} {score_text(best.value)}); the initial model is kept")
    else:
        of_stage = f" of stage {best.stage}" if len(stages) > 1 else ""
        work.log(f"best epoch: {best.epoch}{of_stage} ({monitor} {score_text(best.value)}); its model is kept")
    if len(stages) > 1 and best.epoch and any(stage["train"] != "all" for stage in stages):
        stages[-1]["compared"] = verdict(work, stages)
        record.run.write_stages(stages)
        work.log(stages[-1]["compared"])
