"""Clusters of rows of features, and their projection onto a plane, by scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DataError, UsageError
from dlcli.explain.cluster_settings import ClusterSettings
from dlcli.upstream.sklearn import import_sklearn, single_threaded

MOST_COMPONENTS = 50
"""The most principal components that are clustered."""
MOST_TRIED = 15
"""The largest number of clusters that is tried where it is chosen by the silhouette."""
NEIGHBORS = 5
"""`min_samples` of DBSCAN: the examples within `eps` of one inside a cluster, itself included."""
FEWEST = 3
"""The fewest examples that can be clustered: a silhouette needs two clusters, and one with two examples."""
NOISE = -1
"""The number of the cluster of an example that is in none."""
_SMALLEST = 1e-3
"""The smallest radius of a neighbourhood, in deviations of a feature: examples that are equal are one cluster."""
_SHARE = 0.1
"""The share of the examples in the kernel of mean shift where there are no classes."""
_DIGITS = 6
"""Decimal digits of components: equal examples in different batches differ in their last bits."""


@dataclass(frozen=True)
class Space:
    """The standardised features of examples as their first principal components.

    Attributes:
        rows: the components float64 `(n, components)`; components without variance are left out.
        shares: the share of each component.
        constant: the number of features that are the same for all examples, which are left out.
    """

    rows: Array
    shares: Array
    constant: int

    @property
    def kept_variance(self) -> float:
        """The share of the variance of the standardised features that the components have, in [0, 1]."""
        return min(1.0, float(self.shares.sum()))

    @property
    def different(self) -> int:
        """The number of different rows."""
        return len(np.unique(self.rows, axis=0))


@dataclass(frozen=True)
class Grouping:
    """The clusters of examples, the largest first.

    Attributes:
        numbers: the cluster of each example, from 0, or `NOISE`; int64 `(n,)`.
        rule: how the number of clusters, or the radius, was chosen.
        settings: the numbers that the method was given.
        notes: what scikit-learn warned of, and what was changed.
    """

    numbers: Array
    rule: str
    settings: dict[str, float]
    notes: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of clusters."""
        return int(self.numbers.max()) + 1


def principal_space(values: Array, seed: int) -> Space:
    """Returns the first 50 principal components of features `(n, features)`, each scaled to mean 0 and deviation 1.

    Raises:
        DataError: features are not finite, or the same for all examples, or there are too few examples.
    """
    import_sklearn()
    from sklearn.decomposition import PCA

    if len(values) < FEWEST:
        raise DataError(f"the split has {len(values)} examples; clusters need at least {FEWEST}")
    if not np.isfinite(values).all():
        raise DataError("the features of the model are not finite numbers for some examples: its training diverged")
    mean, deviation = values.mean(axis=0, dtype="float64"), values.std(axis=0, dtype="float64")
    # The last bits of a constant feature differ between batches of different sizes.
    varies = deviation > 10.0**-_DIGITS * np.abs(values).max(axis=0)
    if not varies.any():
        raise DataError(f"all {len(values):,} examples have the same features in the model: there is nothing to cluster")
    scaled = ((values[:, varies] - mean[varies]) / deviation[varies]).astype("float32")
    reduction = PCA(min(MOST_COMPONENTS, *scaled.shape), random_state=seed)
    with single_threaded():
        components = reduction.fit_transform(scaled).astype("float64")
    rows = np.round(components, _DIGITS) + 0.0  # no -0
    used = rows.std(axis=0) > 0
    shares = reduction.explained_variance_ratio_.astype("float64")[used]
    return Space(rows[:, used], shares, int((~varies).sum()))


def grouped(space: Space, settings: ClusterSettings, classes: int, seed: int) -> Grouping:
    """Returns the clusters of a space; every random number is drawn from the seed.

    Args:
        space: the space.
        settings: the method and, of k-means, the number of clusters.
        classes: the number of classes, which is that of the clusters of k-means unless it is set; 0 without classes.
        seed: the seed.

    Raises:
        UsageError: there are fewer different examples than clusters.
    """
    with single_threaded(), _warnings_as_notes() as notes:
        grouping = _METHODS[settings.method or "kmeans"](space, settings.clusters, classes, seed)
    return Grouping(_largest_first(grouping.numbers), grouping.rule, grouping.settings, [*grouping.notes, *notes])


@contextmanager
def _warnings_as_notes() -> Iterator[list[str]]:
    """Yields a list that gets the first line of every warning of scikit-learn inside the block, once each."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield notes
    notes += dict.fromkeys(f"scikit-learn: {str(warning.message).splitlines()[0]}" for warning in caught)


def _largest_first(numbers: Array) -> Array:
    """Returns cluster numbers in the order of their sizes; of equal sizes, in that of their first examples."""
    names, first, counts = np.unique(numbers[numbers != NOISE], return_index=True, return_counts=True)
    renamed = np.full(len(numbers), NOISE, dtype="int64")
    for number, place in enumerate(np.lexsort((first, -counts)).tolist()):
        renamed[numbers == names[place]] = number
    return renamed


def _kmeans(space: Space, clusters: int | None, classes: int, seed: int) -> Grouping:
    different = space.different
    if clusters is not None:
        if clusters > different:
            raise UsageError(f"--clusters: expected at most {different}, the number of different examples, found {clusters}")
        return Grouping(_kmeans_numbers(space.rows, clusters, seed), "as set by --clusters", {"clusters": clusters})
    if classes:
        count = min(classes, different)
        notes = [f"{classes} classes, but only {different} different examples"] if count < classes else []
        return Grouping(_kmeans_numbers(space.rows, count, seed), "as many as classes", {"clusters": count}, notes)
    most = min(MOST_TRIED, different, len(space.rows) - 1)
    tried = {count: _kmeans_numbers(space.rows, count, seed) for count in range(2, most + 1)}
    best = max(tried, key=lambda count: silhouette(space.rows, tried[count]) or -1.0)
    return Grouping(tried[best], f"the best silhouette of 2 to {most} clusters", {"clusters": best})


def _kmeans_numbers(rows: Array, count: int, seed: int) -> Array:
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(count, n_init=10, random_state=seed).fit_predict(rows))


def _dbscan(space: Space, _: int | None, __: int, ___: int) -> Grouping:
    from sklearn.cluster import DBSCAN

    neighbors = min(NEIGHBORS, len(space.rows))
    eps = max(knee(neighbor_distances(space.rows, neighbors)), _SMALLEST)
    numbers = DBSCAN(eps=eps, min_samples=neighbors).fit_predict(space.rows)
    rule = f"eps {eps:.3g}, the knee of the distances to the last of the {neighbors - 1} nearest examples"
    return Grouping(np.asarray(numbers), rule, {"eps": eps, "min_samples": neighbors})


def neighbor_distances(rows: Array, neighbors: int) -> Array:
    """Returns the distance of each row to the last of its nearest rows, of which it is the first; in rising order."""
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=neighbors).fit(rows).kneighbors(rows)
    return np.sort(distances[:, -1])


def knee(distances: Array) -> float:
    """Returns the knee of a rising curve: the value that is furthest below the straight line between its ends.

    It is where Satopaa et al. 2011 ("Finding a kneedle in a haystack") see it: the curve rises slowly inside clusters, and
    steeply for the examples outside.
    """
    low, high = float(distances[0]), float(distances[-1])
    if high <= low:
        return high
    line = low + (high - low) * np.linspace(0, 1, len(distances))
    return float(distances[int(np.argmax(line - distances))])


def _mean_shift(space: Space, _: int | None, classes: int, seed: int) -> Grouping:
    from sklearn.cluster import MeanShift, estimate_bandwidth

    # A kernel as large as half a class stays inside it; one of a whole class merges it with the next.
    share = min(1.0, max(0.5 / classes if classes else _SHARE, 2 / len(space.rows)))
    estimate = estimate_bandwidth(space.rows, quantile=share, random_state=seed)
    bandwidth = max(float(estimate), _SMALLEST)
    numbers = MeanShift(bandwidth=bandwidth).fit_predict(space.rows)
    half = ", half of an average class" if classes else ""
    rule = f"bandwidth {bandwidth:.3g}, the mean radius that holds {share:.0%} of the examples{half}"
    return Grouping(np.asarray(numbers), rule, {"bandwidth": bandwidth})


_METHODS: dict[str, Callable[[Space, int | None, int, int], Grouping]] = {
    "kmeans": _kmeans,
    "dbscan": _dbscan,
    "mean_shift": _mean_shift,
}


def silhouette(rows: Array, numbers: Array) -> float | None:
    """Returns the mean silhouette of the examples in clusters (Rousseeuw 1987), from -1 to 1.

    None if there are fewer than two clusters, or one for each example.
    """
    values = silhouettes(rows, numbers)
    return None if values is None else float(values[numbers != NOISE].mean())


def silhouettes(rows: Array, numbers: Array) -> Array | None:
    """Returns the silhouette of each example, that of noise 0; None where `silhouette` is None."""
    from sklearn.metrics import silhouette_samples

    members = numbers != NOISE
    if not 2 <= len(np.unique(numbers[members])) < members.sum():
        return None
    values = np.zeros(len(rows))
    values[members] = silhouette_samples(rows[members], numbers[members])
    return values


def agreement(labels: Any, numbers: Array) -> tuple[float, float]:
    """Returns the adjusted Rand index and the normalised mutual information; noise counts as one more cluster."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    _, codes = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels nearly all of which are different
        return float(adjusted_rand_score(codes, numbers)), float(normalized_mutual_info_score(codes, numbers))


@dataclass(frozen=True)
class Plane:
    """A projection of examples: points `(n, 2)`, and the names of the axes."""

    points: Array
    axes: tuple[str, str]
    notes: list[str] = field(default_factory=list)


def projected(space: Space, projection: str, seed: int) -> Plane:
    """Returns the first two principal components, or two independent components (Hyvärinen and Oja 2000) of their plane.

    The second coordinate is 0 if the examples lie on a line.
    """
    if projection != "ica":
        shares = [*space.shares[:2].tolist(), 0.0]
        first, second = (f"principal component {place + 1}: {shares[place]:.0%} of the variance" for place in (0, 1))
        return Plane(_pair(space.rows), (first, second))
    from sklearn.decomposition import FastICA

    columns = min(2, space.rows.shape[1])
    with single_threaded(), _warnings_as_notes() as notes:
        analysis = FastICA(columns, whiten="unit-variance", random_state=seed, max_iter=1000)
        points = analysis.fit_transform(space.rows)
    return Plane(_pair(np.asarray(points)), ("independent component 1", "independent component 2"), notes)


def _pair(rows: Array) -> Array:
    """Returns the first two columns; zeros in place of a second one that is not there."""
    return rows[:, :2] if rows.shape[1] > 1 else np.concatenate([rows, np.zeros_like(rows)], axis=1)
