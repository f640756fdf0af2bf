"""Clusters of examples by what the output layer of a model takes, and their agreement with the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.charts.chart import Chart, save_charts
from dlcli.charts.clusters import Group, group_chart, value_chart
from dlcli.charts.contact_sheet import contact_sheet
from dlcli.explain.clustering import (
    NOISE,
    Grouping,
    Plane,
    Space,
    agreement,
    grouped,
    principal_space,
    projected,
    silhouette,
    silhouettes,
)
from dlcli.explain.context import ExplanationContext
from dlcli.explain.features import Features, features_of
from dlcli.runs.clusters import ClustersFile
from dlcli.runs.explanations import Explanation
from dlcli.runs.files import replacing, write_table
from dlcli.runs.layout import CLUSTER_EXAMPLES_PICTURE, CLUSTER_PICTURE, CLUSTER_TABLE, CLUSTERS
from dlcli.runs.numbers import digits, short_number
from dlcli.runs.scored_splits import split_title
from dlcli.runtime.image_arrays import shown
from dlcli.spec.data.sources import Examples
from dlcli.tasks import Classes
from dlcli.visible import visible

NEAREST = 8
"""The examples nearest to a centre that are named, and shown of images."""
_MOST_ROWS = 20
"""The most clusters whose images are shown."""
METHOD_NAMES = {"kmeans": "k-means", "dbscan": "DBSCAN", "mean_shift": "mean shift"}


@dataclass(frozen=True)
class _Targets:
    """The targets of the clustered examples.

    Attributes:
        texts: each as text.
        values: numbers `(n, targets)`; None where targets are classes or labels.
        names: the names of the columns of `values`.
    """

    texts: list[str]
    values: Array | None
    names: tuple[str, ...]


def clusters_of_features(context: ExplanationContext, _: Sequence[str]) -> list[Explanation]:
    """Clusters the examples of a split and writes the table, `clusters.json`, the picture and, of images, examples."""
    splits, split = context.data
    seed, settings = context.experiment.seed, context.clustering
    features = features_of(context, splits[split])
    examples = splits[split].take(features.places)
    space = principal_space(features.values, seed)
    classes = len(context.classes) if isinstance(context.experiment.task.output, Classes) else 0
    grouping = grouped(space, settings, classes, seed)
    plane = projected(space, settings.projection, seed)
    targets = _targets(context, examples)
    nearest = [_nearest(space, grouping, number) for number in range(grouping.count)]
    content = _content(context, features, space, grouping, targets, [[examples.ids[at] for at in row] for row in nearest])
    content = content.model_copy(update={"notes": [*content.notes, *plane.notes], "split_examples": len(splits[split])})
    _write_rows(context, examples, grouping, plane, targets)
    content.write(context.folder / CLUSTERS)
    explanations = [_drawn(context, content, grouping, plane, targets)]
    if context.kind == "images":
        explanations.append(_shown_examples(context, content, examples, grouping, nearest))
    return explanations


def _targets(context: ExplanationContext, examples: Examples) -> _Targets:
    output = context.experiment.task.output
    if not output.is_numeric:
        texts = [output.text(target, context.classes) for target in examples.targets]
        return _Targets([text or "(none)" for text in texts], None, ())
    values = output.points(examples.targets)
    return _Targets([output.text(row, context.classes) for row in values], values, context.classes[: values.shape[1]])


def _nearest(space: Space, grouping: Grouping, number: int) -> list[int]:
    """Returns the places of the examples of a cluster nearest to the mean of its rows."""
    members = np.flatnonzero(grouping.numbers == number)
    distances = np.linalg.norm(space.rows[members] - space.rows[members].mean(axis=0), axis=1)
    return [int(place) for place in members[np.argsort(distances, kind="stable")[:NEAREST]]]


def _content(
    context: ExplanationContext,
    features: Features,
    space: Space,
    grouping: Grouping,
    targets: _Targets,
    nearest: list[list[str]],
) -> ClustersFile:
    """Returns the content of `clusters.json`."""
    values = silhouettes(space.rows, grouping.numbers)
    clusters = []
    for number, ids in enumerate(nearest):
        members = grouping.numbers == number
        mean = None if values is None else float(values[members].mean())
        clusters.append(
            {"cluster": number + 1, "examples": int(members.sum()), "silhouette": mean, "nearest": ids}
            | _of_targets(targets, members)
        )
    return ClustersFile.of(
        {
            "split": context.data[1],
            "examples": len(features.places),
            "split_examples": len(features.places),
            "features": features.values.shape[1],
            "constant_features": space.constant,
            "are_hidden": features.are_hidden,
            "components": space.rows.shape[1],
            "kept_variance": space.kept,
            "method": context.clustering.method or "kmeans",
            "rule": grouping.rule,
            "settings": grouping.settings,
            "projection": context.clustering.projection or "pca",
            "noise": int((grouping.numbers == NOISE).sum()),
            "silhouette": silhouette(space.rows, grouping.numbers),
            **_agreement(targets, grouping),
            "clusters": clusters,
            "notes": grouping.notes,
        }
    )


def _of_targets(targets: _Targets, members: Array) -> dict[str, Any]:
    """Returns the most frequent label of a cluster and its share, or mean and deviation of each target."""
    if targets.values is not None:
        values = targets.values[members].astype("float64")
        spread = zip(targets.names, values.mean(axis=0).tolist(), values.std(axis=0).tolist(), strict=True)
        return {"targets": {name: {"mean": mean, "deviation": deviation} for name, mean, deviation in spread}}
    labels, counts = np.unique(np.array(targets.texts, dtype=object)[members].astype(str), return_counts=True)
    most = int(np.argmax(counts))
    return {"label": str(labels[most]), "share": float(counts[most] / counts.sum())}


def _agreement(targets: _Targets, grouping: Grouping) -> dict[str, Any]:
    """Returns the agreement of clusters and labels, or why there is none."""
    if targets.values is not None:
        return {"no_agreement": "the targets are numbers, not classes"}
    if len(set(targets.texts)) < 2:
        return {"no_agreement": f"all examples have the label {targets.texts[0]}"}
    if not grouping.count:
        return {"no_agreement": "there is no cluster"}
    index, information = agreement(targets.texts, grouping.numbers)
    return {"adjusted_rand_index": index, "normalised_mutual_information": information}


def _write_rows(
    context: ExplanationContext, examples: Examples, grouping: Grouping, plane: Plane, targets: _Targets
) -> None:
    names = ["noise" if number == NOISE else str(number + 1) for number in grouping.numbers.tolist()]
    rows = (
        (name, cluster, label, digits(x), digits(y))
        for name, cluster, label, (x, y) in zip(examples.ids, names, targets.texts, plane.points.tolist(), strict=True)
    )
    write_table(context.folder / CLUSTER_TABLE, ("id", "cluster", "label", "x", "y"), rows)


def _drawn(
    context: ExplanationContext, content: ClustersFile, grouping: Grouping, plane: Plane, targets: _Targets
) -> Explanation:
    """Draws the plane twice, coloured by cluster and by label, and returns the explanation."""
    title = f"Clusters of the {split_title(context.run, content.split)} split"
    charts = [group_chart("By cluster", plane.points, _cluster_groups(grouping), plane.axes), _target_chart(plane, targets)]
    save_charts(charts, context.folder / CLUSTER_PICTURE, title)
    return Explanation(CLUSTER_PICTURE, "clusters", title, visible(in_words(content)))


def _cluster_groups(grouping: Grouping) -> list[Group]:
    numbers = grouping.numbers
    groups = [Group(f"cluster {number + 1}", numbers == number) for number in range(grouping.count)]
    return groups + ([Group("noise", numbers == NOISE, is_noise=True)] if (numbers == NOISE).any() else [])


def _target_chart(plane: Plane, targets: _Targets) -> Chart:
    if targets.values is not None:
        return value_chart(f"By {targets.names[0]}", plane.points, targets.values[:, 0], plane.axes)
    texts = np.array(targets.texts, dtype=object).astype(str)
    labels, counts = np.unique(texts, return_counts=True)
    frequent = labels[np.argsort(-counts, kind="stable")]
    return group_chart("By label", plane.points, [Group(str(label), texts == label) for label in frequent], plane.axes)


def _shown_examples(
    context: ExplanationContext, content: ClustersFile, examples: Examples, grouping: Grouping, nearest: list[list[int]]
) -> Explanation:
    """Writes the images nearest to the centre of each cluster, and images of the noise, and returns the explanation."""
    rows = [(heading_of(cluster), places) for cluster, places in zip(content.clusters, nearest, strict=True)][:_MOST_ROWS]
    noise = np.flatnonzero(grouping.numbers == NOISE)
    if len(noise):
        rows.append((f"noise: {len(noise):,} examples", noise[:NEAREST].tolist()))
    output, labels = context.experiment.task.output, context.classes
    sheet = [
        (
            visible(heading),
            [shown(pixels)[..., : 3 if pixels.shape[2] >= 3 else 1] for pixels in examples.inputs.read(np.array(places))],
            [visible(output.text(examples.targets[place], labels)) for place in places],
        )
        for heading, places in rows
    ]
    with replacing(context.folder / CLUSTER_EXAMPLES_PICTURE) as temporary:
        contact_sheet(sheet, temporary)
    title = f"Examples of the clusters of the {split_title(context.run, content.split)} split"
    more = f", of the {_MOST_ROWS} largest of {grouping.count}" if grouping.count > _MOST_ROWS else ""
    return Explanation(
        CLUSTER_EXAMPLES_PICTURE, "clusters", title, f"the images nearest to the centre of each cluster{more}, with their labels"
    )


def heading_of(cluster: Any) -> str:
    """Returns the number of a cluster, its size, and its most frequent label or the mean of its first target."""
    size = f"cluster {cluster.cluster}: {cluster.examples:,} examples"
    if not cluster.targets:
        return f"{size}, {cluster.share or 0:.0%} {cluster.label}"
    name, spread = next(iter(cluster.targets.items()))
    return f"{size}, {name} {short_number(spread.mean or 0.0)} ± {short_number(spread.deviation or 0.0)}"


def in_words(content: ClustersFile) -> str:
    """Returns what was clustered and how, and the agreement, as one sentence."""
    sample = f"a sample of {content.examples:,} of {content.split_examples:,}" if content.examples < content.split_examples else ""
    constant = f", {content.constant_features:,} constant ones left out" if content.constant_features else ""
    source = "features before the output layer" if content.are_hidden else "inputs after preprocessing, as there is no hidden layer"
    space = f"{content.components} principal components with {content.kept_variance or 0:.0%} of the variance"
    noise = f", {content.noise:,} examples are noise" if content.noise else ""
    scores = {
        "adjusted Rand index": content.adjusted_rand_index,
        "normalised mutual information": content.normalised_mutual_information,
        "silhouette": content.silhouette,
    }
    values = ", ".join(f"{name} {value:.3f}" for name, value in scores.items() if value is not None)
    parts = [
        f"{len(content.clusters)} clusters by {METHOD_NAMES[content.method]} ({content.rule}){noise}",
        f"{sample or f'{content.examples:,}'} examples, {content.features:,} {source}{constant}, standardised: {space}",
        values,
        f"no agreement with labels: {content.no_agreement}" if content.no_agreement else "",
        *content.notes,
    ]
    return "; ".join(part for part in parts if part)
