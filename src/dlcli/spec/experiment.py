"""One experiment: everything a YAML may say."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from dlcli.spec.base import Count, OneOf, Positive, Spec
from dlcli.spec.data.data import Data
from dlcli.spec.data.sources.base import SeriesSource
from dlcli.spec.model.models import Model
from dlcli.spec.model.output import Output
from dlcli.spec.paths import FilePath
from dlcli.spec.search.sweep import Sweep
from dlcli.spec.training.callbacks import Callback, TrackerSpec
from dlcli.spec.training.losses import Loss, LossSpec, Pinball
from dlcli.spec.training.metrics import LAST_EPOCH, Metric, MetricSpec, macro_f1_of
from dlcli.spec.training.optimizers import Adam, Optimizer
from dlcli.spec.training.stages import Features, FeaturesField, Stage, expanded
from dlcli.tasks import Decisions, Task

_LOSS = OneOf.registry["Loss"]
_METRIC = OneOf.registry["Metric"]


class Training(Spec):
    """Epochs, optimizer, loss, metrics, callbacks and stages."""

    epochs: Annotated[int, Field(ge=0)] = Field(
        default=10, description="Number of epochs; 0: the model is built, tested and saved without training."
    )
    optimizer: Optimizer = Field(default=Adam(kind="adam"), description="Optimizer of the weights.")
    # `auto` is resolved once the spec is loaded, so the type does not contain it.
    loss: Loss = Field(default=cast("Any", "auto"), description="Loss to minimise; `auto`: that of the task.")
    metrics: list[Metric] | None = Field(
        default=None, description="Metrics to report in addition to the loss; those of the task if not set."
    )
    monitor: str = Field(
        default="auto",
        description=(
            "Column of the history that decides which epoch is best; `auto`: val_loss, or loss without a validation split;"
            " val_r2 for a table with several targets, which gives them equal weight; with `data.balance` the macro F1 of the"
            " validation split, which is added to the metrics."
        ),
    )
    callbacks: list[Callback] = Field(default=[], description="Callbacks of the run.")
    stages: list[Stage] = Field(
        default=[],
        description="Training stages, in order. If not set, only the head of a transfer model is trained, and other models"
        " as a whole.",
    )
    features: FeaturesField = Field(default=Features(), description="Storage of the features of a frozen backbone.")
    checkpoint_minutes: Positive = Field(default=10.0, description="Minutes between checkpoints within an epoch.")
    initial_weights: FilePath | None = Field(
        default=None,
        description="Folder of a run, or of all runs of a name, whose model gives the initial weights; its architecture"
        " must be the same.",
    )


_OWN = {
    **dict.fromkeys(("cpus-per-task", "ntasks", "nodes"), "use `cpus`"),
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-task"), "use `gpus`"),
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu"), "use `memory_gb`"),
    "time": "use `minutes`",
    **dict.fromkeys(
        ("array", "chdir", "error", "job-name", "no-requeue", "open-mode", "output", "requeue", "signal", "wrap"),
        "dlcli sets it",
    ),
}


def _sbatch_options(options: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
    """Refuses what `sbatch` would read as something else than one option, and what dlcli sets."""
    for name, value in options.items():
        if not re.fullmatch(r"[a-z][a-z-]*", name):
            raise _expected(f"long option names of sbatch, e.g. `partition`, found {name!r}")
        if name in _OWN:
            raise _expected(f"no option {name!r}: {_OWN[name]}")
        if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_.,:;=/@%+*()&|<>!\[\] -]+", value):
            raise _expected(f"only letters, digits, spaces and simple signs in {name!r}, found {value!r}")
    return options


def asks_for_gpus(options: Mapping[str, object]) -> bool:
    """Whether options of `sbatch` ask for GPUs in SLURM's own words, such as `gres: "gpu:a100:1"`."""
    return any(name.startswith(("gres", "gpus", "tres")) for name in options)


def _expected(what: str) -> PydanticCustomError:
    return PydanticCustomError("sbatch_option", "expected {what}", {"what": what})


class Resources(Spec):
    """Resources that a run requests from a cluster; used by `dlcli batch --engine ray` and `--engine slurm`."""

    cpus: Count = Field(default=1, description="Number of CPU cores.")
    gpus: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description=(
            "Number of GPUs. If not set: none for `device: cpu`, `devices` for `mirrored`, one for `device: gpu`, and for"
            " `auto` one on"
            " a Ray cluster that has any."
        ),
    )
    memory_gb: Positive | None = Field(default=None, description="Memory, in GB of 2^30 bytes.")
    minutes: Positive | None = Field(
        default=None, description="Time limit of one allocation; a run that needs more time continues in the next."
    )
    slurm: Annotated[dict[str, str | int | bool], AfterValidator(_sbatch_options)] = Field(
        default={}, description="Other options of `sbatch` by their long names, e.g. `partition: gpu` or `account: lab`."
    )


class Hardware(Spec):
    """Where and how the run computes. Only `precision` and `deterministic` can change results; several devices round
    differently and use other random numbers."""

    device: Literal["auto", "cpu", "gpu"] = Field(default="auto", description="`auto`: a GPU if there is one.")
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = Field(
        default="auto",
        description="`auto`: mixed on GPUs with fast half precision; `mixed_bfloat16` on processors with units for it, for"
        " networks that it makes faster; else `float32`. The saved model is always float32.",
    )
    strategy: Literal["auto", "one_device", "mirrored", "multi_worker"] = Field(
        default="auto",
        description="`mirrored`: the GPUs of this machine share each batch; `multi_worker`: those of several processes do;"
        " `auto`: one device, or the workers that the command line or TF_CONFIG names.",
    )
    devices: Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        description="Number of GPUs that `mirrored`, or each worker, uses; all if not set. On a CPU, the number of virtual"
        " devices.",
    )
    xla: bool = Field(default=False, description="Whether steps are compiled by XLA, which is much slower on CPUs.")
    deterministic: bool = Field(default=False, description="Whether operations on a GPU are deterministic, which is slower.")
    steps_per_execution: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description=(
            "Number of steps per call of the compiled training function; chosen from the steps of an epoch if not set."
        ),
    )
    resources: Resources = Field(default=Resources(), description="Resources that a run requests from a cluster.")

    @property
    def gpus(self) -> int | None:
        """GPUs to ask a cluster for; None: one if it has any."""
        if self.resources.gpus is not None or self.device == "cpu":
            return self.resources.gpus or 0
        if self.strategy == "mirrored":
            return self.devices or 1
        return 1 if self.device == "gpu" else None


NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


class Experiment(Spec):
    """The fields of a spec. `name` is also the name of its runs and of their folder."""

    version: Literal[1] = Field(default=1, description="Version of the spec format.")
    name: Annotated[str, Field(pattern=NAME_PATTERN)] = Field(
        description="Name of the spec and of its runs: letters, digits, `_`, `-` and `.`."
    )
    task: Task = Field(
        description="What is predicted: one of several classes, one of two classes, any number of labels, or numeric values."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(default=0, description="Seed of all random numbers.")
    data: Data = Field(description="Source, split, image format and augmentation of the examples.")
    model: Model = Field(description="Model without its output layer.")
    output: Output = Field(default=Output(), description="Settings of the output layer, which follows from the task.")
    training: Training = Field(default=Training(), description="Epochs, optimizer, loss, metrics, callbacks and stages.")
    hardware: Hardware = Field(default=Hardware(), description="Devices and precision.")
    # No part of what a run is: what is written out leaves it out.
    sweep: Sweep | None = Field(
        default=None, exclude=True, description="Search space of `dlcli sweep`; it is not stored in runs."
    )

    @property
    def pretrained(self) -> bool:
        """Whether the weights come from an earlier training."""
        return self.model.pretrained or self.training.initial_weights is not None

    @property
    def stages(self) -> list[Stage]:
        """The stages that will run, with everything filled in that they leave to the training."""
        training = self.training
        if training.stages:
            stages = [item for stage in training.stages for item in expanded(stage)]
        elif self.model.has_backbone:
            stages = [Stage(name="head", train="head")]
        else:
            stages = [Stage(name="train", train="all", batch_norm="train")]
        batch_norm = "freeze" if self.pretrained else "train"
        # A tracker follows the whole run.
        callbacks = [item for item in training.callbacks if not isinstance(item, TrackerSpec)]
        return [
            stage.model_copy(
                update={
                    "epochs": training.epochs if stage.epochs is None else stage.epochs,
                    "optimizer": stage.optimizer or training.optimizer,
                    "callbacks": callbacks if stage.callbacks is None else stage.callbacks,
                    "augment": self.data.augment if stage.augment is None else stage.augment,
                    "batch_norm": batch_norm if stage.batch_norm == "auto" and stage.trains_backbone else stage.batch_norm,
                }
            )
            for stage in stages
        ]


def with_defaults(experiment: Experiment) -> Experiment:
    """Returns the experiment with every `auto` resolved that the file alone decides; doing it again changes nothing.

    What only the data or the machine can tell (parts, image size, normalisation, schedule lengths, precision) is
    resolved when the run starts.
    """
    experiment = _with_output_of_forecasts(experiment)
    training = experiment.training
    task = experiment.task
    chosen = training.metrics
    defaults = () if experiment.model.reason_against("evaluate") else task.metrics
    defaults = defaults if task.output.points_only else (*defaults, "coverage")
    metrics: list[MetricSpec] = [_METRIC.validate(name) for name in defaults] if chosen is None else list(chosen)
    monitor = training.monitor
    if monitor == "auto" and _monitors_f1(experiment):
        has_integers = isinstance(training.loss, LossSpec) and training.loss.integer_labels
        metric = macro_f1_of(metrics, task, integer_labels=has_integers)
        metrics += [] if metric in metrics else [metric]
        monitor = f"val_{metric.name}"
    elif monitor == "auto":
        monitor = _default_monitor(experiment, metrics)

    def watching(callbacks: list[Any]) -> list[Any]:
        return [
            callback.model_copy(update={"monitor": monitor}) if getattr(callback, "monitor", "") == "auto" else callback
            for callback in callbacks
        ]

    resolved = training.model_copy(
        update={
            "metrics": metrics,
            "monitor": monitor,
            "callbacks": watching(training.callbacks),
            "stages": [
                stage if stage.callbacks is None else stage.model_copy(update={"callbacks": watching(stage.callbacks)})
                for stage in training.stages
            ],
            "loss": training.loss if isinstance(training.loss, LossSpec) else _default_loss(task, metrics),
        }
    )
    data = _as_the_model_needs(experiment)
    source = data.source.without_inputs(data.split.side_columns) if data.split.side_columns else data.source
    data = data if source is data.source else data.model_copy(update={"source": source})
    return experiment.model_copy(update={"training": resolved, "data": data})


def _with_output_of_forecasts(experiment: Experiment) -> Experiment:
    """Returns the experiment whose task has an output of the columns that its source and its loss forecast."""
    task, source, loss = experiment.task, experiment.data.source, experiment.training.loss
    if not task.output.needs_series or not isinstance(source, SeriesSource):
        return experiment
    output = source.output(loss.quantiles if isinstance(loss, Pinball) else [])
    return experiment.model_copy(update={"task": replace(task, output=output)})


def _monitors_f1(experiment: Experiment) -> bool:
    """Whether the best epoch is that of the highest macro F1: the loss of the natural distribution hardly sees rare classes."""
    has_classes = isinstance(experiment.task.output, Decisions)
    has_validation = experiment.data.split.validation != 0 and not experiment.model.reason_against("validation")
    can_score = not experiment.model.reason_against("evaluate") and not experiment.model.monitor
    return experiment.data.balance.is_active and has_classes and has_validation and can_score


def _default_monitor(experiment: Experiment, metrics: list[MetricSpec]) -> str:
    """Returns the validation loss; of several targets R2, which weighs them alike: the loss is that of the largest numbers.

    A model kind may name another monitor; if it has no validation and names none, its last epoch is the best.
    """
    data, model = experiment.data, experiment.model
    if model.reason_against("validation"):
        return model.monitor or LAST_EPOCH
    if data.split.validation == 0:
        return model.monitor.removeprefix("val_") or "loss"
    if model.monitor:
        return model.monitor
    several = experiment.task.output.is_numeric and (data.facts(experiment.task).outputs or 1) > 1
    weighs_alike = several and data.scale_targets is not False and any(metric.name == "r2" for metric in metrics)
    return "val_r2" if weighs_alike else "val_loss"


def _as_the_model_needs(experiment: Experiment) -> Data:
    """Returns the data's settings with the model's scaling and a backbone's image size where the spec leaves them open."""
    data, needed = experiment.data, experiment.model.normalize
    update: dict[str, Any] = {"normalize": needed} if needed and data.normalize == "auto" else {}
    shape = experiment.model.example_shape() if experiment.model.has_backbone else None
    if shape is not None and len(shape) == 3:
        size, channels = data.image.size or shape[:2], data.image.channels or shape[2]
        update["image"] = data.image.model_copy(update={"size": size, "channels": channels})
    return data.model_copy(update=update)


def _default_loss(task: Task, metrics: list[MetricSpec]) -> Any:
    """Returns the task's loss; the one-hot form of cross-entropy where a metric is followed on one-hot labels."""
    loss = _LOSS.validate(task.loss)
    if loss.integer_labels and any(metric.one_hot(task) for metric in metrics):
        return _LOSS.validate("categorical_crossentropy")
    return loss
