"""One experiment: everything a YAML may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field

from dlcli.spec.base import OneOf, Spec
from dlcli.spec.callbacks import Callback
from dlcli.spec.data import Data
from dlcli.spec.losses import Loss, LossSpec
from dlcli.spec.metrics import Metric, MetricSpec
from dlcli.spec.models import Model, Output
from dlcli.spec.optimizers import Adam, Optimizer
from dlcli.spec.tasks import TASKS, Task, TaskName

_LOSS = OneOf.registry["Loss"]
_METRIC = OneOf.registry["Metric"]


class Training(Spec):
    """How the model is fitted."""

    epochs: Annotated[int, Field(ge=0)] = Field(
        default=10, description="Passes over the training examples; 0: the model is built, tested and saved as it is."
    )
    optimizer: Optimizer = Field(default=Adam(kind="adam"), description="How weights follow the gradient.")
    # `auto` is gone once the spec is loaded, so the type leaves it out.
    loss: Loss = Field(default=cast("Any", "auto"), description="What is minimised; `auto`: the task's own.")
    metrics: list[Metric] | None = Field(
        default=None, description="What is reported beside the loss; the task's own if not given."
    )
    monitor: str = Field(
        default="auto", description="Column of the history that decides which epoch is best; `auto`: val_loss, or loss."
    )
    callbacks: list[Callback] = Field(default=[], description="What may step in while it trains.")


class Hardware(Spec):
    """Where and how the run computes. Only `precision` and `deterministic` can change results."""

    device: Literal["auto", "cpu", "gpu"] = Field(default="auto", description="`auto`: a GPU where there is one.")
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = Field(
        default="auto", description="`auto`: mixed on GPUs with fast half precision, else float32."
    )
    strategy: Literal["auto", "one_device"] = Field(default="auto", description="How the model is spread over devices.")
    xla: bool = Field(default=False, description="Whether steps are compiled by XLA; on CPUs it is far slower.")
    deterministic: bool = Field(default=False, description="Whether a GPU must give the same bits every time, at some cost.")
    steps_per_execution: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Steps in one call of the device; chosen from the epoch's steps if not given."
    )


NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


class Experiment(Spec):
    """One experiment. `name` also names the folder of its runs."""

    version: Literal[1] = Field(default=1, description="Version of this language.")
    name: Annotated[str, Field(pattern=NAME_PATTERN)] = Field(
        description="Name of the experiment: letters, digits, `_`, `-` and `.`."
    )
    task: TaskName = Field(description="What is predicted: one class, yes or no, several labels, or numbers.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(default=0, description="Decides everything random.")
    data: Data = Field(description="The examples.")
    model: Model = Field(description="The network, without its output layer.")
    output: Output = Field(default=Output(), description="Settings of the output layer that the task adds.")
    training: Training = Field(default=Training(), description="How the model is fitted.")
    hardware: Hardware = Field(default=Hardware(), description="Where and how the run computes.")

    @property
    def task_row(self) -> Task:
        """What the task decides."""
        return TASKS[self.task]


def with_defaults(experiment: Experiment) -> Experiment:
    """Returns the experiment with every `auto` resolved that the file alone decides; doing it again changes nothing.

    What only the data or the machine can tell (parts, image size, normalisation, schedule lengths, precision) is
    resolved when the run starts.
    """
    training = experiment.training
    task = experiment.task_row
    given = training.metrics
    metrics: list[MetricSpec] = [_METRIC.validate(name) for name in task.metrics] if given is None else list(given)
    monitor = training.monitor
    if monitor == "auto":
        monitor = "loss" if experiment.data.split.validation == 0 else "val_loss"
    callbacks = [
        callback.model_copy(update={"monitor": monitor}) if getattr(callback, "monitor", "") == "auto" else callback
        for callback in training.callbacks
    ]
    resolved = training.model_copy(
        update={
            "metrics": metrics,
            "monitor": monitor,
            "callbacks": callbacks,
            "loss": training.loss if isinstance(training.loss, LossSpec) else _default_loss(task, metrics),
        }
    )
    return experiment.model_copy(update={"training": resolved})


def _default_loss(task: Task, metrics: list[MetricSpec]) -> Any:
    """Returns the task's loss; the one-hot form of cross-entropy where a metric is followed on one-hot labels."""
    if task.name == "classification" and any(metric.one_hot(task.name) for metric in metrics):
        return _LOSS.validate("categorical_crossentropy")
    return _LOSS.validate(task.loss)
