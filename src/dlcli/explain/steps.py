"""The occlusion of time steps: which parts of a series decided a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.explain.context import ExplanationContext, example_caption, explained_places
from dlcli.explain.network import scores
from dlcli.explain.subjects import MOST_FILES, places_of
from dlcli.explain.tables import answers
from dlcli.predict.inputs import batches, matching_files
from dlcli.runs.explanations import Explanation, file_name, write_numbers
from dlcli.runs.numbers import digits
from dlcli.runtime.inputs import Arrays
from dlcli.runtime.padded_series import lengths_of
from dlcli.tasks import Decisions
from dlcli.visible import visible

_WINDOWS = 8
"""The length of a series in windows whose steps are replaced."""


@dataclass(frozen=True)
class NamedSeries:
    """A series to be explained: its name, its values `(steps, channels)`, and its label as text, if it has one."""

    name: str
    values: Array
    label: str = ""


def steps_that_decided(context: ExplanationContext, files: Sequence[str]) -> list[Explanation]:
    """Explains the series of files; or, without files, series of the run's data, wrong predictions first."""
    series = _named(context, files) if files else _own(context)
    values = np.stack([example.values for example in series])
    output = answers(context.model, Arrays(values), context.experiment.task)
    places = explained_places(context, output)
    return [_of_series(context, example, output[at], int(places[at])) for at, example in enumerate(series)]


def _named(context: ExplanationContext, files: Sequence[str]) -> list[NamedSeries]:
    paths, _ = matching_files(files, context.model_inputs.kind)
    series: list[NamedSeries] = []
    for batch in batches(paths, context.model_inputs, context.experiment, size=MOST_FILES, skip=context.skip):
        values = batch.inputs.read(np.arange(len(batch.ids)))
        series += [NamedSeries(name, steps) for name, steps in zip(batch.ids, values, strict=True)]
        if len(series) >= MOST_FILES:
            break
    if not series:
        raise DataError("nothing to explain: no series could be read")
    return series[:MOST_FILES]


def _own(context: ExplanationContext) -> list[NamedSeries]:
    splits, split = context.data
    examples = splits[split]
    places = places_of(context.run, split, examples)
    values = examples.inputs.read(places)
    output = splits.task.output
    return [
        NamedSeries(examples.ids[place], steps, output.text(examples.targets[place], splits.classes))
        for place, steps in zip(places.tolist(), values, strict=True)
    ]


def effects_of_steps(model: Any, series: Array, place: int, task: Any) -> Array:
    """Returns how much the score of a class falls when the steps around a step are replaced, float64 `(steps,)`.

    The steps in a window of an eighth of the series are replaced by a straight line from the value before it to the value after
    it, so that the level stays and the shape is lost. The effect of a step is the mean over the windows that contain it. The
    steps after the end of a padded series have 0.

    Args:
        model: the saved model.
        series: the values `(steps, channels)`.
        place: the class, label or target.
        task: the task.
    """
    length = int(lengths_of(series[None])[0])
    window = min(length, max(2, -(-length // _WINDOWS)))
    starts = np.unique([*range(0, length - window + 1, max(1, window // 2)), length - window])
    replaced = np.stack([series, *(_without_shape(series, low, low + window, length) for low in starts.tolist())])
    full_score, *window_scores = scores(model, replaced, place, task).astype("float64")
    falls, times = np.zeros(len(series)), np.zeros(len(series))
    for low, score in zip(starts.tolist(), window_scores, strict=True):
        falls[low : low + window] += full_score - score
        times[low : low + window] += 1
    return falls / np.maximum(times, 1)


def _without_shape(series: Array, low: int, high: int, length: int) -> Array:
    """Returns a series whose steps from `low` to before `high` are a straight line between their neighbours."""
    before = series[low - 1] if low else None
    after = series[high] if high < length else None
    first = before if before is not None else after if after is not None else series[:length].mean(axis=0)
    last = after if after is not None else first
    shares = (np.arange(high - low) + 1)[:, None] / (high - low + 1)
    changed = series.copy()
    changed[low:high] = first + (last - first) * shares
    return changed


def _of_series(context: ExplanationContext, series: NamedSeries, output: Any, place: int) -> Explanation:
    """Writes the effects of one series' steps as picture and table and returns the explanation."""
    from dlcli.explain.pictures import draw_steps

    effects, name = effects_of_steps(context.model, series.values, place, context.experiment.task), context.classes[place]
    title = f"Steps for {name}: {series.name}"
    file = file_name("occlusion", title, f"{name} {series.name}")
    caption = example_caption(context, series.label, output, place)
    score = "the log odds" if isinstance(context.experiment.task.output, Decisions) else "the value"
    draw_steps(
        series.values, effects, f"{name}: {series.name}", caption, f"rise of {score} by the steps", context.folder / file
    )
    write_numbers(context.folder, file, ("step", "effect"), ((step, digits(effect)) for step, effect in enumerate(effects)))
    low, high = _largest_part(effects)
    text = f"{caption}; the steps {low} to {high} have the largest effect on {score}, {effects[low]:+.3g}"
    return Explanation(file, "occlusion", visible(title), visible(text))


def _largest_part(effects: Array) -> tuple[int, int]:
    """Returns the first and the last step of the part with the largest effect of either sign."""
    first = int(np.argmax(np.abs(effects)))
    others = np.flatnonzero(effects[first:] != effects[first])
    return first, first + int(others[0]) - 1 if len(others) else len(effects) - 1
