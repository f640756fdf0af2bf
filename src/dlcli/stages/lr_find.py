"""The learning-rate range test: the loss while the rate grows with every step, on a model that nobody keeps.

Smith 2017, "Cyclical learning rates for training neural networks", section 3.3; the suggestions are those of fastai's
`lr_find`.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import isfinite, log10
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.errors import RunFailed, UsageError
from dlcli.runs.files import write_json, write_table
from dlcli.runtime.stream import data_errors
from dlcli.spec.experiment import Experiment
from dlcli.spec.stages import Stage
from dlcli.stages.trying import Trial, put_together
from dlcli.stages.work import Say

Array = np.ndarray[Any, Any]
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
class Suggestions:
    """Rates to try. `steepest`: where the loss falls fastest; `valley`: two thirds down its longest fall; `minimum`: a tenth
    of the rate with the smallest loss."""

    steepest: float
    valley: float
    minimum: float


@dataclass(frozen=True)
class Found:
    """The curve and what it suggests. `smooth` are the losses smoothed; it ends where the loss had blown up."""

    stage: str
    rates: Array
    losses: Array
    smooth: Array
    suggestions: Suggestions
    folder: Path


def find_rate(
    experiment: Experiment, runs: Path, say: Say, search: Search, *, stage_name: str = "", offline: bool = False
) -> Found:
    """Trains a stage's model while its rate grows, writes curve and picture below `runs/.lr-find/`, and keeps no weights.

    Raises:
        UsageError: there is no stage of this name, or none that is trained by steps.
        RunFailed: the loss was no number before ten steps.
        DataError: the data cannot be read.
    """
    experiment = _with_plain_rates(experiment, search.lowest)
    trial = put_together(experiment, runs / ".features", say, stage_name=stage_name, offline=offline)
    with data_errors():
        losses = _losses(trial, search.rates())
    rates = search.rates()[: len(losses)]
    smooth = smoothed(losses)
    found = Found(trial.stage.name, rates, losses, smooth, suggested(rates, smooth), _folder(runs, experiment.name))
    _write(found)
    return found


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
        loss = float(model.train_function(batches)["loss"])
        if not isfinite(loss):
            break
        losses.append(loss)
        smooth = smoothed(np.array(losses))
        if step > len(rates) // 4 and smooth[-1] > _BLOWN_UP * smooth.min():
            break
    if len(losses) < _FEWEST:
        raise RunFailed(
            f"the loss was no number after {len(losses)} steps, at a rate of {rates[len(losses)]:.2g}: try --from lower"
        )
    return np.array(losses)


def smoothed(losses: Array, weight: float = _SMOOTHING) -> Array:
    """Returns the running mean of losses, in which each step counts `weight` times as much as the next; free of its start."""
    mean, found = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = weight * mean + (1 - weight) * loss
        found.append(mean / (1 - weight**step))
    return np.array(found)


def suggested(rates: Array, smooth: Array) -> Suggestions:
    """Returns the suggestions of a curve. Its first tenth is passed over: few losses are in the mean there."""
    first = len(rates) // 10
    rates, smooth = rates[first:], smooth[first:]
    low = max(int(smooth.argmin()), 2)
    slopes = np.gradient(smooth[: low + 1], np.log10(rates[: low + 1]))
    begin, end = _longest_fall(smooth)
    valley = rates[begin + (end - begin) * 2 // 3]
    return Suggestions(float(rates[int(slopes.argmin())]), float(valley), float(rates[low] / 10))


def _longest_fall(losses: Array) -> tuple[int, int]:
    """Returns where the longest falling subsequence begins and ends (fastai's `valley`)."""
    lengths, begins = np.ones(len(losses), dtype=int), np.arange(len(losses))
    for at in range(1, len(losses)):
        above = np.flatnonzero(losses[:at] > losses[at])
        if len(above):
            best = above[int(lengths[above].argmax())]
            lengths[at], begins[at] = lengths[best] + 1, begins[best]
    end = int(lengths.argmax())
    return int(begins[end]), end


def _folder(runs: Path, name: str) -> Path:
    """Makes and returns a new folder for a search: hidden from the list of runs."""
    place = runs / ".lr-find" / name
    try:
        place.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-", dir=place))
    except OSError as error:
        raise UsageError(f"cannot write to the runs folder {runs}: {error.strerror}; --runs names another") from None


def _write(found: Found) -> None:
    rows = zip(found.rates, found.losses, found.smooth, strict=True)
    write_table(found.folder / "curve.csv", ("learning_rate", "loss", "smoothed_loss"), rows)
    write_json(found.folder / "suggestions.json", {"stage": found.stage, **asdict(found.suggestions)})
    draw(found)


def draw(found: Found) -> None:
    """Writes `curve.png`."""
    from matplotlib.figure import Figure

    from dlcli.stages.plots import BLUE, GREY, ORANGE, save

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color=GREY, linewidth=0.8, alpha=0.6, label="loss of the step")
    axes.plot(found.rates, found.smooth, color=BLUE, label="smoothed")
    for marker, (name, rate) in zip("ovs", asdict(found.suggestions).items(), strict=True):
        height = float(np.interp(log10(rate), np.log10(found.rates), found.smooth))
        axes.plot([rate], [height], marker, color=ORANGE, label=f"{name}: {rate:.2g}")
    low, high = float(found.smooth.min()), float(found.smooth[: max(3, len(found.smooth) // 2)].max())
    axes.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    save(figure, found.folder / "curve.png")


def written_rate(path: Path, experiment: Experiment, stage: str, rate: float) -> str:
    """Writes a rate into a spec's file, comments and all else left as they are; returns the field.

    The stage's own optimizer gets it where it has one, else the training's.

    Raises:
        SpecError: the changed file would not be valid; it is left as it was then.
    """
    from dlcli.runs.files import write_text
    from dlcli.spec.edit import with_value
    from dlcli.spec.file import load_text
    from dlcli.spec.text import dotted

    own = [at for at, one in enumerate(experiment.training.stages) if one.name == stage and one.optimizer is not None]
    place = ("training", *(("stages", own[0]) if own else ()), "optimizer", "learning_rate")
    text = with_value(path.read_text(encoding="utf-8"), place, f"{rate:.3g}")
    load_text(text, path)
    write_text(path, text)
    return f"{dotted(place)}: {rate:.3g}"
