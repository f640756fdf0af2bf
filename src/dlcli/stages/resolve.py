"""Every `auto` that only the data or the machine can decide, resolved once and written into the run's spec."""

from __future__ import annotations

from dlcli.errors import RunFailed
from dlcli.runtime.device import Device
from dlcli.spec.data import SplitSettings
from dlcli.spec.experiment import Experiment
from dlcli.spec.layers import ShapeError
from dlcli.spec.rules import monitors
from dlcli.stages.data import DEFAULT_SHARES, Splits


def resolved_for(experiment: Experiment, splits: Splits, device: Device) -> Experiment:
    """Returns the experiment with every `auto` resolved that data and machine decide.

    Raises:
        RunFailed: the model does not fit the data's shape, where only opening the data could tell.
    """
    data = experiment.data
    normalize = ("unit" if splits.is_image else "standard") if data.normalize == "auto" else data.normalize
    image = data.image
    if splits.is_image and splits.shape and splits.shape[2] in (1, 3):
        image = image.model_copy(update={"size": splits.shape[:2], "channels": splits.shape[2]})
    batch_size = len(splits.train) if data.batch_size == "full" else int(data.batch_size)
    steps = -(-len(splits.train) // batch_size) * experiment.training.epochs
    training = _monitored(experiment, splits).training
    training = training.model_copy(update={"optimizer": training.optimizer.for_steps(steps)})
    hardware = experiment.hardware.model_copy(update={"precision": device.precision})
    resolved = experiment.model_copy(
        update={
            "data": data.model_copy(
                update={"normalize": normalize, "image": image, "split": _resolved_split(data.split, splits)}
            ),
            "training": training,
            "hardware": hardware,
        }
    )
    _refuse_misfit(resolved, splits)
    return resolved


def _resolved_split(settings: SplitSettings, splits: Splits) -> SplitSettings:
    """Returns the split with each `auto` said: the source's own part, or the share that was drawn."""
    said = {
        part: ("source" if part in splits.given else share)
        for part, share in DEFAULT_SHARES.items()
        if getattr(settings, part) == "auto"
    }
    return settings.model_copy(update=said)


def _monitored(experiment: Experiment, splits: Splits) -> Experiment:
    """Returns the experiment with monitors of the training values where the data has no validation part."""
    if "validation" in splits.parts:
        return experiment
    training = experiment.training
    followed = [name for name in monitors(experiment) if not name.startswith("val_")]

    def plain(name: str) -> str:
        """Returns the training value of the same name, or the loss where there is none."""
        name = name.removeprefix("val_")
        return name if name in followed else "loss"

    callbacks = [
        one.model_copy(update={"monitor": plain(one.monitor)}) if hasattr(one, "monitor") else one for one in training.callbacks
    ]
    update = {"monitor": plain(training.monitor), "callbacks": callbacks}
    return experiment.model_copy(update={"training": training.model_copy(update=update)})


def _refuse_misfit(experiment: Experiment, splits: Splits) -> None:
    if splits.shape is None:
        return
    try:
        experiment.model.output_shape(splits.shape)
    except ShapeError as error:
        place = ".".join(map(str, ("model", *error.place)))
        raise RunFailed(f"{place}: {error} (the data's examples have shape {splits.shape})") from None
