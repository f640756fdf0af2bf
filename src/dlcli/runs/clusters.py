"""`clusters.json` in the folder of explanations: the clusters of the examples of a split by the features of a model."""

from __future__ import annotations

from pydantic import Field

from dlcli.runs.contents import Count, FileContent, Number, RunFile
from dlcli.runs.folder import RunFolder
from dlcli.runs.layout import CLUSTERS


class TargetSpread(FileContent):
    """Mean and standard deviation of a target."""

    mean: Number
    deviation: Number


class Cluster(FileContent):
    """A cluster of examples.

    Attributes:
        cluster: its number, from 1, the largest first.
        examples: the number of its examples.
        label: the most frequent label; empty where targets are numbers.
        share: the share of the examples that have it.
        targets: the values of each target; empty where targets are classes or labels.
        silhouette: the mean silhouette of its examples.
        nearest: the examples nearest to its centre, the nearest first.
    """

    cluster: Count
    examples: Count
    label: str = ""
    share: Number = None
    targets: dict[str, TargetSpread] = Field(default={})
    silhouette: Number = None
    nearest: list[str] = Field(default=[])


class ClustersFile(RunFile, FileContent):
    """`clusters.json`.

    Attributes:
        split: the split.
        examples: the number of clustered examples, `split_examples` of them all: a sample is drawn from a large split.
        features: the number of features of an example, and `constant_features` of those that are left out.
        are_hidden: whether layers with weights compute the features; else they are the inputs after preprocessing.
        components: the number of principal components that are clustered, and `kept_variance` their share of the variance.
        method: how they are clustered: kmeans, dbscan or mean_shift.
        rule: how the number of clusters, or the radius, was chosen; `settings` are the numbers.
        projection: how they are drawn: pca or ica.
        noise: the number of examples in no cluster.
        silhouette: the mean silhouette of the examples in clusters; None with fewer than two clusters.
        adjusted_rand_index: the agreement of clusters and labels, as is `normalised_mutual_information`; None where
            `no_agreement` says why.
        clusters: the clusters, the largest first.
        notes: what was changed, and warnings.
    """

    split: str
    examples: Count
    split_examples: Count
    features: Count
    constant_features: Count
    are_hidden: bool
    components: Count
    kept_variance: Number
    method: str
    rule: str
    settings: dict[str, Number]
    projection: str
    noise: Count
    silhouette: Number = None
    adjusted_rand_index: Number = None
    normalised_mutual_information: Number = None
    no_agreement: str = ""
    clusters: list[Cluster]
    notes: list[str] = Field(default=[])


def read_clusters(run: RunFolder) -> ClustersFile:
    """Returns the clusters of a run's explanations.

    Raises:
        DamagedFile: the file is missing, or has invalid content.
    """
    return ClustersFile.read(run.explanations_path / CLUSTERS)
