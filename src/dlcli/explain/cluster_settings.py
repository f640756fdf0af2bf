"""The settings of `--method clusters`."""

from __future__ import annotations

from dataclasses import dataclass

from dlcli.errors import UsageError

CLUSTER_METHODS = ("kmeans", "dbscan", "mean_shift")
PROJECTIONS = ("pca", "ica")


@dataclass(frozen=True)
class ClusterSettings:
    """How examples are clustered and projected; the default values of a command line without these options.

    Attributes:
        clusters: the number of clusters of k-means; None for the number of classes, or the one with the best silhouette.
        method: one of CLUSTER_METHODS; empty for k-means.
        projection: one of PROJECTIONS; empty for principal components.
    """

    clusters: int | None = None
    method: str = ""
    projection: str = ""

    def check(self, explain_method: str) -> None:
        """Checks that the settings fit together, and that they are used.

        Raises:
            UsageError: they do not, or the method of explanation is another one.
        """
        if explain_method != "clusters" and self != ClusterSettings():
            raise UsageError("--clusters, --cluster-method and --projection need --method clusters")
        _refuse_unknown("--cluster-method", self.method, CLUSTER_METHODS)
        _refuse_unknown("--projection", self.projection, PROJECTIONS)
        if self.clusters is None:
            return
        if self.clusters < 2:
            raise UsageError(f"--clusters: expected at least 2, found {self.clusters}")
        if self.method not in ("", "kmeans"):
            raise UsageError(f"--cluster-method {self.method} finds the number of clusters: omit --clusters")


def _refuse_unknown(option: str, value: str, values: tuple[str, ...]) -> None:
    if value and value not in values:
        raise UsageError(f"{option}: expected {', '.join(values[:-1])} or {values[-1]}, found {value!r}")
