"""Ensembles: the mean of the outputs of runs, as a run like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run_plain
from trainings import GAUSSIANS, MLP, SMALL_CNN, save_images, save_rows, trained, write_spec

import dlcli
from dlcli.errors import SpecError, UsageError
from dlcli.runs import RunFolder
from dlcli.runs.reporter import Reporter
from dlcli.runtime.engine import keras
from dlcli.score.evaluate import evaluate
from dlcli.spec.load import load
from dlcli.training.ensemble import combined
from dlcli.training.resume import resume
from dlcli.training.train import train

pytestmark = pytest.mark.usefixtures("without_pictures")


def pair(spec: Path, *more: str) -> list[RunFolder]:
    """Returns two runs of a spec with one split; `more` are the settings of the second."""
    first = trained(spec)
    return [first, trained(spec, [f"data.split.file={first.split_path}", "seed=1", *more])]


def averaged(runs: Sequence[RunFolder], *, write_up: bool = False, **options: Any) -> RunFolder:
    """Returns the ensemble of runs, in their runs folder."""
    return train(combined(runs, **options), runs[0].path.parents[1], Reporter(), write_up=write_up)


def saved(run: RunFolder) -> Any:
    return keras.saving.load_model(run.model_path, compile=False)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """Two runs of iris with different architectures and one split."""
    return pair(write_spec(tmp_path_factory.mktemp("members")), "model.units=[6,4]", "name=deeper")


@pytest.fixture(scope="module")
def ensemble(members: list[RunFolder]) -> RunFolder:
    return averaged(members, write_up=True)


def test_the_saved_model_is_the_mean_of_the_members_and_loads_without_dlcli(
    ensemble: RunFolder, members: list[RunFolder], tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).normal(3, 2, (20, 4)).astype("float32")
    np.save(tmp_path / "rows.npy", rows)
    code = """
import sys, numpy as np, keras
model = keras.saving.load_model(sys.argv[1])
assert not any(name.startswith("dlcli") for name in sys.modules)
np.save("means.npy", model.predict(np.load("rows.npy"), verbose=0))
"""
    process = run_plain(code, ensemble.model_path, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    expected = np.mean([saved(run).predict(rows, verbose=0) for run in members], axis=0)
    np.testing.assert_allclose(np.load(tmp_path / "means.npy"), expected, rtol=1e-6)


def test_weights_are_shares_of_the_mean(members: list[RunFolder]) -> None:
    weighted = averaged(members, weights=[3, 1], name="weighted")
    rows = np.random.default_rng(0).normal(3, 2, (20, 4)).astype("float32")
    first, second = (saved(run).predict(rows, verbose=0) for run in members)
    np.testing.assert_allclose(saved(weighted).predict(rows, verbose=0), 0.75 * first + 0.25 * second, rtol=1e-5)
    assert weighted.name == "weighted"


def test_an_ensemble_is_scored_on_the_common_test_split_beside_its_members(
    ensemble: RunFolder, members: list[RunFolder]
) -> None:
    scores = ensemble.metrics()
    assert ensemble.split() == members[0].split()
    assert ensemble.name == "ensemble"
    assert [entry["run"] for entry in scores["members"]] == [run.id for run in members]
    for entry, run in zip(scores["members"], members, strict=True):
        assert entry["metrics"]["accuracy"] == run.metrics()["metrics"]["accuracy"]
        assert entry["metrics"]["loss"]["value"] == pytest.approx(run.metrics()["metrics"]["loss"]["value"], rel=1e-5)
    assert scores["against_best"]["metric"] == "accuracy"
    assert len(scores["against_best"]["sentences"]) == 2


def test_evaluate_gives_the_same_bits_again(ensemble: RunFolder) -> None:
    before = ensemble.metrics()
    evaluate(ensemble, "")
    assert ensemble.metrics() == before


def test_report_and_model_card_name_the_members(ensemble: RunFolder, members: list[RunFolder]) -> None:
    card, report = ensemble.model_card_path.read_text(), ensemble.report_path.read_text()
    assert "An ensemble of 2 models that predicts one of 3 classes" in card
    for run in members:
        assert run.id in report
        assert run.path.name in card
    assert "Members of the ensemble on the same examples" in report


def test_an_ensemble_predicts_explains_and_exports(ensemble: RunFolder, tmp_path: Path) -> None:
    run = dlcli.Run(ensemble.path)
    assert run.predict(np.array([[5.1, 3.5, 1.4, 0.2]], dtype="float32"))[0]["predicted"] in run.folder.data()["classes"]
    assert run.export("keras", to=tmp_path / "exported").path.is_dir()


def test_an_ensemble_is_not_trained(ensemble: RunFolder) -> None:
    with pytest.raises(
        UsageError, match=r"does not support `model\.kind: ensemble`: it combines the trained models of its runs"
    ):
        dlcli.finetune(dlcli.Run(ensemble.path))
    with pytest.raises(
        SpecError, match=r"training.epochs: `model.kind: ensemble` is built from trained models; set `epochs: 0`"
    ):
        resume(ensemble, Reporter(), overrides=["training.epochs=3"], schedule=None, offline=True)


def test_runs_of_another_split_are_refused_with_the_number_of_known_examples(members: list[RunFolder], tmp_path: Path) -> None:
    other = trained(write_spec(tmp_path), ["seed=5", "training.epochs=0"])
    test = [name for name, split in members[0].split().items() if split == "test"]
    known = sum(other.split()[name] == "train" for name in test)
    with pytest.raises(UsageError, match=f"was trained on {known} of the 30 test examples of the ensemble, such as"):
        combined([members[0], other])
    assert known > 0


def test_the_test_split_of_a_written_spec_is_checked_too(members: list[RunFolder], tmp_path: Path) -> None:
    model = f"{{kind: ensemble, runs: [{members[0].path}, {members[1].path}]}}"
    with pytest.raises(UsageError, match="of the 30 test examples of the ensemble"):
        trained(write_spec(tmp_path, model=model, training="epochs: 0"), ["seed=5"])


def test_runs_that_do_not_fit_together_are_refused_by_name(members: list[RunFolder], tmp_path: Path) -> None:
    binary = trained(write_spec(tmp_path, GAUSSIANS, task="binary", training="epochs: 0"))
    with pytest.raises(UsageError, match=f"{binary.id} has `task: binary`, the ensemble has `task: classification`"):
        combined([members[0], binary])
    order = "classes: [virginica, versicolor, setosa]"
    turned = trained(write_spec(tmp_path, data=order, training="epochs: 0", name="turned"))
    with pytest.raises(UsageError, match=r"classes of the ensemble in another order .*train it with the same `data.classes`"):
        combined([members[0], turned])
    with pytest.raises(UsageError, match="is named twice"):
        combined([members[0], members[0]])
    with pytest.raises(UsageError, match="an ensemble needs two runs or more"):
        combined(members[:1])


def test_wrong_ensembles_in_a_spec_are_found_by_check(members: list[RunFolder], tmp_path: Path) -> None:
    model = f"{{kind: ensemble, runs: [{members[0].path}, {members[0].path}, nowhere], weights: [1]}}"
    spec = write_spec(tmp_path, model=model, training="epochs: 0")
    with pytest.raises(SpecError) as caught:
        load(spec)
    text = str(caught.value)
    assert f"model.runs.1: {members[0].path} is also run 1 of the list" in text
    assert "model.runs.2: expected the folder of a completed run" in text
    assert "model.weights: expected a weight for each of the 3 runs, found 1" in text


def test_settings_of_a_training_are_refused_in_the_spec_of_an_ensemble(members: list[RunFolder], tmp_path: Path) -> None:
    model = f"{{kind: ensemble, runs: [{members[0].path}, {members[1].path}]}}"
    data = "balance: class_weight, augment: [{kind: column_noise, stddev: 0.1}]"
    with pytest.raises(SpecError) as caught:
        load(write_spec(tmp_path, model=model, data=data, training="epochs: 0"))
    text = str(caught.value)
    assert "data.balance: `model.kind: ensemble` is built from trained models; set `balance: none`" in text
    assert "data.augment: `model.kind: ensemble` is built from trained models; remove this field" in text


@pytest.mark.slow
def test_columns_of_a_table_binary(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = [f"{a:.3f},{'xyz'[at % 3]},{'yes' if a > 0 else 'no'}" for at, a in enumerate(random.normal(size=90))]
    (tmp_path / "rows.csv").write_text("\n".join(["a,member_1,answer", *lines]))
    source = "{kind: csv, path: rows.csv, target: answer}"
    runs = pair(write_spec(tmp_path, source, task="binary"), "model.units=[4]")
    scores = averaged(runs).metrics()
    assert [entry["run"] for entry in scores["members"]] == [run.id for run in runs]
    assert scores["metrics"]["accuracy"]["value"] > 0.3


@pytest.mark.slow
def test_values_of_a_regression_are_averaged_in_the_units_of_the_targets(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npz")
    runs = pair(write_spec(tmp_path, "{kind: npz, path: rows.npz, target: y2}", task="regression"))
    rows = np.load(tmp_path / "rows.npz")["x"]
    expected = np.mean([saved(run).predict(rows, verbose=0) for run in runs], axis=0)
    ensemble = averaged(runs)
    np.testing.assert_allclose(saved(ensemble).predict(rows, verbose=0), expected, rtol=1e-5)
    assert ensemble.metrics()["against_best"]["metric"] == "mae"


def test_images_of_networks_with_different_architectures(tmp_path: Path) -> None:
    save_images(tmp_path / "images.npz")
    runs = pair(write_spec(tmp_path, "{kind: npz, path: images.npz}", model=SMALL_CNN, training="epochs: 1"), f"model={MLP}")
    ensemble = averaged(runs)
    with pytest.raises(UsageError, match=r"--method grad_cam .*each model of the ensemble has its own map"):
        dlcli.Run(ensemble.path).explain(method="grad_cam")
    smaller = trained(tmp_path / "tiny.yaml", ["data.image.size=[4,4]", "training.epochs=0", "name=smaller"])
    with pytest.raises(UsageError, match=r"has `data.image.size: \[4, 4\]`, the ensemble has \[8, 8\]"):
        combined([runs[0], smaller])


def test_runs_with_weights_of_classes_and_excluded_examples_are_averaged_without_both(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("id\ntrain/3\ntrain/77\n", encoding="utf-8")
    settings = ["data.balance=class_weight", f"data.exclude={bad}", "training.epochs=1"]
    runs = [trained(write_spec(tmp_path), settings)]
    runs += [trained(write_spec(tmp_path), [*settings, f"data.split.file={runs[0].split_path}", "seed=1"])]
    bad.unlink()
    ensemble = averaged(runs)
    assert ensemble.experiment().data.balance.kind == "none"
    assert ensemble.split() == runs[0].split()
    assert len(ensemble.split()) == 148
