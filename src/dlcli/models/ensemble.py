"""The members of an ensemble: whether they fit together and left its test examples out, and the Keras model of their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcli.data.inputs import recorded_shared
from dlcli.data.same_data import refuse_other_data
from dlcli.data.splits import Splits
from dlcli.errors import UsageError
from dlcli.runs import RunFolder
from dlcli.runtime.engine import keras
from dlcli.runtime.loading import load_model
from dlcli.spec.experiment import Experiment
from dlcli.visible import listed

_READING = ("size", "channels", "resize", "background", "value_range")
"""The fields of `data.image` that change the pixels of an example."""


@dataclass(frozen=True)
class Member:
    """A run whose model is averaged: its name in the ensemble's Keras model, and its saved Keras model."""

    name: str
    run: RunFolder
    model: Any


def member_name(number: int) -> str:
    """Returns the name of the nested model of a member in an ensemble's Keras model; members are counted from 1."""
    return f"member_{number}"


def read_members(experiment: Experiment, splits: Splits, *, offline: bool) -> list[Member]:
    """Returns the members of an ensemble with their models.

    Raises:
        UsageError: a run has another task, other classes or other inputs than the ensemble's data, or was trained on examples
            of its test split.
        DataError: a run was trained on other data than the ensemble's.
    """
    runs = [RunFolder(Path(folder)) for folder in experiment.model.members]
    for run in runs:
        run.refuse_missing_model()
        refuse_misfit(run, experiment, splits.classes)
        if run.data().get("fingerprint") != splits.fingerprint:
            _refuse_other_data(run, experiment, offline=offline)
            refuse_known(run, [] if splits.test is None else splits.test.ids, runs[0])
    output = splits.output_shape
    members = [Member(member_name(at), run, load_model(run.model_path, output=output)) for at, run in enumerate(runs, 1)]
    _refuse_other_inputs(members)
    return members


def refuse_misfit(run: RunFolder, experiment: Experiment, classes: tuple[str, ...]) -> None:
    """Raises UsageError for a run with another task, other classes or images of another form than an ensemble."""
    _refuse_other_task(run, experiment, classes)
    _refuse_other_reading(run, experiment)


def refuse_known(run: RunFolder, test: Sequence[str], first: RunFolder) -> None:
    """Raises UsageError if a run was trained on examples of the test split of an ensemble: the score would be too high.

    Args:
        run: the run; the ids in its split mean the same examples as those of the ensemble.
        test: the ids of the test examples.
        first: the first run of the ensemble, whose split the message recommends.
    """
    split = run.split()
    known = [name for name in test if split.get(name) == "train"]
    if known:
        raise UsageError(
            f"{run.id} was trained on {len(known):,} of the {len(test):,} test examples of the ensemble, such as {known[0]}, so"
            " the score would be too high; train all runs of an ensemble with one split:"
            f" --set data.split.file={first.split_path}"
        )


def _refuse_other_data(run: RunFolder, experiment: Experiment, *, offline: bool) -> None:
    """Raises DataError if the ensemble's source lacks examples that a run was trained on, or has changed ones."""
    own = run.experiment()
    data = own.data.model_copy(update={"source": experiment.data.source})
    refuse_other_data(run, own.model_copy(update={"data": data}), offline=offline)


def _refuse_other_task(run: RunFolder, experiment: Experiment, expected: tuple[str, ...]) -> None:
    """Raises UsageError for a run with another task, or with other classes, labels or targets."""
    task, own = experiment.task, run.experiment().task
    if own != task:
        raise UsageError(f"{run.id} has `task: {own}`, the ensemble has `task: {task}`: their outputs cannot be averaged")
    classes, nouns = tuple(run.data().get("classes") or ()), task.output.nouns
    if classes == expected:
        return
    if set(classes) == set(expected):
        raise UsageError(
            f"{run.id} has the {nouns} of the ensemble in another order ({listed(classes)}, not {listed(expected)}): train"
            " it with the same `data.classes`"
        )
    raise UsageError(f"{run.id} has the {nouns} {listed(classes)}, the ensemble has {listed(expected)}")


def _refuse_other_reading(run: RunFolder, experiment: Experiment) -> None:
    """Raises UsageError for a run whose images are read otherwise, such as in another size."""
    own, image = run.experiment().data.image, experiment.data.image
    for name in _READING:
        value, expected = getattr(own, name), getattr(image, name)
        if value != expected:
            raise UsageError(
                f"{run.id} has `data.image.{name}: {_text(value)}`, the ensemble has {_text(expected)}: all runs of an"
                " ensemble read the same images"
            )


def _text(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _refuse_other_inputs(members: Sequence[Member]) -> None:
    """Raises UsageError if the models of two members take inputs of other names, shapes or types."""
    first = members[0]
    expected = _inputs_of(first)
    for member in members[1:]:
        inputs = _inputs_of(member)
        if inputs == expected:
            continue
        names = [name for name in {**expected, **inputs} if expected.get(name) != inputs.get(name)]
        differences = "; ".join(
            f"{name}: {expected.get(name, 'not an input')} and {inputs.get(name, 'not an input')}" for name in names[:3]
        )
        more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
        raise UsageError(f"{first.run.id} and {member.run.id} take other inputs ({differences}{more})")


def _inputs_of(member: Member) -> dict[str, str]:
    """Returns the type, shape and columns of each input of a member's model, by name."""
    entries, shared = member.model.input, recorded_shared(member.run)
    named = entries if isinstance(entries, dict) else {entries.name: entries}
    return {
        name: f"{tensor.dtype} {tuple(tensor.shape[1:])}" + (f" of {listed(shared[name])}" if name in shared else "")
        for name, tensor in named.items()
    }


def combined_model(members: Sequence[Member], experiment: Experiment, name: str) -> Any:
    """Returns the Keras model of the weighted mean of the members' outputs, from raw examples; members are nested models."""
    entries = _entries(members[0].model)
    taken = set(entries) if isinstance(entries, dict) else {entries.name}
    outputs = [_nested(member, taken)(entries) for member in members]
    return keras.Model(entries, _mean(outputs, getattr(experiment.model, "weights", None)), name=name)


def _entries(model: Any) -> Any:
    """Returns new inputs like those of a model."""
    entries = model.input
    if isinstance(entries, dict):
        return {name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name) for name, tensor in entries.items()}
    return keras.Input(entries.shape[1:], dtype=entries.dtype, name=entries.name)


def _nested(member: Member, taken: set[str]) -> Any:
    """Returns a member's model under its name in the ensemble; `_` is appended where a column has the name."""
    name = member.name
    while name in taken:
        name += "_"
    return keras.Model(member.model.input, member.model.output, name=name)


def _mean(outputs: Sequence[Any], weights: Sequence[float] | None) -> Any:
    """Returns the mean of outputs in float32, whatever the precision policy; weights are divided by their sum."""
    layers = keras.layers
    if weights is None:
        return layers.Average(name="average", dtype="float32")(outputs)
    shares = [weight / sum(weights) for weight in weights]
    scaled = [layers.Rescaling(share, dtype="float32")(output) for share, output in zip(shares, outputs, strict=True)]
    return layers.Add(name="add", dtype="float32")(scaled)
