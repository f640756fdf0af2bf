"""The rules of transfer models and of stages: what may not be combined, found without opening data or weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlcli.spec.data.text import TextSettings
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.backbones.run import run_folder
from dlcli.spec.training.callbacks import ReduceLROnPlateau
from dlcli.spec.training.schedules import ByPart, ScheduleSpec
from dlcli.tasks import Classes

Place = tuple[str | int, ...]
Finding = tuple[Place, str]


def _one_scaling(experiment: Experiment) -> Iterator[Finding]:
    """A second scaling of what the backbone scales itself, or a missing one, ruins a training without a word."""
    normalize, transfer, needed = experiment.data.normalize, experiment.model.has_backbone, experiment.model.normalize
    if transfer and normalize != "backbone":
        yield (
            ("data", "normalize"),
            f"the backbone includes its own scaling; `{normalize}` would scale twice: remove this field",
        )
    if not transfer and normalize == "backbone":
        yield ("data", "normalize"), "there is no backbone; expected auto, unit, symmetric, standard or none"
    elif not transfer and needed and normalize != needed:
        yield ("data", "normalize"), f"expected {needed}, which the model needs, found {normalize}"


def _backbone_files(experiment: Experiment) -> Iterator[Finding]:
    for place, message in experiment.model.faults():
        if not (experiment.training.initial_weights and place == ("embedding", "path")):  # the run has the vectors
            yield ("model", *place), message


def _backbone_fits_data(experiment: Experiment) -> Iterator[Finding]:
    model, image = experiment.model, experiment.data.image
    facts = experiment.data.facts(experiment.task)
    if model.takes_images and facts.gives_rows:
        yield ("model", "backbone"), "needs images, but the source gives rows of numbers"
        return
    if model.needs_texts and not facts.columns and (facts.image or facts.gives_rows):
        yield ("model", "backbone"), f"needs texts, but the source gives {'images' if facts.image else 'rows of numbers'}"
        return
    shape = model.example_shape()
    if shape is None or len(shape) != 3:
        return
    if image.size and tuple(image.size) != shape[:2]:
        place = ("data", "image", "size")
        yield (
            place,
            f"the backbone takes images of {shape[0]}x{shape[1]}; remove this field, or set `model.backbone.input_size`",
        )
    if image.channels and image.channels != shape[2]:
        yield ("data", "image", "channels"), f"the backbone takes images of {shape[2]} channels; remove this field"


def _one_tokenizer(experiment: Experiment) -> Iterator[Finding]:
    """A pretrained network knows the tokens of its own tokenizer alone."""
    if not experiment.model.needs_texts:
        return
    text, default = experiment.data.text, TextSettings()
    for name in TextSettings.model_fields:
        if name != "max_length" and getattr(text, name) != getattr(default, name):
            yield ("data", "text", name), "has no effect: the backbone has its own tokenizer; remove this field"


def _classifier_fits(experiment: Experiment) -> Iterator[Finding]:
    model = experiment.model
    if not model.fitted_once:
        return
    if not isinstance(experiment.task.output, Classes):
        yield ("model", "head"), f"`{model.fitted_once}` is a classifier; `task: {experiment.task}` needs layers"
    if experiment.training.stages:
        yield ("training", "stages"), f"a `{model.fitted_once}` head is fitted once: it has no stages"
    if experiment.data.augment and not experiment.training.features.augmented_copies:
        place = ("data", "augment")
        yield (
            place,
            "a classifier is fitted once on every image; `training.features: {augmented_copies: 4}` gives it 4 versions of"
            " each",
        )
    monitor = experiment.training.monitor.removeprefix("val_")
    if monitor != "loss" and monitor not in {metric.name for metric in experiment.training.metrics or []}:
        yield ("training", "monitor"), f"a classifier is scored by the loss and the metrics; `{monitor}` is not one of them"


def _stages_are_sound(experiment: Experiment) -> Iterator[Finding]:
    stages = experiment.training.stages
    twice = [name for name, count in Counter(stage.name for stage in stages).items() if count > 1]
    for index, stage in enumerate(stages):
        place: Place = ("training", "stages", index)
        if stage.name in twice:
            yield (*place, "name"), f"two stages are called `{stage.name}`"
        if stage.batch_norm != "auto" and not stage.trains_backbone:
            yield (*place, "batch_norm"), "has no effect: this stage trains only the head"
        if stage.epochs is None and experiment.training.epochs == 0:
            yield place, "has no epochs: `training.epochs` is 0; set `epochs` of the stage"
        if stage.start == "last" and index == 0:
            yield (*place, "start"), "has no effect: there is no stage before this one"
        if isinstance(stage.train, dict) and "blocks" in stage.train and not experiment.model.has_blocks:
            yield (*place, "train"), "a backbone of this kind has no blocks; use `all`"


def _rates_have_parts(experiment: Experiment) -> Iterator[Finding]:
    transfer, training = experiment.model.has_backbone, experiment.training
    for place, stage, optimizer in _optimizers(experiment):
        if not isinstance(optimizer.learning_rate, ByPart):
            continue
        rate: Place = (*place, "learning_rate")
        nested = [part for part in ("backbone", "head") if isinstance(getattr(optimizer.learning_rate, part), ByPart)]
        if nested:
            yield (*rate, nested[0]), "backbone and head each have one rate: a number or a schedule"
        if not transfer:
            yield rate, "separate rates for backbone and head need `model.kind: transfer`"
        elif not (stage.trains_backbone if stage else any(other.trains_backbone for other in training.stages)):
            yield (*rate, "backbone"), "has no effect: the backbone is frozen"


def _optimizers(experiment: Experiment) -> Iterator[tuple[Place, Any, Any]]:
    """Yields every optimizer with its place and its stage (None: the training's own)."""
    yield ("training", "optimizer"), None, experiment.training.optimizer
    for index, stage in enumerate(experiment.training.stages):
        if stage.optimizer is not None:
            yield ("training", "stages", index, "optimizer"), stage, stage.optimizer


def _stages_follow_their_schedules(experiment: Experiment) -> Iterator[Finding]:
    """A stage's own callbacks or optimizer may clash with those of the training, which neither of them shows alone."""
    training = experiment.training
    for index, stage in enumerate(training.stages):
        optimizer = stage.optimizer or training.optimizer
        rate = optimizer.learning_rate
        rates = [rate.backbone, rate.head] if isinstance(rate, ByPart) else [rate]
        if stage.callbacks is None and stage.optimizer is None:
            continue
        callbacks = training.callbacks if stage.callbacks is None else stage.callbacks
        if any(isinstance(item, ReduceLROnPlateau) for item in callbacks) and any(
            isinstance(item, ScheduleSpec) for item in rates
        ):
            yield (
                ("training", "stages", index),
                "`reduce_lr_on_plateau` needs a constant `learning_rate`, not a schedule",
            )


def _augmented_copies_have_an_effect(experiment: Experiment) -> Iterator[Finding]:
    features, stages = experiment.training.features, experiment.training.stages
    if not features.augmented_copies:
        return
    place: Place = ("training", "features", "augmented_copies")
    if not experiment.model.has_backbone:
        yield place, "has no effect: there is no backbone"
    elif not experiment.data.augment and not any(stage.augment for stage in stages):
        yield place, "has no effect without `data.augment`"
    elif not features.once:
        yield place, "has no effect if features are not stored (`once: false`)"


def _initial_weights_exist(experiment: Experiment) -> Iterator[Finding]:
    path = experiment.training.initial_weights
    if path and run_folder(path) is None:
        reason = "it contains no run with a model" if Path(path).is_dir() else "there is no such folder"
        yield ("training", "initial_weights"), f"expected the folder of a completed run; {path}: {reason}"


RULES = (
    _one_scaling,
    _backbone_files,
    _backbone_fits_data,
    _one_tokenizer,
    _classifier_fits,
    _stages_are_sound,
    _rates_have_parts,
    _stages_follow_their_schedules,
    _augmented_copies_have_an_effect,
    _initial_weights_exist,
)
