"""`--method clusters` on runs of every kind of data and task."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trainings import (
    GAUSSIANS,
    IRIS,
    PLANE,
    SMALL_CNN,
    outputs,
    save_images,
    save_rows,
    save_series,
    save_volumes,
    trained,
    write_spec,
)

import dlcli
from dlcli.data.inputs import inputs_of_model
from dlcli.data.open_run import open_run
from dlcli.errors import DamagedFile, UsageError
from dlcli.explain import ClusterSettings, explain, explanations
from dlcli.explain.context import ExplanationContext
from dlcli.explain.features import MOST_EXAMPLES, Features, features_of
from dlcli.models.raw_output import before_squashing
from dlcli.report.report import write_report
from dlcli.runs import RunFolder
from dlcli.runs.clusters import ClustersFile, read_clusters
from dlcli.runs.files import read_table
from dlcli.runs.reporter import Reporter
from dlcli.runtime.engine import keras
from dlcli.runtime.loading import load_model
from dlcli.training.ensemble import combined
from dlcli.training.train import train

pytestmark = pytest.mark.usefixtures("without_pictures")
LEARNED = "epochs: 20, optimizer: {kind: adam, learning_rate: 3e-2}"


def clustered(run: RunFolder, split: str = "", **settings: Any) -> ClustersFile:
    """Explains a run by clusters and returns what was written, after a check that the files agree with each other."""
    explain(run, method="clusters", split=split, clustering=ClusterSettings(**settings))
    content, rows = read_clusters(run), read_table(run.explanations_path / "clusters.csv")
    assert content.split == (split or "test")
    assert len(rows) == content.examples == sum(cluster.examples for cluster in content.clusters) + content.noise
    members = {row["id"]: row["cluster"] for row in rows}
    for cluster in content.clusters:
        assert list(members.values()).count(str(cluster.cluster)) == cluster.examples
        assert {members[name] for name in cluster.nearest} == {str(cluster.cluster)}
    assert list(members.values()).count("noise") == content.noise
    return content


def hidden(run: RunFolder, split: str = "test") -> Features:
    """Returns the features of the examples of a split."""
    with open_run(run, "explain", offline=True) as opened:
        context = ExplanationContext(opened, inputs_of_model(opened.model, run), "", lambda *_: None)
        return features_of(context, opened.splits[split])


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on two distant clouds of points."""
    return trained(write_spec(tmp_path_factory.mktemp("blobs"), GAUSSIANS, task="binary", training=LEARNED))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on images in four classes."""
    folder = tmp_path_factory.mktemp("images")
    save_images(folder / "images.npz", examples=160)
    return trained(write_spec(folder, "{kind: npz, path: images.npz}", model=SMALL_CNN, training=LEARNED))


def test_two_separated_clusters_are_found_and_agree_with_the_labels(blobs: RunFolder) -> None:
    content = clustered(blobs)
    assert (content.adjusted_rand_index, content.normalised_mutual_information) == (1, pytest.approx(1))
    assert content.silhouette is not None
    assert content.silhouette > 0.5
    assert (content.rule, content.are_hidden, content.features) == ("as many as classes", True, 8)
    assert {(cluster.label, cluster.share) for cluster in content.clusters} == {("blue", 1.0), ("orange", 1.0)}
    (explanation,) = (entry for entry in explanations(blobs) if entry.kind == "clusters")
    assert explanation.title == "Clusters of the test split"
    assert explanation.text.startswith("2 clusters by k-means (as many as classes); 24 examples, 8 features before the output")
    assert "adjusted Rand index 1.000, normalised mutual information 1.000, silhouette 0." in explanation.text


@pytest.mark.usefixtures("with_pictures")
def test_equal_calls_write_equal_files_and_each_replaces_the_last(blobs: RunFolder) -> None:
    def digests() -> dict[str, str]:
        paths = blobs.explanations_path.glob("clusters*")
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    explain(blobs, method="clusters")
    first = digests()
    assert sorted(first) == ["clusters.csv", "clusters.json", "clusters.png"]
    explain(blobs, method="clusters", split="train", clustering=ClusterSettings(3, projection="ica"))
    assert all(first[name] != digest for name, digest in digests().items())
    explain(blobs, method="clusters")
    assert digests() == first
    assert len([entry for entry in explanations(blobs) if entry.kind == "clusters"]) == 1
    with Image.open(blobs.explanations_path / "clusters.png") as picture:
        assert picture.width > 2 * picture.height


@pytest.mark.parametrize("method", ["dbscan", "mean_shift"])
def test_other_methods_find_the_number_of_clusters(blobs: RunFolder, method: str) -> None:
    content = clustered(blobs, "train", method=method, projection="ica")
    assert (content.method, content.projection) == (method, "ica")
    assert content.adjusted_rand_index is not None
    assert content.adjusted_rand_index > 0.7
    assert content.rule.startswith({"dbscan": "eps ", "mean_shift": "bandwidth "}[method])


@pytest.mark.usefixtures("with_pictures")
def test_images_nearest_to_the_centres_are_shown(images: RunFolder) -> None:
    made = explain(images, method="clusters", split="train")
    assert [entry.file for entry in made] == ["clusters.png", "clusters_examples.png"]
    content = read_clusters(images)
    assert content.adjusted_rand_index is not None
    assert content.adjusted_rand_index > 0.9
    assert all(len(cluster.nearest) == 8 for cluster in content.clusters)
    with Image.open(images.explanations_path / "clusters_examples.png") as picture:
        assert picture.width > 8 * 128
        assert picture.height > 4 * 128
    page = write_report(images).read_text(encoding="utf-8")
    assert "Examples of the clusters of the train split" in page
    assert "4 clusters by k-means (as many as classes)" in page


def test_features_are_what_the_output_layer_takes_and_the_model_is_unchanged(images: RunFolder) -> None:
    features = hidden(images)
    model = load_model(images.model_path)
    with open_run(images, offline=True) as opened:
        pixels = opened.splits["test"].inputs.read(features.places)
    expected = outputs(keras.Model(model.input, model.get_layer("flatten").output), pixels)
    np.testing.assert_allclose(features.values, expected, rtol=1e-5, atol=1e-6)
    before = outputs(model, pixels)
    with open_run(images, offline=True) as opened:
        context = ExplanationContext(opened, inputs_of_model(opened.model, images), "", lambda *_: None)
        features_of(context, opened.splits["test"])
        np.testing.assert_array_equal(outputs(opened.model, pixels), before)
        assert not [layer for layer in opened.model.layers if "call" in vars(layer)]
        with before_squashing(opened.model) as plain:
            assert plain


def test_a_model_without_a_hidden_layer_gives_its_inputs_after_preprocessing(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, IRIS, model="{kind: mlp}", training="epochs: 1"))
    content = clustered(run)
    assert (content.are_hidden, content.features) == (False, 4)
    assert "4 inputs after preprocessing (no layer is hidden)" in explanations(run)[0].text
    np.testing.assert_allclose(hidden(run, "train").values.mean(axis=0), 0, atol=1e-5)
    assert len(content.clusters) == 3


def test_targets_that_are_numbers_have_a_mean_in_each_cluster_and_no_agreement(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, PLANE, task="regression", training="epochs: 10"))
    content = clustered(run, "train")
    assert (content.adjusted_rand_index, content.no_agreement) == (None, "the targets are numbers, not classes")
    assert content.rule == "the best silhouette of 2 to 15 clusters"
    rows = read_table(run.explanations_path / "clusters.csv")
    with open_run(run, offline=True) as opened:
        examples = opened.splits["train"]
        values = dict(zip(examples.ids, examples.targets[:, 0].tolist(), strict=True))
    for cluster in content.clusters:
        of_cluster = [values[row["id"]] for row in rows if row["cluster"] == str(cluster.cluster)]
        assert cluster.targets["target"].mean == pytest.approx(np.mean(of_cluster), abs=1e-6)
        assert cluster.targets["target"].deviation == pytest.approx(np.std(of_cluster), abs=1e-6)
        assert (cluster.label, cluster.share) == ("", None)


def test_the_labels_of_an_example_together_are_its_class(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npz")
    source = "{kind: npz, path: rows.npz, features: x, target: labels}"
    run = trained(write_spec(tmp_path, source, task="multilabel", training=LEARNED))
    content = clustered(run, "train", clusters=4)
    assert content.rule == "as set by --clusters"
    labels = {row["label"] for row in read_table(run.explanations_path / "clusters.csv")}
    assert labels == {"none", "labels_0", "labels_1", "labels_0, labels_1"}
    assert content.adjusted_rand_index is not None
    assert content.adjusted_rand_index > 0.1


def test_features_of_an_ensemble_are_those_of_all_members(tmp_path: Path) -> None:
    first = trained(write_spec(tmp_path))
    second = trained(write_spec(tmp_path), [f"data.split.file={first.split_path}", "seed=1", "model.units=[5]"])
    run = train(combined([first, second]), tmp_path / "runs", Reporter(), write_up=False)
    content = clustered(run)
    assert (content.features, content.are_hidden) == (13, True)
    values = [hidden(member).values for member in (first, second)]
    np.testing.assert_allclose(hidden(run).values, np.concatenate(values, axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("head", "features"), [("knn", 144), ("[{kind: dense, units: 3}]", 3)])
def test_transfer_runs_give_the_features_before_their_head_or_its_last_layer(
    images: RunFolder, tmp_path: Path, head: str, features: int
) -> None:
    save_images(tmp_path / "images.npz", examples=60)
    model = f"{{kind: transfer, backbone: {{kind: run, run: {images.path}}}, head: {head}}}"
    epochs = "epochs: 1" if features == 3 else "epochs: 0"
    run = trained(write_spec(tmp_path, "{kind: npz, path: images.npz}", model=model, training=epochs, name="next"))
    content = clustered(run)
    assert (content.features, content.are_hidden, len(content.clusters)) == (features, True, 4)
    if head == "knn":
        with open_run(images, offline=True) as opened, open_run(run, offline=True) as other:
            context = ExplanationContext(opened, inputs_of_model(opened.model, images), "", lambda *_: None)
            of_base = features_of(context, other.splits["test"])
        np.testing.assert_allclose(hidden(run).values, of_base.values, rtol=1e-5, atol=1e-6)


def _table(folder: Path) -> str:
    random, rows = np.random.default_rng(0), ["size,colour,title,kind"]
    for number in range(90):
        name, word = (("a", "lovely"), ("b", "awful"), ("c", "weird"))[number % 3]
        rows.append(f"{random.normal():.3f},{random.choice(['red', 'blue'])},{word} film {number % 5},{name}")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return "kind: csv, path: rows.csv, target: kind"


def _days(folder: Path) -> str:
    days = np.arange(150)
    values = np.sin(days) + np.random.default_rng(0).normal(0, 0.1, len(days))
    rows = [f"{np.datetime64('2020-01-01') + day},{value:.4f}" for day, value in zip(days, values, strict=True)]
    (folder / "days.csv").write_text("\n".join(["day,y", *rows]) + "\n", encoding="utf-8")
    return "kind: series, path: days.csv, target: y, time: day, window: 8, horizon: 3, validation: 20, test: 40"


def test_tables_and_texts_have_clusters(tmp_path: Path) -> None:
    source = _table(tmp_path)
    content = clustered(trained(write_spec(tmp_path, f"{{{source}, drop: [title]}}", training="epochs: 1", name="rows")))
    assert (content.features, len(content.clusters)) == (8, 3)
    model = "{kind: sequence, embedding: {kind: trained, output_dim: 6}, layers: [global_average_pooling1d]}"
    training = "epochs: 15, optimizer: {kind: adam, learning_rate: 0.1}"
    spec = write_spec(tmp_path, f"{{{source}, text: [title]}}", model=model, training=training)
    texts = clustered(trained(spec), "train")
    assert texts.are_hidden
    assert texts.adjusted_rand_index is not None
    assert texts.adjusted_rand_index > 0.8


def test_series_volumes_and_forecasts_have_clusters(tmp_path: Path) -> None:
    save_series(tmp_path / "series.npz")
    layers = "[{kind: conv1d, filters: 4, kernel_size: 3, padding: same, activation: relu}]"
    spec = write_spec(
        tmp_path,
        "{kind: npz, path: series.npz}",
        task="binary",
        model=f"{{kind: sequence, layers: {layers}}}",
        training=LEARNED,
    )
    series = clustered(trained(spec))
    assert series.features == 4
    assert series.adjusted_rand_index is not None
    assert series.adjusted_rand_index > 0.7
    save_volumes(tmp_path / "volumes.npz", examples=40)
    spec = write_spec(tmp_path, "{kind: npz, path: volumes.npz}", task="binary", name="volumes", training="epochs: 1")
    volumes = trained(spec)
    assert [entry.kind for entry in explain(volumes)] == ["clusters"]  # no other method takes volumes
    spec = write_spec(
        tmp_path, f"{{{_days(tmp_path)}}}", task="forecast", name="days", training="epochs: 1", data="batch_size: 16"
    )
    forecast = clustered(trained(spec))
    assert forecast.no_agreement == "the targets are numbers, not classes"
    assert list(forecast.clusters[0].targets) == ["y+1", "y+2", "y+3"]


def test_a_split_of_a_single_class_has_no_agreement(tmp_path: Path) -> None:
    random, rows = np.random.default_rng(0), ["x,z,part,kind"]
    for number in range(60):
        kind = "ab"[number % 2]
        part = "test" if kind == "a" and number < 40 else "validation" if number > 50 else "train"
        rows.append(f"{random.normal():.3f},{random.normal():.3f},{part},{kind}")
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    source = "{kind: csv, path: rows.csv, target: kind}"
    run = trained(write_spec(tmp_path, source, task="binary", data="split: {column: part}", training="epochs: 1"))
    content = clustered(run)
    assert content.no_agreement == "all examples have the label a"
    assert "no agreement with labels: all examples have the label a" in explanations(run)[0].text


def test_of_a_large_split_a_sample_is_drawn_from_the_seed(tmp_path: Path) -> None:
    source = "{kind: playground, name: gaussians, examples: 3400}"
    run = trained(write_spec(tmp_path, source, task="binary", data="batch_size: 512", training="epochs: 1"))
    content = clustered(run, "train", clusters=2)
    assert (content.examples, content.split_examples) == (MOST_EXAMPLES, run.data()["examples"]["train"])
    assert f"a sample of 2,000 of {content.split_examples:,} examples" in explanations(run)[0].text
    places = hidden(run, "train").places
    assert (np.diff(places) > 0).all()
    np.testing.assert_array_equal(places, hidden(run, "train").places)


def test_arguments_that_do_not_fit_are_refused(blobs: RunFolder, images: RunFolder, tmp_path: Path) -> None:
    run, of_images = dlcli.Run(blobs.path), dlcli.Run(images.path)
    cases: list[tuple[dlcli.Run, dict[str, Any], str]] = [
        (run, {"clusters": 3}, "--clusters, --cluster-method and --projection need --method clusters"),
        (run, {"method": "clusters", "clusters": 900}, "--clusters: expected at most 24, the number of different examples"),
        (run, {"method": "clusters", "cluster_method": "dbscan", "clusters": 2}, "finds the number of clusters"),
        (run, {"method": "clusters", "class_name": "blue"}, "clusters does not explain a single class: omit --class"),
        (run, {"method": "clusters", "files": ["a.npy"]}, "clusters explains the whole model: omit FILE"),
        (run, {"method": "clusters", "split": "tset"}, "--split: this run has no tset split; it has train, validation, test"),
        (of_images, {"method": "filters", "split": "train"}, "filters reads no examples: omit --split"),
        (of_images, {"files": ["a.png"], "split": "train"}, "files are explained, not a split: omit --split"),
    ]
    for run_of_case, arguments, message in cases:
        with pytest.raises(UsageError, match=message):
            run_of_case.explain(**arguments)


def test_other_methods_explain_the_requested_split(blobs: RunFolder) -> None:
    (explanation,) = explain(blobs, method="permutation", split="train")
    assert explanation.title == "Permutation importance on the train split"
    assert len(explain(blobs, split="validation")) == 1


def test_a_damaged_file_of_clusters_is_refused(blobs: RunFolder) -> None:
    explain(blobs, method="clusters")
    path = blobs.explanations_path / "clusters.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"examples": 24', '"examples": -1'), encoding="utf-8")
    with pytest.raises(DamagedFile, match=r"clusters\.json"):
        read_clusters(blobs)
    path.write_text(text, encoding="utf-8")
