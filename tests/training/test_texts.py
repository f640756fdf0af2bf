"""Trainings on columns of texts: what is learned, what the saved model takes, and that an interruption changes no bit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.killing import assert_same_bits
from conftest import Dlcli, run_plain
from trainings import losses, trained, write_spec

from dlcli.data.resolve import resolved_for
from dlcli.data.splits import open_splits
from dlcli.data.texts import resolved_text, text_facts, text_lines, vocabularies_of
from dlcli.errors import DataError, RunFailed, SpecError
from dlcli.models.describe import describe_run
from dlcli.models.network import build_model
from dlcli.runs import RunFolder
from dlcli.runtime.device import Device
from dlcli.runtime.keras_file import load_keras_file
from dlcli.runtime.length_draw import CutRows
from dlcli.score.outcome import read_outcome
from dlcli.spec.load import load
from training.test_ensemble import averaged
from training.test_resume import Stopping, gone_on, stopped

GOOD, BAD = ("lovely", "superb", "charming"), ("awful", "dull", "tedious")
MODEL = "{kind: sequence, embedding: {kind: trained, output_dim: 8}, layers: [%s]}"
LSTM = "{kind: bidirectional, layer: {kind: lstm, units: 4, dropout: 0.2}}, {kind: dropout, rate: 0.2}"
TRANSFORMER = (
    "position_embedding, {kind: transformer_encoder, intermediate_dim: 8, num_heads: 2, dropout: 0.2}, global_max_pooling1d"
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviews whose title and number decide together, with quoted line breaks, gaps and other languages."""
    random, path = np.random.default_rng(0), tmp_path_factory.mktemp("texts") / "reviews.csv"
    rows = ["title,body,stars,place,label"]
    for number in range(90):
        is_good = number % 2 == 0
        title = random.choice(GOOD if is_good else BAD)
        body = "" if number == 7 else f'"a film, by\n{random.choice(["Größe", "電影", "someone"])} {number}"'
        rows.append(f"the {title} one,{body},{random.integers(1, 5)},{random.choice(['here', 'there'])},{int(is_good)}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def spec(table: Path, layers: str, name: str = "texts", text: str = "[title, body]", **fields: str) -> Path:
    source = f"{{kind: csv, path: {table}, target: label, text: {text}}}"
    fields = {"training": "epochs: 6, optimizer: {kind: adam, learning_rate: 0.02}", "data": "batch_size: 16", **fields}
    return write_spec(table.parent, source, task="binary", model=MODEL % layers, name=name, **fields)


def tokenizer_of(model: Any, name: str) -> Any:
    """Returns the layer that reads an input of texts."""
    (tensor,) = (tensor for tensor in model.inputs if tensor.name == name)
    return next(
        layer for layer in model.layers if any(part is tensor for node in layer._inbound_nodes for part in node.input_tensors)
    )


@pytest.fixture(scope="module")
def run(table: Path) -> RunFolder:
    return trained(spec(table, LSTM))


@pytest.mark.usefixtures("without_pictures")
def test_texts_numbers_and_categories_are_learned_together(run: RunFolder) -> None:
    assert losses(run)[-1] < 0.5 * losses(run)[0]
    assert {fact["name"]: fact["became"] for fact in run.data()["column_facts"]} == {
        "title": "text", "body": "text", "stars": "number", "place": "category", "label": "target",
    }  # fmt: skip
    log = run.log_path.read_text(encoding="utf-8")
    assert "text: `title`: 8 tokens in the vocabulary; unknown tokens: 0.0 % (train)" in log
    assert "note: `body`: 1 text has no token" in log


def test_the_vocabulary_is_that_of_the_training_split_and_the_length_is_resolved(run: RunFolder, table: Path) -> None:
    model = load_keras_file(run.model_path)
    vocabulary = tokenizer_of(model, "body").get_vocabulary()
    held_out = {name.rpartition("/")[2] for name, split in run.split().items() if split != "train"}
    assert held_out
    assert not held_out & set(vocabulary)
    assert json.loads((run.path / "vocabulary.json").read_text(encoding="utf-8"))["body"] == vocabulary
    assert run.data()["texts"]["body"]["parts"]["train"]["longest"] == 5
    assert run.experiment().data.text.max_length == 5


def test_the_saved_model_takes_texts_in_plain_keras(run: RunFolder) -> None:
    code = (
        "import sys, numpy as np, keras, tensorflow as tf\n"
        "model = keras.saving.load_model(sys.argv[1], compile=False)\n"
        "rows = {'title': [['the superb one'], ['the awful one']], 'body': [['a film'], ['']], 'place': [['here'], ['here']]}\n"
        "rows = {name: tf.constant(values) for name, values in rows.items()} | {'stars': tf.constant([[3.0], [3.0]])}\n"
        "print(*model(rows).numpy().ravel())\n"
    )
    good, bad = map(float, run_plain(code, run.model_path, cwd=run.path).stdout.split())
    assert good > 0.5 > bad


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("layers", [LSTM, TRANSFORMER], ids=["lstm", "transformer"])
def test_a_killed_training_on_texts_ends_with_the_same_bits(table: Path, layers: str) -> None:
    path = spec(table, layers, name="killed", training="epochs: 2")
    whole = trained(path)
    killed = stopped(path, Stopping(step=6))
    gone_on(killed)
    assert_same_bits(killed, whole)


@pytest.mark.usefixtures("without_pictures")
def test_runs_on_texts_are_averaged(run: RunFolder, table: Path) -> None:
    other = trained(spec(table, TRANSFORMER, name="other", training="epochs: 1"), [f"data.split.file={run.split_path}"])
    both = averaged([run, other])
    scores = [read_outcome(member, "test").scores for member in (both, run, other)]
    np.testing.assert_allclose(scores[0], (scores[1] + scores[2]) / 2, atol=1e-6)


@pytest.mark.usefixtures("without_pictures")
def test_vectors_of_a_file_are_the_initial_weights(table: Path) -> None:
    words = ("the", "one", *GOOD, *BAD)
    lines = [f"{word} {place} {-place} 1" for place, word in enumerate(words)]
    (table.parent / "vectors.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = (
        "{kind: sequence, embedding: {kind: pretrained, path: vectors.txt, trainable: false, stddev: null}, layers: kim_cnn}"
    )
    path = spec(
        table, "flatten", name="vectors", text="[title]", training="epochs: 1", data="batch_size: 16, text: {max_length: 5}"
    )
    path.write_text(path.read_text(encoding="utf-8").replace(MODEL % "flatten", model), encoding="utf-8")
    run = trained(path)
    assert f"vectors: 8 of 8 tokens have a vector in {table.parent / 'vectors.txt'}" in run.log_path.read_text(encoding="utf-8")
    saved = load_keras_file(run.model_path)
    vocabulary = tokenizer_of(saved, "title").get_vocabulary()
    inner = next(layer for layer in saved.layers if hasattr(layer, "layers"))
    rows = np.asarray(inner.get_layer("title_embedding").get_weights()[0])
    for place, word in enumerate(vocabulary[2:], start=2):
        np.testing.assert_array_equal(rows[place], [words.index(word), -words.index(word), 1])


@pytest.mark.usefixtures("without_pictures")
def test_a_resumed_training_needs_no_file_of_vectors(table: Path) -> None:
    lines = [f"{word} {place} 1" for place, word in enumerate(("the", "one", *GOOD, *BAD))]
    file = table.parent / "gone.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = "{kind: sequence, embedding: {kind: pretrained, path: gone.txt}, layers: [{kind: lstm, units: 2}]}"
    path = spec(table, "flatten", name="gone", text="[title]", training="epochs: 2")
    path.write_text(path.read_text(encoding="utf-8").replace(MODEL % "flatten", model), encoding="utf-8")
    killed = stopped(path, Stopping(step=4))
    file.unlink()
    gone_on(killed)
    assert len(losses(killed)) == 2
    assert "output_dim: 2" in killed.spec_path.read_text(encoding="utf-8")
    assert describe_run(killed).trainable > 0


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    "layers", [LSTM, TRANSFORMER, "{kind: conv1d, filters: 2, kernel_size: 3}"], ids=["lstm", "att", "conv"]
)
def test_batches_that_are_padded_less_have_the_same_outputs(table: Path, layers: str) -> None:
    loaded = load(spec(table, layers, name="cut", data="text: {max_length: 9}")).experiment
    splits = open_splits(loaded)
    experiment = resolved_for(loaded, splits, Device("cpu", "cpu", "float32", "exact"))
    network = build_model(experiment, replace(splits, vocabularies=vocabularies_of(experiment, splits)))
    assert network.texts is not None
    assert network.texts.columns == 2
    rows = network.encoded(splits.train.inputs)
    cut = CutRows(rows, network.texts)
    order = np.argsort(cut.lengths, kind="stable")[:8]
    short = cut.reader()(order)
    assert rows.shape is not None
    assert short.shape[1] < rows.shape[0]
    np.testing.assert_allclose(network.functional(short), network.functional(rows.read(order)), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("without_pictures")
def test_rows_of_texts_alone_take_a_byte_a_token_and_have_the_numbers_of_the_model(table: Path) -> None:
    def bytes_of(features: str) -> float:
        loaded = load(spec(table, LSTM, name="bytes"), [f"data.source.features={features}"]).experiment
        splits = open_splits(loaded)
        experiment = resolved_for(loaded, splits, Device("cpu", "cpu", "float32", "exact"))
        network = build_model(experiment, replace(splits, vocabularies=vocabularies_of(experiment, splits)))
        inputs = splits.train.inputs
        places = np.arange(len(inputs))
        rows = network.encoded(inputs)
        np.testing.assert_array_equal(rows.read(places), network.encode(inputs.read(places)))
        return float(rows.memory_bytes / rows.read(places).size)

    assert bytes_of("[title, body]") == 1
    assert bytes_of("[title, body, stars]") == 4


def test_batches_by_length_are_the_default_where_layers_take_several_lengths(table: Path) -> None:
    def resolved(layers: str, batches: str) -> str:
        experiment = load(spec(table, layers, name="b", data=f"text: {{max_length: 9, batches: {batches}}}")).experiment
        return resolved_for(experiment, open_splits(experiment), Device("cpu", "cpu", "float32", "exact")).data.text.batches

    assert (resolved(LSTM, "auto"), resolved("flatten", "auto")) == ("by_length", "shuffled")
    assert resolved(LSTM, "shuffled") == "shuffled"
    branches = "{kind: branches, branches: [[flatten], [global_max_pooling1d]]}"
    with pytest.raises(RunFailed, match=r"data\.text\.batches: by_length: the layers take texts of 9 tokens alone"):
        resolved(branches, "by_length")


def test_a_note_names_the_remedy_for_texts_without_spaces(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [f"{''.join(random.choice(list('好吃味道足量大快送水'), 6))},{number % 2}" for number in range(60)]
    (tmp_path / "meals.csv").write_text("\n".join(["review,label", *rows]) + "\n", encoding="utf-8")
    source = f"{{kind: csv, path: {tmp_path / 'meals.csv'}, target: label, text: [review]}}"
    for split, notes in (("whitespace", 1), ("character", 0)):
        experiment = load(
            write_spec(tmp_path, source, task="binary", model=MODEL % LSTM, data=f"text: {{split: {split}}}")
        ).experiment
        splits = open_splits(experiment)
        text = resolved_text(experiment, splits)
        resolved = experiment.model_copy(update={"data": experiment.data.model_copy(update={"text": text})})
        facts = text_facts(resolved, replace(splits, vocabularies=vocabularies_of(experiment, splits)))
        lines = text_lines(text, facts)
        assert [line for line in lines if line.startswith("note: ")] == [
            "note: `review`: 100 % of the tokens of new texts are not in the vocabulary; for a language without spaces between"
            " words, set `data.text.split: character`"
        ] * notes
        assert ("a training text has 1 token (median)" in lines[0]) == bool(notes)


def test_wrong_specs_of_texts_are_refused_with_their_place(table: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load(write_spec(table.parent, f"{{kind: csv, path: {table}, target: label, text: [titel]}}", task="binary", name="w1"))
    text = str(caught.value)
    assert "data.source.text: the file has no column `titel`; did you mean `title`?" in text
    assert "data.source.text: `model.kind: mlp` does not read texts; use `model.kind: sequence`" in text
    with pytest.raises(SpecError, match=r"model: `sequence` needs columns of texts"):
        load(spec(table, "flatten", name="w2", text="[]"))
    with pytest.raises(SpecError, match=r"model\.layers\.0: `reshape` cannot take sequences of different lengths"):
        load(spec(table, "{kind: reshape, target_shape: [-1]}", name="w3"))


def test_texts_without_a_token_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"!!!,{place % 2}\n" for place in range(40)), encoding="utf-8")
    path = write_spec(
        tmp_path,
        f"{{kind: csv, path: {tmp_path / 'rows.csv'}, target: label, text: [text]}}",
        task="binary",
        model=MODEL % "flatten",
    )
    with pytest.raises(DataError, match="column `text`: no training text has a token"):
        trained(path)


@pytest.mark.usefixtures("without_pictures")
def test_fine_tuning_keeps_the_vocabulary_of_the_run(run: RunFolder, tmp_path: Path) -> None:
    rows = [f"new {word} words,a film,3,here,{int(word in GOOD)}" for word in (*GOOD, *BAD) for _ in range(8)]
    (tmp_path / "more.csv").write_text("title,body,stars,place,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    source = f"{{kind: csv, path: {tmp_path / 'more.csv'}, target: label, text: [title, body]}}"
    path = write_spec(
        tmp_path, source, task="binary", model=MODEL % LSTM, data="batch_size: 16",
        training=f"epochs: 1, initial_weights: {run.path}",
    )  # fmt: skip
    tuned = trained(path)
    assert tuned.vocabularies() == run.vocabularies()
    assert "new" not in tuned.vocabularies()["title"]
    with pytest.raises(DataError, match=r"data\.text: .* split its texts in another way"):
        trained(path, ["data.text.split=character"])


@pytest.mark.usefixtures("without_pictures")
def test_texts_are_padded_to_the_longest_window_and_a_shorter_length_is_refused(table: Path) -> None:
    wide = "{kind: conv1d, filters: 2, kernel_size: 7}, global_max_pooling1d"
    path = spec(table, wide, name="wide", text="[title]", training="epochs: 1")
    assert trained(path).experiment().data.text.max_length == 7
    with pytest.raises(RunFailed, match=r"model\.layers\.0.*a text has 5 tokens; `data\.text\.max_length` sets it"):
        trained(path, ["data.text.max_length=5"])


def test_columns_of_texts_that_are_no_inputs_are_refused(table: Path) -> None:
    with pytest.raises(SpecError, match=r"data\.source\.text: `label` is no input"):
        load(spec(table, "flatten", name="w4", text="[title, label]"))


def test_describe_shows_the_operations_of_masks_as_single_rows(table: Path, dlcli: Dlcli) -> None:
    shown = dlcli(
        "describe", spec(table, "{kind: conv1d, filters: 2, kernel_size: 2}, global_max_pooling1d", name="shown")
    ).stdout
    assert "Conv1D conv1d" in shown
    assert "GreaterEqual" not in shown
    assert re.search(r"\d+ operations \w+ \.\.\. \w+", shown)
