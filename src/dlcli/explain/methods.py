"""Which explanation fits a model, and how each is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ModelInputs, inputs_of_model, refuse_other_inputs
from dlcli.data.open_run import OpenRun, open_run
from dlcli.data.splits import Splits
from dlcli.errors import UsageError
from dlcli.explain import heat, tables
from dlcli.explain.network import first_weights, last_map
from dlcli.explain.subjects import Image, as_columns, named_images, own_images
from dlcli.explain.tables import Plane
from dlcli.predict.inputs import Skip
from dlcli.runs import RunFolder
from dlcli.runs.explanations import Explanation, add, file_name, made_folder, write_numbers
from dlcli.runs.numbers import digits
from dlcli.runs.scored_splits import score_text, split_title
from dlcli.runtime.inputs import Arrays
from dlcli.spec.experiment import Experiment
from dlcli.tasks import Classes, Decisions, Labels, OutputType, Values, required_entry
from dlcli.visible import visible

_TITLES = {"grad_cam": "Grad-CAM", "occlusion": "Occlusion"}
_TAKEN = {"images": ("grad_cam", "occlusion", "filters"), "rows": ("permutation", "boundary"), "arrays": ()}


@dataclass
class Work:
    """What every explanation needs: the run with its model, and the class that is asked for."""

    opened: OpenRun
    taken: ModelInputs
    class_name: str
    skip: Skip

    @property
    def run(self) -> RunFolder:
        """The run that is explained."""
        return self.opened.run

    @property
    def experiment(self) -> Experiment:
        """The run's experiment."""
        return self.opened.experiment

    @property
    def model(self) -> Any:
        """The run's model."""
        return self.opened.model

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of classes, labels or targets."""
        return self.opened.classes

    @property
    def data(self) -> tuple[Splits, str]:
        """The run's data, and the split that is explained: test, else validation, else train."""
        return self.opened.splits, self.opened.splits.scored

    @property
    def folder(self) -> Path:
        """Where pictures go."""
        return made_folder(self.run)

    @property
    def kind(self) -> str:
        """What examples are: images, rows, or other arrays."""
        if self.taken.kind == "images":
            return "images"
        return "rows" if self.taken.kind == "columns" or len(self.taken.shape) == 1 else "arrays"


def make(run: RunFolder, files: Sequence[str], *, method: str, class_name: str, offline: bool, skip: Skip) -> list[Explanation]:
    """Makes the explanations of `explain`."""
    with open_run(run, offline=offline) as opened:
        if class_name and class_name not in opened.classes:
            raise UsageError(f"--class: the run has no {class_name!r}; it has {', '.join(opened.classes[:20])}")
        work = Work(opened, inputs_of_model(opened.model, run), class_name, skip)
        method = _fitting(work, method)
        _refuse_what_it_does_not_take(method, files, class_name)
        made = _MAKERS[method](work, files)
        add(run, made)
    return made


def _fitting(work: Work, method: str) -> str:
    """Returns the method that is asked for, or the one that fits.

    Raises:
        UsageError: it does not fit the model, or none does.
    """
    fitting, reason = list(_TAKEN[work.kind]), ""
    if work.kind == "images":
        reason = _reason_against_grad_cam(work.model) if method in ("", "grad_cam") else ""
        if reason:
            fitting.remove("grad_cam")
    if work.kind == "rows" and not _is_pair(work):
        fitting.remove("boundary")
    if not fitting:
        raise UsageError(f"no method explains inputs of shape {work.taken.shape}, only images and rows")
    if method and method not in fitting:
        why = f": {reason}" if reason and method == "grad_cam" else ""
        raise UsageError(f"--method {method} does not fit this run's model{why}; these do: {', '.join(fitting)}")
    return method or ("boundary" if "boundary" in fitting else fitting[0])


def _reason_against_grad_cam(model: Any) -> str:
    """Returns why Grad-CAM cannot be made of a model; empty where it can."""
    layer = last_map(model)
    if layer is None:
        return "it has no convolutional map"
    return "" if heat.has_gradient(model, layer) else "its head has no gradient"


def _is_pair(work: Work) -> bool:
    columns = work.taken.columns
    return work.taken.shape == (2,) if columns is None else len(columns) == 2 and all(columns.values())


def _refuse_what_it_does_not_take(method: str, files: Sequence[str], class_name: str) -> None:
    about_images = method in ("grad_cam", "occlusion")
    if files and not about_images:
        raise UsageError(f"{method} explains the whole model: omit FILE")
    if class_name and not about_images:
        raise UsageError(f"{method} does not explain a single class: omit --class")


def _images(work: Work, files: Sequence[str]) -> list[Image]:
    if files:
        return named_images(files, work.taken, work.experiment, work.skip)
    splits, part = work.data
    refuse_other_inputs(work.model, splits[part].inputs, work.run.model_path)
    return own_images(work.run, splits, part)


def _grad_cam(work: Work, files: Sequence[str]) -> list[Explanation]:
    images = _images(work, files)
    pixels = np.stack([one.pixels for one in images])
    output = tables.answers(work.model, Arrays(pixels), work.experiment.task)
    places = _explained(work, output)
    maps = heat.grad_cam(work.model, last_map(work.model), pixels, places, work.experiment.task)
    made = []
    for at, image in enumerate(images):
        words = "light regions support the class" if maps[at].any() else "no region supports the class"
        whole = heat.enlarged(maps[at], *image.pixels.shape[:2])
        made.append(_kept(work, "grad_cam", image, output[at], int(places[at]), whole, maps[at], words))
    return made


def _occlusion(work: Work, files: Sequence[str]) -> list[Explanation]:
    images = _images(work, files)
    output = tables.answers(work.model, Arrays(np.stack([one.pixels for one in images])), work.experiment.task)
    places = _explained(work, output)
    made = []
    for at, image in enumerate(images):
        found, fall = heat.occlusion(work.model, image.pixels, int(places[at]), work.experiment.task)
        words = f"covering a red region lowers the score, by up to {fall:.3g} (before softmax or sigmoid)"
        made.append(_kept(work, "occlusion", image, output[at], int(places[at]), found, found, words))
    return made


def _explained(work: Work, output: Array) -> Array:
    """Returns the class, label or target of each image that is explained: the one asked for, or the predicted."""
    if work.class_name:
        return np.full(len(output), work.classes.index(work.class_name))
    kind = work.experiment.task.output
    if isinstance(kind, Classes):
        return kind.decide(output)
    return np.asarray(output.argmax(axis=1)) if isinstance(kind, Decisions) else np.zeros(len(output), dtype="int64")


def _kept(
    work: Work, kind: str, image: Image, output: Any, place: int, whole: Array, numbers: Array, words: str
) -> Explanation:
    """Writes one image's map as picture and table and returns its entry."""
    from dlcli.explain.pictures import draw_heat

    name = work.classes[place]
    title = f"{_TITLES[kind]} for {name}: {image.name}"
    caption = _caption(work, image, output, place)
    file = file_name(kind, title, f"{name} {image.name}")
    draw_heat(image.pixels, whole, f"{name}: {image.name}", caption, work.folder / file)
    cells = ((row, column, f"{value:.6g}") for row, line in enumerate(numbers) for column, value in enumerate(line))
    write_numbers(work.folder, file, ("row", "column", "value"), cells)
    return Explanation(file, kind, visible(title), visible(f"{caption}; {words}"))


def _caption(work: Work, image: Image, output: Any, place: int) -> str:
    """Returns what the model says of an image, and its label."""
    words = required_entry(_CAPTIONS, work.experiment.task, "`dlcli explain`")
    return words(work.experiment.task.output, work.classes, output, place) + (f", label {image.label}" if image.label else "")


def _class_caption(output: OutputType, names: Sequence[str], scores: Array, place: int) -> str:
    guess = int(output.decide(scores[None])[0])
    other = f", {names[place]} {scores[place]:.3f}" if place != guess else ""
    return f"predicted {names[guess]} {scores[guess]:.3f}{other}"


_CAPTIONS: dict[type[OutputType], Callable[[OutputType, Sequence[str], Array, int], str]] = {
    Classes: _class_caption,
    Labels: lambda _, names, scores, place: f"{names[place]} {scores[place]:.3f}",
    Values: lambda _, names, scores, place: f"{names[place]} {float(scores[place]):.4g}",
}


def _permutation(work: Work, _: Sequence[str]) -> list[Explanation]:
    from dlcli.explain.pictures import draw_importance

    splits, part = work.data
    metric, value, found = tables.permutation(work.model, splits[part], work.experiment)
    file = file_name("permutation", f"Permutation importance on the {part} split")
    title = f"Permutation importance on the {split_title(work.run, part)} split"
    draw_importance(found, metric, value, work.folder / file)
    cells = ((one.column, digits(one.mean), digits(one.deviation)) for one in found)
    write_numbers(work.folder, file, ("column", "importance", "deviation"), cells)
    first = ", ".join(f"{one.column} {score_text(one.mean)} ± {score_text(one.deviation)}" for one in found[:3])
    text = f"decrease of {metric} {score_text(value)} when a column is shuffled ({tables.REPEATS} repetitions): {first}"
    return [Explanation(file, "permutation", title, visible(text))]


def _boundary(work: Work, _: Sequence[str]) -> list[Explanation]:
    splits, part = work.data
    examples = splits[part]
    columns = as_columns(examples)
    first, second = columns
    x, y = tables.grid(np.stack(list(columns.values()), axis=1))
    plane = Plane(x, y, np.stack(list(columns.values()), axis=1), (first, second))
    output = tables.on_grid(work.model, examples, x, y, work.experiment.task)
    if isinstance(work.experiment.task.output, Classes):
        return [_regions(work, plane, output, examples.targets, part)]
    return [
        _surface(work, plane, name, output[:, place], examples.targets[:, place], part)
        for place, name in enumerate(work.classes)
    ]


def _regions(work: Work, plane: Plane, output: Array, labels: Array, part: str) -> Explanation:
    """Draws what is predicted where, and keeps the grid's predictions."""
    from dlcli.explain.pictures import draw_regions

    decided = work.experiment.task.output.decide(output)
    sure = output[np.arange(len(output)), decided]
    title = f"Decision boundary with the {part} split"
    file = file_name("boundary", title)
    draw_regions(plane, decided, sure, labels, work.classes, work.folder / file)
    rows = ((*point, work.classes[one], digits(share)) for point, one, share in zip(_grid(plane), decided, sure, strict=True))
    write_numbers(work.folder, file, (*plane.names, "predicted", "probability"), rows)
    first, second = map(visible, plane.names)
    return Explanation(
        file, "boundary", title, f"predicted class over {first} and {second}; paler colours mean lower probability"
    )


def _surface(work: Work, plane: Plane, name: str, values: Array, truth: Array, part: str) -> Explanation:
    """Draws one label's or target's predictions, and keeps them."""
    from dlcli.explain.pictures import draw_surface

    title = f"Predicted {visible(name)} with the {part} split"
    file = file_name("boundary", title, name)
    draw_surface(plane, values, truth, title, work.folder / file)
    rows = ((*point, digits(value)) for point, value in zip(_grid(plane), values, strict=True))
    write_numbers(work.folder, file, (*plane.names, "predicted"), rows)
    first, second = map(visible, plane.names)
    text = f"colours show the predicted value over {first} and {second}; dots are examples, coloured by their actual value"
    return Explanation(file, "boundary", title, text)


def _grid(plane: Plane) -> list[tuple[str, str]]:
    """Returns the points of the grid as text, rows of equal second number after one another."""
    return [(digits(a), digits(b)) for b in plane.y for a in plane.x]


def _filters(work: Work, _: Sequence[str]) -> list[Explanation]:
    from dlcli.explain.pictures import draw_filters

    layer = first_weights(work.model)
    weights = None if layer is None else _as_pictures(np.asarray(layer.weights[0]), work.taken.shape)
    if layer is None or weights is None:
        raise UsageError("the first layer is neither a convolution nor a dense layer on pixels")
    title = f"Filters of the first layer, {visible(layer.name)}"
    file = file_name("filters", title)
    shown = min(64, len(weights))
    draw_filters(
        weights,
        f"{shown} of {len(weights)} filters of {visible(layer.name)}, {weights.shape[1]}x{weights.shape[2]}",
        work.folder / file,
    )
    cells = ((*place, digits(float(weights[place]))) for place in np.ndindex(shown, *weights.shape[1:]))
    write_numbers(work.folder, file, ("filter", "row", "column", "channel", "weight"), cells)
    colours = (
        "in colour, each scaled from its smallest to its largest weight" if weights.shape[3] == 3 else "red above 0, blue below"
    )
    return [Explanation(file, "filters", title, f"the weights of {shown} of {len(weights)} filters, {colours}")]


def _as_pictures(weights: Array, shape: tuple[int, ...]) -> Array | None:
    """Returns a layer's weights as `(filters, rows, columns, channels)`; None where they are no pictures."""
    if weights.ndim == 4:
        return np.moveaxis(weights, -1, 0)
    if weights.ndim == 2 and weights.shape[0] == int(np.prod(shape)):
        return np.asarray(weights.T.reshape(-1, *shape))
    return None


_MAKERS: dict[str, Callable[[Work, Sequence[str]], list[Explanation]]] = {
    "grad_cam": _grad_cam,
    "occlusion": _occlusion,
    "permutation": _permutation,
    "boundary": _boundary,
    "filters": _filters,
}
