"""Exports of models on texts: Keras and SavedModel take texts, ONNX and LiteRT the numbers of their tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import environment
from trainings import trained, write_spec

import dlcli
from dlcli.errors import RunFailed, UsageError
from dlcli.export import export as exporting
from dlcli.export.export import export
from dlcli.export.formats import Format
from dlcli.runs import RunFolder

pytestmark = pytest.mark.usefixtures("without_pictures")
EMBEDDING = "{kind: trained, output_dim: 8}"
LSTM = "[{kind: bidirectional, layer: {kind: lstm, units: 3}}, {kind: dropout, rate: 0.2}]"
WORDS = ("lovely", "awful", "film", "Größe", "電影", "it's", "a-b")


def trained_on_texts(folder: Path, layers: str, name: str = "texts", text: str = "max_length: 6, ngrams: 2") -> RunFolder:
    """Returns a run on two columns of texts, numbers and categories."""
    random, path = np.random.default_rng(0), folder / "rows.csv"
    rows = ["review,title text,stars,place,label"]
    for number in range(80):
        words = " ".join(random.choice(WORDS, random.integers(0, 9)))
        review, place = ("Bad, ", "Good ")[number % 2] + words, "here" if number % 3 else "there"
        rows.append(f'"{review}",{random.choice(WORDS)},{random.integers(5)},{place},{number % 2}')
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    source = "{kind: csv, path: rows.csv, target: label, text: [review, title text]}"
    model = f"{{kind: sequence, embedding: {EMBEDDING}, layers: {layers}}}"
    return trained(
        write_spec(folder, source, task="binary", model=model, data=f"text: {{{text}}}", training="epochs: 1", name=name)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained_on_texts(tmp_path_factory.mktemp("exports"), "kim_cnn")


@pytest.mark.parametrize("form", ["keras", "saved_model", "onnx", "tflite"])
def test_every_format_agrees_and_its_example_runs_without_dlcli(run: RunFolder, form: Format) -> None:
    exported = export(run, form)
    assert exported.agreement.agrees
    has_tokens = form in ("onnx", "tflite")
    assert (exported.path / "tokens.json").is_file() == (exported.path / "tokenizer.py").is_file() == has_tokens
    text = (exported.path / "README.md").read_text(encoding="utf-8")
    assert ("int32 `(batch, 6)`, tokens, from tokens.json" in text) == has_tokens
    env = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", str(exported.path / "example.py")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=env, check=False)
    assert done.returncode == 0, done.stderr
    answers = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())
    with (exported.path / "example.py").open(encoding="utf-8") as file:
        row = _row_of(file.read())
    row = {"title text" if name == "title_text" else name: value for name, value in row.items()}
    prediction = dlcli.Run(run.path).predict([row])
    assert {name: float(score) for name, score in answers.items()} == pytest.approx(
        dict(zip(prediction.classes, map(float, prediction.scores[0]), strict=True)), abs=1e-5
    )
    if form == "onnx":  # the bytecode of its programs does not make the folder someone else's
        assert export(run, form).path == exported.path


def _row_of(program: str) -> dict[str, Any]:
    """Returns the row of an example program."""
    values: dict[str, Any] = {}
    exec("row = {" + program.partition("row = {")[2].partition("\n}")[0] + "\n}", values)
    row: dict[str, Any] = values["row"]
    return row


def test_the_tokens_are_those_of_the_run(run: RunFolder) -> None:
    content = json.loads((export(run, "onnx").path / "tokens.json").read_text())
    assert content["settings"] == {
        "max_length": 6, "standardize": "lower_and_strip_punctuation", "split": "whitespace", "ngrams": 2,
    }  # fmt: skip
    vocabularies = run.vocabularies()
    assert content["vocabularies"] == {
        "review": list(vocabularies["review"]),
        "title_text": list(vocabularies["title text"]),
    }


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    text = "max_length: 6, split: unicode_words, standardize: lower"
    return trained_on_texts(tmp_path_factory.mktemp("mixed"), "kim_cnn", text=text)


SLOW_FORMS = [pytest.param(form, marks=pytest.mark.slow) for form in ("keras", "saved_model", "tflite")]


@pytest.mark.parametrize("form", [*SLOW_FORMS, "onnx"])
def test_exports_of_words_of_mixed_scripts_agree(mixed: RunFolder, form: Format) -> None:
    assert {"電", "影", "it", "größe"} < set(mixed.vocabularies()["review"])
    exported = export(mixed, form)
    assert exported.agreement.agrees
    if form == "onnx":
        assert json.loads((exported.path / "tokens.json").read_text())["settings"]["split"] == "unicode_words"


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "text"), [(LSTM, "split: character, max_length: 7"), ("transformer", "max_length: 5")])
def test_recurrent_networks_and_transformers_are_exported_as_onnx_and_litert(tmp_path: Path, layers: str, text: str) -> None:
    of_texts = trained_on_texts(tmp_path, layers, text=text)
    for form in ("onnx", "tflite"):
        assert export(of_texts, form).agreement.agrees  # type: ignore[arg-type]


def test_an_export_whose_tokenizer_differs_is_deleted(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reversed_vocabularies(folder: Path, tokenizers: Any) -> None:
        writing(folder, tokenizers)
        content = json.loads((folder / "tokens.json").read_text())
        content["vocabularies"] = {name: tokens[:2] + tokens[:1:-1] for name, tokens in content["vocabularies"].items()}
        (folder / "tokens.json").write_text(json.dumps(content))

    writing = exporting.readme.write_tokenizer
    monkeypatch.setattr(exporting.readme, "write_tokenizer", reversed_vocabularies)
    with pytest.raises(RunFailed, match="does not agree"):
        export(run, "onnx", to=tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_texts_that_the_tokenizer_cannot_split_are_refused(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(exporting.original.__globals__["text_tokens"].SPLITS, "whitespace")
    with pytest.raises(UsageError, match="no operation for the text of column `review`, `title text`; --format saved_model"):
        export(run, "onnx")
