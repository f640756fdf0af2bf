"""Values of a table that did not occur in training: how they are encoded, and their count by column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trainings import trained, write_spec

from dlcli.predict.predict import prepare
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.runtime.columns import InputLayout
from dlcli.runtime.loading import load_model
from dlcli.score.evaluate import evaluate
from dlcli.spec.data.sources.column_kinds import kinds_of

pytestmark = pytest.mark.usefixtures("without_pictures")
UNSEEN = "column 'kind': 2 of 3 rows have 2 different values that did not occur in training ('new', 'odd'): the model has not"
GAP = "column 'size': 1 of 3 rows have a missing value, which no training row has; it is replaced by the mean"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("unfamiliar")
    lines = [f"{index % 7},{'' if index % 5 == 0 else index % 3},{'abc'[index % 3]},{index % 3:.1f}" for index in range(60)]
    (folder / "rows.csv").write_text("size,weight,kind,price\n" + "\n".join(lines) + "\n")
    source = "{kind: csv, path: rows.csv, target: price}"
    return trained(write_spec(folder, source, task="regression", training="epochs: 2"))


def later_rows(folder: Path) -> Path:
    path = folder / "later.csv"
    path.write_text("size,weight,kind,price\n1,,new,1\n,2,odd,2\n3,1,b,0\n")
    return path


def test_an_unseen_category_is_encoded_as_none_whatever_its_initial_weights(run: RunFolder, tmp_path: Path) -> None:
    model = load_model(run.model_path)
    before = next(prepare(run, [str(later_rows(tmp_path))]).answers(lambda *_: None)).scores
    inner = next(layer for layer in model.layers if hasattr(layer, "layers"))
    kernel = inner.layers[1].kernel
    values = kernel.numpy()
    slot = values.shape[0] - 4  # numbers, a mark of gaps, then the category: unseen, a, b, c
    values[slot] += 100
    kernel.assign(values)
    columns = {"size": [1.0, np.nan], "weight": [np.nan, 2.0]}
    inputs = {name: np.array(values, "float32") for name, values in columns.items()}
    inputs["kind"] = np.array(["new", "odd"], dtype=object)
    after = model(InputLayout.of(kinds_of(inputs)).tensors(inputs)).numpy()
    assert after == pytest.approx(before[:2], rel=1e-6)


def test_predict_and_evaluate_count_unfamiliar_values_by_column(run: RunFolder, tmp_path: Path) -> None:
    gaps = run.data()["gaps"]
    assert (gaps["size"], gaps["kind"]) == (0, 0)
    assert gaps["weight"] > 0
    path = later_rows(tmp_path)
    prediction = prepare(run, [str(path)])
    list(prediction.answers(lambda *_: None))
    assert prediction.unfamiliar is not None
    notes = prediction.unfamiliar.notes()
    assert notes == [GAP, f"{UNSEEN} learned them"]
    scores = evaluate(run, "", data=str(path))
    assert set(scores.notes) >= set(notes)
    assert run.metrics(scores.split)["notes"] == scores.notes
    short = tmp_path / "short.csv"
    short.write_text("size,weight,kind,price\n1,2\n3,1,b,0\n")
    prediction = prepare(run, [str(short)])
    assert sum(len(answers.ids) for answers in prediction.answers(lambda *_: None)) == 2
    assert prediction.row_notes == [
        f"{short}: 1 row is shorter than the header; the missing cells are missing values (in line 2)"
    ]
    assert prediction.unfamiliar is not None
    assert [note.partition(":")[0] for note in prediction.unfamiliar.notes()] == ["column 'kind'"]
    # Values of the training split are not unfamiliar.
    assert evaluate(run, "train").notes == []
    assert "notes" not in run.metrics("train")
    assert len(read_table(run.evaluation(scores.split) / "predictions.csv")) == 3
