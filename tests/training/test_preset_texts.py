"""Fine-tuning of pretrained networks on texts: stages, proof, stored features, and what the saved model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.killing import assert_same_bits
from conftest import run_plain
from presets import VOCABULARY, needs_text, save_bert, save_hugging_face_bert
from trainings import Heard, losses, trained, write_spec

from dlcli.errors import DataError, RunFailed, SpecError, UsageError
from dlcli.export.export import export
from dlcli.report.card import write_model_card
from dlcli.runs import RunFolder
from dlcli.runtime.keras_file import load_keras_file
from dlcli.score.evaluate import evaluate
from dlcli.spec.load import load
from training.test_resume import Stopping, gone_on, stopped

pytestmark = [needs_text, pytest.mark.usefixtures("without_pictures")]

GOOD, BAD = ("lovely", "superb"), ("awful", "dull")
STAGES = (
    "stages: [{name: head, train: head, epochs: 12, optimizer: {kind: adam, learning_rate: 0.1}},"
    " {name: top, train: {blocks: 1}, epochs: 1},"
    " {name: all, train: all, epochs: 3, optimizer: {kind: adamw, learning_rate: {backbone: 1e-2, head: 2e-2}}}]"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a preset `bert` and a table `reviews.csv`, whose labels one word of a text decides."""
    folder = tmp_path_factory.mktemp("presets")
    save_bert(folder / "bert")
    random = np.random.default_rng(0)
    rows = [
        f"{'The' if number % 3 else 'a'} film was {random.choice(BAD if number % 2 else GOOD)}"
        f"{' by someone' * (number % 4)} . {number},{1 - number % 2}"
        for number in range(90)
    ]
    (folder / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return folder


def spec(folder: Path, name: str = "texts", training: str = STAGES, backbone: str = "", **fields: str) -> Path:
    source = f"{{kind: csv, path: {folder / 'reviews.csv'}, target: label, text: [text]}}"
    model = f"{{kind: transfer, backbone: {{kind: keras_hub, preset: {folder / 'bert'}{backbone}}}{fields.pop('head', '')}}}"
    fields = {"data": "batch_size: 16", **fields}
    return write_spec(folder, source, task="binary", model=model, name=name, training=training, **fields)


@pytest.fixture(scope="module")
def run(folder: Path) -> RunFolder:
    return trained(spec(folder))


def test_a_preset_is_fine_tuned_in_stages_and_the_proof_covers_every_variable(run: RunFolder) -> None:
    assert losses(run)[-1] < 0.7 * losses(run)[0]
    head, top, everything = run.stages()
    assert head["proof"]["moved"] == 2
    assert top["proof"]["moved"] == 2 + 16  # those of the head and of one layer of a Transformer
    assert everything["proof"]["moved"] == 2 + 2 * 16 + 5  # also tokens, positions, segments and their norm
    log = run.log_path.read_text(encoding="utf-8")
    assert "features: computed once: 63 examples" in log
    assert f"text: `text`: {len(VOCABULARY)} tokens in the vocabulary; unknown tokens: " in log
    assert "(longest)" in log
    assert "transformer_layer_1" in log
    assert "pooled_dense" not in log
    assert not run.vocabulary_path.exists()


def test_a_layer_of_another_task_is_left_as_it_is(run: RunFolder, folder: Path) -> None:
    from dlcli.upstream.keras_hub import import_keras_hub

    before = import_keras_hub().models.Backbone.from_preset(str(folder / "bert")).get_layer("pooled_dense")
    after = network_in(load_keras_file(run.model_path)).get_layer("pooled_dense")
    np.testing.assert_array_equal(after.kernel.numpy(), before.kernel.numpy())


def network_in(model: Any) -> Any:
    """Returns the network of the preset inside a saved model."""
    from dlcli.upstream.keras import all_layers

    return next(layer for layer in all_layers(model) if type(layer).__name__ == "BertBackbone")


def test_the_saved_model_takes_texts_with_keras_and_keras_hub_alone(run: RunFolder) -> None:
    code = (
        "import sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "import keras, keras_hub, tensorflow as tf\n"
        "model = keras.saving.load_model(sys.argv[1], compile=False)\n"
        "texts = {'text': tf.constant([['The film was superb .'], ['a film was dull by someone .'], ['']])}\n"
        "print(*model.predict(texts, verbose=0).ravel())\n"
        "print(*model(texts).numpy().ravel())\n"
    )
    predicted, called = run_plain(code, run.model_path, cwd=run.path).stdout.strip().splitlines()[-2:]
    good, bad, _ = map(float, predicted.split())
    assert good > bad
    np.testing.assert_allclose([*map(float, predicted.split())], [*map(float, called.split())], atol=1e-6)


def test_padding_never_changes_an_answer(run: RunFolder, folder: Path) -> None:
    import tensorflow as tf

    texts = tf.constant([["a film"], ["the film was lovely . the film was dull"], [""]])
    answers = []
    for length in (14, 24):
        path = spec(
            folder,
            f"long{length}",
            f"epochs: 0, initial_weights: {run.path}",
            data=f"batch_size: 16, text: {{max_length: {length}}}",
        )
        answers.append(load_keras_file(trained(path).model_path).predict({"text": texts}, verbose=0))
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)


def test_a_killed_fine_tuning_ends_with_the_same_bits(folder: Path) -> None:
    path = spec(folder, "killed", "stages: [{name: all, train: all, epochs: 2}]")
    whole = trained(path)
    killed = stopped(path, Stopping(step=6))
    gone_on(killed)
    assert_same_bits(killed, whole)


def test_scores_of_the_saved_model_are_those_of_the_training(run: RunFolder) -> None:
    scores = run.metrics("test")["metrics"]
    assert evaluate(run, "test").metrics == {name: entry["value"] for name, entry in scores.items()}


@pytest.mark.parametrize("form", ["keras", "saved_model"])
def test_exports_take_texts_and_say_which_packages_they_need(run: RunFolder, form: Any) -> None:
    exported = export(run, form)
    assert exported.agreement.agrees
    readme = (exported.path / "README.md").read_text(encoding="utf-8")
    assert "tensorflow-text" in readme
    assert ("keras-hub" in readme) == (form == "keras")


def test_formats_without_texts_are_refused(run: RunFolder) -> None:
    with pytest.raises(UsageError, match="the format has no operation for the text of column `text`"):
        export(run, "onnx")


def test_the_model_card_says_which_package_the_model_needs(run: RunFolder) -> None:
    card = write_model_card(run).read_text(encoding="utf-8")
    assert "A model with a KerasHub network needs keras-hub and tensorflow-text" in card
    assert "The backbone has the weights of the preset bert; dlcli does not know their licence." in card


def test_a_classifier_is_fitted_on_the_features_of_texts(folder: Path) -> None:
    classifier = trained(spec(folder, "classifier", "epochs: 1", head=", head: {kind: logistic_regression}"))
    assert classifier.metrics("test")["metrics"]["accuracy"]["value"] > 0.6
    assert evaluate(classifier, "test").metrics["accuracy"] > 0.6


def test_a_run_on_a_preset_is_fine_tuned(run: RunFolder, folder: Path) -> None:
    tuned = trained(spec(folder, "tuned", f"epochs: 1, initial_weights: {run.path}", data="batch_size: 16"))
    assert losses(tuned)[0] < losses(run)[0]


def test_a_run_on_texts_is_no_backbone(run: RunFolder, folder: Path) -> None:
    path = spec(folder, "above", "epochs: 1")
    path.write_text(path.read_text().replace(f"kind: keras_hub, preset: {folder / 'bert'}", f"kind: run, run: {run.path}"))
    with pytest.raises(SpecError, match=r"data\.source\.text: the backbone does not read texts"):
        load(path)


def test_a_folder_of_hugging_face_gives_the_same_network(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    save_hugging_face_bert(folder / "bert", tmp_path / "bert")
    (tmp_path / "reviews.csv").write_bytes((folder / "reviews.csv").read_bytes())
    training = "stages: [{name: all, train: all, epochs: 1}]"
    theirs, ours = trained(spec(tmp_path, training=training)), trained(spec(folder, "ours", training=training))
    np.testing.assert_allclose(losses(theirs), losses(ours), atol=1e-5)
    log = theirs.log_path.read_text(encoding="utf-8")
    assert f"text: `text`: {len(VOCABULARY)} tokens in the vocabulary" in log


def test_wrong_specs_are_refused_with_their_place(folder: Path) -> None:
    def fault(*overrides: str, **fields: str) -> str:
        with pytest.raises(SpecError) as caught:
            load(spec(folder, "wrong", **fields), overrides)
        return str(caught.value)

    assert "model.backbone.preset: expected the folder of a preset;" in fault(f"model.backbone.preset={folder}")
    assert "there is no such folder" in fault("model.backbone.preset=nowhere")
    assert "expected a folder, or an address that begins with kaggle:// or hf://" in fault(
        "model.backbone.preset=https://a.b/c"
    )
    assert "model.backbone.pooling: texts have different lengths" in fault(backbone=", pooling: none")
    assert "data.text.ngrams: has no effect: the backbone has its own tokenizer" in fault("data.text.ngrams=2")
    assert "model.backbone: takes texts, but the source names no column of texts" in fault("data.source.text=[]")


def test_texts_longer_than_the_network_takes_are_refused(folder: Path) -> None:
    with pytest.raises(RunFailed, match=r"model\.backbone\.preset: takes texts of at most 24 tokens"):
        trained(spec(folder, "longer", data="batch_size: 16, text: {max_length: 25}"))


def test_other_columns_are_refused_by_name(folder: Path) -> None:
    (folder / "two.csv").write_text("text,stars,label\n" + "a film,3,1\nthe film,1,0\n" * 20, encoding="utf-8")
    path = spec(folder, "columns", "epochs: 1")
    path.write_text(path.read_text(encoding="utf-8").replace("reviews.csv", "two.csv"), encoding="utf-8")
    with pytest.raises(RunFailed, match="takes one column of texts, but the data has 2 columns; leave out `stars`"):
        trained(path)


def test_addresses_are_not_fetched_offline(folder: Path) -> None:
    from dlcli.training.train import train

    loaded = load(spec(folder, "address"), ["model.backbone.preset=hf://somebody/bert"])
    with pytest.raises(DataError, match="hf://somebody/bert is an address, which --offline forbids"):
        train(loaded, folder / "runs", Heard(), offline=True, write_up=False)


def test_a_preset_that_names_foreign_classes_is_refused(folder: Path, tmp_path: Path) -> None:
    save_bert(tmp_path / "bert")
    config = tmp_path / "bert" / "preprocessor.json"
    config.write_text(config.read_text().replace("keras_hub>BertTokenizer", "os>system"), encoding="utf-8")
    (tmp_path / "reviews.csv").write_bytes((folder / "reviews.csv").read_bytes())
    with pytest.raises(SpecError, match="which may run code: it is not loaded"):
        load(spec(tmp_path))


@pytest.mark.slow
def test_a_killed_fine_tuning_of_minilm_ends_with_the_same_bits(test_data: Path, tmp_path: Path) -> None:
    rows = (test_data / "tabular" / "text" / "rt_polarity.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "few.csv").write_text("\n".join([rows[0], *rows[1:49], *rows[-48:]]) + "\n", encoding="utf-8")
    source = f"{{kind: csv, path: {tmp_path / 'few.csv'}, target: label, text: [text]}}"
    model = f"{{kind: transfer, backbone: {{kind: keras_hub, preset: {test_data / 'keras_hub' / 'minilm_l3_en'}}}}}"
    training = "stages: [{name: all, train: all, epochs: 2, optimizer: {kind: adamw, learning_rate: 2e-4}}]"
    path = write_spec(tmp_path, source, task="binary", model=model, data="batch_size: 16", training=training)
    whole = trained(path)
    killed = stopped(path, Stopping(step=5))
    gone_on(killed)
    assert_same_bits(killed, whole)
