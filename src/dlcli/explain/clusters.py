"""Clusters of examples by what the output layer of a model takes, and their agreement with the labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.charts.chart import Chart, save_charts
from dlcli.charts.clusters import Group, group_chart, value_chart
from dlcli.charts.contact_sheet import contact_sheet
from dlcli.explain.cluster_words import counted, heading_of, in_words
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
from dlcli.runs.numbers import digits
from dlcli.runs.scored_splits import split_title
from dlcli.runtime.image_arrays import shown
from dlcli.spec.data.sources import Examples
from dlcli.tasks import Classes, OutputType
from dlcli.visible import visible

NEAREST = 8
"""The examples nearest to a centre that are named, and shown of images."""
_MOST_ROWS = 20
"""The most clusters whose images are shown."""


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


@dataclass(frozen=True)
class _Clustered:
    """The clustered examples: their features, the space of these, their clusters, their plane, and their targets."""

    examples: Examples
    features: Features
    space: Space
    grouping: Grouping
    plane: Plane
    targets: _Targets

    def members(self, number: int) -> Array:
        """Returns whether each example is in a cluster."""
        return np.asarray(self.grouping.numbers == number)

    @cached_property
    def nearest(self) -> list[list[int]]:
        """The places of the examples nearest to the mean of each cluster's rows."""
        return [self._nearest(number) for number in range(self.grouping.count)]

    def _nearest(self, number: int) -> list[int]:
        places = np.flatnonzero(self.members(number))
        rows = self.space.rows[places]
        distances = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
        return [int(place) for place in places[np.argsort(distances, kind="stable")[:NEAREST]]]


def clusters_of_features(context: ExplanationContext) -> list[Explanation]:
    """Clusters the examples of a split and writes the table, `clusters.json`, the picture and, of images, examples."""
    splits, split = context.data
    clustered = _clustered(context, splits[split])
    content = _content(context, clustered)
    _write_rows(context, clustered)
    content.write(context.folder / CLUSTERS)
    explanations = [_drawn(context, content, clustered)]
    return [*explanations, _shown_examples(context, content, clustered)] if context.kind == "images" else explanations


def _clustered(context: ExplanationContext, of_split: Examples) -> _Clustered:
    seed, settings, output = context.experiment.seed, context.clustering, context.experiment.task.output
    features = features_of(context, of_split)
    examples = of_split.take(features.places)
    space = principal_space(features.values, seed)
    grouping = grouped(space, settings, len(context.classes) if isinstance(output, Classes) else 0, seed)
    plane = projected(space, settings.projection, seed)
    return _Clustered(examples, features, space, grouping, plane, _targets(output, examples, context.classes))


def _targets(output: OutputType, examples: Examples, names: tuple[str, ...]) -> _Targets:
    if not output.is_numeric:
        return _Targets([output.text(target, names) for target in examples.targets], None, ())
    values = output.points(examples.targets)
    return _Targets([output.text(row, names) for row in values], values, names[: values.shape[1]])


def _content(context: ExplanationContext, clustered: _Clustered) -> ClustersFile:
    """Returns the content of `clusters.json`."""
    (splits, split), features, space, grouping = context.data, clustered.features, clustered.space, clustered.grouping
    return ClustersFile.of(
        {
            "split": split,
            "examples": len(features.places),
            "split_examples": len(splits[split]),
            "features": features.values.shape[1],
            "constant_features": space.constant,
            "are_hidden": features.are_hidden,
            "components": space.rows.shape[1],
            "kept_variance": space.kept_variance,
            "method": context.clustering.method or "kmeans",
            "rule": grouping.rule,
            "settings": grouping.settings,
            "projection": context.clustering.projection or "pca",
            "noise": int(clustered.members(NOISE).sum()),
            "silhouette": silhouette(space.rows, grouping.numbers),
            **_agreement(clustered.targets, grouping),
            "clusters": _rows_of_clusters(clustered),
            "notes": [*grouping.notes, *clustered.plane.notes],
        }
    )


def _rows_of_clusters(clustered: _Clustered) -> list[dict[str, Any]]:
    values = silhouettes(clustered.space.rows, clustered.grouping.numbers)
    rows = []
    for number, nearest in enumerate(clustered.nearest):
        members = clustered.members(number)
        row = {"cluster": number + 1, "examples": int(members.sum()), "nearest": [clustered.examples.ids[at] for at in nearest]}
        mean = None if values is None else float(values[members].mean())
        rows.append(row | {"silhouette": mean} | _of_targets(clustered.targets, members))
    return rows


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


def _write_rows(context: ExplanationContext, clustered: _Clustered) -> None:
    names = ["noise" if number == NOISE else str(number + 1) for number in clustered.grouping.numbers.tolist()]
    columns = (clustered.examples.ids, names, clustered.targets.texts, clustered.plane.points.tolist())
    rows = ((name, cluster, label, digits(x), digits(y)) for name, cluster, label, (x, y) in zip(*columns, strict=True))
    write_table(context.folder / CLUSTER_TABLE, ("id", "cluster", "label", "x", "y"), rows)


def _drawn(context: ExplanationContext, content: ClustersFile, clustered: _Clustered) -> Explanation:
    """Draws the plane twice, coloured by cluster and by label, and returns the explanation."""
    title = f"Clusters of the {split_title(context.run, content.split)} split"
    plane = clustered.plane
    by_cluster = group_chart("By cluster", plane.points, _cluster_groups(clustered), plane.axes)
    save_charts([by_cluster, _target_chart(content, clustered)], context.folder / CLUSTER_PICTURE, title)
    return Explanation(CLUSTER_PICTURE, "clusters", title, visible(in_words(content)))


def _cluster_groups(clustered: _Clustered) -> list[Group]:
    noise = clustered.members(NOISE)
    groups = [Group(f"cluster {number + 1}", clustered.members(number)) for number in range(clustered.grouping.count)]
    return [*groups, Group("noise", noise, is_noise=True)] if noise.any() else groups


def _target_chart(content: ClustersFile, clustered: _Clustered) -> Chart:
    """Returns the plane by label or target; a label has the colour of the first cluster where it is the most frequent one."""
    plane, targets = clustered.plane, clustered.targets
    if targets.values is not None:
        return value_chart(f"By {targets.names[0]}", plane.points, targets.values[:, 0], plane.axes)
    texts = np.array(targets.texts, dtype=object).astype(str)
    labels, counts = np.unique(texts, return_counts=True)
    frequent = [str(label) for label in labels[np.argsort(-counts, kind="stable")]]
    in_order = dict.fromkeys([*(cluster.label for cluster in content.clusters), *frequent])
    return group_chart("By label", plane.points, [Group(label, texts == label) for label in in_order], plane.axes)


def _shown_examples(context: ExplanationContext, content: ClustersFile, clustered: _Clustered) -> Explanation:
    """Writes the images nearest to the centre of each cluster, and images of the noise, and returns the explanation."""
    headings = [heading_of(cluster) for cluster in content.clusters]
    rows = list(zip(headings, clustered.nearest, strict=True))[:_MOST_ROWS]
    noise = np.flatnonzero(clustered.members(NOISE))
    if len(noise):
        rows.append((f"noise: {counted(len(noise), 'example')}", noise[:NEAREST].tolist()))
    sheet = [(heading, _images(clustered.examples, places), _labels(clustered, places)) for heading, places in rows]
    with replacing(context.folder / CLUSTER_EXAMPLES_PICTURE) as temporary:
        contact_sheet(sheet, temporary)
    title = f"Examples of the clusters of the {split_title(context.run, content.split)} split"
    more = f", of the {_MOST_ROWS} largest of {len(headings)}" if len(headings) > _MOST_ROWS else ""
    text = f"the images nearest to the centre of each cluster{more}, with their labels"
    return Explanation(CLUSTER_EXAMPLES_PICTURE, "clusters", title, text)


def _images(examples: Examples, places: list[int]) -> list[Array]:
    """Returns images as uint8 with one or three channels: of more than three the first three, of two the first."""
    images = shown(examples.inputs.read(np.array(places)))
    return list(images[..., : 3 if images.shape[3] >= 3 else 1])


def _labels(clustered: _Clustered, places: list[int]) -> list[str]:
    return [clustered.targets.texts[place] for place in places]
