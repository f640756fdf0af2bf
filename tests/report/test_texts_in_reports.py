"""The report shows the most confident mistakes on texts, with the words that decided them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trainings import trained, write_spec

import dlcli
from dlcli.data.open_run import open_run
from dlcli.report.checks import write_checks
from dlcli.report.diagnosis import diagnose
from dlcli.report.report import write_report
from dlcli.runs import RunFolder
from dlcli.runs.checks import read_checks
from dlcli.runs.files import read_table
from dlcli.runs.notable_texts import read_notable_texts
from dlcli.score.notable_texts import excerpt
from dlcli.score.words import Word

pytestmark = pytest.mark.usefixtures("without_pictures")
MODEL = "{kind: sequence, embedding: {kind: trained, output_dim: 8}, layers: [global_average_pooling1d]}"


def _words(text: str, *names: str) -> list[tuple[Word, float]]:
    return [(Word("text", text.index(name), text.index(name) + len(name), name), 1.0) for name in names]


def test_long_texts_are_shortened_around_the_words_that_decided() -> None:
    short = "a lovely film"
    assert [(piece.text, piece.effect) for piece in excerpt(short, _words(short, "lovely"))] == [
        ("a ", None), ("lovely", 1.0), (" film", None),
    ]  # fmt: skip
    long = f"{'x' * 100} lovely {'y' * 300} superb {'z' * 20}"
    pieces = list(excerpt(long, _words(long, "lovely", "superb")))
    assert [piece.text for piece in pieces] == [
        f"…{'x' * 59} ", "lovely", f" {'y' * 59}", f"…{'y' * 59} ", "superb", f" {'z' * 20}",
    ]  # fmt: skip
    assert [piece.text for piece in excerpt(long, [])] == [long[:240] + "…"]
    assert list(excerpt("", [])) == []
    near = "lovely, superb"
    assert "".join(piece.text for piece in excerpt(near, _words(near, "lovely", "superb"))) == near


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on texts that a word decides; some labels are wrong."""
    tmp_path = tmp_path_factory.mktemp("reviews")
    random, rows = np.random.default_rng(0), ["review,label"]
    for number in range(120):
        word = ("awful", "lovely")[number % 2]
        label = (number + (number % 10 == 0)) % 2  # some labels are wrong
        rows.append(f'"<b>{word}</b> \x1b[31m {random.choice(["film", "book"])} & more {number}",{label}')
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    source = "{kind: csv, path: rows.csv, target: label, text: [review]}"
    training = "epochs: 8, optimizer: {kind: adam, learning_rate: 0.1}"
    return trained(write_spec(tmp_path, source, task="binary", model=MODEL, training=training))


def test_a_linear_model_is_fitted_and_the_diagnosis_says_that_it_is_as_good(run: RunFolder) -> None:
    with open_run(run) as opened:
        write_checks(opened.experiment, opened.splits, run, {})
    simple = read_checks(run).simple_models
    assert simple is not None
    assert [row.name for row in simple.rows] == ["TF-IDF, logistic regression", "TF-IDF, linear SVC"]
    (finding,) = (finding for finding in diagnose(run) if finding.name == "a linear model is as good")
    assert finding.remedies[0].text.startswith("start simple: `")
    assert any("vectors or an encoder" in remedy.text for remedy in finding.remedies)


def test_mistakes_are_shown_with_their_words_and_escaped(run: RunFolder) -> None:
    texts = read_notable_texts(run.evaluation("test"))
    mistakes = {row["id"] for row in read_table(run.evaluation("test") / "examples.csv") if row["kind"] == "confident_error"}
    explained = {text.id: text for text in texts if text.explained}
    assert mistakes
    assert set(explained) == mistakes
    for text in explained.values():
        largest = max((piece for piece in text.pieces if piece.effect is not None), key=lambda piece: abs(piece.effect or 0))
        assert largest.text in ("<b>awful</b>", "<b>lovely</b>")
        assert largest.effect is not None
        assert largest.effect > 0
    page = write_report(run).read_text(encoding="utf-8")
    assert "Most confident mistakes" in page
    assert "<b>awful" not in page
    assert "\x1b" not in page
    assert '<mark class="for" title="+' in page
    assert "&lt;b&gt;lovely&lt;/b&gt;</mark>" in page or "&lt;b&gt;awful&lt;/b&gt;</mark>" in page
    before = (run.evaluation("test") / "texts.json").read_bytes()
    dlcli.Run(run.path).evaluate()
    assert (run.evaluation("test") / "texts.json").read_bytes() == before


def test_the_largest_errors_of_a_regression_are_shown_with_their_words(tmp_path: Path) -> None:
    rows = ["review,body,stars"] + [f"{('awful', 'lovely')[row % 2]} film {row},text,{1 + 4 * (row % 2)}" for row in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    source = "{kind: csv, path: rows.csv, target: stars, text: [review, body]}"
    run = trained(write_spec(tmp_path, source, task="regression", model=MODEL, training="epochs: 1"))
    texts = read_notable_texts(run.evaluation("test"))
    assert {text.explained for text in texts[:24]} == {"stars"}
    assert {text.column for text in texts} == {"review", "body"}
    page = write_report(run).read_text(encoding="utf-8")
    assert '<span class="muted">body:</span>' in page
