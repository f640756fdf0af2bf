"""The one caller of Keras's `fit`: for each stage what learns, compile, callbacks, the epochs, and why they ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from dlcli.errors import RunFailed
from dlcli.runs import Run
from dlcli.runtime.engine import keras
from dlcli.runtime.part_rates import build_optimizer
from dlcli.runtime.stream import TrainingStream, data_errors, ordered_batches
from dlcli.spec.augmentations import AugmentationSpec
from dlcli.spec.experiment import Experiment
from dlcli.spec.metrics import higher_is_better
from dlcli.spec.stages import Stage
from dlcli.stages.build import build_model, frozen_backbone_model
from dlcli.stages.classify import fit_classifier
from dlcli.stages.data import Splits
from dlcli.stages.evaluate import prediction_batch, prediction_batches, predictions
from dlcli.stages.features import kept_features, reason_against
from dlcli.stages.initial import start_from_run
from dlcli.stages.labels import label_reader
from dlcli.stages.proof import Proof
from dlcli.stages.recorder import Best, Record, Recorder, Scores, penalties
from dlcli.stages.reporter import Reporter
from dlcli.stages.selection import Plan, plan_stage
from dlcli.stages.stage_words import plan_lines, verdict
from dlcli.stages.work import Say, Work


@dataclass(frozen=True)
class Feed:
    """What a stage compiles, and the inputs it reads: examples, or features of a frozen backbone."""

    model: Any
    train: Any
    validation: Any
    augment: Sequence[AugmentationSpec]
    copies: int = 1
    of_features: bool = False


def fit(experiment: Experiment, splits: Splits, run: Run, reporter: Reporter, say: Say, *, offline: bool = False) -> None:
    """Fits the model stage by stage; the run folder then holds the best epoch's model.

    Raises:
        RunFailed: the loss became infinite or no number, or a stage moved what it should not.
        DataError: weights are missing or do not fit.
    """
    keras.utils.set_random_seed(experiment.seed)
    training = experiment.training
    built = build_model(experiment, splits, load_weights=not training.initial_weights, offline=offline)
    known = start_from_run(experiment, built, splits, say) if training.initial_weights else False
    say(f"model: {built.whole.count_params():,} parameters")
    fitted_once = built.backbone is not None and built.head is None
    if not training.epochs and not training.stages and not fitted_once:
        run.save_model(built.whole)
        return
    stages = experiment.stages
    higher = higher_is_better(training.monitor, list(training.metrics or []))
    epochs = sum(stage.epochs or 0 for stage in stages)
    record = Record(run, built.whole, training.monitor, higher, epochs, len(splits.train), reporter)
    record.without_penalties = len(stages) > 1 or known
    work = Work(experiment, splits, built, record, say)
    told: list[dict[str, Any]] = []
    if fitted_once:
        run.write_stages([fit_classifier(work, stages[0])])
        return
    for stage in stages:  # what a later stage cannot do is known before the first one takes its hours
        plan_stage(experiment, built, stage)
    for index, stage in enumerate(stages):
        after = stages[index + 1] if index + 1 < len(stages) else None
        told.append(_fit_stage(work, stage, after, score_start=known and index == 0))
        if training.stages or built.backbone is not None:
            run.write_stages(told)
    _tell_end(work, told)


def _fit_stage(work: Work, stage: Stage, after: Stage | None, *, score_start: bool) -> dict[str, Any]:
    """Runs one stage and returns what `stages.json` says of it."""
    experiment, record = work.experiment, work.record
    plan = plan_stage(experiment, work.built, stage)
    record.run.update_status(reason="")
    proven = bool(experiment.training.stages) or work.built.backbone is not None
    if proven:
        for line in plan_lines(plan):
            work.say(line)
    feed = _feed(work, stage)
    stream = _stream(work, feed)
    _compile(work, stage, feed, plan, stream.steps)
    validation = _validation(work, feed)
    scores = _scores(work, feed)
    if score_start:
        _score_start(work, feed.model, validation, scores)
    keep = plan.moving if after is not None or feed.of_features else []
    recorder = Recorder(record, stream, stage=stage.name, batch_size=work.batch_size, moving=keep, lazy=feed.of_features)
    proof = Proof(plan, stream, feed.model)
    first = len(record.rows)
    chosen = [_built_callback(experiment, callback, record.run, first) for callback in stage.callbacks or []]
    callbacks = [*_averaged(stage), *scores, *([proof] if proven else []), recorder, *chosen, *_tensorboard(work, stage)]
    last = first + (stage.epochs or 0)
    try:
        with data_errors():
            feed.model.fit(
                stream.dataset,
                initial_epoch=first,
                epochs=last,
                validation_data=validation,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )
    finally:
        recorder.finish(restore=after is None or after.start == "best")
    if recorder.failure:
        raise RunFailed(_diverged(recorder))
    reasons = [spec.reason(callback) for spec, callback in zip(stage.callbacks or [], chosen, strict=True)]
    return _stage_entry(work, plan, recorder, proof, last, next(filter(None, reasons), ""))


def _stream(work: Work, feed: Feed) -> TrainingStream:
    return TrainingStream(
        feed.train,
        _labels(work, "train"),
        examples=len(work.splits.train),
        batch_size=work.batch_size,
        seed=work.experiment.seed,
        augment=feed.augment,
        copies=feed.copies,
    )


def _stage_entry(work: Work, plan: Plan, recorder: Recorder, proof: Proof, last: int, reason: str) -> dict[str, Any]:
    stage, run, rows = plan.stage, work.record.run, work.record.rows
    if reason and len(rows) < last:
        run.update_status(reason=reason)
        work.say(f"{reason}; stopped after epoch {len(rows)} of {last}")
    if proof.result:
        checked = proof.result
        notes = (("zero_gradient", "have a gradient of zero"), ("tiny_step", "get steps too small for their last bit"))
        dead = "".join(f", {len(checked[name])} more {words}" for name, words in notes if checked[name])
        work.say(
            f"proof: after step {checked['step']} all {checked['moved']} variables that should move had moved{dead},"
            f" and the other {checked['still']} were bit for bit the same"
        )
    best = recorder.stage_best
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


def _feed(work: Work, stage: Stage) -> Feed:
    """Returns what a stage trains on; of a frozen backbone the features, computed once, where nothing stands against it."""
    experiment, splits, built = work.experiment, work.splits, work.built
    augment = list(stage.augment or [])
    if built.backbone is not None and not stage.trains_backbone:
        against = reason_against(experiment, augment)
        if not against:
            folder = work.record.run.path.parents[1] / ".features"
            kept = kept_features(experiment, splits, built, augment, folder)
            work.say(f"features: {kept.told}")
            model = keras.Model(built.head.input, built.head.output)
            return Feed(model, kept.train, kept.validation, [], kept.copies, of_features=True)
        work.say(f"features: computed at every step: {against}")
        model = frozen_backbone_model(built)
    else:
        model = built.trained
    validation = splits.parts.get("validation")
    return Feed(
        model, built.encoded(splits.train.inputs), built.encoded(validation.inputs) if validation is not None else None, augment
    )


def _labels(work: Work, part: str) -> Any:
    experiment, splits = work.experiment, work.splits
    integer = experiment.training.loss.integer_labels
    return label_reader(splits.parts[part].targets, experiment.task, classes=splits.outputs, integer=integer)


def _compile(work: Work, stage: Stage, feed: Feed, plan: Plan, steps: int) -> None:
    experiment = work.experiment
    training, hardware = experiment.training, experiment.hardware
    integer = training.loss.integer_labels
    followed = [metric.follow(experiment.task, integer_labels=integer) for metric in training.metrics or []]
    assert stage.optimizer is not None
    # Several steps a call save Python's work between them; more than a tenth of an epoch would make progress jump, but for
    # a head on kept features, whose epochs take less than a tenth of a second.
    together = min(10, steps if feed.of_features else steps // 10)
    of_head = {id(weight) for weight in work.built.head.weights} if work.built.head is not None else set()
    feed.model.compile(
        optimizer=build_optimizer(stage.optimizer, [one for one in plan.moving if id(one) not in of_head]),
        loss=training.loss.build(),
        metrics=[metric for metric in followed if metric is not None],
        jit_compile=hardware.xla,
        steps_per_execution=hardware.steps_per_execution or max(1, together),
    )


def _validation(work: Work, feed: Feed) -> Any:
    if feed.validation is None:
        return None
    return ordered_batches(
        feed.validation,
        examples=len(work.splits.parts["validation"]),
        batch_size=prediction_batch(work.experiment),
        labels=_labels(work, "validation"),
    )


def _scores(work: Work, feed: Feed) -> list[Any]:
    """Returns the callback for metrics that Keras does not follow, if there are any and a part to score them on."""
    experiment, part = work.experiment, work.splits.parts.get("validation")
    integer = experiment.training.loss.integer_labels
    left = [one for one in experiment.training.metrics or [] if one.follow(experiment.task, integer_labels=integer) is None]
    if not left or part is None:
        return []
    batches = prediction_batches(feed.validation, experiment, len(part))
    return [Scores(left, lambda: predictions(feed.model, batches, experiment), part.targets, experiment.task)]


def _score_start(work: Work, model: Any, validation: Any, scores: list[Any]) -> None:
    """Keeps the model that the run starts from as its best, until an epoch is better."""
    monitor = work.record.monitor
    if validation is None or not monitor.startswith("val_"):
        work.say(f"start: not scored, since {monitor} is no validation score; the best epoch is kept, also if it is worse")
        return
    logs = {f"val_{name}": value for name, value in model.evaluate(validation, return_dict=True, verbose=0).items()}
    for one in scores:
        one.on_epoch_end(0, logs)
    value = float(logs[monitor]) - (penalties(model) if monitor.endswith("loss") else 0.0)
    if not isfinite(value):
        return
    work.record.save_best(Best(0, value, "start"))
    work.say(f"start: {monitor} {value:.4f}; this model is kept unless an epoch is better")


def _averaged(stage: Stage) -> list[Any]:
    """Returns the callback that puts the moving average of the weights in place for validation, scores and saving.

    One does both; a second one would undo its swap at validation. It stands before whatever looks at the weights.
    """
    if stage.optimizer is None or not stage.optimizer.use_ema:
        return []
    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]


def _built_callback(experiment: Experiment, callback: Any, run: Run, first: int) -> Any:
    """Returns the Keras callback; epochs that it counts for itself begin with the stage."""
    if callback.kind == "tensorboard":
        return callback.build(log_dir=str(run.tensorboard_path))
    if not hasattr(callback, "monitor"):
        return callback.build()
    higher = higher_is_better(callback.monitor, list(experiment.training.metrics or []))
    built = callback.build(mode="max" if higher else "min")
    if hasattr(built, "start_from_epoch"):
        built.start_from_epoch += first
    return built


def _tensorboard(work: Work, stage: Stage) -> list[Any]:
    """Returns the log that every run writes, unless the spec has settings for it."""
    if any(callback.kind == "tensorboard" for callback in stage.callbacks or []):
        return []
    return [keras.callbacks.TensorBoard(str(work.record.run.tensorboard_path), write_graph=False)]


def _diverged(recorder: Recorder) -> str:
    best = recorder.record.best
    kept = f"; the best model so far, of epoch {best.epoch}, is kept" if best.value is not None else ""
    return (
        f"{recorder.failure}: the training has diverged{kept}\n"
        "  try a learning rate ten times lower, `training.optimizer.clipnorm: 1.0`,"
        " or look for values far out of range in the data"
    )


def _tell_end(work: Work, stages: list[dict[str, Any]]) -> None:
    record, monitor = work.record, work.record.monitor
    best = record.best
    if best.value is None:
        raise RunFailed(f"{monitor} was never a number: no epoch can be called the best")
    if best.epoch == 0:
        work.say(f"no epoch was better than the start ({monitor} {best.value:.4f}): its model is kept")
    else:
        of_stage = f" of stage {best.stage}" if len(stages) > 1 else ""
        work.say(f"best epoch: {best.epoch}{of_stage} ({monitor} {best.value:.4f}); its model is kept")
    if len(stages) > 1 and best.epoch:
        work.say(verdict(stages, higher_is_better=record.higher_is_better))
