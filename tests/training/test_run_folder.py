"""The contract of a run folder (README.md), on real trainings."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import run_plain
from trainings import Heard, column, outputs, trained, write_spec

from dlcli.data.splits import open_splits
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.score.evaluate import evaluate
from dlcli.spec.load import load, to_yaml

pytestmark = pytest.mark.usefixtures("without_pictures")

MODEL = "{kind: mlp, units: [6], activation: tanh, dropout: 0.2}"
TRAINING = "epochs: 4, metrics: [accuracy, f1, balanced_accuracy], optimizer: {kind: adam, learning_rate: 0.05}"


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, heard: Heard) -> RunFolder:
    folder = tmp_path_factory.mktemp("folder")
    return trained(write_spec(folder, model=MODEL, training=TRAINING), ["seed=3"], heard, write_up=True)


def test_a_run_holds_these_files_and_no_other(run: RunFolder) -> None:
    found = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    logs = {name for name in found if name.startswith("tensorboard/")}
    tables = ("predictions", "per_class", "confusion_matrix", "confusion_matrix_normalised", "calibration", "examples")
    pictures = ("confusion_matrix.png", "roc_curve.png", "pr_curve.png", "reliability.png")
    scores = ("metrics.json", "losses.csv", *(f"{name}.csv" for name in (*tables, "roc_curve", "pr_curve")), *pictures)
    top = ("spec.yaml", "source.yaml", "status.json", "environment.json", "data.json", "split.csv", "history.csv", "lock")
    (checkpoint,) = (name for name in found if name.startswith("checkpoints/"))
    assert re.fullmatch(r"checkpoints/\d{6}-[0-9a-f]{64}\.npz", checkpoint)
    written = ("checks.json", "data_report.json", "diagnosis.json", "model_card.md", "report.html", "curves.png", "log.txt")
    others = {*top, checkpoint, "model.keras", *written, *(f"evaluation/test/{name}" for name in scores)}
    assert found - logs == others
    assert logs


def test_the_folder_is_named_by_the_spec_and_the_time(run: RunFolder) -> None:
    assert re.fullmatch(r"tiny/\d{8}-\d{6}-[a-z]{4}", run.id)
    assert run.path.parents[1].name == "runs"


def test_status_tells_state_best_epoch_and_times(run: RunFolder) -> None:
    status = run.status()
    values = column(run, "val_loss")
    assert (status.state, status.epoch, status.epochs, status.error) == ("completed", 4, 4, "")
    assert (status.best_epoch, status.best_value) == (values.index(min(values)) + 1, min(values))
    assert status.process_started < status.started < status.first_step < status.finished
    assert status.step == 4 * len(range(0, run.data()["examples"]["train"], 32))


def test_history_has_a_row_an_epoch_with_these_columns(run: RunFolder) -> None:
    rows = run.history()
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    names = ["loss", "accuracy", "f1", "val_loss", "val_accuracy", "val_f1", "val_balanced_accuracy"]
    assert list(rows[0]) == ["stage", "epoch", *names, "learning_rate", "seconds", "examples_per_second"]
    assert {row["stage"] for row in rows} == {"train"}


def test_predictions_name_id_label_and_every_class(run: RunFolder) -> None:
    rows = read_table(run.evaluation("test") / "predictions.csv")
    classes = ["setosa", "versicolor", "virginica"]
    assert list(rows[0]) == ["id", "label", "predicted", "probability", *(f"p_{name}" for name in classes)]
    split = run.split()
    assert [row["id"] for row in rows] == [one for one, part in split.items() if part == "test"]
    for row in rows:
        shares = {name: float(row[f"p_{name}"]) for name in classes}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(shares, key=shares.__getitem__)
        assert float(row["probability"]) == shares[row["predicted"]]
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert right == pytest.approx(run.metrics()["metrics"]["accuracy"]["value"])


def test_confusion_matrix_and_class_table_agree_with_the_predictions(run: RunFolder) -> None:
    rows = read_table(run.evaluation("test") / "predictions.csv")
    matrix = read_table(run.evaluation("test") / "confusion_matrix.csv")
    for row in matrix:
        label = row["label \\ predicted"]
        for predicted in ("setosa", "versicolor", "virginica"):
            expected = sum(one["label"] == label and one["predicted"] == predicted for one in rows)
            assert int(row[predicted]) == expected
    table = read_table(run.evaluation("test") / "per_class.csv")
    assert list(table[0]) == ["class", "precision", "recall", "f1", "support"]
    f1 = np.mean([float(row["f1"]) for row in table])
    assert f1 == pytest.approx(run.metrics()["metrics"]["f1"]["value"], abs=1e-5)


def test_data_json_counts_what_split_csv_lists(run: RunFolder) -> None:
    data, split = run.data(), run.split()
    for part, examples in data["examples"].items():
        assert examples == sum(found == part for found in split.values()) == sum(data["counts"][part].values())
    assert data["classes"] == ["setosa", "versicolor", "virginica"]
    assert data["shape"] == [4]


def test_environment_names_versions_device_and_command(run: RunFolder) -> None:
    environment = run.environment()
    assert environment["packages"]["tensorflow"].startswith("2.")
    assert environment["precision"] == "float32"
    assert environment["determinism"] in ("exact", "seeded")
    assert environment["command"]


def test_source_yaml_is_the_file_as_given_with_its_set_options(run: RunFolder) -> None:
    given = (run.path.parents[2] / "tiny.yaml").read_text()
    text = (run.path / "source.yaml").read_text()
    assert text.startswith(given.rstrip("\n"))
    assert text.endswith("# --set seed=3\n")


def test_log_holds_what_was_said(run: RunFolder, heard: Heard) -> None:
    log = (run.path / "log.txt").read_text()
    assert heard.lines
    assert all(line in log for line in heard.lines)


def test_the_resolved_spec_has_no_auto_that_a_run_decides_and_resolves_to_itself(run: RunFolder) -> None:
    from dlcli.runtime.device import use_device
    from dlcli.training.train import resolved_for

    text = (run.path / "spec.yaml").read_text()
    again = load(run.path / "spec.yaml").experiment
    assert to_yaml(again) == text
    device = use_device(again.hardware, again.seed)
    assert to_yaml(resolved_for(again, open_splits(again), device)) == text
    assert "normalize: standard" in text
    assert "monitor: val_loss" in text
    assert "seed: 3" in text


def test_a_resolved_schedule_keeps_its_length_when_the_run_is_repeated(tmp_path: Path) -> None:
    rate = "{kind: cosine_decay, initial_learning_rate: 0.1}"
    run = trained(write_spec(tmp_path, training=f"epochs: 2, optimizer: {{kind: sgd, learning_rate: {rate}}}"))
    repeated = trained(run.path / "spec.yaml")
    assert (repeated.path / "spec.yaml").read_text() == (run.path / "spec.yaml").read_text()
    for name in ("loss", "val_loss", "learning_rate"):
        assert column(repeated, name) == column(run, name)


def test_the_saved_model_is_that_of_the_best_epoch_though_training_went_on(tmp_path: Path) -> None:
    """A rate that explodes after two epochs makes all later epochs worse."""
    rate = "{kind: piecewise_constant_decay, boundaries: [8], values: [0.05, 20.0]}"
    training = f"epochs: 5, metrics: [accuracy], optimizer: {{kind: sgd, learning_rate: {rate}}}"
    run = trained(write_spec(tmp_path, training=training))
    best = run.status().best_epoch
    assert best < len(run.history())
    row = run.history()[best - 1]
    scores = evaluate(run, "validation").metrics
    assert scores["accuracy"] == pytest.approx(float(row["val_accuracy"]), abs=1e-6)
    assert scores["loss"] == pytest.approx(float(row["val_loss"]), rel=1e-5)
    assert float(run.history()[-1]["val_loss"]) > float(row["val_loss"])


def test_historys_best_row_is_what_evaluate_gives_on_validation(run: RunFolder) -> None:
    row = run.history()[run.status().best_epoch - 1]
    scores = evaluate(run, "validation").metrics
    for name in ("loss", "accuracy", "f1", "balanced_accuracy"):
        assert scores[name] == pytest.approx(float(row[f"val_{name}"]), rel=1e-5), name


def test_another_spec_takes_the_split_of_a_run(run: RunFolder, tmp_path: Path) -> None:
    split = f"split: {{file: '{run.path / 'split.csv'}'}}"
    other = trained(write_spec(tmp_path, data=split, training="epochs: 1", more="seed: 77", name="other"))
    assert other.split() == run.split()
    assert other.data()["fingerprint"] == run.data()["fingerprint"]


def test_a_split_of_other_data_is_refused(run: RunFolder, tmp_path: Path) -> None:
    from dlcli.errors import DataError

    split = f"split: {{file: '{run.path / 'split.csv'}'}}"
    spec = write_spec(tmp_path, "{kind: playground, name: circles, examples: 60}", data=split)
    with pytest.raises(DataError, match=r"names .* examples that the source does not have"):
        trained(spec)


COMPOSITES = """{kind: cnn, layers: [
  {kind: residual, activation: relu, layers: [{kind: conv2d, filters: 6, kernel_size: 3, padding: same}]},
  {kind: branches, branches: [[], [{kind: conv2d, filters: 2, kernel_size: 1}]]},
  {kind: squeeze_excite, ratio: 2}, {kind: max_pooling2d, pool_size: 4}, flatten, {kind: maxout, units: 4},
  {kind: dense, units: 4, activation: silu}]}"""

PLAIN = """
import json, sys
sys.modules["dlcli"] = None
import keras, numpy as np, tensorflow as tf
for path, inputs in json.loads(sys.argv[1]).items():
    model = keras.saving.load_model(path)
    with np.load(inputs) as arrays:
        tensors = {name: tf.constant(arrays[name]) for name in arrays.files}
    output = model(tensors if len(tensors) > 1 else tensors["x"])
    np.save(path + ".out.npy", np.asarray(output))
assert sys.modules["dlcli"] is None
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    random = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size (m²)", "colour", "age", "bought"])
        for _ in range(60):
            size, colour = random.normal(50, 10), random.choice(["rød", "blue, dark", ""])
            writer.writerow(
                [f"{size:.2f}", colour, "" if random.random() < 0.2 else random.integers(90), "yes" if size > 50 else "no"]
            )
    return path


def test_plain_keras_loads_every_saved_model_in_a_process_without_dlcli(run: RunFolder, table: Path, tmp_path: Path) -> None:
    digits = trained(
        write_spec(
            tmp_path,
            "{kind: builtin, name: digits}",
            model=COMPOSITES,
            data="batch_size: 256",
            training="epochs: 1",
            name="digits",
        )
    )
    rows = trained(write_spec(tmp_path, f"{{kind: csv, path: '{table}', target: bought}}", task="binary", name="rows"))
    inputs: dict[str, str] = {}
    for one in (run, digits, rows):
        test = open_splits(one.experiment(), split=one.split())["test"].inputs
        path = tmp_path / f"{one.name}.npz"
        if test.kind == "columns":
            batch = test.read(np.arange(len(test)))
            np.savez(path, **{name: _storable(tensor.numpy()) for name, tensor in batch.items()})
        else:
            np.savez(path, x=test.values)
        inputs[str(one.model_path)] = str(path)
    done = run_plain(PLAIN, json.dumps(inputs), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for one in (run, digits, rows):
        output = np.load(f"{one.model_path}.out.npy")
        table_rows = read_table(one.evaluation("test") / "predictions.csv")
        shares = [float(row[f"p_{one.data()['classes'][-1]}"]) for row in table_rows]
        np.testing.assert_allclose(output[:, -1], shares, rtol=1e-4, atol=1e-6)


def _storable(values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.char.decode(values.astype("S"), "utf-8") if values.dtype == object else values


def test_the_saved_model_takes_raw_inputs(run: RunFolder) -> None:
    import keras

    splits = open_splits(run.experiment(), split=run.split())
    model = keras.saving.load_model(run.model_path, compile=False)
    assert not model.compiled
    shares = outputs(model, splits["test"].inputs.values)
    assert shares.shape == (len(splits["test"]), 3)
