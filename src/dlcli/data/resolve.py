"""Resolves, once per run, every `auto` that depends on the data or the machine; the run's spec records the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlcli.data.balance import epoch_examples, resolved_balance
from dlcli.data.series_scale import with_series_scale
from dlcli.data.split import DEFAULT_SHARES
from dlcli.data.splits import Splits
from dlcli.data.texts import LONGEST, resolved_text
from dlcli.errors import RunFailed
from dlcli.runtime.device import Device
from dlcli.runtime.windows import Windows
from dlcli.spec.data.data import Data, Normalize
from dlcli.spec.data.sources.npz import Npz
from dlcli.spec.data.split import SplitSettings
from dlcli.spec.data.text import TextBatches, TextSettings
from dlcli.spec.experiment import Experiment, with_defaults
from dlcli.spec.model.backbones.run import run_folder
from dlcli.spec.model.base import ModelSpec
from dlcli.spec.model.layers import ShapeError
from dlcli.spec.rules.augmentations import fault_of_shape, listed_augmentations
from dlcli.spec.rules.rules import monitors
from dlcli.spec.training.stages import Stage


def prepared(experiment: Experiment, *, offline: bool) -> Experiment:
    """Returns the experiment with everything resolved that opening the data requires.

    The source's files tell how they are read, and the backbone's files tell the size of the images.

    Raises:
        DataError: the files are missing or cannot be read.
        RunFailed: the size of the images is unknown.
    """
    source = experiment.data.source.resolved()
    experiment = experiment.model_copy(update={"data": experiment.data.model_copy(update={"source": source})})
    training = experiment.training
    if training.initial_weights:
        folder = str((run_folder(training.initial_weights) or Path(training.initial_weights)).absolute())
        training = training.model_copy(update={"initial_weights": folder})
        experiment = experiment.model_copy(update={"training": training})
    model = experiment.model.resolved(offline=offline)
    if model is not experiment.model:
        experiment = with_defaults(experiment.model_copy(update={"model": model}))
    if model.takes_images and experiment.data.image.size is None and experiment.data.facts(experiment.task).shape is None:
        raise RunFailed("model.backbone: the backbone does not define its image size; set `input_size: [224, 224]`")
    return experiment


def resolved_for(experiment: Experiment, splits: Splits, device: Device) -> Experiment:
    """Returns the experiment with every `auto` resolved that depends on the data or the machine.

    Raises:
        RunFailed: the model does not fit the shape of the data.
        DataError: the balance does not fit the data.
    """
    data = experiment.data
    normalize = usual_normalize(splits) if data.normalize == "auto" else data.normalize
    scale_targets = experiment.task.output.has_scale if data.scale_targets == "auto" else data.scale_targets
    image = splits.image or data.image
    if splits.is_image and splits.shape and splits.shape[2] in (1, 3):
        image = image.model_copy(update={"size": splits.shape[:2], "channels": splits.shape[2]})
    balance = resolved_balance(experiment, splits)
    examples = epoch_examples(experiment, splits)
    steps = -(-examples // data.examples_in_step(examples))
    experiment = with_series_scale(_monitored(experiment, splits), splits)
    training = experiment.training
    has_epochs = bool(training.stages) or (_is_network(experiment) and training.epochs > 0)
    stages = [_lasting(stage, steps) for stage in experiment.stages] if has_epochs else []
    optimizer = training.optimizer.for_steps(steps * training.epochs)
    training = training.model_copy(update={"optimizer": optimizer, "stages": stages})
    hardware = experiment.hardware.model_copy(update={"precision": device.precision})
    resolved = experiment.model_copy(
        update={
            "data": data.model_copy(
                update={
                    "normalize": normalize,
                    "image": image,
                    "split": _resolved_split(data, splits),
                    "scale_targets": scale_targets,
                    "balance": balance,
                    "text": fitting_text(experiment, splits),
                }
            ),
            "training": training,
            "hardware": hardware,
        }
    )
    _refuse_misfit(resolved, splits)
    return resolved


def usual_normalize(splits: Splits) -> Normalize:
    """Returns how inputs are scaled by default: windows by their last value, unless each series is scaled by itself."""
    inputs = splits.train.inputs
    if isinstance(inputs, Windows):
        return "standard" if inputs.scales else "window_last"
    return "unit" if splits.is_image else "standard"


def _is_network(experiment: Experiment) -> bool:
    """Whether the model is a transfer model with a head that is trained in stages, not fitted once."""
    return experiment.model.has_backbone and not experiment.model.fitted_once


def _lasting(stage: Stage, steps: int) -> Stage:
    """Returns the stage with the lengths of its schedules resolved, for epochs of `steps` steps."""
    assert stage.optimizer is not None
    return stage.model_copy(update={"optimizer": stage.optimizer.for_steps(steps * (stage.epochs or 0))})


def _resolved_split(data: Data, splits: Splits) -> SplitSettings:
    """Returns the split settings with each `auto` resolved: the source's own part, or the share that was drawn."""
    settings = data.split
    shares = dict.fromkeys(DEFAULT_SHARES, 0.0) if data.source.splits_itself else DEFAULT_SHARES
    shares = shares if settings.folds is None else DEFAULT_SHARES | {"test": 0.0}
    resolved_fields = {
        name: ("source" if name in splits.source_parts else share)
        for name, share in shares.items()
        if getattr(settings, name) == "auto"
    }
    return settings.model_copy(update=resolved_fields)


def _monitored(experiment: Experiment, splits: Splits) -> Experiment:
    """Returns the experiment with monitors of the training values if the data has no validation split."""
    if "validation" in splits:
        return experiment
    training = experiment.training
    training_monitors = [name for name in monitors(experiment) if not name.startswith("val_")]

    def plain(name: str) -> str:
        """Returns the name of the corresponding training value, or `loss` if there is none."""
        name = name.removeprefix("val_")
        return name if name in training_monitors else "loss"

    def with_monitor(callback: Any) -> Any:
        return callback.model_copy(update={"monitor": plain(callback.monitor)}) if hasattr(callback, "monitor") else callback

    def with_monitors(callbacks: list[Any] | None) -> Any:
        return callbacks and [with_monitor(callback) for callback in callbacks]

    stages = [stage.model_copy(update={"callbacks": with_monitors(stage.callbacks)}) for stage in training.stages]
    update = {"monitor": plain(training.monitor), "callbacks": with_monitors(training.callbacks), "stages": stages}
    return experiment.model_copy(update={"training": training.model_copy(update=update)})


def _refuse_misfit(experiment: Experiment, splits: Splits) -> None:
    _refuse_unfit_data(experiment.model, splits)
    if splits.shape is None:
        return
    for keys, augmentation in listed_augmentations(experiment):
        if fault := fault_of_shape(augmentation, splits.shape):
            raise RunFailed(f"{'.'.join(map(str, keys))}: {fault}")
    try:
        experiment.model.output_shape(splits.shape)
    except ShapeError as error:
        place = ".".join(map(str, ("model", *error.place)))
        source = experiment.data.source
        is_grey = isinstance(source, Npz) and len(splits.shape) == 2
        remedy = "; for grey images, save array[..., None]" if is_grey else ""
        raise RunFailed(f"{place}: {error} (the data's examples have shape {splits.shape}{remedy})") from None


def _batches_of(text: TextSettings, model: ModelSpec, max_length: int) -> TextBatches:
    """Returns which texts are trained on together.

    Raises:
        RunFailed: they cannot have different lengths, and shall.
    """
    lengths = model.batch_lengths(max_length)
    if text.batches == "by_length" and len(lengths) == 1 and model.is_trained:
        raise RunFailed(
            f"data.text.batches: by_length: the layers take texts of {max_length} tokens alone, as after `flatten` or for a"
            " window; use `shuffled`"
        )
    return ("by_length" if len(lengths) > 1 else "shuffled") if text.batches == "auto" else text.batches


def fitting_text(experiment: Experiment, splits: Splits) -> TextSettings:
    """Returns how texts become tokens, with the length that the training split decides; at least that of a window.

    Raises:
        RunFailed: a layer cannot take texts of the length that the spec sets, or the model does not read texts.
    """
    if splits.train.inputs.text_columns and not experiment.model.reads_texts:
        raise RunFailed(f"`model.kind: {experiment.model.kind}` does not read texts; use `model.kind: sequence`")
    text, model = resolved_text(experiment, splits), experiment.model
    if not splits.train.inputs.text_columns or not isinstance(text.max_length, int):
        return text
    longest = LONGEST if experiment.data.text.max_length == "auto" else text.max_length
    for length in range(text.max_length, max(longest, text.max_length) + 1):
        try:
            model.check_texts(length)
        except ShapeError as error:
            fault = error
            continue
        return text.model_copy(update={"max_length": length, "batches": _batches_of(text, model, length)})
    place = ".".join(map(str, ("model", *fault.place)))
    raise RunFailed(f"{place}: {fault} (a text has {longest} tokens; `data.text.max_length` sets it)")


def _refuse_unfit_data(model: ModelSpec, splits: Splits) -> None:
    """Raises RunFailed if the model takes other examples than those of the data."""
    if splits.train.inputs.is_padded and not model.reads_padding:
        raise RunFailed(f"model.kind: `{model.kind}` does not take series of different lengths; use `sequence`")
    expected = model.example_shape()
    if model.needs_texts:
        _refuse_other_columns(splits)
        return
    if model.takes_images is not None and (splits.shape is None or model.takes_images != splits.is_image):
        examples = "images" if splits.is_image else "rows of numbers"
        raise RunFailed(f"model.backbone: {examples} are not what it was trained on")
    if expected is not None and splits.shape is not None and tuple(splits.shape) != tuple(expected):
        raise RunFailed(f"model.backbone: expected examples of shape {expected}, the data has {splits.shape}")


def _refuse_other_columns(splits: Splits) -> None:
    """Raises RunFailed unless the examples are texts of one column, as a backbone for texts takes them."""
    inputs = splits.train.inputs
    if len(inputs.text_columns) == 1 and len(inputs.columns) == 1:
        return
    others = [f"`{name}`" for name in inputs.columns if name not in inputs.text_columns[:1]]
    if not inputs.text_columns:
        raise RunFailed("model.backbone: takes a column of texts (`data.source.text`), which the data does not have")
    raise RunFailed(
        f"model.backbone: takes one column of texts, but the data has {len(inputs.columns)} columns; leave out"
        f" {', '.join(others[:5])}{', ...' if len(others) > 5 else ''} (`data.source.drop`)"
    )
