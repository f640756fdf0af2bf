"""Tables of more columns than a model has inputs: trained, resumed, scored, predicted and exported like any other table.

The limit is low while `wide` is trained, so that a small table is a wide one, and as usual afterwards: a run keeps the inputs
that it recorded. `separate` is a run of the same table with an input for each column, as earlier versions trained every table.
"""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.killing import assert_same_bits
from conftest import run_plain
from trainings import column, losses, trained, write_spec

import dlcli
from dlcli.data.inputs import inputs_of_model
from dlcli.data.open_run import open_recorded
from dlcli.errors import DamagedFile, DataError
from dlcli.explain.tables import permutation
from dlcli.export.export import export
from dlcli.export.formats import Format
from dlcli.predict.predict import prepare
from dlcli.runs import RunFolder
from dlcli.runs.files import read_json, write_json
from dlcli.runtime import columns as module
from dlcli.runtime.loading import load_model
from dlcli.score.evaluate import evaluate
from training.test_resume import Stopping, gone_on, stopped

pytestmark = pytest.mark.usefixtures("without_pictures")
Array = np.ndarray[Any, Any]
LIMIT, NUMBERS = 8, 13
ROWS = 60
NAMES = ["numbers", "Größe, cm", *(f"gene {place}" for place in range(2, NUMBERS))]
SOURCE = "{kind: csv, path: wide.csv, target: ill}"


def save_table(path: Path, names: list[str], *, rows: int = ROWS, seed: int = 0) -> Path:
    """Writes numbers with gaps, two columns of categories, and a target."""
    import pandas as pd

    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, NUMBERS)).round(3)
    table = pd.DataFrame({"town": random.choice(["Köln", "Bonn", "Ulm"], rows)} | dict(zip(NAMES, values.T, strict=True)))
    table.loc[::7, NAMES[3]] = np.nan
    table["sex"] = random.choice(["f", "m"], rows)
    table["ill"] = np.where(values[:, 0] + (table["town"] == "Bonn") > 0, "yes", "no")
    table[names].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    save_table(folder / "wide.csv", ["town", *NAMES, "sex", "ill"])
    training = "epochs: 2, metrics: [accuracy]"
    return write_spec(folder, SOURCE, task="binary", data="batch_size: 8", training=training, name="wide")


@contextmanager
def low_limit() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_SEPARATE", LIMIT)
        yield


@pytest.fixture(scope="module")
def wide(spec: Path) -> RunFolder:
    with low_limit():
        return trained(spec, write_up=True)


@pytest.fixture(scope="module")
def separate(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("separate")
    shutil.copytree(spec.parent, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("runs"))
    run = trained(folder / spec.name)
    assert "shared_inputs" not in run.data()
    return run


def test_numbers_share_an_input_and_categories_have_their_own(wide: RunFolder) -> None:
    model = load_model(wide.model_path)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.input.items()}
    assert shapes == {"town": (None, 1), "sex": (None, 1), "numbers_": (None, NUMBERS)}  # a column is called `numbers`
    assert wide.data()["shared_inputs"] == {"numbers_": NAMES}
    assert wide.data()["columns"] == ["town", *NAMES, "sex"]


def test_scores_and_predictions_are_those_of_an_input_for_each_column(wide: RunFolder, separate: RunFolder) -> None:
    assert len(load_model(separate.model_path).input) == NUMBERS + 2
    assert losses(wide) == losses(separate)
    assert column(wide, "val_loss") == column(separate, "val_loss")
    places = [run.path / "evaluation" / "test" / "predictions.csv" for run in (wide, separate)]
    assert places[0].read_bytes() == places[1].read_bytes()


def test_the_saved_model_is_called_with_plain_keras(wide: RunFolder, tmp_path: Path) -> None:
    code = f"""
import sys, keras, numpy, tensorflow
model = keras.saving.load_model(sys.argv[1], compile=False)
rows = {{"numbers_": numpy.zeros((2, {NUMBERS}), "float32"), "town": [["Ulm"], ["Rome"]], "sex": [["f"], [""]]}}
print(model({{name: tensorflow.constant(values) for name, values in rows.items()}}).shape)
"""
    process = run_plain(code, wide.model_path, cwd=tmp_path)
    assert (process.stdout, process.returncode) == ("(2, 1)\n", 0), process.stderr


def test_an_interrupted_run_is_resumed_with_the_same_bits(spec: Path, wide: RunFolder) -> None:
    with low_limit():
        run = stopped(spec, Stopping(step=7))
    gone_on(run)
    assert run.data()["shared_inputs"] == {"numbers_": NAMES}
    assert_same_bits(wide, run)


def test_a_run_keeps_its_inputs(wide: RunFolder, separate: RunFolder, tmp_path: Path) -> None:
    """Whatever the limit is now."""
    _use_again(wide, tmp_path / "wide")
    with low_limit():
        _use_again(separate, tmp_path / "separate")


def _use_again(run: RunFolder, folder: Path) -> None:
    inputs = set(load_model(run.model_path).input)
    before = (run.path / "evaluation" / "test" / "predictions.csv").read_bytes()
    evaluate(run, "test", offline=True)
    assert (run.path / "evaluation" / "test" / "predictions.csv").read_bytes() == before
    longer = RunFolder(folder / "runs" / "wide" / run.path.name)
    shutil.copytree(run.path, longer.path)
    other = save_table(folder / "other.csv", ["ill", *NAMES, "sex", "town"], rows=20, seed=1)
    assert evaluate(longer, "", data=str(other), offline=True).examples == 20
    gone_on(longer, ["training.epochs=3"])
    assert set(load_model(longer.model_path).input) == inputs
    assert losses(longer)[:2] == losses(run)


def test_a_table_is_predicted_in_any_order_of_columns_and_a_missing_one_is_named(
    wide: RunFolder, separate: RunFolder, tmp_path: Path
) -> None:
    rows = save_table(tmp_path / "rows.csv", ["sex", *reversed(NAMES), "town"], rows=9, seed=2)
    (first,), (second,) = (list(prepare(run, [str(rows)]).answers(pytest.fail)) for run in (wide, separate))
    assert first.scores.tolist() == second.scores.tolist()
    skipped: list[str] = []
    lacking = save_table(tmp_path / "lacking.csv", ["sex", "town", *NAMES[:7], *NAMES[8:]], rows=9, seed=2)
    with pytest.raises(DataError, match="no example could be read"):
        list(prepare(wide, [str(lacking)]).answers(lambda _, reason: skipped.append(reason)))
    assert skipped[0].startswith("lacks the column `gene 7`; its header has sex, town, numbers, ")


def test_examples_in_memory_are_predicted(wide: RunFolder) -> None:
    import pandas as pd

    table = pd.read_csv(wide.path.parents[2] / "wide.csv")
    predictions = dlcli.Run(wide.path).predict(table.iloc[:5])
    assert predictions.scores.shape == (5, 2)
    assert predictions.skipped == {}


def test_each_column_of_a_shared_input_is_explained(wide: RunFolder, separate: RunFolder) -> None:
    ranked = []
    for run in (wide, separate):
        splits = open_recorded(run, run.experiment(), offline=True)
        ranked.append(permutation(load_model(run.model_path), splits["test"], run.experiment()))
    assert {importance.column for importance in ranked[0][2]} == {"town", *NAMES, "sex"}
    assert ranked[0] == ranked[1]


@pytest.mark.parametrize("form", ["keras", "saved_model", "tflite", "onnx"])
def test_exports_take_a_shared_input(wide: RunFolder, form: Format, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = export(wide, form, to=tmp_path / form).path
    assert list(read_json(folder / "columns.json")["numbers_"]) == NAMES
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert f"`(batch, {NUMBERS})`: one input for {NUMBERS} columns, in the order of the list under `numbers_`" in text
    assert "| town | `town` |" in text
    assert "gene" not in text
    capsys.readouterr()
    runpy.run_path(str(folder / "example.py"))
    labels = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert sorted(labels[-2:]) == ["no", "yes"]


def test_a_record_that_does_not_fit_the_model_is_refused(wide: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "runs" / "wide" / wide.path.name)
    shutil.copytree(wide.path, run.path)
    model, data = load_model(run.model_path), run.data()
    for shared in ({}, {"numbers_": NAMES[1:]}, {"numbers": NAMES}):
        write_json(run.data_path, data | {"shared_inputs": shared})
        with pytest.raises(DamagedFile, match=r"model.keras: has other input columns than the run's data"):
            inputs_of_model(model, RunFolder(run.path))
    for shared in ({"numbers_": []}, {"numbers_": ["age"]}, {"numbers_": NAMES, "more": NAMES[:1]}):
        write_json(run.data_path, data | {"shared_inputs": shared})
        with pytest.raises(DamagedFile, match=r"data.json: shared_inputs: does not fit the columns"):
            inputs_of_model(model, RunFolder(run.path))


def test_a_wide_run_is_written_up(wide: RunFolder) -> None:
    assert (wide.path / "report.html").is_file()
    assert json.loads((wide.path / "data.json").read_text(encoding="utf-8"))["gaps"][NAMES[3]] > 0
