"""Label errors are ranked by models that did not see the label: a simple one, or the network of a run."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trainings import IRIS, trained, write_spec

from data.doctor import planting
from dlcli.data.doctor.check import Subject, no_progress
from dlcli.data.doctor.checks.label_errors import LabelErrors, label_probabilities
from dlcli.data.doctor.doctor import open_subject
from dlcli.data.doctor.features import image_features
from dlcli.data.doctor.network_answers import network_answers
from dlcli.data.doctor.past_trainings import past_trainings
from dlcli.errors import DataError
from dlcli.runs import RunFolder
from dlcli.runs.reporter import Reporter
from dlcli.spec.load import load
from dlcli.training.train import train

pytestmark = pytest.mark.usefixtures("without_pictures")


def _flipped(folder: Path, name: str, share: float = 0.05) -> tuple[Path, set[str]]:
    """Writes a set of which a share has another label, and returns its spec and the ids of these examples."""
    table = planting.bundled(name)
    places = np.random.default_rng(0).permutation(len(table.rows))[: round(share * len(table.rows))].tolist()
    classes = table.classes
    for place in places:
        label = table.rows[place]["label"]
        table.rows[place]["label"] = classes[(classes.index(label) + 1) % len(classes)]
    return planting.write(table, folder), {f"train/{place}" for place in places}


def _subject(spec: Path) -> Subject:
    return open_subject(load(spec).experiment, offline=True, thorough=False)


def _area(ids: list[str], quality: np.ndarray[tuple[int], np.dtype[np.float64]], wrong: set[str]) -> float:
    """Returns the share of pairs of a wrong and a right label in which the wrong one has the lower quality."""
    is_wrong = np.array([name in wrong for name in ids])
    bad, good = quality[is_wrong][:, None], quality[~is_wrong][None]
    return float((bad < good).mean() + (bad == good).mean() / 2)


def test_planted_label_errors_of_a_table_are_ranked_first_and_most_are_named(tmp_path: Path) -> None:
    spec, wrong = _flipped(tmp_path, "breast_cancer")
    subject = _subject(spec)
    probabilities = label_probabilities(subject, no_progress)
    assert _area(probabilities.ids, probabilities.of_labels, wrong) > 0.95
    (issue,) = LabelErrors().issues(subject, no_progress)
    assert issue.severity == "warning"
    assert len(wrong & set(issue.examples)) >= 0.7 * len(wrong)
    assert len(set(issue.examples) - wrong) <= 0.02 * len(probabilities.ids)
    assert not issue.exclude


def test_the_network_of_a_run_judges_new_examples_itself_and_known_ones_out_of_fold(tmp_path: Path) -> None:
    model, training = "{kind: mlp, units: [16]}", "epochs: 40, optimizer: {kind: adam, learning_rate: 0.03}"
    run = trained(write_spec(tmp_path, IRIS, model=model, training=training))
    subject = replace(_subject(write_spec(tmp_path, IRIS, name="other", data="split: {test: 0.5}")), runs=(run,))
    probabilities = label_probabilities(subject, no_progress)
    assert probabilities.trained_on == run.data()["examples"]["train"]
    assert probabilities.accuracy > 0.9
    assert probabilities.values.sum(axis=1) == pytest.approx(1, abs=1e-5)


def _halves(folder: Path) -> None:
    """Writes rows of numbers into `all.npz`, their halves into `first.npz` and `second.npz`."""
    rows = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
    for name, part in (("first", rows[:20]), ("second", rows[20:]), ("all", rows)):
        np.savez(folder / f"{name}.npz", x=part, y=(part[:, 0] > 0).astype("int64"))


def _on_half(folder: Path, name: str, *, model: str = "{kind: mlp, units: [4]}", training: str = "epochs: 1") -> RunFolder:
    return trained(_on(folder, name, model=model, training=training))


def _on(folder: Path, name: str, **sections: str) -> Path:
    data = "split: {validation: 0, test: 0}"
    return write_spec(folder, f"{{kind: npz, path: {name}.npz}}", data=data, name=name, **sections)


def test_a_run_has_seen_the_examples_of_the_run_whose_weights_it_started_from(tmp_path: Path) -> None:
    _halves(tmp_path)
    first = _on_half(tmp_path, "first")
    training = f"initial_weights: {first.path}, stages: [{{name: head, train: head, epochs: 1}}]"
    second = _on_half(tmp_path, "second", training=training)
    subject = _subject(_on(tmp_path, "all"))
    of_first, of_second = (network_answers(subject, run, no_progress) for run in (first, second))
    assert of_first.is_trained_on.tolist() == [True] * 20 + [False] * 20
    assert of_second.is_trained_on.all()
    assert of_second.has_learned_features
    shutil.rmtree(first.path)
    of_orphan = network_answers(_subject(_on(tmp_path, "first", training="epochs: 2")), second, no_progress)
    assert of_orphan.is_trained_on.all()
    assert of_orphan.has_learned_features


def test_a_head_on_the_network_of_another_run_has_seen_the_examples_of_both(tmp_path: Path) -> None:
    _halves(tmp_path)
    first = _on_half(tmp_path, "first")
    model = f"{{kind: transfer, backbone: {{kind: run, run: {first.path}}}, head: [{{kind: dense, units: 3}}]}}"
    trainings = past_trainings(_on_half(tmp_path, "second", model=model))
    assert [run.experiment().name for run, _, _ in trainings.runs] == ["second", "first"]
    assert trainings.train_body
    subject = _subject(_on(tmp_path, "all"))
    assert trainings.trained_on([examples.inputs for examples in subject.splits.distinct.values()]).all()


def test_a_run_on_other_columns_is_refused(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, "{kind: playground, name: circles, examples: 60}", task="binary"))
    with pytest.raises(DataError, match="was trained on other columns, or examples of another shape"):
        label_probabilities(replace(_subject(write_spec(tmp_path, IRIS)), runs=(run,)), no_progress)


def test_features_of_images_tell_colours_and_directions() -> None:
    ramp = np.tile(np.linspace(0, 255, 32, dtype="float32"), (32, 1))
    images = np.stack([ramp, ramp.T])[..., None].repeat(3, axis=3)
    across, down = image_features(images)
    assert across.shape == (4 * 4 * (8 + 3),)
    assert across[:128].reshape(16, 8).argmax(axis=1).tolist() == [0] * 16
    assert down[:128].reshape(16, 8).argmax(axis=1).tolist() == [4] * 16


@pytest.mark.slow
def test_real_label_errors_of_photos_are_ranked_better_by_a_network_than_by_simple_features(
    tmp_path: Path, test_data: Path
) -> None:
    """54 of 552 labels are wrong. The network is a frozen MobileNet whose head was fitted on 1,350 other photos."""
    images, weights = test_data / "images", test_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    for path in (images / "cifar10_subset").rglob("*.jpg"):
        copy = tmp_path / "photos" / path.parent.name / f"{path.parents[1].name}_{path.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    backbone = f"{{kind: mobilenet, alpha: 0.25, input_size: [128, 128], weights: {weights}}}"
    model = f"{{kind: transfer, backbone: {backbone}, head: {{kind: logistic_regression, C: 0.01}}}}"
    source, split = "{kind: folder, path: photos}", "split: {validation: 0.1, test: 0}"
    run = train(load(write_spec(tmp_path, source, model=model, data=split, training="")), tmp_path / "runs", Reporter())
    with (images / "cifar10_label_issues.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = {f"{row['given_label']}/{Path(row['file']).name}" for row in rows if row["review"] == "error"}
    source = f"{{kind: folder, path: {images / 'cifar10_label_issues'}}}"
    simple = _subject(
        write_spec(tmp_path, source, model="{kind: cnn, layers: [flatten]}", data="image: {size: [32, 32]}", name="issues")
    )
    areas = []
    for subject in (simple, replace(simple, runs=(run,))):
        probabilities = label_probabilities(subject, no_progress)
        assert len(probabilities.ids) == 552
        areas.append(_area(probabilities.ids, probabilities.of_labels, wrong))
    assert areas[0] > 0.6
    assert areas[1] > 0.76
