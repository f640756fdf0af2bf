"""`evaluate`: its scores are scikit-learn's of its own `predictions.csv`; other data, slices, thresholds, temperature."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics
from trainings import SMALL_CNN, trained, write_spec

from dlcli.errors import DamagedFile, DataError, UsageError
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.score import outcome as outcomes
from dlcli.score.compare import pair_runs
from dlcli.score.evaluate import EvaluateOptions, evaluate
from dlcli.score.outcome import Outcome, read_outcome, write_outcome
from dlcli.tasks import TASKS

Array = np.ndarray[Any, Any]
ALL = "accuracy, precision, recall, f1, {kind: f1, average: weighted}, auc, {kind: auc, curve: pr}"


def probabilities(table: pd.DataFrame) -> Array:
    return table[[name for name in table if str(name).startswith("p_")]].to_numpy()


def expected_of_classes(table: pd.DataFrame) -> dict[str, float]:
    truth, guess, shares = table["label"], table["predicted"], probabilities(table)
    names = [str(name)[2:] for name in table if str(name).startswith("p_")]
    members = np.array([truth == name for name in names]).T
    numbers = np.array([names.index(one) for one in truth])
    right = np.maximum(shares[np.arange(len(truth)), numbers], 1e-7)
    return {
        "loss": float(-np.log(right).mean()),
        "accuracy": metrics.accuracy_score(truth, guess),
        "precision": metrics.precision_score(truth, guess, average="macro", zero_division=0),
        "recall": metrics.recall_score(truth, guess, average="macro", zero_division=0),
        "f1": metrics.f1_score(truth, guess, average="macro"),
        "f1_weighted": metrics.f1_score(truth, guess, average="weighted"),
        "auc": metrics.roc_auc_score(members, shares),
        "auc_pr": metrics.average_precision_score(members, shares),
        "top_3": metrics.top_k_accuracy_score(numbers, shares, k=3, labels=range(len(names))),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, guess),
        "mcc": metrics.matthews_corrcoef(truth, guess),
        "kappa": metrics.cohen_kappa_score(truth, guess),
    }


def expected_of_yes_and_no(table: pd.DataFrame) -> dict[str, float]:
    second = str(table.columns[-1])[2:]
    truth, guess, shares = table["label"] == second, table["predicted"] == second, table[f"p_{second}"]
    return {
        "accuracy": metrics.accuracy_score(truth, guess),
        "precision": metrics.precision_score(truth, guess),
        "recall": metrics.recall_score(truth, guess),
        "f1": metrics.f1_score(truth, guess),
        "f1_weighted": metrics.f1_score(truth, guess),
        "auc": metrics.roc_auc_score(truth, shares),
        "auc_pr": metrics.average_precision_score(truth, shares),
        "loss": metrics.log_loss(truth, shares.clip(1e-7, 1 - 1e-7)),
    }


def expected_of_numbers(table: pd.DataFrame) -> dict[str, float]:
    truth, guess = (table[[name for name in table if str(name).startswith(kind)]] for kind in ("label_", "predicted_"))
    return {
        "loss": metrics.mean_squared_error(truth, guess),
        "mae": metrics.mean_absolute_error(truth, guess),
        "mse": metrics.mean_squared_error(truth, guess),
        "rmse": metrics.root_mean_squared_error(truth, guess),
        "mape": 100 * metrics.mean_absolute_percentage_error(truth, guess),
        "r2": metrics.r2_score(truth, guess),
    }


SETS = {
    "digits": ("classification", f"[{ALL}, {{kind: top_k, k: 3}}, balanced_accuracy, mcc, kappa]", expected_of_classes),
    "breast_cancer": ("binary", f"[{ALL}]", expected_of_yes_and_no),
    "diabetes": ("regression", "[mae, mse, rmse, mape, r2]", expected_of_numbers),
}


@pytest.fixture(scope="module", params=SETS)
def scored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Callable[..., Any]]:
    task, wanted, expected = SETS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    source = f"{{kind: builtin, name: {request.param}}}"
    spec = write_spec(folder, source, task=task, model="{kind: mlp, units: [16]}", training=f"epochs: 3, metrics: {wanted}")
    return trained(spec), expected


def test_every_score_is_scikit_learns_of_the_predictions_alone(scored: tuple[RunFolder, Callable[..., Any]]) -> None:
    run, expected = scored
    table = pd.read_csv(run.evaluation("test") / "predictions.csv", dtype={"label": str, "predicted": str})
    found = {name: entry["value"] for name, entry in run.metrics()["metrics"].items()}
    wanted = expected(table)
    assert set(found) == set(wanted)
    assert found == pytest.approx(wanted, abs=1e-6, rel=1e-6)


def test_the_loss_is_the_mean_of_the_losses_that_are_kept_and_runs_are_compared_by_them(
    scored: tuple[RunFolder, Callable[..., Any]],
) -> None:
    run, _ = scored
    losses = pd.read_csv(run.evaluation("test") / "losses.csv")
    assert losses["id"].tolist() == pd.read_csv(run.evaluation("test") / "predictions.csv")["id"].tolist()
    assert losses["loss"].mean() == pytest.approx(run.metrics()["metrics"]["loss"]["value"], rel=1e-6)
    (pairing,) = pair_runs([run, run], "test")
    assert (pairing.differences[-1].metric, pairing.differences[-1].verdict) == ("loss", "same")


def test_every_score_lies_in_its_interval(scored: tuple[RunFolder, Callable[..., Any]]) -> None:
    for name, entry in scored[0].metrics()["metrics"].items():
        low, high = entry["interval"]
        assert low <= entry["value"] <= high, name
        assert low < high


def test_what_is_read_back_is_what_was_predicted_to_the_bit(
    scored: tuple[RunFolder, Callable[..., Any]], tmp_path: Path
) -> None:
    run, _ = scored
    first = read_outcome(run, "test")
    write_outcome(first, tmp_path)
    assert (tmp_path / "predictions.csv").read_bytes() == (run.evaluation("test") / "predictions.csv").read_bytes()
    assert first.scores is not None
    assert first.scores.dtype == np.float32


def test_many_predictions_are_kept_as_parquet(
    scored: tuple[RunFolder, Callable[..., Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(shutil.copytree(scored[0].path, scored[0].path.with_name("20000101-000000-copy"), dirs_exist_ok=True))
    first = read_outcome(run, "test")
    monkeypatch.setattr(outcomes, "MANY_CELLS", 10)
    write_outcome(first, run.evaluation("test"))
    assert not (run.evaluation("test") / "predictions.csv").exists()
    again = read_outcome(run, "test")
    assert (again.ids, again.classes) == (first.ids, first.classes)
    assert again.scores is not None
    assert first.scores is not None
    assert again.scores.tobytes() == first.scores.tobytes()
    assert again.truth.tolist() == first.truth.tolist()
    (run.evaluation("test") / "predictions.parquet").write_bytes(b"PAR1 of something else PAR1")
    with pytest.raises(DamagedFile, match="not a Parquet file"):
        read_outcome(run, "test")


def test_a_regression_shows_its_errors_by_decile_and_in_pictures(scored: tuple[RunFolder, Callable[..., Any]]) -> None:
    run = scored[0]
    folder = run.evaluation("test")
    if not run.experiment().task.output.is_numeric:
        assert not (folder / "deciles.csv").exists()
        return
    rows = read_table(folder / "deciles.csv")
    assert [row["decile"] for row in rows] == [str(number) for number in range(1, 11)]
    for name in ("residuals.png", "predicted_against_actual.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 300
    assert {row["kind"] for row in read_table(folder / "examples.csv")} == {"largest_error"}


def save_photos(folder: Path, **counts: int) -> None:
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for at in range(count):
            pixels = random.integers(0, 120, (15, 20, 3)) + (120 if name == "light" else 0)
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{at}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    save_photos(folder / "sides", dark=14, light=14)
    return folder


@pytest.fixture(scope="module")
def run_of_photos(photos: Path) -> RunFolder:
    source = "{kind: folder, path: sides}"
    data = "image: {size: [12, 12]}, split: {validation: 0.2, test: 0.3}"
    return trained(write_spec(photos, source, task="binary", data=data, model=SMALL_CNN, training="epochs: 2"))


def test_thumbnails_are_small_pictures_of_the_examples_that_are_named(run_of_photos: RunFolder) -> None:
    folder = run_of_photos.evaluation("test")
    rows = read_table(folder / "examples.csv")
    assert rows
    for row in rows:
        assert row["id"].split("/")[0] == row["label"]
        with Image.open(folder / row["thumbnail"]) as picture:
            assert max(picture.size) == 96


def test_other_photos_are_scored_into_a_folder_of_their_own(run_of_photos: RunFolder, tmp_path: Path) -> None:
    save_photos(tmp_path / "New Ones", light=5)
    before = run_of_photos.metrics("test")
    found = evaluate(run_of_photos, "", data=str(tmp_path / "New Ones"))
    assert found.examples == 5
    assert found.split.startswith("data-new-ones-")
    rows = read_table(run_of_photos.evaluation(found.split) / "predictions.csv")
    assert {row["label"] for row in rows} == {"light"}
    assert run_of_photos.metrics("test") == before
    assert run_of_photos.scored_splits()[-1] == found.split
    assert found.metrics["accuracy"] == np.mean([row["label"] == row["predicted"] for row in rows])


def test_other_data_of_classes_that_the_run_has_not_is_refused(run_of_photos: RunFolder, tmp_path: Path) -> None:
    save_photos(tmp_path / "other", grey=2, light=2)
    with pytest.raises(DataError, match=r"the run has no class 'grey'; it has dark, light"):
        evaluate(run_of_photos, "", data=str(tmp_path / "other"))
    with pytest.raises(DataError, match="no folder"):
        evaluate(run_of_photos, "", data=str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="scored as a whole"):
        evaluate(run_of_photos, "test", data=str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("kind", "other", "message"),
    [
        ("uint8", "float32", "contains numbers, not images; the model takes images of uint8, 0 to 255"),
        ("float32", "uint8", "contains uint8 images; the model was trained on another numeric type"),
        ("float32", "narrow", r"its examples have shape \(8, 7, 1\); the model takes \(8, 8, 1\)"),
    ],
)
def test_other_arrays_of_another_type_or_shape_are_refused(tmp_path: Path, kind: str, other: str, message: str) -> None:
    pixels, labels = np.random.default_rng(0).integers(0, 255, (24, 8, 8, 1)), np.arange(24) % 2
    arrays = {"uint8": pixels.astype("uint8"), "float32": pixels / 255, "narrow": pixels[:, :, :7] / 255}
    for name, inputs in arrays.items():
        np.savez(tmp_path / f"{name}.npz", x=inputs, y=labels)
    spec = write_spec(tmp_path, f"{{kind: npz, path: {kind}.npz}}", task="binary", training="epochs: 1")
    run = trained(spec)
    assert evaluate(run, "", data=str(tmp_path / f"{kind}.npz")).examples == 24
    with pytest.raises(DataError, match=message):
        evaluate(run, "", data=str(tmp_path / f"{other}.npz"))


def test_photos_are_sliced_by_their_metadata(run_of_photos: RunFolder, photos: Path) -> None:
    with pytest.raises(UsageError, match=r"has no metadata\.csv"):
        evaluate(run_of_photos, "test", options=EvaluateOptions(slices=["camera"]))
    ids = [one for one, part in run_of_photos.split().items() if part == "test"]
    lines = [f"{one},{'old' if at % 2 else 'new'}" for at, one in enumerate(ids)]
    (photos / "sides" / "metadata.csv").write_text("file_name,camera\n" + "\n".join(lines) + "\n")
    evaluate(run_of_photos, "test", options=EvaluateOptions(slices=["camera"]))
    rows = [row for row in read_table(run_of_photos.evaluation("test") / "slices.csv") if row["metric"] == "accuracy"]
    assert {row["value"]: int(row["examples"]) for row in rows} == {"new": len(ids[::2]), "old": len(ids[1::2])}
    with pytest.raises(UsageError, match="did you mean 'camera'"):
        evaluate(run_of_photos, "test", options=EvaluateOptions(slices=["kamera"]))


ROWS = 90


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    write_rows(folder / "rows.csv", ROWS, seed=0)
    return folder


def write_rows(path: Path, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    size, place = random.normal(size=count), random.choice(["north", "south"], count)
    label = np.where(size + random.normal(0, 0.4, count) > 0, "yes", "no")
    pd.DataFrame({"size": size.round(3), "place": place, "note": np.arange(count), "label": label}).to_csv(path, index=False)


@pytest.fixture(scope="module")
def run_of_rows(table: Path) -> RunFolder:
    source = "{kind: csv, path: rows.csv, target: label, drop: [note]}"
    data = "split: {validation: 0.3, test: 0.3}"
    return trained(
        write_spec(
            table,
            source,
            task="binary",
            data=data,
            training="epochs: 20, metrics: [accuracy, f1], optimizer: {kind: adam, learning_rate: 0.05}",
        )
    )


def test_rows_are_sliced_by_a_column_that_the_model_sees_or_not(run_of_rows: RunFolder) -> None:
    evaluate(run_of_rows, "validation", options=EvaluateOptions(slices=["place", "note"]))
    rows = read_table(run_of_rows.evaluation("validation") / "slices.csv")
    assert {row["column"] for row in rows} == {"place", "note"}
    ids = [one for one, part in run_of_rows.split().items() if part == "validation"]
    found = pd.read_csv(Path(run_of_rows.path).parents[2] / "rows.csv").iloc[[int(one.split("/")[1]) for one in ids]]
    expected = found["place"].value_counts().to_dict()
    assert {row["value"]: int(row["examples"]) for row in rows if row["column"] == "place"} == expected


def test_thresholds_are_for_the_costs_that_were_asked_for(run_of_rows: RunFolder) -> None:
    evaluate(run_of_rows, "validation", options=EvaluateOptions(costs=(1, 9)))
    found = {row["best_by"]: row for row in run_of_rows.metrics("validation")["thresholds"]}
    assert set(found) == {"default", "f1", "cost"}
    table = pd.read_csv(run_of_rows.evaluation("validation") / "predictions.csv")
    yes, shares = table["label"] == "yes", table["p_yes"]
    for row in found.values():
        guess = shares > row["threshold"]
        assert row["cost"] == (guess & ~yes).sum() + 9 * (~guess & yes).sum()
    assert found["cost"]["cost"] <= min(found["default"]["cost"], found["f1"]["cost"])


def test_a_temperature_is_kept_and_told_beside_the_calibration(run_of_rows: RunFolder) -> None:
    assert run_of_rows.temperature() is None
    evaluate(run_of_rows, "validation", options=EvaluateOptions(calibrate=True))
    temperature = run_of_rows.temperature()
    assert temperature is not None
    found = run_of_rows.metrics("validation")["calibration"]["temperature"]
    assert found["value"] == pytest.approx(temperature)
    evaluate(run_of_rows, "test")
    assert run_of_rows.metrics("test")["calibration"]["temperature"]["value"] == pytest.approx(temperature)
    rows = read_table(run_of_rows.evaluation("test") / "calibration.csv")
    assert sum(int(row["examples"]) for row in rows) == run_of_rows.metrics("test")["examples"]


def test_other_rows_are_read_as_the_training_rows_are(run_of_rows: RunFolder, tmp_path: Path) -> None:
    write_rows(tmp_path / "later.csv", 40, seed=7)
    found = evaluate(run_of_rows, "", data=str(tmp_path / "later.csv"), options=EvaluateOptions(slices=["place"]))
    assert found.examples == 40
    assert found.metrics["accuracy"] > found.baseline["accuracy"]
    (tmp_path / "odd.csv").write_text("size,place,note,label\nlarge,north,1,yes\n")
    with pytest.raises(DataError, match="column `size` is numeric in the training file, but contains 'large' here"):
        evaluate(run_of_rows, "", data=str(tmp_path / "odd.csv"))


def test_what_does_not_fit_the_task_is_refused_before_anything_is_scored(run_of_photos: RunFolder, tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, "{kind: builtin, name: iris}", data="split: {validation: 0}", training="epochs: 1"))
    for wanted, words in (
        (EvaluateOptions(costs=(1, 2)), "thresholds of binary and multilabel tasks"),
        (EvaluateOptions(calibrate=True), "no validation split"),
    ):
        with pytest.raises(UsageError, match=words):
            evaluate(run, "test", options=wanted)
    with pytest.raises(UsageError, match="no columns to slice by"):
        evaluate(run, "test", options=EvaluateOptions(slices=["petal"]))
    with pytest.raises(UsageError, match="no folder or file"):
        evaluate(run, "", data=str(tmp_path))


def test_predictions_of_several_labels_read_back(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 2, (4, 2)).astype("float32"), random.random((4, 2), dtype="float32")
    write_outcome(Outcome(TASKS["multilabel"], "test", list("abcd"), ("one", "two"), labels, scores), tmp_path)
    rows = read_table(tmp_path / "predictions.csv")
    assert list(rows[0]) == ["id", "label_one", "label_two", "predicted_one", "predicted_two"]
    assert (
        np.array([[row["predicted_one"], row["predicted_two"]] for row in rows], dtype="float32").tobytes() == scores.tobytes()
    )
