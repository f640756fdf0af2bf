"""The learning-rate range test: the loss while the rate grows with every step, on a model that nobody keeps.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3; the suggestions are those of fastai's
`lr_find`, on a curve smoothed without lag, with a test of whether its fall stands out of the noise.
"""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from math import isfinite, isnan, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import OutOfMemory, RunFailed, UsageError
from dlcli.program import command
from dlcli.runs import layout
from dlcli.runs.failures import is_out_of_memory
from dlcli.runs.files import write_json, write_table
from dlcli.runs.reporter import Log
from dlcli.runtime.data_loss import with_data_loss
from dlcli.runtime.stream import data_errors
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import LoadedSpec
from dlcli.spec.support import refuse_unsupported
from dlcli.spec.training.stages import Stage
from dlcli.training.rate_curve import Suggestions, smooth_curve, suggested
from dlcli.training.rate_trial import Trial, put_together

if TYPE_CHECKING:
    from dlcli.charts.chart import Medium

_SMOOTHING = 0.98
_BLOWN_UP = 4.0
_FEWEST = 10


@dataclass(frozen=True)
class Search:
    """How rates are tried: from the lowest to the highest, by one factor a step."""

    lowest: float = 1e-7
    highest: float = 10.0
    steps: int = 100

    def rates(self) -> Array:
        """Returns the rate of each step."""
        return np.geomspace(self.lowest, self.highest, self.steps)


@dataclass(frozen=True)
class Found:
    """The curve and what it suggests. `smooth` are the losses smoothed; it ends where the loss had blown up."""

    stage: str
    rates: Array
    losses: Array
    smooth: Array
    suggestions: Suggestions
    folder: Path

    @property
    def picture(self) -> Path:
        """The picture of the curve."""
        return self.folder / layout.RATE_PICTURE


def find_rate(
    experiment: Experiment, runs: Path, log: Log, search: Search, *, stage_name: str = "", offline: bool = False
) -> Found:
    """Trains a stage's model while its rate grows, writes curve and picture below `runs/.lr-find/`, and keeps no weights.

    Raises:
        UsageError: there is no stage of this name, none that is trained by steps, or a model with several optimizers.
        RunFailed: the loss was no number before ten steps.
        OutOfMemory: the batches are too large.
        DataError: the data cannot be read.
    """
    refuse_unsupported(experiment, "lr-find", f"`{command()} lr-find`")
    experiment = _with_plain_rates(experiment, search.lowest)
    trial = put_together(experiment, layout.features_folder(runs), log, stage_name=stage_name, offline=offline)
    try:
        with data_errors():
            losses = _losses(trial, search.rates())
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        size = trial.setup.batch_size
        words = f"out of memory with {size} examples in a batch; try --set data.batch_size={max(1, size // 2)}"
        raise OutOfMemory(words) from error
    rates = search.rates()[: len(losses)]
    smooth = smooth_curve(rates, losses).losses
    result = Found(trial.stage.name, rates, losses, smooth, suggested(rates, smooth, losses), _folder(runs, experiment.name))
    _write(result)
    return result


def _with_plain_rates(experiment: Experiment, rate: float) -> Experiment:
    """Returns the experiment with a number for a rate wherever there is a schedule, which would overrule the search."""

    def plain(stage: Stage) -> Stage:
        return stage if stage.optimizer is None else stage.model_copy(update={"optimizer": at(stage.optimizer)})

    def at(optimizer: Any) -> Any:
        return optimizer.model_copy(update={"learning_rate": rate})

    training = experiment.training
    changed = {"optimizer": at(training.optimizer), "stages": [plain(stage) for stage in training.stages]}
    return experiment.model_copy(update={"training": training.model_copy(update=changed)})


def _losses(trial: Trial, rates: Array) -> Array:
    """Returns the loss of each step until it has blown up.

    Raises:
        RunFailed: that was before the tenth step.
    """
    model, stream = trial.model, trial.stream
    losses: list[float] = []
    for step, rate in enumerate(rates):
        if step % stream.steps == 0:
            batches = stream.batches(step // stream.steps)
        model.optimizer.learning_rate.assign(rate)
        model.reset_metrics()
        logs = {name: float(value) for name, value in model.train_function(batches).items()}
        loss = with_data_loss(logs)["loss"]
        if isnan(loss) and isfinite(logs["loss"]) and losses:  # no example of the batch counts in the loss
            loss = losses[-1]
        if not isfinite(loss):
            break
        losses.append(loss)
        smooth = smoothed(np.array(losses))
        if step > len(rates) // 4 and smooth[-1] > _BLOWN_UP * smooth.min():
            break
    if len(losses) < _FEWEST:
        raise RunFailed(
            f"the loss became NaN or infinite after {len(losses)} steps, at a rate of {rates[len(losses)]:.2g}: try a lower"
            " --from"
        )
    return np.array(losses)


def smoothed(losses: Array, weight: float = _SMOOTHING) -> Array:
    """Returns the running mean of losses, in which each step counts `weight` times as much as the next; free of its start."""
    mean, fitted = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = weight * mean + (1 - weight) * loss
        fitted.append(mean / (1 - weight**step))
    return np.array(fitted)


def _folder(runs: Path, name: str) -> Path:
    """Makes and returns a new folder for a search: hidden from the list of runs."""
    place = runs / layout.RATE_SEARCHES / name
    try:
        place.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-", dir=place))
    except OSError as error:
        raise UsageError(f"cannot write to the runs folder {runs}: {error.strerror}; --runs selects another folder") from None


def _write(result: Found) -> None:
    rows = zip(result.rates, result.losses, result.smooth, strict=True)
    write_table(result.folder / layout.RATE_CURVE, ("learning_rate", "loss", "smoothed_loss"), rows)
    write_json(result.folder / layout.RATE_SUGGESTIONS, {"stage": result.stage, **asdict(result.suggestions)})
    draw(result)


def draw(result: Found) -> None:
    """Writes `curve.png`."""
    from dlcli.charts.chart import Chart

    text = f"The loss of {len(result.rates)} steps by learning rate."
    Chart("Loss by learning rate", text, partial(_draw, result=result), size=(6.2, 3.7)).save(result.picture)


def _draw(axes: Any, medium: Medium, result: Found) -> None:
    axes.plot(result.rates, result.losses, color=medium.muted, linewidth=0.8, alpha=0.6, label="loss of the step")
    axes.plot(result.rates, result.smooth, color=medium.series[0], label="smoothed")
    for marker, name in zip("ovs", ("steepest", "valley", "minimum"), strict=True):
        rate = getattr(result.suggestions, name)
        height = float(np.interp(log10(rate), np.log10(result.rates), result.smooth))
        axes.plot([rate], [height], marker, color=medium.series[1], label=f"{name}: {rate:.2g}")
    low, high = float(result.smooth.min()), float(result.smooth[: max(3, len(result.smooth) // 2)].max())
    axes.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend()


def setting_of_rate(loaded: LoadedSpec, stage: str, rate: float) -> str:
    """Returns the `--set` option, as a shell takes it, that gives a stage a rate; empty where a schedule has none."""
    from dlcli.spec.document import dotted

    try:
        place, value = _place_of_rate(loaded.experiment, stage, f"{rate:.3g}", loaded.document.data)
    except UsageError:
        return ""
    return f"--set {shlex.quote(f'{dotted(place)}={value}')}"


def written_rate(path: Path, experiment: Experiment, stage: str, rate: float) -> str:
    """Writes a rate into a spec's file, whose comments and other content stay unchanged; returns the field.

    The stage's own optimizer gets it where it has one, else the training's; of a schedule, the rate that it starts with.

    Raises:
        UsageError: a schedule has no such rate, or the file cannot be written.
        SpecError: the changed file would not be valid; it then stays unchanged.
    """
    from dlcli.runs.files import replacing
    from dlcli.spec.document import dotted
    from dlcli.spec.edit import with_value
    from dlcli.spec.load import load_text

    file = path.resolve()
    before = file.read_bytes().decode("utf-8")
    place, value = _place_of_rate(experiment, stage, f"{rate:.3g}", load_text(before, path).document.data)
    text = with_value(before, place, value)
    load_text(text, path)
    try:
        mode = file.stat().st_mode
        with replacing(file) as temporary:
            temporary.write_bytes(text.encode("utf-8"))
            temporary.chmod(mode)
    except OSError as error:
        raise UsageError(f"--write: cannot write {path}: {error.strerror or error}") from None
    return f"{dotted(place)}: {value}"


def _place_of_rate(experiment: Experiment, stage: str, rate: str, data: Any) -> tuple[tuple[str | int, ...], str]:
    """Returns the field of a spec's file for the rate, and the value to write."""
    training = experiment.training
    own = [at for at, entry in enumerate(training.stages) if entry.name == stage and entry.optimizer is not None]
    place: tuple[str | int, ...] = ("training", *(("stages", own[0]) if own else ()), "optimizer")
    optimizer: Any = training.stages[own[0]].optimizer if own else training.optimizer
    if not own and "optimizer" not in ((data or {}).get("training") or {}):
        return place, f"{{kind: {optimizer.kind}, learning_rate: {rate}}}"
    schedule = optimizer.learning_rate
    if isinstance(schedule, float | int):
        return (*place, "learning_rate"), rate
    if not hasattr(schedule, "initial_learning_rate"):
        raise UsageError(
            f"--write: the rate is not a single number ({type(schedule).__name__}); write it into the spec by hand"
        )
    return (*place, "learning_rate", "initial_learning_rate"), rate
