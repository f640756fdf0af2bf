"""The rules across fields: what a spec may not combine, found without opening data or importing TensorFlow.

A rule is a function that yields (place, message). Every rule is in `RULES`; each runs on a spec whose fields are
valid by themselves and whose `auto`s are resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, cast

from dlcli.spec.base import walk
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources.base import SeriesSource
from dlcli.spec.data.sources.labels import composed
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.layers import LayerSpec, ShapeError
from dlcli.spec.model.layers.dense import ActivationLayer
from dlcli.spec.rules import augmentations, balance, devices, splits, support, transfer
from dlcli.spec.rules.inputs import input_shape
from dlcli.spec.training.callbacks import CallbackSpec, ReduceLROnPlateau, TrackerSpec
from dlcli.spec.training.losses import LossSpec
from dlcli.spec.training.metrics import LAST_EPOCH, TopK
from dlcli.spec.training.optimizers import SGD, OptimizerSpec
from dlcli.spec.training.schedules import CosineDecay, PiecewiseConstantDecay, ScheduleSpec

Place = tuple[str | int, ...]
Finding = tuple[Place, str]


def findings(experiment: Experiment) -> Iterator[Finding]:
    """Yields everything that the rules find."""
    for rule in (
        *RULES,
        *augmentations.RULES,
        *splits.RULES,
        *transfer.RULES,
        *devices.RULES,
        *support.RULES,
        *balance.RULES,
    ):
        yield from rule(experiment)


def _source_files(experiment: Experiment) -> Iterator[Finding]:
    for field, message in experiment.data.source.faults():
        yield ("data", "source", field), message


def _task_fits_source(experiment: Experiment) -> Iterator[Finding]:
    facts = experiment.data.facts(experiment.task)
    if experiment.task.output.needs_series and not isinstance(experiment.data.source, SeriesSource):
        yield ("task",), f"`task: {experiment.task}` needs `data.source.kind: series`"
    elif not facts.takes(experiment.task):
        yield ("task",), f"this source is for {' or '.join(facts.tasks)}, not {experiment.task}"
    elif experiment.task.output.reads_labels and not facts.has_labels:
        yield ("data", "source"), f"the source has no labels, which `task: {experiment.task}` needs"
    elif fault := experiment.task.output.fault_of_count(facts.outputs, facts.classes, experiment.task.name):
        yield fault


def _classes_are_the_sources(experiment: Experiment) -> Iterator[Finding]:
    chosen = [composed(name) for name in experiment.data.classes or []]
    classes = [composed(name) for name in experiment.data.source.facts(experiment.task).classes]
    output = experiment.task.output
    if chosen and (output.is_numeric or not output.is_row):
        yield ("data", "classes"), f"`task: {experiment.task}` has no classes of examples to select"
        return
    for index, name in enumerate(chosen):
        place: Place = ("data", "classes", index)
        if name in chosen[:index]:
            yield place, f"`{name}` is listed twice"
        elif classes and name not in classes:
            near = get_close_matches(name, classes, 1)
            guess = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(classes[:20])}"
            yield place, f"the source has no class `{name}`; {guess}"


def _rows_have_a_place(experiment: Experiment) -> Iterator[Finding]:
    data = experiment.data
    if data.cache == "none" and data.source.stores_rows:
        yield (
            ("data", "cache"),
            f"`none` decodes image files in each epoch; the rows of `{data.source.kind}` are kept in `memory` or on the `disk`,"
            " or where they fit (`auto`)",
        )


def _loss_fits_task(experiment: Experiment) -> Iterator[Finding]:
    from dlcli.spec.base import OneOf

    loss, task = experiment.training.loss, experiment.task
    if not loss.fits(task):
        union = OneOf.registry["Loss"]
        fitting = [
            kind
            for kind, member in union.kinds.items()
            if cast("LossSpec", cast("Any", member).model_construct(kind=kind)).fits(task)
        ]
        yield ("training", "loss"), f"`{loss.kind}` does not fit `task: {task}`; these do: {', '.join(fitting)}"


def _targets_have_a_scale(experiment: Experiment) -> Iterator[Finding]:
    if experiment.data.scale_targets is True and not experiment.task.output.has_scale:
        yield (
            ("data", "scale_targets"),
            f"only a regression scales its targets; `task: {experiment.task}` cannot",
        )


def _windows_have_a_level(experiment: Experiment) -> Iterator[Finding]:
    normalize, source = experiment.data.normalize, experiment.data.source
    if not normalize.startswith("window_"):
        return
    if not experiment.task.output.needs_series:
        yield ("data", "normalize"), f"only windows of `data.source.kind: series` have a level for `{normalize}`"
    elif getattr(source, "scale_by_entity", False):
        yield ("data", "normalize"), f"`scale_by_entity` scales windows already; remove it, or `{normalize}`"


def _metrics_fit_task(experiment: Experiment) -> Iterator[Finding]:
    facts = experiment.data.facts(experiment.task)
    names: set[str] = set()
    for index, metric in enumerate(experiment.training.metrics or []):
        place: Place = ("training", "metrics", index)
        if not metric.fits(experiment.task):
            yield place, f"`{metric.name}` does not fit `task: {experiment.task}`"
        if metric.name in names:
            yield place, f"`{metric.name}` is listed twice"
        names.add(metric.name)
        if isinstance(metric, TopK) and facts.outputs and metric.k >= facts.outputs:
            yield place, f"`k: {metric.k}` of {facts.outputs} classes is always right"
        if experiment.training.loss.integer_labels and metric.one_hot(experiment.task):
            yield (
                place,
                f"`{metric.name}` needs one-hot labels; use `loss: categorical_crossentropy`",
            )


def monitors(experiment: Experiment) -> list[str]:
    """Returns the columns of the history that may be monitored."""
    metrics = experiment.training.metrics or []
    followed = [metric.name for metric in metrics if metric.is_followed(experiment.task)]
    columns = experiment.model.columns
    training = ["loss", *followed, *columns]
    if experiment.model.reason_against("validation"):
        return [LAST_EPOCH, *training]
    if experiment.data.split.validation == 0:
        return training
    return ["val_loss", *(f"val_{metric.name}" for metric in metrics), *(f"val_{name}" for name in columns), *training]


def _callbacks(experiment: Experiment) -> Iterator[tuple[Place, Any]]:
    """Yields every callback with its place: the training's own, then those of its stages."""
    training = experiment.training
    for index, callback in enumerate(training.callbacks):
        yield ("training", "callbacks", index), callback
    for number, stage in enumerate(training.stages):
        for index, callback in enumerate(stage.callbacks or []):
            yield ("training", "stages", number, "callbacks", index), callback


def _monitors_exist(experiment: Experiment) -> Iterator[Finding]:
    columns = monitors(experiment)
    watched: list[Finding] = [(("training", "monitor"), experiment.training.monitor)]
    watched += [
        ((*place, "monitor"), callback.monitor) for place, callback in _callbacks(experiment) if hasattr(callback, "monitor")
    ]
    for place, monitor in watched:
        of_callback = len(place) > 2
        inherited = of_callback and monitor == experiment.training.monitor
        if of_callback and monitor == LAST_EPOCH and LAST_EPOCH in columns:
            values = ", ".join(name for name in columns if name != LAST_EPOCH)
            yield place, f"`{LAST_EPOCH}` selects the last epoch and is not a value to monitor; available: {values}"
        elif monitor not in columns and not inherited:
            near = get_close_matches(monitor, columns, 1, cutoff=0.75)
            guess = f"did you mean `{near[0]}`? " if near else ""
            yield place, f"the history will have no column `{monitor}`; {guess}available: {', '.join(columns)}"


def _layers_fit_images(experiment: Experiment) -> Iterator[Finding]:
    facts = experiment.data.facts(experiment.task)
    shape = input_shape(experiment, facts)
    if shape is None:
        return
    try:
        experiment.model.output_shape(shape)
    except ShapeError as error:
        yield ("model", *error.place), str(error)


def _layers_fit_tables(experiment: Experiment) -> Iterator[Finding]:
    """How many columns a table has is known once it is opened; that it has no height and width is known before."""
    facts = experiment.data.facts(experiment.task)
    if facts.texts and not experiment.model.reads_texts:
        what = "the backbone" if experiment.model.has_backbone else f"`model.kind: {experiment.model.kind}`"
        yield ("data", "source", "text"), f"{what} does not read texts; use `model.kind: sequence`"
    elif facts.columns and not facts.texts:
        for place, message in experiment.model.faults_of_rows():
            yield ("model", *place), message


def _texts_stay_in_memory(experiment: Experiment) -> Iterator[Finding]:
    data = experiment.data
    if data.source.stores_rows and data.cache in ("disk", "none") and data.facts(experiment.task).texts:
        yield ("data", "cache"), f"`{data.cache}` cannot keep columns of texts on the disk; use `memory` or `auto`"


def _images_have_a_size(experiment: Experiment) -> Iterator[Finding]:
    facts = experiment.data.facts(experiment.task)
    if experiment.model.has_backbone:
        return  # the backbone says it, a Hub module once it is opened
    if facts.image and facts.shape is None and experiment.data.image.size is None:
        yield ("data", "image", "size"), "the images have different sizes; set one size, e.g. `size: [96, 96]`"


def _images_have_settings(experiment: Experiment) -> Iterator[Finding]:
    # Specs for npz files with such settings were always accepted, and a run with them can be fine-tuned.
    is_accepted = experiment.model.has_backbone or experiment.data.source.kind == "npz"
    facts = experiment.data.facts(experiment.task)
    if facts.gives_rows and experiment.data.image != ImageSettings() and not is_accepted:
        yield ("data", "image"), "the source gives no images, but rows of numbers"


def _output_is_not_repeated(experiment: Experiment) -> Iterator[Finding]:
    """A softmax at the end of the layers is nearly always the output layer of a script, which the task adds here."""
    layers = experiment.model.listed_layers
    if layers and getattr(layers[-1], "activation", "") == "softmax":
        yield (
            ("model", "layers", len(layers) - 1),
            f"the output layer follows from `task: {experiment.task}`; remove this softmax",
        )


def _step_is_not_trained(experiment: Experiment) -> Iterator[Finding]:
    """Binary step has a gradient of zero: nothing before it would ever learn."""
    if experiment.training.epochs == 0:
        return
    learns = False
    for path, spec in walk(experiment.model, ("model",)):
        if isinstance(spec, LayerSpec):
            learns = learns or (spec.has_weights and not isinstance(spec, ActivationLayer))
        if getattr(spec, "activation", None) == "binary_step" and (learns or hasattr(spec, "units")):
            yield (
                (*path, "activation"),
                (
                    "binary_step has no gradient, so layers before it cannot be trained; use `sigmoid`,"
                    " or set `training.epochs: 0` to only build and test"
                ),
            )


def _schedules_are_sound(experiment: Experiment) -> Iterator[Finding]:
    for path, spec in walk(experiment.training, ("training",)):
        if isinstance(spec, PiecewiseConstantDecay):
            if len(spec.values) != len(spec.boundaries) + 1:
                yield (
                    (*path, "values"),
                    f"needs one more than `boundaries`: {len(spec.boundaries) + 1}, found {len(spec.values)}",
                )
            if sorted(set(spec.boundaries)) != spec.boundaries:
                yield (*path, "boundaries"), f"must rise, found {spec.boundaries}"
    scheduled = isinstance(experiment.training.optimizer.learning_rate, ScheduleSpec)
    for index, callback in enumerate(experiment.training.callbacks):
        if scheduled and isinstance(callback, ReduceLROnPlateau):
            yield ("training", "callbacks", index), "needs a constant `learning_rate`, not a schedule"


def _schedules_warm_up(experiment: Experiment) -> Iterator[Finding]:
    rate = experiment.training.optimizer.learning_rate
    if isinstance(rate, CosineDecay) and (rate.warmup_target is None) != (rate.warmup_steps == 0):
        present, lacking = ("warmup_steps", "warmup_target") if rate.warmup_steps else ("warmup_target", "warmup_steps")
        yield ("training", "optimizer", "learning_rate", present), f"has no effect without `{lacking}`"


def _settings_have_an_effect(experiment: Experiment) -> Iterator[Finding]:
    optimizer: Any = experiment.training.optimizer
    place: Place = ("training", "optimizer")
    if not optimizer.use_ema and optimizer.ema_momentum != OptimizerSpec.model_fields["ema_momentum"].default:
        yield (*place, "ema_momentum"), "has no effect without `use_ema: true`"
    if isinstance(optimizer, SGD) and optimizer.nesterov and not optimizer.momentum:
        yield (*place, "nesterov"), "has no effect without a `momentum`, such as 0.9"
    for index, callback in enumerate(experiment.training.callbacks):
        lowest = getattr(callback, "min_lr", 0.0)
        if isinstance(optimizer.learning_rate, float) and lowest >= optimizer.learning_rate:
            yield ("training", "callbacks", index, "min_lr"), f"is not below the rate, {optimizer.learning_rate:g}"


def _ranges_rise(experiment: Experiment) -> Iterator[Finding]:
    ends = (("minval", "maxval"), ("min_value", "max_value"))
    for path, spec in walk(experiment, ()):
        for low, high in ends:
            if getattr(spec, low, 0) > getattr(spec, high, float("inf")):
                yield (*path, low), f"is above `{high}`: {getattr(spec, low):g} and {getattr(spec, high):g}"


def _ignored_class_is_sound(experiment: Experiment) -> Iterator[Finding]:
    outputs = experiment.data.facts(experiment.task).outputs
    ignored = getattr(experiment.training.loss, "ignore_class", None)
    if ignored is not None and outputs and ignored >= outputs:
        yield ("training", "loss", "ignore_class"), f"expected a class from 0 to {outputs - 1}, found {ignored}"
    if ignored is not None and getattr(experiment.training.loss, "label_smoothing", False):
        yield (
            ("training", "loss", "label_smoothing"),
            "label smoothing and `ignore_class` cannot be combined",
        )


def _batches_can_be_normalised(experiment: Experiment) -> Iterator[Finding]:
    if experiment.data.batch_size == 1 and experiment.model.normalizes_batches:
        yield ("model", "batch_normalization"), "needs batches of at least 2 examples: with one example, every value becomes 0"


def _one_way_of_clipping(experiment: Experiment) -> Iterator[Finding]:
    optimizer: OptimizerSpec = experiment.training.optimizer
    limits = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(optimizer, name) is not None]
    if len(limits) > 1:
        yield ("training", "optimizer", limits[1]), f"only one kind of clipping can be set; `{limits[0]}` is set too"


def _callbacks_are_single(experiment: Experiment) -> Iterator[Finding]:
    kinds: set[str] = set()
    callbacks: list[CallbackSpec] = list(experiment.training.callbacks)
    for index, callback in enumerate(callbacks):
        kind = str(getattr(callback, "kind", ""))
        if kind in kinds and (kind in ("terminate_on_nan", "tensorboard", "time_limit") or isinstance(callback, TrackerSpec)):
            yield ("training", "callbacks", index), f"`{kind}` is listed twice"
        kinds.add(kind)
    for place, callback in _callbacks(experiment):
        if isinstance(callback, TrackerSpec) and "stages" in place:
            yield place, "applies to the whole run: move it to `training.callbacks`"


RULES: tuple[Callable[[Experiment], Iterator[Finding]], ...] = (
    _source_files,
    _task_fits_source,
    _classes_are_the_sources,
    _rows_have_a_place,
    _loss_fits_task,
    _targets_have_a_scale,
    _windows_have_a_level,
    _metrics_fit_task,
    _monitors_exist,
    _images_have_a_size,
    _layers_fit_images,
    _layers_fit_tables,
    _texts_stay_in_memory,
    _images_have_settings,
    _step_is_not_trained,
    _output_is_not_repeated,
    _schedules_are_sound,
    _schedules_warm_up,
    _settings_have_an_effect,
    _ranges_rise,
    _ignored_class_is_sound,
    _batches_can_be_normalised,
    _one_way_of_clipping,
    _callbacks_are_single,
)
