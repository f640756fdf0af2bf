"""The rules of augmentations: what they take, and what they may not be combined with."""

from __future__ import annotations

from collections.abc import Iterator

from dlcli.spec.base import Shape
from dlcli.spec.data.augmentations import AugmentationSpec
from dlcli.spec.experiment import Experiment
from dlcli.spec.rules.inputs import input_shape

Place = tuple[str | int, ...]
Finding = tuple[Place, str]


def listed_augmentations(experiment: Experiment) -> Iterator[tuple[Place, AugmentationSpec]]:
    """Yields every augmentation with its place: those of the data, then those of the stages."""
    for index, augmentation in enumerate(experiment.data.augment):
        yield ("data", "augment", index), augmentation
    for number, stage in enumerate(experiment.training.stages):
        for index, augmentation in enumerate(stage.augment or ()):
            yield ("training", "stages", number, "augment", index), augmentation


def fault_of_shape(augmentation: AugmentationSpec, shape: Shape) -> str:
    """Returns why examples of a shape cannot be changed; empty if they can."""
    return augmentation.fault(shape) if augmentation.inputs == "images" and len(shape) == 3 else ""


def _augmentations_fit_inputs(experiment: Experiment) -> Iterator[Finding]:
    facts = experiment.data.facts(experiment.task)
    shape = input_shape(experiment, facts)
    rows = facts.gives_rows
    for place, augmentation in listed_augmentations(experiment):
        if augmentation.inputs == "images" and rows:
            yield place, f"`{augmentation.kind}` is for images, but the source gives rows of numbers"
        elif augmentation.inputs == "columns" and (facts.image or (shape is not None and len(shape) != 1)):
            given = "images" if facts.image else "arrays with more than one axis"
            yield place, f"`{augmentation.kind}` is for rows of numbers, but the source gives {given}"
        elif shape is not None and (fault := fault_of_shape(augmentation, shape)):
            yield place, fault


def _names_of_columns_are_used(experiment: Experiment) -> Iterator[Finding]:
    """Only a table has columns with names."""
    for place, augmentation in listed_augmentations(experiment):
        columns = getattr(augmentation, "columns", None)
        if columns is not None and experiment.data.source.kind == "npz":
            yield (*place, "columns"), "the columns of the source have no names; remove this field"


def _augmentation_leaves_targets(experiment: Experiment) -> Iterator[Finding]:
    """Targets that are not rows have places, such as those of pixels, which a change of the images would move."""
    if experiment.task.output.is_row:
        return
    message = f"augmentation changes the images, but not the targets of `task: {experiment.task}`"
    if experiment.data.augment:
        yield ("data", "augment"), message
    for number, stage in enumerate(experiment.training.stages):
        if stage.augment:
            yield ("training", "stages", number, "augment"), message


def _labels_can_be_mixed(experiment: Experiment) -> Iterator[Finding]:
    reason = _reason_against_mixing(experiment)
    for place, augmentation in listed_augmentations(experiment):
        if augmentation.mixes_labels and reason:
            yield place, f"`{augmentation.kind}` mixes labels: {reason}"


def _reason_against_mixing(experiment: Experiment) -> str:
    """Returns why the labels of two examples cannot be mixed; empty if they can."""
    loss, training = experiment.training.loss.reason_against_shares(), experiment.training
    if not experiment.task.output.reads_labels or not experiment.task.output.is_row:
        return f"`task: {experiment.task}` has none that can be mixed"
    if loss:
        return f"{loss}; set another `training.loss`"
    if experiment.model.fitted_once:
        return f"a `{experiment.model.fitted_once}` head is fitted on whole labels"
    if training.features.augmented_copies:
        return "features that are stored are those of single images; remove `training.features.augmented_copies`"
    return ""


RULES = (
    _augmentations_fit_inputs,
    _names_of_columns_are_used,
    _augmentation_leaves_targets,
    _labels_can_be_mixed,
)
