"""What may step in while a run trains. Every monitor is `auto` (the training's own) or the name of a column of the history."""

from contextlib import suppress
from os import environ
from time import monotonic
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from dlcli.program import install_command
from dlcli.spec.addresses import address_or_path
from dlcli.spec.base import Count, KerasSpec, NotNegative, OneOf, Positive

_MONITOR = "Column of the history to monitor; `auto`: `training.monitor`."


class CallbackSpec(KerasSpec):
    """A callback. `reason` says as text why it stopped the run, if it did; `epoch_counts` names fields that count epochs."""

    epoch_counts: ClassVar[tuple[str, ...]] = ()

    def reason(self, callback: Any) -> str:
        """Returns why `callback`, built from this spec, stopped the training; empty if it did not."""
        return ""


class EarlyStopping(CallbackSpec):
    """Stops when the monitored value has not improved for `patience` epochs. The model of the best epoch is always kept."""

    keras_class: ClassVar[str] = "callbacks.EarlyStopping"
    epoch_counts: ClassVar[tuple[str, ...]] = ("patience", "start_from_epoch")
    kind: Literal["early_stopping"]
    monitor: str = Field(default="auto", description=_MONITOR)
    min_delta: NotNegative = Field(default=0.0, description="Smallest change that counts as an improvement.")
    patience: Annotated[int, Field(ge=0)] = Field(
        default=5, description="Number of epochs without improvement before the training stops."
    )
    baseline: float | None = Field(default=None, description="Baseline that the monitored value must improve on.")
    start_from_epoch: Annotated[int, Field(ge=0)] = Field(default=0, description="Number of epochs before monitoring starts.")

    def reason(self, callback: Any) -> str:
        """Returns the words of a stop for lack of improvement."""
        if not callback.stopped_epoch:
            return ""
        epochs = f"{self.patience} epochs" if self.patience != 1 else "1 epoch"
        return f"early stopping: {self.monitor} has not improved for {epochs}"


class ReduceLROnPlateau(CallbackSpec):
    """Lowers the rate when the monitored value has not improved for `patience` epochs. Needs a constant rate."""

    keras_class: ClassVar[str] = "callbacks.ReduceLROnPlateau"
    epoch_counts: ClassVar[tuple[str, ...]] = ("patience", "cooldown")
    kind: Literal["reduce_lr_on_plateau"]
    monitor: str = Field(default="auto", description=_MONITOR)
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.1, description="Factor by which the rate is multiplied.")
    patience: Count = Field(default=10, description="Number of epochs without improvement before the rate is reduced.")
    min_delta: NotNegative = Field(default=1e-4, description="Smallest change that counts as an improvement.")
    cooldown: Annotated[int, Field(ge=0)] = Field(default=0, description="Number of epochs to wait after a reduction.")
    min_lr: NotNegative = Field(default=0.0, description="Lower bound of the rate.")


class TerminateOnNaN(CallbackSpec):
    """Stops when the loss becomes NaN or infinite."""

    keras_class: ClassVar[str] = "callbacks.TerminateOnNaN"
    kind: Literal["terminate_on_nan"]


class TensorBoard(CallbackSpec):
    """Settings of the TensorBoard log, which every run writes."""

    keras_class: ClassVar[str] = "callbacks.TensorBoard"
    kind: Literal["tensorboard"]
    histogram_freq: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Number of epochs between histograms of the weights."
    )
    write_graph: bool = Field(default=False, description="Whether the graph is logged.")
    update_freq: Literal["epoch", "batch"] = Field(default="epoch", description="How often values are written.")


class TimeLimit(CallbackSpec):
    """Stops after a number of minutes, at the end of a batch. In `training.callbacks` the limit is for all stages together."""

    kind: Literal["time_limit"]
    minutes: Positive = Field(description="Minutes of training; the pause of an interrupted run does not count.")

    def build(self, *, spent: float = 0.0, **extra: Any) -> Any:
        """Returns a callback that stops the model once the time is over, of which `spent` seconds have passed."""
        import keras

        class Clock(keras.callbacks.Callback):  # type: ignore[misc]
            def __init__(self, seconds: float) -> None:
                super().__init__()
                self.seconds, self.spent, self.stopped = seconds, spent, False

            def on_train_begin(self, logs: Any = None) -> None:
                self._last = [monotonic()]  # a list: plain numbers are carried over into a resumed run

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                now = monotonic()
                self.spent, self._last[0] = self.spent + now - self._last[0], now
                if self.spent > self.seconds:
                    self.model.stop_training = self.stopped = True

        return Clock(60 * self.minutes)

    def reason(self, callback: Any) -> str:
        """Returns the words of a stop by the clock."""
        return f"time limit of {self.minutes:g} minutes reached" if callback.stopped else ""


class TargetReached(CallbackSpec):
    """Stops when the monitored value has reached a value."""

    kind: Literal["target_reached"]
    monitor: str = Field(default="auto", description=_MONITOR)
    value: float = Field(description="Value to reach.")

    def build(self, *, mode: str = "min", **extra: Any) -> Any:
        """Returns a callback that stops the model once the value is reached; `mode` says whether lower or higher is better."""
        import keras

        def check(_epoch: int, logs: Any = None) -> None:
            current = (logs or {}).get(self.monitor)
            if current is not None and (current >= self.value if mode == "max" else current <= self.value):
                callback.model.stop_training = True
                callback.stopped = True

        callback = keras.callbacks.LambdaCallback(on_epoch_end=check)
        callback.stopped = False
        return callback

    def reason(self, callback: Any) -> str:
        """Returns the words of a reached target."""
        return f"target reached: {self.monitor} has reached {self.value:g}" if callback.stopped else ""


class TrackerSpec(CallbackSpec):
    """A tracker: another program that is told of the whole run. It belongs into `training.callbacks`."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions any one of which it needs."""

    model: bool = Field(default=False, description="Whether `model.keras` of the best epoch is uploaded too.")

    @property
    def missing(self) -> str:
        """What must be installed for it, as text; empty where nothing is missing."""
        from importlib.metadata import PackageNotFoundError, version

        for package in self.packages:
            with suppress(PackageNotFoundError):
                return "" if version(package) else package
        kind = str(getattr(self, "kind"))  # noqa: B009  (every member has it, the base has not)
        return f"the callback `{kind}` needs a package that is not installed: {install_command(kind)}"

    def at(self, *, offline: bool) -> Any:
        """Returns the tracker as it is used where the network may not be; None if it needs it."""
        return self


def _tracking_uri(value: str | None, info: ValidationInfo) -> str | None:
    if value is None:
        return None
    if value.startswith(("file:", "databricks")) and "${" not in value:  # words without a scheme that MLflow knows
        return value
    return address_or_path(value, info, "; MLflow takes them from MLFLOW_TRACKING_USERNAME, _PASSWORD and _TOKEN")


class MLflow(TrackerSpec):
    """Logs the run to MLflow: spec, epochs, scores with intervals, images, report, final state."""

    packages: ClassVar[tuple[str, ...]] = ("mlflow-skinny", "mlflow")
    kind: Literal["mlflow"]
    experiment: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        default=None, description="Name of the MLflow experiment; the name of the spec if not set."
    )
    tracking_uri: Annotated[str | None, AfterValidator(_tracking_uri)] = Field(
        default=None,
        description=(
            "MLflow server (https), database or folder; if not set, MLFLOW_TRACKING_URI or `mlruns` beside the runs folder."
        ),
    )

    def at(self, *, offline: bool) -> Any:
        """Returns itself; None for a server where the network may not be used."""
        return None if offline and (self.tracking_uri or environ.get("MLFLOW_TRACKING_URI", "")).startswith("http") else self


_WORD = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]


class WandB(TrackerSpec):
    """Logs the run to Weights & Biases: spec, epochs, scores with intervals, images, report, final state."""

    packages: ClassVar[tuple[str, ...]] = ("wandb",)
    kind: Literal["wandb"]
    project: _WORD | None = Field(default=None, description="Project; the name of the spec if not set.")
    entity: _WORD | None = Field(default=None, description="Team or user; your default if not set.")
    mode: Literal["online", "offline"] = Field(
        default="online", description="`offline`: stored in the run folder; `wandb sync` uploads it."
    )

    def at(self, *, offline: bool) -> Any:
        """Returns the tracker, offline where the network may not be used."""
        return self.model_copy(update={"mode": "offline"}) if offline else self


Callback = Annotated[
    EarlyStopping | ReduceLROnPlateau | TerminateOnNaN | TensorBoard | TimeLimit | TargetReached | MLflow | WandB,
    OneOf("Callback"),
]
