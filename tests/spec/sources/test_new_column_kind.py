"""A kind of column takes one file: two kinds are defined here, which dlcli does not ship, and a run is used with them."""

from __future__ import annotations

import doctest
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import pytest
from trainings import Heard, trained, write_spec

import dlcli
from dlcli.data.open_run import open_recorded
from dlcli.data.same_data import is_copy
from dlcli.data.splits import open_splits
from dlcli.errors import DamagedFile, DataError, UsageError
from dlcli.explain.tables import permutation
from dlcli.export.formats import Format
from dlcli.runs import RunFolder
from dlcli.runs.files import write_json
from dlcli.runtime import column_kinds as module
from dlcli.runtime.column_kinds import CellForm, ColumnKind, Dtype, Encoding, ReadCells, joined
from dlcli.runtime.engine import keras
from dlcli.runtime.loading import load_model
from dlcli.score.baseline import baselines
from dlcli.spec.data.sources.column_kinds import CATEGORY, COLUMN_KINDS, NUMBER
from dlcli.training.resume import resume

pytestmark = pytest.mark.usefixtures("without_pictures", "kinds")
Array = np.ndarray[Any, Any]
WORDS, VOCABULARY = 6, 30


class FlagColumn(ColumnKind):
    """Yes or no: 1 and -1 in the network, and 0 for a gap."""

    name: ClassVar[str] = "flag"
    plural: ClassVar[str] = "flags"
    dtype: ClassVar[Dtype] = "float32"
    gap_replacement: ClassVar[str] = "a value between yes and no"
    exported_as: ClassVar[str] = "float32, 1 is yes, 0 is no, NaN if missing"

    def read(self, cells: Array, form: CellForm) -> ReadCells:
        numbers: dict[str | None, float] = {"yes": 1, "no": 0, None: np.nan}
        return ReadCells(
            np.array([numbers.get(cell, np.nan) for cell in cells], "float32"),
            np.array([cell not in numbers for cell in cells]),
        )

    def gaps(self, values: Array) -> Array:
        return np.isnan(values)

    def typical(self, values: Array) -> float:
        return float(np.nanmedian(values))

    def encode(self, tensors: list[Any], columns: list[Array], encoding: Encoding) -> list[Any]:
        flags = joined(tensors, "flags_")
        return [keras.ops.where(keras.ops.isnan(flags), 0.0, 2 * flags - 1)]


class TextColumn(ColumnKind):
    """Free text: the numbers of its words, and the mean of an embedding that is trained with the network."""

    name: ClassVar[str] = "comment"
    plural: ClassVar[str] = "comments"
    dtype: ClassVar[Dtype] = "string"
    gap_replacement: ClassVar[str] = "no word"
    exported_as: ClassVar[str] = 'text, "" if missing'
    has_weights: ClassVar[bool] = True

    def read(self, cells: Array, form: CellForm) -> ReadCells:
        return ReadCells(np.array([cell or "" for cell in cells], dtype=object), np.zeros(len(cells), dtype=bool))

    def fits(self, read: ReadCells) -> bool:
        return sum(" " in text for text in read.values) > len(read.values) / 2

    def gaps(self, values: Array) -> Array:
        return values == ""

    def typical(self, values: Array) -> str:
        return str(values[0])

    def encode(self, tensors: list[Any], columns: list[Array], encoding: Encoding) -> list[Any]:
        encoded = []
        for tensor, values in zip(tensors, columns, strict=True):
            layer = keras.layers.TextVectorization(max_tokens=VOCABULARY, output_sequence_length=WORDS)
            layer.adapt(values.tolist())
            words = layer(tensor)
            is_used = keras.ops.max(keras.ops.one_hot(words, VOCABULARY), axis=1)
            encoded.append(keras.ops.cast(words, "float32") if encoding.before_training else is_used)
        return encoded

    def trained(self, features: Any) -> Any:
        words = keras.layers.Embedding(VOCABULARY, 4, dtype="float32")(features)
        return keras.layers.GlobalAveragePooling1D(dtype="float32")(words)


@pytest.fixture(scope="module")
def kinds() -> Iterator[None]:
    """Registers both kinds."""
    with patch.dict(COLUMN_KINDS, {kind.name: kind for kind in (FlagColumn(), TextColumn())}):
        yield


def rows(count: int, seed: int) -> list[dict[str, str]]:
    random = np.random.default_rng(seed)
    table = []
    for number in range(count):
        is_good = bool(random.integers(2))
        review = f"{random.choice(['a', 'the', 'one'])} {'good' if is_good else 'poor'} {random.choice(['film', 'story'])}"
        colour, member = random.choice(["red", "blue"]), random.choice(["yes", "no"])
        table.append({"size": f"{number % 7}", "colour": colour, "member": member, "review": review, "liked": f"{is_good:d}"})
    return table


def save(path: Path, table: list[dict[str, str]]) -> Path:
    path.write_text("\n".join(",".join(cells) for cells in [list(table[0]), *(row.values() for row in table)]) + "\n")
    return path


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def run(kinds: None, heard: Heard, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("kinds")
    save(folder / "rows.csv", rows(160, 0))
    training = "epochs: 12, optimizer: {kind: adam, learning_rate: 0.03}"
    spec = write_spec(folder, "{kind: csv, path: rows.csv, target: liked}", task="binary", training=training)
    return trained(spec, reporter=heard)


def test_the_example_in_the_docstring_runs() -> None:
    assert doctest.testmod(module).attempted > 3
    assert doctest.testmod(module).failed == 0


def test_the_run_records_the_kinds_and_its_trained_layers_learn(run: RunFolder, heard: Heard) -> None:
    data = run.data()
    assert data["column_kinds"] == {"member": "flag", "review": "comment"}
    facts = [f"{fact['name']}: {fact['became']}" for fact in data["column_facts"]]
    assert facts == ["size: number", "colour: category", "member: flag", "review: comment", "liked: target"]
    assert any(
        "1 comment (review), 1 flag (member), 1 number (size), 1 category (colour 2), target (liked)" in line
        for line in heard.lines
    )
    # The review alone decides, and its words are known only by the embedding, which the network trains.
    assert dlcli.Run(run.path).metrics()["accuracy"] == 1
    splits = open_splits(run.experiment(), split=run.split())
    _, _, importances = permutation(load_model(run.model_path), splits["test"], run.experiment())
    assert importances[0].column == "review"


def test_a_file_and_examples_in_memory_have_the_same_predictions_and_faults(run: RunFolder, tmp_path: Path) -> None:
    table = rows(20, 1)
    expected = [row["liked"] for row in table]
    opened = dlcli.Run(run.path)
    predicted = opened.predict(str(save(tmp_path / "later.csv", table)))
    in_memory = opened.predict(table)
    for predictions in (predicted, in_memory):
        assert [prediction["predicted"] for prediction in predictions] == expected
    assert np.array_equal(predicted.scores, in_memory.scores)
    table[1] |= {"member": "maybe"}
    table[2] |= {"member": "", "review": "", "colour": "green"}
    prediction = opened.prediction(str(save(tmp_path / "faults.csv", table)))
    skipped: list[tuple[str, str]] = []
    assert sum(len(answers.ids) for answers in prediction.answers(lambda *fault: skipped.append(fault))) == 19
    assert [reason for _, reason in skipped] == ["column `member`: 'maybe' is not a flag"]
    assert prediction.unfamiliar is not None
    missing = "1 of 19 rows have a missing value, which no training row has; it is replaced by"
    notes = prediction.unfamiliar.notes()
    assert [notes[0].partition(":")[0], *notes[1:]] == [
        "column 'colour'",
        f"column 'member': {missing} a value between yes and no",
        f"column 'review': {missing} no word",
    ]


def test_evaluation_on_other_data_reads_and_refuses_cells_by_their_kinds(run: RunFolder, tmp_path: Path) -> None:
    table = rows(20, 2)
    assert dlcli.Run(run.path).evaluate(data=save(tmp_path / "other.csv", table)).metrics["accuracy"] == 1
    table[4]["member"] = "maybe"
    with pytest.raises(DataError, match="column `member` is a flag column, but contains 'maybe'"):
        dlcli.Run(run.path).evaluate(data=save(tmp_path / "refused.csv", table))


def test_the_models_of_scikit_learn_get_features_that_stand_alone(run: RunFolder) -> None:
    scores = {row.name: row.scores for row in baselines(run.experiment(), lambda _: None).rows}
    assert scores["logistic regression"]["accuracy"][0] == 1


@pytest.mark.parametrize("form", ["keras", "saved_model"])
def test_formats_with_text_export_the_run(run: RunFolder, form: Format) -> None:
    path = dlcli.Run(run.path).export(form).path
    assert '| review | `review` | text, "" if missing |' in (path / "README.md").read_text()
    assert "| member | `member` | float32, 1 is yes, 0 is no, NaN if missing |" in (path / "README.md").read_text()


@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_formats_without_text_refuse_the_run_by_the_columns_name(run: RunFolder, form: Format) -> None:
    with pytest.raises(UsageError, match=f"--format {form}: the format has no operation for the text of column `review`;"):
        dlcli.Run(run.path).export(form)


def test_a_run_with_a_kind_that_is_not_registered_is_refused_with_its_name(run: RunFolder) -> None:
    data = run.data()
    try:
        write_json(run.data_path, data | {"column_kinds": {"review": "poem"}})
        with pytest.raises(DamagedFile, match="column `review` is of the unknown kind 'poem'"):
            dlcli.Run(run.path).predict(rows(1, 0))
    finally:
        write_json(run.data_path, data)


def test_a_kind_that_is_added_later_does_not_change_the_columns_of_earlier_runs(tmp_path: Path) -> None:
    table = save(tmp_path / "rows.csv", rows(80, 0))
    spec = write_spec(tmp_path, "{kind: csv, path: rows.csv, target: liked}", task="binary")
    with patch.dict(COLUMN_KINDS, {kind.name: kind for kind in (CATEGORY, NUMBER)}, clear=True):
        earlier = trained(spec)
        scores = dlcli.Run(earlier.path).evaluate().metrics
        other = save(tmp_path / "other.csv", rows(20, 1))
        other_scores = dlcli.Run(earlier.path).evaluate(data=other).metrics
    facts = {fact["name"]: fact["became"] for fact in earlier.data()["column_facts"]}
    assert facts["member"] == facts["review"] == "category"
    assert "column_kinds" not in earlier.data()

    assert dlcli.Run(earlier.path).evaluate().metrics == scores
    assert dlcli.Run(earlier.path).evaluate(data=other).metrics == other_scores
    assert is_copy(earlier, earlier.experiment(), offline=True)
    moved = shutil.copy(table, tmp_path / "moved.csv")
    resume(earlier, Heard(), overrides=[f"data.source.path={moved}", "training.epochs=3"], schedule=None, offline=True)
    assert earlier.status().state == "completed"
    # A new run of the same spec has the new kinds.
    assert trained(spec).data()["column_kinds"] == {"member": "flag", "review": "comment"}


def test_the_data_of_a_run_with_a_kind_that_is_not_registered_is_refused_with_its_name(run: RunFolder) -> None:
    shipped = {kind.name: kind for kind in (CATEGORY, NUMBER)}
    message = "column `member` is of the unknown kind 'flag'"
    with patch.dict(COLUMN_KINDS, shipped, clear=True), pytest.raises(DamagedFile, match=message):
        open_recorded(run, run.experiment(), offline=True)
