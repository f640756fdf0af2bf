"""Texts that describe the clusters of examples."""

from __future__ import annotations

from dlcli.runs.clusters import Cluster, ClustersFile
from dlcli.runs.numbers import short_number

_METHODS = {"kmeans": "k-means", "dbscan": "DBSCAN", "mean_shift": "mean shift"}


def in_words(content: ClustersFile) -> str:
    """Returns what was clustered and how, and the agreement with the labels, as one sentence."""
    scores = {
        "adjusted Rand index": content.adjusted_rand_index,
        "normalised mutual information": content.normalised_mutual_information,
        "silhouette": content.silhouette,
    }
    noise = f", noise: {counted(content.noise, 'example')}" if content.noise else ""
    parts = [
        f"{counted(len(content.clusters), 'cluster')} by {_METHODS[content.method]} ({content.rule}){noise}",
        _space_in_words(content),
        ", ".join(f"{name} {value:.3f}" for name, value in scores.items() if value is not None),
        f"no agreement with labels: {content.no_agreement}" if content.no_agreement else "",
        *content.notes,
    ]
    return "; ".join(part for part in parts if part)


def _space_in_words(content: ClustersFile) -> str:
    examples, of_split = f"{content.examples:,}", f"{content.split_examples:,}"
    sample = f"{examples} examples" if examples == of_split else f"a sample of {examples} of {of_split} examples"
    source = "features before the output layer" if content.are_hidden else "inputs after preprocessing (no layer is hidden)"
    constant = f", {content.constant_features:,} constant ones left out" if content.constant_features else ""
    components = f"{counted(content.components, 'principal component')} with {content.kept_variance or 0:.0%} of the variance"
    return f"{sample}, {content.features:,} {source}{constant}, standardised: {components}"


def heading_of(cluster: Cluster) -> str:
    """Returns the number of a cluster, its size, and its most frequent label or mean and deviation of its first target."""
    size = f"cluster {cluster.cluster}: {counted(cluster.examples, 'example')}"
    if not cluster.targets:
        return f"{size}, {cluster.share or 0:.0%} {cluster.label}"
    name, spread = next(iter(cluster.targets.items()))
    return f"{size}, {name} {short_number(spread.mean or 0.0)} ± {short_number(spread.deviation or 0.0)}"


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun, in the plural where it is not 1."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
