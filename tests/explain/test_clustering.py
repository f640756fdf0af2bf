"""Clusters, and their projection, of features whose groups are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlcli.cli.cluster_table import show_clusters
from dlcli.errors import DataError, UsageError
from dlcli.explain.cluster_settings import ClusterSettings
from dlcli.explain.cluster_words import in_words
from dlcli.explain.clustering import (
    NOISE,
    Space,
    agreement,
    grouped,
    knee,
    neighbor_distances,
    principal_space,
    projected,
    silhouette,
)
from dlcli.runs.clusters import ClustersFile

Array = np.ndarray[Any, Any]
KMEANS, DBSCAN, MEAN_SHIFT = ClusterSettings(), ClusterSettings(method="dbscan"), ClusterSettings(method="mean_shift")


def blobs(each: tuple[int, ...] = (50, 40, 30), *, features: int = 60, seed: int = 0) -> tuple[Array, Array]:
    """Returns rows around distant centres, in random order, and the number of each one's centre."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(each)), each))
    centres = random.normal(0, 5, (len(each), features))
    return (centres[labels] + random.normal(0, 1, (len(labels), features))).astype("float32"), labels


@pytest.fixture(scope="module")
def space() -> Space:
    return principal_space(blobs()[0], 0)


@pytest.mark.parametrize("settings", [KMEANS, DBSCAN, MEAN_SHIFT], ids=["kmeans", "dbscan", "mean_shift"])
def test_every_method_finds_distant_groups_and_numbers_the_largest_first(space: Space, settings: ClusterSettings) -> None:
    labels = blobs()[1]
    numbers = grouped(space, settings, 3, 0).numbers
    clustered = numbers != NOISE
    assert agreement(labels[clustered], numbers[clustered]) == (1, pytest.approx(1))
    assert clustered.mean() > (0.9 if settings is DBSCAN else 0.99)
    sizes = np.bincount(numbers[numbers != NOISE])
    assert sizes.tolist() == sorted(sizes, reverse=True)
    np.testing.assert_array_equal(numbers, grouped(space, settings, 3, 0).numbers)


def test_without_classes_the_silhouette_chooses_the_number_of_clusters(space: Space) -> None:
    grouping = grouped(space, KMEANS, 0, 0)
    assert (grouping.count, grouping.settings) == (3, {"clusters": 3})
    assert grouping.rule == "the best silhouette of 2 to 15 clusters"
    values = {count: silhouette(space.rows, grouped(space, ClusterSettings(count), 0, 0).numbers) for count in (2, 3, 4)}
    assert max(values, key=lambda count: values[count] or -1) == 3


def test_examples_far_from_the_others_are_noise_of_dbscan() -> None:
    values, _ = blobs((60, 60), features=4)
    values[:2] += np.array([[60, 0, 0, 0], [0, -60, 0, 0]], "float32")
    numbers = grouped(principal_space(values, 0), DBSCAN, 0, 0).numbers
    assert (numbers[:2] == NOISE).all()
    assert (numbers == NOISE).sum() < 20


@pytest.mark.parametrize("seed", range(5))
def test_eps_leaves_a_cluster_also_where_examples_have_no_groups(seed: int) -> None:
    values = np.random.default_rng(seed).uniform(size=(40, 30)).astype("float32")
    assert grouped(principal_space(values, 0), DBSCAN, 0, 0).count >= 1


def test_noise_alone_is_described() -> None:
    content = ClustersFile.of(
        {"split": "test", "examples": 5, "split_examples": 5, "features": 2, "constant_features": 0, "are_hidden": True}
        | {"components": 1, "kept_variance": 1.0, "method": "dbscan", "rule": "eps 1", "settings": {}, "projection": "pca"}
        | {"noise": 5, "clusters": [], "no_agreement": "there is no cluster"}
    )
    assert in_words(content) == (
        "0 clusters by DBSCAN (eps 1), noise: 5 examples; 5 examples, 2 features before the output layer, standardised:"
        " 1 principal component with 100% of the variance; no agreement with labels: there is no cluster"
    )
    show_clusters(content)


def test_eps_is_the_distance_furthest_below_the_line_between_the_ends() -> None:
    assert knee(np.array([1.0, 1.1, 1.2, 1.3, 9.0])) == 1.3
    assert knee(np.array([2.0, 2.0, 2.0])) == 2.0
    rows = np.array([[0.0], [1.0], [2.0], [10.0]])
    assert neighbor_distances(rows, 3).tolist() == [1.0, 2.0, 2.0, 9.0]


def test_features_are_standardised_and_become_at_most_fifty_components() -> None:
    values, _ = blobs()
    values = np.concatenate([values * 1000 + 7, np.full((len(values), 2), 3.3, "float32")], axis=1)
    space = principal_space(values, 0)
    assert (space.rows.shape, space.constant) == ((120, 50), 2)
    assert 0.9 < space.kept_variance < 1
    few = principal_space(values[:, :3], 0)
    assert (few.rows.shape, few.kept_variance) == ((120, 3), pytest.approx(1))
    scaled = (values[:, :3] - values[:, :3].mean(axis=0)) / values[:, :3].std(axis=0)
    distances = [np.linalg.norm(rows[:, None] - rows[None], axis=2) for rows in (scaled.astype("float64"), few.rows)]
    np.testing.assert_allclose(*distances, atol=1e-3)


def test_features_that_are_equal_or_not_finite_and_too_few_examples_are_refused() -> None:
    values = np.full((40, 5), 0.1, "float32")
    values[20:] += np.finfo("float32").eps / 16  # as in batches of different sizes
    with pytest.raises(DataError, match="all 40 examples have the same features in the model: there is nothing to cluster"):
        principal_space(values, 0)
    values[3, 2] = np.nan
    with pytest.raises(DataError, match="not finite numbers for some examples: its training diverged"):
        principal_space(values, 0)
    with pytest.raises(DataError, match="the split has 2 examples; clusters need at least 3"):
        principal_space(blobs()[0][:2], 0)


def test_no_more_clusters_are_made_than_there_are_different_examples() -> None:
    values = np.repeat(blobs((4, 4), features=3)[0], 5, axis=0)
    space = principal_space(values, 0)
    assert space.different == 8
    grouping = grouped(space, KMEANS, 10, 0)
    assert (grouping.count, grouping.notes) == (8, ["10 classes, but only 8 different examples"])
    with pytest.raises(UsageError, match="--clusters: expected at most 8, the number of different examples, found 9"):
        grouped(space, ClusterSettings(9), 2, 0)


@pytest.mark.parametrize("settings", [KMEANS, DBSCAN, MEAN_SHIFT], ids=["kmeans", "dbscan", "mean_shift"])
def test_equal_examples_are_one_cluster(settings: ClusterSettings) -> None:
    values = np.repeat(np.array([[0, 1], [1, 0], [4, 4]], "float32"), 10, axis=0)
    grouping = grouped(principal_space(values, 0), settings, 0, 0)
    assert agreement(np.repeat([0, 1, 2], 10), grouping.numbers) == (1, pytest.approx(1))


def test_three_examples_can_be_clustered() -> None:
    space = principal_space(np.array([[0, 0], [0, 1], [9, 9]], "float32"), 0)
    assert [grouped(space, settings, 0, 0).numbers.shape for settings in (KMEANS, DBSCAN, MEAN_SHIFT)] == [(3,)] * 3
    assert grouped(space, KMEANS, 0, 0).numbers.tolist() == [0, 0, 1]


def test_a_silhouette_needs_two_clusters() -> None:
    rows = np.arange(8.0)[:, None]
    assert silhouette(rows, np.full(8, NOISE)) is None
    assert silhouette(rows, np.zeros(8, int)) is None
    assert silhouette(rows, np.arange(8)) is None
    rows = np.array([[0.0], [1.0], [10.0], [11.0], [50.0]])
    assert silhouette(rows, np.array([0, 0, 1, 1, NOISE])) == pytest.approx(1 - (1 / 10.5 + 1 / 9.5) / 2)


def test_noise_is_one_more_group_in_the_agreement() -> None:
    assert agreement(["a", "a", "b", "b"], np.array([0, 0, NOISE, NOISE])) == (1, pytest.approx(1))
    assert agreement(["a", "b", "a", "b"], np.array([0, 0, 1, 1]))[0] < 0


def test_projections_are_two_principal_or_two_independent_components(space: Space) -> None:
    principal, independent = (projected(space, name, 0) for name in ("pca", "ica"))
    np.testing.assert_array_equal(principal.points, space.rows[:, :2])
    assert principal.axes[0] == f"principal component 1: {space.shares[0]:.0%} of the variance"
    np.testing.assert_allclose(np.cov(independent.points.T, bias=True), np.eye(2), atol=1e-6)
    # Both lie in the plane of the first two principal components.
    fit = np.linalg.lstsq(principal.points, independent.points, rcond=None)[0]
    np.testing.assert_allclose(principal.points @ fit, independent.points, atol=1e-3)


@pytest.mark.parametrize("projection", ["pca", "ica"])
def test_examples_on_a_line_have_the_second_coordinate_zero(projection: str) -> None:
    values = np.stack([np.arange(20), 2 * np.arange(20)], axis=1).astype("float32")
    plane = projected(principal_space(values, 0), projection, 0)
    assert plane.points.shape == (20, 2)
    assert (plane.points[:, 1] == 0).all()


def test_settings_that_do_not_fit_are_refused() -> None:
    for settings, method, message in (
        (ClusterSettings(4), "permutation", "--clusters, --cluster-method and --projection need --method clusters"),
        (ClusterSettings(projection="ica"), "", "--clusters, --cluster-method and --projection need --method clusters"),
        (ClusterSettings(1), "clusters", "--clusters: expected at least 2, found 1"),
        (ClusterSettings(4, "dbscan"), "clusters", "--cluster-method dbscan finds the number of clusters: omit --clusters"),
        (ClusterSettings(method="x"), "clusters", "--cluster-method: expected kmeans, dbscan or mean_shift, found 'x'"),
        (ClusterSettings(projection="x"), "clusters", "--projection: expected pca or ica, found 'x'"),
    ):
        with pytest.raises(UsageError) as caught:
            settings.check(method)
        assert str(caught.value) == message
    ClusterSettings().check("grad_cam")


def test_a_file_of_clusters_reads_what_it_wrote(tmp_path: Any) -> None:
    row = {"cluster": 1, "examples": 3, "targets": {"y": {"mean": float("nan"), "deviation": 0.0}}, "nearest": ["a\udcff"]}
    content = ClustersFile.of(
        {"split": "test", "examples": 3, "split_examples": 3, "features": 2, "constant_features": 0, "are_hidden": True}
        | {"components": 2, "kept_variance": 1.0, "method": "kmeans", "rule": "", "settings": {}, "projection": "pca"}
        | {"noise": 0, "clusters": [row]}
    )
    content.write(tmp_path / "clusters.json")
    assert ClustersFile.read(tmp_path / "clusters.json") == content
    assert content.clusters[0].targets["y"].mean is None
