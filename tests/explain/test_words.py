"""The occlusion of words finds the words that decide, on texts where these are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trainings import trained, write_spec

import dlcli
from dlcli.errors import DataError, UsageError
from dlcli.explain import Explanation, explain, explanations
from dlcli.models.raw_output import before_squashing
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.runtime.columns import InputLayout
from dlcli.runtime.loading import load_model
from dlcli.score.words import Occlusion
from dlcli.spec.data.sources.column_kinds import NUMBER, TEXT

pytestmark = pytest.mark.usefixtures("without_pictures")
MODEL = "{kind: sequence, embedding: {kind: trained, output_dim: 8}, layers: [global_average_pooling1d]}"
TRAINING = "epochs: 12, optimizer: {kind: adam, learning_rate: 0.1}"
GOOD, BAD = ("lovely", "superb"), ("awful", "dull")
FILLER = ("a", "film", "by", "someone", "with", "music")


def _text(random: np.random.Generator, words: tuple[str, ...]) -> str:
    chosen = [*random.choice(FILLER, 4), random.choice(words)]
    random.shuffle(chosen)
    return " ".join(chosen)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on reviews whose class is decided by one word; some labels are wrong."""
    folder, random = tmp_path_factory.mktemp("reviews"), np.random.default_rng(0)
    rows = ["title,stars,label"]
    for number in range(120):
        is_good = number % 2 == 0
        label = ("bad", "good")[(is_good + (number % 12 == 0)) % 2]
        rows.append(f"{_text(random, GOOD if is_good else BAD)},{random.integers(1, 5)},{label}")
    (folder / "reviews.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    source = "{kind: csv, path: reviews.csv, target: label, text: [title]}"
    return trained(write_spec(folder, source, task="binary", model=MODEL, training=TRAINING))


def table_of(run: RunFolder, explanation: Explanation) -> list[dict[str, str]]:
    return read_table((run.path / "explanations" / explanation.file).with_suffix(".csv"))


@pytest.mark.usefixtures("with_pictures")
def test_the_decisive_words_have_the_largest_effects_in_examples_and_in_the_split(run: RunFolder) -> None:
    *of_examples, of_split = explain(run)
    assert len(of_examples) == 8
    assert {explanation.kind for explanation in (*of_examples, of_split)} == {"occlusion"}
    for explanation in of_examples:
        rows = table_of(run, explanation)
        strongest = max(rows, key=lambda row: abs(float(row["effect"])))
        assert strongest["word"] in (*GOOD, *BAD)
        assert ", label " in explanation.text
        assert strongest["word"] in explanation.text
        with Image.open(run.path / "explanations" / explanation.file) as picture:
            assert picture.size > (300, 200)
    words = [row["word"] for row in table_of(run, of_split)]
    assert words[0] in GOOD
    assert words[-1] in BAD
    assert of_split.title == "Words with the largest mean effect on good in the test split"
    assert "for it: " in of_split.text
    assert "against it: " in of_split.text
    assert explanations(run) == [*of_examples, of_split]


def _odds(run: RunFolder, text: str) -> float:
    share = float(dlcli.Run(run.path).predict({"title": [text], "stars": [3]}).scores[0, 1])
    return float(np.log(share) - np.log1p(-share))


def test_an_effect_is_the_fall_of_the_log_odds_when_the_word_is_unknown(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text('title,stars\n"Lovely film, by ... a stranger! dull",3\n', encoding="utf-8")
    (explanation,) = explain(run, [str(tmp_path / "new.csv")], class_name="good")
    rows = table_of(run, explanation)
    assert [(row["column"], row["start"], row["word"]) for row in rows] == [
        ("title", "0", "Lovely"), ("title", "7", "film,"), ("title", "13", "by"), ("title", "20", "a"),
        ("title", "22", "stranger!"),
    ]  # fmt: skip
    effects = {row["word"]: float(row["effect"]) for row in rows}
    assert run.experiment().data.text.max_length == 5  # so `dull` is not read
    whole = _odds(run, "lovely film by a stranger")
    assert effects["Lovely"] == pytest.approx(whole - _odds(run, "unheardof film by a stranger"), abs=1e-3)
    assert effects["a"] == pytest.approx(whole - _odds(run, "lovely film by unheardof stranger"), abs=1e-3)
    assert effects["stranger!"] == 0  # the model does not know it either
    (of_other,) = explain(run, [str(tmp_path / "new.csv")], class_name="bad")
    np.testing.assert_allclose(
        [float(row["effect"]) for row in table_of(run, of_other)], [-value for value in effects.values()]
    )


def test_explaining_texts_does_not_change_the_model_and_refuses_what_does_not_fit(run: RunFolder, tmp_path: Path) -> None:
    model = load_model(run.model_path)
    with before_squashing(model) as plain:
        assert plain
    (of_columns,) = explain(run, method="permutation")
    assert table_of(run, of_columns)[0]["column"] == "title"
    with pytest.raises(UsageError, match="these do: occlusion, permutation"):
        explain(run, method="grad_cam")
    (tmp_path / "empty.csv").write_text("title,stars\n", encoding="utf-8")
    with pytest.raises(DataError, match="no text could be read"):
        explain(run, [str(tmp_path / "empty.csv")])


def test_words_of_all_text_columns_are_replaced_by_a_letter_that_no_token_has(run: RunFolder) -> None:
    settings = run.experiment().data.text.model_copy(update={"split": "character", "max_length": 4})
    layout = InputLayout({"title": TEXT, "body": TEXT, "stars": NUMBER})
    vocabularies = {"title": ("", "[UNK]", "\u16a0x"), "body": ("", "[UNK]", "\u16a1")}
    occlusion = Occlusion(None, layout, settings, vocabularies, run.experiment().task, ("a", "b"))
    row = {"title": "A 電!影好", "body": "", "stars": 1.0}
    words = occlusion.words(row)
    assert [word.text for word in words] == ["a", " ", "電", "影"]
    assert occlusion.without(row, [words[0], words[2]]) == {"title": "\u16a2 \u16a2!影好", "body": "", "stars": 1.0}


def test_words_of_mixed_scripts_are_replaced_without_joining_their_neighbours(run: RunFolder) -> None:
    settings = run.experiment().data.text.model_copy(update={"split": "unicode_words", "max_length": 9})
    layout = InputLayout({"title": TEXT})
    occlusion = Occlusion(None, layout, settings, {"title": ("", "[UNK]", "a")}, run.experiment().task, ("a", "b"))
    row = {"title": "It's 电影OK，so\u00adft 👍"}
    words = occlusion.words(row)
    assert [word.text for word in words] == ["its", "电", "影", "ok", "soft"]
    assert occlusion.without(row, [words[0], words[2]]) == {"title": " \u16a0  电 \u16a0 OK，so\u00adft 👍"}
    assert [row["title"][word.start : word.end] for word in words] == ["It's", "电", "影", "OK", "so\u00adft"]


def test_three_classes_and_files_of_texts(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for name, word in (("good", "lovely"), ("bad", "awful"), ("odd", "weird")):
        (tmp_path / "texts" / name).mkdir(parents=True)
        for number in range(24):
            text = _text(random, (word,))
            (tmp_path / "texts" / name / f"{number}.txt").write_text(text, encoding="utf-8")
    source = "{kind: text_folder, path: texts}"
    run = trained(write_spec(tmp_path, source, model=MODEL, training=TRAINING))
    of_split = [explanation for explanation in explain(run) if explanation.title.startswith("Words with")]
    words = ["awful", "lovely", "weird"]
    assert [table_of(run, explanation)[0]["word"] for explanation in of_split] == words
    path = tmp_path / "texts" / "odd" / "0.txt"
    (explanation,) = explain(run, [str(path)])
    assert explanation.title == f"Words for odd: {path}"
    best = max(table_of(run, explanation), key=lambda row: float(row["effect"]))
    assert best["word"] == "weird"
