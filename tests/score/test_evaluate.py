"""`evaluate`: its scores are scikit-learn's of its own `predictions.csv`; other data, slices, thresholds, temperature."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pictures import drawn_pictures
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

pytestmark = pytest.mark.usefixtures("without_pictures")

Array = np.ndarray[Any, Any]
ALL = "accuracy, precision, recall, f1, {kind: f1, average: weighted}, auc, {kind: auc, curve: pr}"


def probabilities(table: pd.DataFrame) -> Array:
    return table[[name for name in table if str(name).startswith("p_")]].to_numpy()


def expected_of_classes(table: pd.DataFrame) -> dict[str, float]:
    truth, predicted, shares = table["label"], table["predicted"], probabilities(table)
    names = [str(name)[2:] for name in table if str(name).startswith("p_")]
    members = np.array([truth == name for name in names]).T
    numbers = np.array([names.index(label) for label in truth])
    label_shares = np.maximum(shares[np.arange(len(truth)), numbers], 1e-7)
    return {
        "loss": float(-np.log(label_shares).mean()),
        "accuracy": metrics.accuracy_score(truth, predicted),
        "precision": metrics.precision_score(truth, predicted, average="macro", zero_division=0),
        "recall": metrics.recall_score(truth, predicted, average="macro", zero_division=0),
        "f1": metrics.f1_score(truth, predicted, average="macro"),
        "f1_weighted": metrics.f1_score(truth, predicted, average="weighted"),
        "auc": metrics.roc_auc_score(members, shares),
        "auc_pr": metrics.average_precision_score(members, shares),
        "top_3": metrics.top_k_accuracy_score(numbers, shares, k=3, labels=range(len(names))),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "mcc": metrics.matthews_corrcoef(truth, predicted),
        "kappa": metrics.cohen_kappa_score(truth, predicted),
    }


def expected_of_binary(table: pd.DataFrame) -> dict[str, float]:
    second = str(table.columns[-1])[2:]
    truth, predicted, shares = table["label"] == second, table["predicted"] == second, table[f"p_{second}"]
    return {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "precision": metrics.precision_score(truth, predicted),
        "recall": metrics.recall_score(truth, predicted),
        "f1": metrics.f1_score(truth, predicted),
        "f1_weighted": metrics.f1_score(truth, predicted),
        "auc": metrics.roc_auc_score(truth, shares),
        "auc_pr": metrics.average_precision_score(truth, shares),
        "loss": metrics.log_loss(truth, shares.clip(1e-7, 1 - 1e-7)),
    }


def expected_of_values(table: pd.DataFrame) -> dict[str, float]:
    truth, predicted = (table[[name for name in table if str(name).startswith(kind)]] for kind in ("label_", "predicted_"))
    return {
        "loss": metrics.mean_squared_error(truth, predicted),
        "mae": metrics.mean_absolute_error(truth, predicted),
        "mse": metrics.mean_squared_error(truth, predicted),
        "rmse": metrics.root_mean_squared_error(truth, predicted),
        "mape": 100 * metrics.mean_absolute_percentage_error(truth, predicted),
        "r2": metrics.r2_score(truth, predicted),
    }


SETS = {
    "digits": ("classification", f"[{ALL}, {{kind: top_k, k: 3}}, balanced_accuracy, mcc, kappa]", expected_of_classes),
    "breast_cancer": ("binary", f"[{ALL}]", expected_of_binary),
    "diabetes": ("regression", "[mae, mse, rmse, mape, r2]", expected_of_values),
}


@pytest.fixture(scope="module", params=SETS)
def scored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Callable[..., Any]]:
    task, metric_list, expected = SETS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    source = f"{{kind: builtin, name: {request.param}}}"
    spec = write_spec(
        folder, source, task=task, model="{kind: mlp, units: [16]}", training=f"epochs: 3, metrics: {metric_list}"
    )
    with drawn_pictures() if task == "regression" else nullcontext():
        return trained(spec), expected


def test_every_score_equals_scikit_learns_score_of_the_stored_predictions(scored: tuple[RunFolder, Callable[..., Any]]) -> None:
    run, expected = scored
    table = pd.read_csv(run.evaluation("test") / "predictions.csv", dtype={"label": str, "predicted": str})
    scores = {name: entry["value"] for name, entry in run.metrics()["metrics"].items()}
    expected_scores = expected(table)
    assert set(scores) == set(expected_scores)
    assert scores == pytest.approx(expected_scores, abs=1e-6, rel=1e-6)


def test_the_loss_is_the_mean_of_the_stored_losses_and_runs_are_compared_by_them(
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


def test_stored_predictions_read_back_bit_for_bit(scored: tuple[RunFolder, Callable[..., Any]], tmp_path: Path) -> None:
    run, _ = scored
    first = read_outcome(run, "test")
    write_outcome(first, tmp_path)
    assert (tmp_path / "predictions.csv").read_bytes() == (run.evaluation("test") / "predictions.csv").read_bytes()
    assert first.scores is not None
    assert first.scores.dtype == np.float32


def test_many_predictions_are_stored_as_parquet(
    scored: tuple[RunFolder, Callable[..., Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(shutil.copytree(scored[0].path, scored[0].path.with_name("20000101-000000-copy"), dirs_exist_ok=True))
    first = read_outcome(run, "test")
    monkeypatch.setattr(outcomes, "MANY_CELLS", 10)
    write_outcome(first, run.evaluation("test"))
    assert not (run.evaluation("test") / "predictions.csv").exists()
    reread = read_outcome(run, "test")
    assert (reread.ids, reread.classes) == (first.ids, first.classes)
    assert reread.scores is not None
    assert first.scores is not None
    assert reread.scores.tobytes() == first.scores.tobytes()
    assert reread.truth.tolist() == first.truth.tolist()
    (run.evaluation("test") / "predictions.parquet").write_bytes(b"PAR1 of something else PAR1")
    with pytest.raises(DamagedFile, match="not a Parquet file"):
        read_outcome(run, "test")


def test_a_regression_writes_its_deciles_pictures_and_largest_errors(scored: tuple[RunFolder, Callable[..., Any]]) -> None:
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


def test_thumbnails_are_small_pictures_of_the_listed_examples(run_of_photos: RunFolder) -> None:
    folder = run_of_photos.evaluation("test")
    rows = read_table(folder / "examples.csv")
    assert rows
    for row in rows:
        assert row["id"].split("/")[0] == row["label"]
        with Image.open(folder / row["thumbnail"]) as picture:
            assert max(picture.size) == 96


def test_other_photos_are_scored_into_a_separate_folder(run_of_photos: RunFolder, tmp_path: Path) -> None:
    save_photos(tmp_path / "New Ones", light=5)
    test_scores = run_of_photos.metrics("test")
    scores = evaluate(run_of_photos, "", data=str(tmp_path / "New Ones"))
    assert scores.examples == 5
    assert scores.split.startswith("data-new-ones-")
    rows = read_table(run_of_photos.evaluation(scores.split) / "predictions.csv")
    assert {row["label"] for row in rows} == {"light"}
    assert run_of_photos.metrics("test") == test_scores
    assert run_of_photos.scored_splits()[-1] == scores.split
    assert scores.metrics["accuracy"] == np.mean([row["label"] == row["predicted"] for row in rows])


def test_other_data_with_unknown_classes_is_refused(run_of_photos: RunFolder, tmp_path: Path) -> None:
    save_photos(tmp_path / "other", grey=2, light=2)
    with pytest.raises(DataError, match=r"the run has no class 'grey'; it has dark, light"):
        evaluate(run_of_photos, "", data=str(tmp_path / "other"))
    with pytest.raises(DataError, match="no folder"):
        evaluate(run_of_photos, "", data=str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="scored as a whole"):
        evaluate(run_of_photos, "test", data=str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("kind", "other_kind", "message"),
    [
        ("uint8", "float32", "contains numbers, not images; the model takes images of uint8, 0 to 255"),
        ("float32", "uint8", "contains uint8 images; the model was trained on another numeric type"),
        ("float32", "narrow", r"its examples have shape \(8, 7, 1\); the model takes \(8, 8, 1\)"),
    ],
)
def test_other_arrays_of_another_type_or_shape_are_refused(tmp_path: Path, kind: str, other_kind: str, message: str) -> None:
    pixels, labels = np.random.default_rng(0).integers(0, 255, (24, 8, 8, 1)), np.arange(24) % 2
    arrays = {"uint8": pixels.astype("uint8"), "float32": pixels / 255, "narrow": pixels[:, :, :7] / 255}
    for name, inputs in arrays.items():
        np.savez(tmp_path / f"{name}.npz", x=inputs, y=labels)
    spec = write_spec(tmp_path, f"{{kind: npz, path: {kind}.npz}}", task="binary", training="epochs: 1")
    run = trained(spec)
    assert evaluate(run, "", data=str(tmp_path / f"{kind}.npz")).examples == 24
    with pytest.raises(DataError, match=message):
        evaluate(run, "", data=str(tmp_path / f"{other_kind}.npz"))


def test_photos_are_sliced_by_their_metadata(run_of_photos: RunFolder, photos: Path) -> None:
    with pytest.raises(UsageError, match=r"has no metadata\.csv"):
        evaluate(run_of_photos, "test", options=EvaluateOptions(slices=["camera"]))
    ids = [example_id for example_id, split in run_of_photos.split().items() if split == "test"]
    lines = [f"{example_id},{'old' if at % 2 else 'new'}" for at, example_id in enumerate(ids)]
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


def test_rows_are_sliced_by_used_and_by_dropped_columns(run_of_rows: RunFolder) -> None:
    evaluate(run_of_rows, "validation", options=EvaluateOptions(slices=["place", "note"]))
    rows = read_table(run_of_rows.evaluation("validation") / "slices.csv")
    assert {row["column"] for row in rows} == {"place", "note"}
    ids = [example_id for example_id, split in run_of_rows.split().items() if split == "validation"]
    validation_rows = pd.read_csv(Path(run_of_rows.path).parents[2] / "rows.csv").iloc[
        [int(example_id.split("/")[1]) for example_id in ids]
    ]
    expected = validation_rows["place"].value_counts().to_dict()
    assert {row["value"]: int(row["examples"]) for row in rows if row["column"] == "place"} == expected


def test_thresholds_minimise_the_requested_costs(run_of_rows: RunFolder) -> None:
    evaluate(run_of_rows, "validation", options=EvaluateOptions(costs=(1, 9)))
    thresholds = {row["best_by"]: row for row in run_of_rows.metrics("validation")["thresholds"]}
    assert set(thresholds) == {"default", "f1", "cost"}
    table = pd.read_csv(run_of_rows.evaluation("validation") / "predictions.csv")
    yes, shares = table["label"] == "yes", table["p_yes"]
    for row in thresholds.values():
        predicted = shares > row["threshold"]
        assert row["cost"] == (predicted & ~yes).sum() + 9 * (~predicted & yes).sum()
    assert thresholds["cost"]["cost"] <= min(thresholds["default"]["cost"], thresholds["f1"]["cost"])


def test_a_temperature_is_stored_and_reported_with_the_calibration(run_of_rows: RunFolder) -> None:
    assert run_of_rows.temperature() is None
    evaluate(run_of_rows, "validation", options=EvaluateOptions(calibrate=True))
    temperature = run_of_rows.temperature()
    assert temperature is not None
    entry = run_of_rows.metrics("validation")["calibration"]["temperature"]
    assert entry["value"] == pytest.approx(temperature)
    evaluate(run_of_rows, "test")
    assert run_of_rows.metrics("test")["calibration"]["temperature"]["value"] == pytest.approx(temperature)
    rows = read_table(run_of_rows.evaluation("test") / "calibration.csv")
    assert sum(int(row["examples"]) for row in rows) == run_of_rows.metrics("test")["examples"]


def test_other_rows_are_read_like_the_training_rows(run_of_rows: RunFolder, tmp_path: Path) -> None:
    write_rows(tmp_path / "later.csv", 40, seed=7)
    scores = evaluate(run_of_rows, "", data=str(tmp_path / "later.csv"), options=EvaluateOptions(slices=["place"]))
    assert scores.examples == 40
    assert scores.metrics["accuracy"] > scores.baseline["accuracy"]
    (tmp_path / "odd.csv").write_text("size,place,note,label\nlarge,north,1,yes\n")
    with pytest.raises(DataError, match="column `size` is numeric in the training file, but contains 'large' here"):
        evaluate(run_of_rows, "", data=str(tmp_path / "odd.csv"))


def test_options_that_do_not_fit_the_task_are_refused(run_of_photos: RunFolder, tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, "{kind: builtin, name: iris}", data="split: {validation: 0}", training="epochs: 1"))
    for options, message in (
        (EvaluateOptions(costs=(1, 2)), "thresholds of binary and multilabel tasks"),
        (EvaluateOptions(calibrate=True), "no validation split"),
    ):
        with pytest.raises(UsageError, match=message):
            evaluate(run, "test", options=options)
    with pytest.raises(UsageError, match="no columns to slice by"):
        evaluate(run, "test", options=EvaluateOptions(slices=["petal"]))
    with pytest.raises(UsageError, match="no folder or file"):
        evaluate(run, "", data=str(tmp_path))


def test_predictions_of_several_labels_are_written_exactly(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 2, (4, 2)).astype("float32"), random.random((4, 2), dtype="float32")
    write_outcome(Outcome(TASKS["multilabel"], "test", list("abcd"), ("one", "two"), labels, scores), tmp_path)
    rows = read_table(tmp_path / "predictions.csv")
    assert list(rows[0]) == ["id", "label_one", "label_two", "predicted_one", "predicted_two"]
    assert (
        np.array([[row["predicted_one"], row["predicted_two"]] for row in rows], dtype="float32").tobytes() == scores.tobytes()
    )
