"""Predictions for new texts: files, lines of files, and texts in memory get the answers of the same rows of a table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from trainings import trained, write_spec

import dlcli
from dlcli.errors import DataError, UsageError
from dlcli.predict.predict import prepare
from dlcli.runs import RunFolder

pytestmark = pytest.mark.usefixtures("without_pictures")
MODEL = "{kind: sequence, embedding: {kind: trained, output_dim: 4}, layers: [global_average_pooling1d]}"
TEXTS = ("a lovely film", "an awful, dull film", "Größe 電影", "NA", "")


def _write_classes(folder: Path, lines: bool) -> None:
    for name, word in (("bad", "awful"), ("good", "lovely")):
        texts = [f"{word} film number {number}" for number in range(20)]
        folder.mkdir(exist_ok=True)
        if lines:
            (folder / f"{name}.txt").write_text("\n".join(texts), encoding="utf-8")
            continue
        (folder / name).mkdir()
        for number, text in enumerate(texts):
            (folder / name / f"{number}.txt").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def of_files(folder: Path) -> RunFolder:
    """A run whose texts are files."""
    _write_classes(folder / "files", lines=False)
    source = "{kind: text_folder, path: files, encoding: [utf-8, latin-1]}"
    training = "epochs: 3, optimizer: {kind: adam, learning_rate: 0.1}"
    return trained(write_spec(folder, source, task="binary", model=MODEL, training=training, name="files"))


@pytest.fixture(scope="module")
def of_lines(folder: Path) -> RunFolder:
    """A run whose texts are lines."""
    _write_classes(folder / "lines", lines=True)
    source = "{kind: text_folder, path: lines, lines: true}"
    return trained(write_spec(folder, source, task="binary", model=MODEL, training="epochs: 1", name="lines"))


def answers(run: RunFolder, *names: Path) -> tuple[dict[str, float], dict[str, str], list[str]]:
    """Returns the score of each example by its name, what was skipped, and the notes."""
    skipped: dict[str, str] = {}
    prediction = prepare(run, [str(name) for name in names])
    scores = {
        example: float(score[1])
        for batch in prediction.answers(skipped.__setitem__)
        for example, score in zip(batch.ids, batch.scores, strict=True)
    }
    return scores, skipped, [*prediction.notes, *prediction.row_notes]


def test_files_a_table_and_texts_in_memory_have_the_same_answers(of_files: RunFolder, tmp_path: Path) -> None:
    inner = tmp_path / "new" / "inner"
    inner.mkdir(parents=True)
    for number, text in enumerate(TEXTS):
        (inner / f"{number}.txt").write_text(text, encoding="utf-8")
    (inner / "notes.md").write_text("not a text")
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in TEXTS[:3])])
    scores, skipped, notes = answers(of_files, tmp_path / "new")
    assert list(scores) == [str(inner / f"{number}.txt") for number in range(len(TEXTS))]
    assert not skipped
    assert any("notes.md" in note for note in notes)
    values = list(scores.values())
    assert values[0] > 0.5 > values[1]
    assert values[3] != values[4]  # the file says NA, which no table's cell can
    assert list(answers(of_files, tmp_path / "rows.csv")[0].values()) == pytest.approx(values[:3], abs=1e-6)
    predictions = dlcli.Run(of_files.path).predict(list(TEXTS))
    np.testing.assert_allclose(predictions.scores[:, 1], values, atol=1e-6)
    assert predictions.ids == ["0", "1", "2", "3", "4"]
    by_path = dlcli.Run(of_files.path).predict([inner / "0.txt", inner / "1.txt"])
    np.testing.assert_allclose(by_path.scores[:, 1], values[:2], atol=1e-6)


def test_each_line_is_a_text_where_the_training_says_so(of_lines: RunFolder, tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    path.write_bytes("\ufefflovely\r\n\n  \nawful film\u2028still one line".encode())
    scores, _, notes = answers(of_lines, path)
    assert list(scores) == [f"{path}:1", f"{path}:4"]
    assert notes == ["ignored 2 empty lines"]
    expected = dlcli.Run(of_lines.path).predict(["lovely", "awful film\u2028still one line"]).scores[:, 1]
    np.testing.assert_allclose(list(scores.values()), expected, atol=1e-6)


def test_files_that_cannot_be_decoded_are_skipped_by_name(of_files: RunFolder, of_lines: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "utf8.txt").write_bytes(b"lovely")
    scores, skipped, notes = answers(of_lines, tmp_path)
    assert skipped == {str(tmp_path / "latin.txt"): "not utf-8 at byte 3"}
    assert list(scores) == [f"{tmp_path / 'utf8.txt'}:1"]
    scores, skipped, notes = answers(of_files, tmp_path)  # its training tries latin-1 too
    assert len(scores) == 2
    assert not skipped
    assert notes == ["read 1 text file as latin-1"]
    with pytest.raises(DataError, match="no example could be read"):
        answers(of_lines, tmp_path / "latin.txt")


def test_other_files_are_refused_and_names_of_files_among_texts_are_noted(of_files: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("lovely")
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"photo\.png: this run's model takes text files \(\.txt\), and tables with"):
        prepare(of_files, [str(tmp_path / "photo.png")])
    predictions = dlcli.Run(of_files.path).predict([str(tmp_path / "one.txt"), "lovely"])
    assert len(predictions) == 2
    assert predictions.notes == [
        f"1 of 2 texts are names of existing files, such as {str(tmp_path / 'one.txt')!r}; name files by Path"
    ]
    assert dlcli.Run(of_files.path).predict(str(tmp_path / "one.txt")).ids == [str(tmp_path / "one.txt")]


def test_a_list_of_texts_is_read_like_the_cells_of_a_table_that_was_trained_on(tmp_path: Path) -> None:
    rows = "".join(f"{'lovely' if number % 2 else 'awful'} film {number},{number % 2}\n" for number in range(40))
    (tmp_path / "rows.csv").write_text(f"review,label\n{rows}", encoding="utf-8")
    source = "{kind: csv, path: rows.csv, target: label, text: [review]}"
    run = trained(write_spec(tmp_path, source, task="binary", model=MODEL, training="epochs: 1"))
    texts = ["a lovely film", 'quoted "words", commas\nand lines', "NA"]
    of_list = dlcli.Run(run.path).predict(texts)
    of_columns = dlcli.Run(run.path).predict({"review": texts})
    np.testing.assert_array_equal(of_list.scores, of_columns.scores)
    with (tmp_path / "new.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["review"], *([text] for text in texts)])
    np.testing.assert_allclose(dlcli.Run(run.path).predict(str(tmp_path / "new.csv")).scores, of_list.scores, atol=1e-6)
