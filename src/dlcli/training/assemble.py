"""What a stage is made of: what it reads, the compiled model, what validates it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcli.arrays import Array
from dlcli.data.balance import loss_weights
from dlcli.data.batches import prediction_batch, prediction_batches
from dlcli.data.labels import label_reader
from dlcli.data.splits import Splits
from dlcli.errors import UsageError
from dlcli.models.features import cached_features, reason_against
from dlcli.models.number_features import fitted_augmentations
from dlcli.models.selection import Plan
from dlcli.models.targets import TargetScale, target_scale
from dlcli.runtime.balanced_loss import BalancedLoss
from dlcli.runtime.data_loss import data_loss
from dlcli.runtime.inputs import Arrays, Inputs
from dlcli.runtime.learner import has_own_step, optimizers_of
from dlcli.runtime.length_draw import CutRows, LengthDraw
from dlcli.runtime.spread import refuse_empty_shares
from dlcli.runtime.stream import Augmentation, Draw, OrderedStream, TrainingStream, mixes_labels
from dlcli.runtime.whole_labels import of_whole_labels
from dlcli.score.evaluate import predictions
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.base import ModelSpec
from dlcli.spec.support import supports
from dlcli.spec.training.losses import LossSpec
from dlcli.spec.training.stages import Stage
from dlcli.training.part_rates import build_optimizer
from dlcli.training.recorder import Scores
from dlcli.training.setup import TrainingSetup


@dataclass(frozen=True)
class StageInputs:
    """What a stage compiles and reads.

    Attributes:
        model: the Keras model that is compiled.
        train: the training examples, or their features if `of_features`.
        validation: those of the validation split; None without one, or if the model kind has no validation loss.
        augment: augmentations of the training examples.
        copies: how many times each example has features, with other augmentations each time.
        of_features: whether the features of a frozen backbone were computed once.
    """

    model: Any
    train: Inputs
    validation: Inputs | None
    augment: Sequence[Augmentation]
    copies: int = 1
    of_features: bool = False

    @property
    def mixes_labels(self) -> bool:
        """Whether training examples are mixed, so that their labels are shares of several classes."""
        return any(mixes_labels(augmentation) for augmentation in self.augment)

    def loss(self, experiment: Experiment) -> Any:
        """Returns the loss of the spec, in the form for the labels of the stage."""
        loss = experiment.training.loss
        return loss.of_shares() if self.mixes_labels else loss


def stage_inputs_of(setup: TrainingSetup, stage: Stage, folder: Path) -> StageInputs:
    """Returns what a stage trains on; of a frozen backbone the features, computed once, where that is possible.

    `folder` is where features are stored on disk.
    """
    experiment, splits, network = setup.experiment, setup.splits, setup.network
    augment = list(stage.augment or [])
    if network.trains_head_alone(stage):
        reason = reason_against(experiment, augment)
        if not reason:
            cached = cached_features(experiment, splits, network, augment, folder)
            setup.log(f"features: {cached.description}")
            features = None if cached.validation is None else Arrays(cached.validation)
            return StageInputs(network.head_learner(), Arrays(cached.train), features, [], cached.copies, of_features=True)
        setup.log(f"features: computed at every step: {reason}")
        model = network.frozen_body_learner()
    else:
        model = network.learner()
    validation = splits.validation if supports(experiment, "validation") else None
    train = network.encoded(setup.training.inputs)
    if network.texts is not None and experiment.data.text.batches == "by_length":
        train = CutRows(train, network.texts)
    return StageInputs(
        model,
        train,
        network.encoded(validation.inputs) if validation is not None else None,
        fitted_augmentations(augment, splits.train.inputs, train),
    )


def stream_of(setup: TrainingSetup, stage_inputs: StageInputs) -> TrainingStream:
    """Returns the batches that a stage trains on."""
    train: Inputs = stage_inputs.train
    draw: Draw | None = setup.training.draw
    train.expect_repeats()
    if isinstance(train, CutRows):
        draw = LengthDraw(train.lengths, setup.batch_size, setup.experiment.seed, draw)
    return TrainingStream(
        train,
        _labels(setup, setup.training.targets, stage_inputs),
        examples=len(setup.training.targets),
        batch_size=setup.batch_size,
        seed=setup.experiment.seed,
        augment=stage_inputs.augment,
        copies=stage_inputs.copies,
        first_order=setup.revision == 1,
        draw=draw,
    )


def _labels(setup: TrainingSetup, targets: Array, stage_inputs: StageInputs) -> Any:
    experiment = setup.experiment
    integer = stage_inputs.loss(experiment).integer_labels
    return label_reader(targets, experiment.task, classes=setup.splits.outputs, integer=integer)


def compile_stage(setup: TrainingSetup, plan: Plan, stage_inputs: StageInputs, stream: TrainingStream) -> None:
    """Compiles a stage's model for the epochs of a stream.

    Raises:
        UsageError: the epoch's last batch is too small for the devices that share it, or they cannot share the loss.
    """
    spread = setup.spread
    if spread is None:
        _compile(setup, plan, stage_inputs, stream.steps)
        return
    if setup.experiment.training.loss.kind == "dice":
        raise UsageError("training.loss: dice has one value per batch, which cannot be summed over devices")
    refuse_empty_shares(setup.epoch_examples, setup.batch_size, spread.devices)
    with spread.strategy.scope():
        _compile(setup, plan, stage_inputs, stream.steps)
    spread.compiled(stage_inputs.model, stream.first_batch())


def _compile(setup: TrainingSetup, plan: Plan, stage_inputs: StageInputs, steps: int) -> None:
    experiment = setup.experiment
    hardware, loss = experiment.hardware, stage_inputs.loss(experiment)
    scale = target_scale(experiment, setup.splits)
    keras_metrics = _followed_metrics(setup, stage_inputs)
    keras_metrics += [data_loss(loss)] if setup.revision > 1 or scale is not None else []
    assert plan.stage.optimizer is not None
    # Several steps a call save Python's work between them; more than a tenth of an epoch would make progress jump, but for
    # a head on stored features, whose epochs take less than a tenth of a second. Devices that share a batch take one.
    steps_per_call = min(10, steps if stage_inputs.of_features else steps // 10)
    stage_inputs.model.compile(
        optimizer=build_optimizer(plan.stage.optimizer, setup.network.outside_head(plan.moving)),
        loss=_minimised_loss(experiment, loss, setup.splits, scale),
        metrics=[scale.followed(metric) if scale else metric for metric in keras_metrics],
        jit_compile=hardware.xla,
        # A custom training step does not scale its loss: the optimizer must not divide gradients by a scale.
        auto_scale_loss=not has_own_step(stage_inputs.model),
        steps_per_execution=1 if setup.spread else hardware.steps_per_execution or max(1, steps_per_call),
    )
    _refuse_undeclared(experiment.model, stage_inputs.model)
    # A table's model holds this one, and would be saved with its metrics, which are no Keras classes that a reader knows.
    stage_inputs.model.get_compile_config = lambda: None


def _minimised_loss(experiment: Experiment, loss: LossSpec, splits: Splits, scale: TargetScale | None) -> Any:
    """Returns the loss of the compiled model: the stage's, with weights of targets or of classes if there are any."""
    weights = loss_weights(experiment, splits.classes)
    if weights is not None:
        return BalancedLoss(loss.each, weights)
    return loss.build() if scale is None else scale.weighted(loss)


def _followed_metrics(setup: TrainingSetup, stage_inputs: StageInputs) -> list[Any]:
    """Returns the Keras metrics of the spec's metrics that are computed during training."""
    task, integer = setup.experiment.task, stage_inputs.loss(setup.experiment).integer_labels
    metrics = [metric.follow(task, integer_labels=integer) for metric in setup.experiment.training.metrics or []]
    followed = [metric for metric in metrics if metric is not None]
    if not stage_inputs.mixes_labels or task.output.is_numeric:
        return followed
    return [of_whole_labels(metric, one_of_several=task.output.loss_form == "classes") for metric in followed]


def _refuse_undeclared(spec: ModelSpec, model: Any) -> None:
    """Raises ValueError if a learner is not what its kind declares, by which specs are checked."""
    if has_own_step(model) and not spec.has_own_step:
        raise ValueError(f"{type(spec).__name__}.has_own_step is False, but its learner overrides `train_step`")
    names = tuple(named.name for named in optimizers_of(model))
    if names != spec.optimizers:
        raise ValueError(f"{type(spec).__name__}.optimizers is {spec.optimizers}, but its learner has {names}")


def validation_of(setup: TrainingSetup, stage_inputs: StageInputs) -> OrderedStream | None:
    """Returns the batches that an epoch is validated on; None without validation."""
    if stage_inputs.validation is None:
        return None
    stage_inputs.validation.expect_repeats()
    return OrderedStream(
        stage_inputs.validation,
        examples=len(setup.splits["validation"]),
        batch_size=prediction_batch(setup.experiment),
        labels=_labels(setup, setup.splits["validation"].targets, stage_inputs),
    )


def scores_of(setup: TrainingSetup, stage_inputs: StageInputs) -> list[Any]:
    """Returns the callback for metrics that Keras does not follow, if there are any and a validation split to score them on."""
    experiment, part = setup.experiment, setup.splits.validation
    integer = stage_inputs.loss(experiment).integer_labels
    unfollowed = [
        metric for metric in experiment.training.metrics or [] if metric.follow(experiment.task, integer_labels=integer) is None
    ]
    if not unfollowed or part is None or stage_inputs.validation is None:
        return []
    batches = prediction_batches(stage_inputs.validation, experiment, len(part))

    def predict(before_batch: Callable[[], None] | None) -> Any:
        return predictions(stage_inputs.model, batches, experiment, before_batch)

    return [Scores(unfollowed, predict, part.targets, experiment.task, setup.batches)]
