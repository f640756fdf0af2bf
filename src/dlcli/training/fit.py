"""A run's model and the trainer that fits it: in stages, or once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcli.data.splits import Splits
from dlcli.errors import RunFailed
from dlcli.models.initial_weights import start_from_run
from dlcli.models.network import build_model
from dlcli.models.penalties import has_penalties
from dlcli.models.pretraining import pretrain
from dlcli.runs import RunFolder
from dlcli.runs.compare import flat
from dlcli.runs.profile import StepRange
from dlcli.runs.reporter import Log, Reporter
from dlcli.runtime.checkpoint import Snapshot
from dlcli.runtime.engine import keras
from dlcli.runtime.signals import StopRequest
from dlcli.runtime.spread import Spread, losses_of_workers
from dlcli.spec.base import dump
from dlcli.spec.experiment import Experiment
from dlcli.spec.training.metrics import higher_is_better
from dlcli.training.checkpoints import Checkpoints
from dlcli.training.classifier_head import ClassifierTrainer
from dlcli.training.profile import StepProfile
from dlcli.training.recorder import Record
from dlcli.training.setup import TrainingSetup, with_precision
from dlcli.training.stage_trainer import StageTrainer
from dlcli.training.trackers.notify import without_trackers
from dlcli.upstream.devices import equal_copies


@dataclass(frozen=True)
class FitContext:
    """What a fit runs under.

    Attributes:
        request: what signals request.
        begin: the checkpoint that it resumes from; None from the start.
        offline: whether nothing may be fetched.
        spread: the devices that share its batches; None for one device.
        profile: the steps that are profiled; None for no profile.
        decided: called with the experiment once the model has decided its precision.
    """

    request: StopRequest
    begin: Snapshot | None = None
    offline: bool = False
    spread: Spread | None = None
    profile: StepRange | None = None
    decided: Callable[[Experiment], None] = lambda _: None


def fit(experiment: Experiment, splits: Splits, run: RunFolder, reporter: Reporter, log: Log, context: FitContext) -> None:
    """Fits the model; the run folder then holds the best epoch's model.

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


def _fit(experiment: Experiment, splits: Splits, run: RunFolder, reporter: Reporter, log: Log, context: FitContext) -> None:
    keras.utils.set_random_seed(experiment.seed)
    training = experiment.training
    setup = with_precision(_setup_of(experiment, splits, run, log, context))
    experiment = setup.experiment
    context.decided(experiment)
    has_all_weights = _set_initial_weights(setup) if context.begin is None else False
    log(f"model: {setup.network.whole.count_params():,} parameters")
    fitted_once = bool(experiment.model.fitted_once)
    if not training.epochs and not training.stages and not fitted_once:
        run.save_model(setup.network.whole)
        return
    record = _record_of(setup, run, reporter)
    if setup.spread is not None:
        log(
            f"each batch of {setup.batch_size} examples is shared by {setup.spread.devices} devices; batch size and learning"
            " rate are those of the spec (for a batch k times as large, k times the rate is common)"
        )
    if fitted_once:
        ClassifierTrainer(setup, record).train()
        return
    checkpoints = Checkpoints(record, context.request, training.checkpoint_minutes, context.begin, context.spread)
    profile = _profile_of(context, setup, record)
    StageTrainer(setup, record, checkpoints, profile).train(score_start=has_all_weights)


def _set_initial_weights(setup: TrainingSetup) -> bool:
    """Sets the weights before the first step; returns whether all are those of an earlier run."""
    experiment = setup.experiment
    if experiment.training.initial_weights:
        return start_from_run(experiment, setup.network, setup.splits, setup.log)
    pretrain(experiment, setup.network, setup.splits.train.inputs, setup.log)
    return False


def _profile_of(context: FitContext, setup: TrainingSetup, record: Record) -> StepProfile | None:
    """Returns the callback that profiles the requested steps, if any.

    Raises:
        UsageError: the training has no such steps.
    """
    steps, begin = context.profile, context.begin
    if steps is None:
        return None
    done = 0 if begin is None else begin.state["epoch"] * setup.batches + begin.state["step"]
    steps.refuse_outside(done=done, epoch_steps=setup.batches, epochs=record.epochs)
    return StepProfile(steps, record.run, setup.batches, setup.log)


def _setup_of(experiment: Experiment, splits: Splits, run: RunFolder, log: Log, context: FitContext) -> TrainingSetup:
    """Builds the model; its backbone's weights are read only where no others will take their place."""
    fresh = not experiment.training.initial_weights and context.begin is None
    with context.spread.strategy.scope() if context.spread else nullcontext():
        network = build_model(experiment, splits, load_weights=fresh, offline=context.offline, revision=run.revision())
    return TrainingSetup(experiment, splits, network, log, spread=context.spread, revision=run.revision())


def _record_of(setup: TrainingSetup, run: RunFolder, reporter: Reporter) -> Record:
    training, stages, whole = setup.experiment.training, setup.experiment.stages, setup.network.whole
    higher = higher_is_better(training.monitor, list(training.metrics or []))
    epochs = sum(stage.epochs or 0 for stage in stages)
    record = Record(run, whole, training.monitor, higher, epochs, setup.epoch_examples, reporter)
    # Losses of revision 1 are those that Keras reports, penalties among them.
    record.without_penalties = run.revision() == 1 and (len(stages) > 1 or bool(training.initial_weights))
    record.has_penalties = run.revision() > 1 and has_penalties(whole)
    return record
