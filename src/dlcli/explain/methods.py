"""The methods of explanation: which of them fit a model, and how each is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import inputs_of_model, refuse_other_inputs
from dlcli.data.open_run import open_run
from dlcli.errors import UsageError
from dlcli.explain import heat, tables
from dlcli.explain.cluster_settings import ClusterSettings
from dlcli.explain.context import ExplanationContext, example_caption, explained_places
from dlcli.explain.network import first_weights, last_map
from dlcli.explain.steps import steps_that_decided
from dlcli.explain.subjects import Image, as_columns, named_images, own_images
from dlcli.explain.tables import Plane
from dlcli.explain.words import words_that_decided
from dlcli.predict.batch import Skip
from dlcli.runs import RunFolder
from dlcli.runs.explanations import Explanation, add, file_name, write_numbers
from dlcli.runs.numbers import digits
from dlcli.runs.scored_splits import score_text, split_title
from dlcli.runtime.inputs import Arrays
from dlcli.tasks import Classes
from dlcli.visible import visible

_TITLES = {"grad_cam": "Grad-CAM", "occlusion": "Occlusion"}
_METHODS_OF_KIND = {
    "images": ("grad_cam", "occlusion", "filters", "clusters"),
    "texts": ("occlusion", "permutation", "clusters"),
    "rows": ("permutation", "boundary", "clusters"),
    "series": ("occlusion", "permutation", "clusters"),
    "arrays": ("clusters",),
}


def make(
    run: RunFolder,
    files: Sequence[str],
    *,
    method: str,
    class_name: str,
    offline: bool,
    skip: Skip,
    split: str = "",
    clustering: ClusterSettings | None = None,
) -> list[Explanation]:
    """Makes the explanations of `explain`."""
    clustering = clustering or ClusterSettings()
    clustering.check(method)
    with open_run(run, "explain", offline=offline) as opened:
        if class_name and class_name not in opened.classes:
            raise UsageError(f"--class: the run has no {class_name!r}; it has {', '.join(opened.classes[:20])}")
        context = ExplanationContext(opened, inputs_of_model(opened.model, run), class_name, skip, split, clustering)
        method = _select_method(context, method)
        _refuse_unused_arguments(method, files, class_name, split)
        explanations = _MAKERS[method](context, files)
        add(run, explanations)
    return explanations


def _select_method(context: ExplanationContext, method: str) -> str:
    """Returns the requested method, or the one that fits the model.

    Raises:
        UsageError: the method does not fit the model.
    """
    methods, reason = list(_METHODS_OF_KIND[context.kind]), ""
    if context.kind == "images":
        reason = _reason_against_grad_cam(context) if method in ("", "grad_cam") else ""
        if reason:
            methods.remove("grad_cam")
    if context.kind == "rows" and not _is_pair(context):
        methods.remove("boundary")
    if method and method not in methods:
        explanation = f": {reason}" if reason and method == "grad_cam" else ""
        raise UsageError(f"--method {method} does not fit this run's model{explanation}; these do: {', '.join(methods)}")
    return method or ("boundary" if "boundary" in methods else methods[0])


def _reason_against_grad_cam(context: ExplanationContext) -> str:
    """Returns why Grad-CAM is not possible for a model; empty where it is."""
    if context.experiment.model.members:
        return "each model of the ensemble has its own map"
    model, layer = context.model, last_map(context.model)
    if layer is None:
        return "it has no convolutional map"
    return "" if heat.has_gradient(model, layer) else "its head has no gradient"


def _is_pair(context: ExplanationContext) -> bool:
    columns = context.model_inputs.columns
    return (
        context.model_inputs.shape == (2,)
        if columns is None
        else len(columns) == 2 and all(kind.is_numeric for kind in columns.values())
    )


def _refuse_unused_arguments(method: str, files: Sequence[str], class_name: str, split: str) -> None:
    about_examples = method in ("grad_cam", "occlusion")
    if files and not about_examples:
        raise UsageError(f"{method} explains the whole model: omit FILE")
    if class_name and not about_examples:
        raise UsageError(f"{method} does not explain a single class: omit --class")
    if split and (files or method == "filters"):
        reason = "files are explained, not a split" if files else "filters reads no examples"
        raise UsageError(f"{reason}: omit --split")


def _images(context: ExplanationContext, files: Sequence[str]) -> list[Image]:
    if files:
        return named_images(files, context.model_inputs, context.experiment, context.skip)
    splits, split = context.data
    refuse_other_inputs(context.model, splits[split].inputs, context.run.model_path)
    return own_images(context.run, splits, split)


def _grad_cam(context: ExplanationContext, files: Sequence[str]) -> list[Explanation]:
    images = _images(context, files)
    pixels = np.stack([image.pixels for image in images])
    output = tables.answers(context.model, Arrays(pixels), context.experiment.task)
    places = explained_places(context, output)
    maps = heat.grad_cam(context.model, last_map(context.model), pixels, places, context.experiment.task)
    explanations = []
    for at, image in enumerate(images):
        legend = "light regions support the class" if maps[at].any() else "no region supports the class"
        enlarged_map = heat.enlarged(maps[at], *image.pixels.shape[:2])
        explanations.append(_save_map(context, "grad_cam", image, output[at], int(places[at]), enlarged_map, maps[at], legend))
    return explanations


def _occlusion(context: ExplanationContext, files: Sequence[str]) -> list[Explanation]:
    if context.kind == "texts":
        return words_that_decided(context, files)
    if context.kind == "series":
        return steps_that_decided(context, files)
    images = _images(context, files)
    output = tables.answers(context.model, Arrays(np.stack([image.pixels for image in images])), context.experiment.task)
    places = explained_places(context, output)
    explanations = []
    for at, image in enumerate(images):
        heat_map, largest_fall = heat.occlusion(context.model, image.pixels, int(places[at]), context.experiment.task)
        legend = f"covering a red region lowers the score, by up to {largest_fall:.3g} (before softmax or sigmoid)"
        explanations.append(_save_map(context, "occlusion", image, output[at], int(places[at]), heat_map, heat_map, legend))
    return explanations


def _save_map(
    context: ExplanationContext,
    kind: str,
    image: Image,
    output: Any,
    place: int,
    heat_map: Array,
    cell_map: Array,
    legend: str,
) -> Explanation:
    """Writes one image's map as picture and table and returns the explanation."""
    from dlcli.explain.pictures import draw_heat

    name = context.classes[place]
    title = f"{_TITLES[kind]} for {name}: {image.name}"
    caption = example_caption(context, image.label, output, place)
    file = file_name(kind, title, f"{name} {image.name}")
    draw_heat(image.pixels, heat_map, f"{name}: {image.name}", caption, context.folder / file)
    cells = ((row, column, f"{value:.6g}") for row, line in enumerate(cell_map) for column, value in enumerate(line))
    write_numbers(context.folder, file, ("row", "column", "value"), cells)
    return Explanation(file, kind, visible(title), visible(f"{caption}; {legend}"))


def _permutation(context: ExplanationContext, _: Sequence[str]) -> list[Explanation]:
    from dlcli.explain.pictures import draw_importance

    splits, split = context.data
    metric, value, importances = tables.permutation(context.model, splits[split], context.experiment)
    file = file_name("permutation", f"Permutation importance on the {split} split")
    title = f"Permutation importance on the {split_title(context.run, split)} split"
    draw_importance(importances, metric, value, context.folder / file)
    cells = ((importance.column, digits(importance.mean), digits(importance.deviation)) for importance in importances)
    write_numbers(context.folder, file, ("column", "importance", "deviation"), cells)
    largest = ", ".join(
        f"{importance.column} {score_text(importance.mean)} ± {score_text(importance.deviation)}"
        for importance in importances[:3]
    )
    text = f"decrease of {metric} {score_text(value)} when a column is shuffled ({tables.REPEATS} repetitions): {largest}"
    return [Explanation(file, "permutation", title, visible(text))]


def _boundary(context: ExplanationContext, _: Sequence[str]) -> list[Explanation]:
    splits, split = context.data
    examples = splits[split]
    columns = as_columns(examples)
    first, second = columns
    x, y = tables.grid(np.stack(list(columns.values()), axis=1))
    plane = Plane(x, y, np.stack(list(columns.values()), axis=1), (first, second))
    output = tables.on_grid(context.model, examples, x, y, context.experiment.task)
    if isinstance(context.experiment.task.output, Classes):
        return [_regions(context, plane, output, examples.targets, split)]
    return [
        _surface(context, plane, name, output[:, place], examples.targets[:, place], split)
        for place, name in enumerate(context.classes)
    ]


def _regions(context: ExplanationContext, plane: Plane, output: Array, labels: Array, split: str) -> Explanation:
    """Draws the regions of the predicted classes and writes the grid's predictions."""
    from dlcli.explain.pictures import draw_regions

    predicted = context.experiment.task.output.decide(output)
    probabilities = output[np.arange(len(output)), predicted]
    title = f"Decision boundary with the {split} split"
    file = file_name("boundary", title)
    draw_regions(plane, predicted, probabilities, labels, context.classes, context.folder / file)
    rows = (
        (*point, context.classes[number], digits(share))
        for point, number, share in zip(_grid(plane), predicted, probabilities, strict=True)
    )
    write_numbers(context.folder, file, (*plane.names, "predicted", "probability"), rows)
    first, second = map(visible, plane.names)
    return Explanation(
        file, "boundary", title, f"predicted class over {first} and {second}; paler colours mean lower probability"
    )


def _surface(context: ExplanationContext, plane: Plane, name: str, values: Array, truth: Array, split: str) -> Explanation:
    """Draws the predictions of one label or target over the grid and writes them."""
    from dlcli.explain.pictures import draw_surface

    title = f"Predicted {visible(name)} with the {split} split"
    file = file_name("boundary", title, name)
    draw_surface(plane, values, truth, title, context.folder / file)
    rows = ((*point, digits(value)) for point, value in zip(_grid(plane), values, strict=True))
    write_numbers(context.folder, file, (*plane.names, "predicted"), rows)
    first, second = map(visible, plane.names)
    text = f"colours show the predicted value over {first} and {second}; dots are examples, coloured by their actual value"
    return Explanation(file, "boundary", title, text)


def _grid(plane: Plane) -> list[tuple[str, str]]:
    """Returns the points of the grid as text, row by row."""
    return [(digits(a), digits(b)) for b in plane.y for a in plane.x]


def _filters(context: ExplanationContext, _: Sequence[str]) -> list[Explanation]:
    from dlcli.explain.pictures import draw_filters

    layer = first_weights(context.model)
    weights = None if layer is None else _as_pictures(np.asarray(layer.weights[0]), context.model_inputs.shape)
    if layer is None or weights is None:
        raise UsageError("the first layer is neither a convolution nor a dense layer on pixels")
    title = f"Filters of the first layer, {visible(layer.name)}"
    file = file_name("filters", title)
    count = min(64, len(weights))
    draw_filters(
        weights,
        f"{count} of {len(weights)} filters of {visible(layer.name)}, {weights.shape[1]}x{weights.shape[2]}",
        context.folder / file,
    )
    cells = ((*place, digits(float(weights[place]))) for place in np.ndindex(count, *weights.shape[1:]))
    write_numbers(context.folder, file, ("filter", "row", "column", "channel", "weight"), cells)
    colours = (
        "in colour, each scaled from its smallest to its largest weight" if weights.shape[3] == 3 else "red above 0, blue below"
    )
    return [Explanation(file, "filters", title, f"the weights of {count} of {len(weights)} filters, {colours}")]


def _as_pictures(weights: Array, shape: tuple[int, ...]) -> Array | None:
    """Returns a layer's weights as `(filters, rows, columns, channels)`; None where they are not pictures."""
    if weights.ndim == 4:
        return np.moveaxis(weights, -1, 0)
    if weights.ndim == 2 and weights.shape[0] == int(np.prod(shape)):
        return np.asarray(weights.T.reshape(-1, *shape))
    return None


def _clusters(context: ExplanationContext, _: Sequence[str]) -> list[Explanation]:
    from dlcli.explain.clusters import clusters_of_features  # draws by matplotlib, which other methods need later, or never

    return clusters_of_features(context)


_MAKERS: dict[str, Callable[[ExplanationContext, Sequence[str]], list[Explanation]]] = {
    "grad_cam": _grad_cam,
    "occlusion": _occlusion,
    "permutation": _permutation,
    "boundary": _boundary,
    "filters": _filters,
    "clusters": _clusters,
}
