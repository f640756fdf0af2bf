"""`dlcli.Run` and the functions around it: the same results as the commands and the files, in the types of a program."""

from __future__ import annotations

import csv
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlcli
from dlcli.runtime.engine import keras

pytestmark = pytest.mark.usefixtures("without_pictures")
COLUMNS = ("age", "colour", "is_old", "price")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `people.csv`: numbers, text, truth values and gaps."""
    folder = tmp_path_factory.mktemp("api")
    draw = random.Random(0)
    with (folder / "people.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([*COLUMNS, "target"])
        for row in range(60):
            age = "" if row % 9 == 0 else f"{draw.gauss(40, 9):.2f}"
            rows.writerow([age, ("red", "green, pale")[row % 2], row % 3 == 0, row, "yes" if row % 3 else "no"])
    return folder


def spec_of(folder: Path, **changes: Any) -> dict[str, Any]:
    source = {"kind": "csv", "path": folder / "people.csv", "target": "target"}
    spec = {"name": "people", "task": "binary", "data": {"source": source, "batch_size": 16}}
    return spec | {"model": {"kind": "mlp", "units": [4]}, "training": {"epochs": 2}} | changes


@pytest.fixture(scope="module")
def run(folder: Path, without_pictures: None) -> dlcli.Run:
    return dlcli.train(spec_of(folder), runs=folder / "runs")


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "people.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_gives_what_its_folder_holds(run: dlcli.Run) -> None:
    assert (run.state, run.spec.name, run.spec.training.epochs) == ("completed", "people", 2)
    assert run.path == run.folder.path
    written = run.folder.metrics("test")
    assert run.metrics() == {name: entry["value"] for name, entry in written["metrics"].items()}
    first, last = run.history()
    assert (first["epoch"], last["epoch"], type(last["val_loss"])) == (1, 2, float)


def test_scores_read_back_are_those_of_a_new_evaluation(run: dlcli.Run) -> None:
    before = run.scores()
    assert run.evaluate() == before
    assert before.intervals["accuracy"] is not None


def test_a_split_without_scores_is_an_error_that_names_the_others(run: dlcli.Run) -> None:
    with pytest.raises(dlcli.UsageError, match=r"the split 'train' was not scored \(scored: test\)"):
        run.metrics("train")


def test_a_name_or_an_unknown_name_is_found_as_on_the_command_line(run: dlcli.Run, folder: Path) -> None:
    assert dlcli.Run("people", runs=folder / "runs").id == run.id
    with pytest.raises(dlcli.UsageError, match="did you mean 'people'"):
        dlcli.Run("poeple", runs=folder / "runs")


def test_a_table_in_memory_is_predicted_as_its_file_to_the_bit(
    run: dlcli.Run, folder: Path, rows: list[dict[str, str]]
) -> None:
    pandas = pytest.importorskip("pandas")
    of_file = run.predict(folder / "people.csv")
    frame = pandas.read_csv(folder / "people.csv")
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    for inputs in (frame, columns, rows):
        predictions = run.predict(inputs)
        assert np.array_equal(predictions.scores, of_file.scores)
        assert predictions.ids == [str(place) for place in range(60)]
        assert [entry["predicted"] for entry in predictions] == [entry["predicted"] for entry in of_file]


def test_numbers_none_and_nan_in_memory_mean_what_their_text_means(run: dlcli.Run) -> None:
    texts = [
        {"age": "41.5", "colour": "red", "is_old": "True", "price": "3"},
        {"colour": "red", "is_old": "False", "price": "4"},
    ]
    values: dict[str, Any] = {
        "age": [41.5, float("nan")],
        "colour": ["red"] * 2,
        "is_old": [True, np.False_],
        "price": [3.0, 4],
    }
    assert np.array_equal(run.predict(texts).scores, run.predict(values).scores)


def test_unreadable_rows_are_skipped_by_position_and_new_values_are_noted(run: dlcli.Run, rows: list[dict[str, str]]) -> None:
    changed = [row | {"age": "old"} if place == 1 else row | {"colour": "blue"} for place, row in enumerate(rows[:3])]
    predictions = run.predict(changed)
    assert predictions.skipped == {"1": "column `age`: 'old' is not a number, or too large"}
    assert predictions.ids == ["0", "2"]
    assert any("'blue'" in note for note in predictions.notes)


WRONG_INPUTS: dict[str, tuple[Any, str]] = {
    "columns that are missing": ({"age": [1]}, "lacks the columns `colour`, `is_old`, `price`"),
    "an array for a table": (np.zeros((3, 2)), "takes the columns of a table: age, colour, is_old, price"),
    "columns of several lengths": ({name: [1] for name in COLUMNS} | {"age": [1, 2]}, "age 2, colour 1"),
    "a number": (5, "found int"),
    "nothing": ([], "found list"),
    "a file that does not exist": ("nothing.csv", "no such file"),
}


@pytest.mark.parametrize("name", WRONG_INPUTS)
def test_wrong_inputs_are_an_error_in_words(run: dlcli.Run, name: str) -> None:
    inputs, words = WRONG_INPUTS[name]
    with pytest.raises(dlcli.DlcliError, match=words):
        run.predict(inputs)


def test_an_array_is_predicted_as_its_file(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    np.savez(tmp_path / "rows.npz", x=x, y=(x[:, 0] > 0).astype("int64"))
    data = {"source": {"kind": "npz", "path": tmp_path / "rows.npz"}, "batch_size": 8}
    run = dlcli.train(spec_of(tmp_path, data=data, task="classification"), runs=tmp_path / "runs")
    x[3, 0] = np.nan
    np.save(tmp_path / "new.npy", x)
    of_file, predictions = run.predict(tmp_path / "new.npy"), run.predict(np.asfortranarray(x))
    assert np.array_equal(predictions.scores, of_file.scores)
    assert predictions.skipped == {"3": "holds NaN or infinite values"}
    assert np.allclose(run.model().predict(x[:3], verbose=0), predictions.scores[:3], atol=1e-6)
    assert [len(entry["top"]) for entry in predictions.top(2)] == [2] * 39
    with pytest.raises(dlcli.DataError, match=r"holds examples of shape \(2,\); the model takes \(3,\)"):
        run.predict(x[:, :2])
    with pytest.raises(dlcli.DataError, match="expected an array of numbers with one example per row, found float32 of shape"):
        run.predict(x[0])


def test_overrides_as_a_dict_mean_the_options(folder: Path) -> None:
    as_dict = {
        "training.epochs": 3,
        "training.callbacks+": {"kind": "early_stopping"},
        "data.source.path": folder / "people.csv",
    }
    callbacks = "training.callbacks+={kind: early_stopping}"
    as_options = ["training.epochs=3", callbacks, f"data.source.path={folder / 'people.csv'}"]
    first, second = (dlcli.load(spec_of(folder), set=overrides) for overrides in (as_dict, as_options))
    assert first.experiment == second.experiment
    with pytest.raises(dlcli.UsageError, match="expected a dict or a list of options, found the text"):
        dlcli.load(spec_of(folder), set="training.epochs=3")
    with pytest.raises(dlcli.UsageError, match="the spec is loaded already"):
        dlcli.load(first, set=as_dict)


def test_faults_of_a_dict_have_the_lines_of_its_yaml(folder: Path) -> None:
    with pytest.raises(dlcli.SpecError) as caught:
        dlcli.load(spec_of(folder, training={"epochs": "many"}))
    assert "training.epochs: expected an integer, found the text 'many'\n    epochs: many" in str(caught.value)


def test_a_training_logs_its_lines_and_restores_the_precision_policy(
    folder: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    before = keras.config.dtype_policy()
    with caplog.at_level(logging.INFO, logger="dlcli"):
        run = dlcli.train(spec_of(folder, hardware={"precision": "mixed_bfloat16"}), runs=tmp_path)
    assert keras.config.dtype_policy() == before
    assert run.spec.hardware.precision == "mixed_bfloat16"
    lines = [record.getMessage() for record in caplog.records if record.name == "dlcli"]
    assert any(line.startswith("data: ") for line in lines)
    assert sum(line.startswith("epoch ") for line in lines) == 2


def test_finetune_refuses_options_of_runs_for_a_spec(folder: Path) -> None:
    with pytest.raises(dlcli.UsageError, match="need a run; a spec sets them"):
        dlcli.finetune(spec_of(folder), epochs=3)


def test_a_finished_run_is_fine_tuned_and_trained_for_longer(run: dlcli.Run, tmp_path: Path) -> None:
    tuned = dlcli.finetune(run, train="head", epochs=1, runs=tmp_path)
    assert tuned.folder.status().parent == run.id
    longer = dlcli.resume(tuned, set={"training.stages.0.epochs": 2})
    assert [row["epoch"] for row in longer.history()] == [1, 2]


def test_fine_tuning_on_other_data_says_so_in_the_log_of_the_new_run(run: dlcli.Run, folder: Path, tmp_path: Path) -> None:
    lines = (folder / "people.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "others.csv").write_text("\n".join([*lines, *lines[1:7]]) + "\n", encoding="utf-8")
    tuned = dlcli.finetune(run, epochs=1, runs=tmp_path, set={"data.source.path": tmp_path / "others.csv"})
    note = f"note: the data is not that of {run.id}, so it is split again"
    assert note in (tuned.path / "log.txt").read_text(encoding="utf-8")


def test_a_spec_takes_the_numbers_of_numpy_and_refuses_what_yaml_does_not_hold(folder: Path) -> None:
    numbers = {"training.epochs": np.int64(3), "training.optimizer": {"kind": "sgd", "learning_rate": np.float32(0.5)}}
    spec = dlcli.load(spec_of(folder), set=numbers)
    assert spec.experiment.training.epochs == 3
    assert spec.experiment.training.optimizer.learning_rate == 0.5
    with pytest.raises(dlcli.UsageError, match="a spec holds numbers, texts, lists and dicts, not ndarray"):
        dlcli.load(spec_of(folder), set={"model.units": np.array([4, 2])})


def test_models_of_the_program_stay_usable_after_a_training(folder: Path, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    dlcli.train(spec_of(folder), set={"training.epochs": 1}, runs=tmp_path)
    assert model.predict(np.ones((1, 2)), verbose=0).tolist() == [[2.0]]
