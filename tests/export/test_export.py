"""Exports: each is loaded by its own runtime, besides dlcli's own check, and agrees with the run."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trainings import save_images, save_rows, save_series, trained, write_pngs, write_spec

from dlcli.errors import DamagedFile, RunFailed, UsageError
from dlcli.export import export as module
from dlcli.export.agreement import ComparedExamples, agreement
from dlcli.export.export import Exported, export
from dlcli.export.formats import Format
from dlcli.predict.answers import layout_of
from dlcli.predict.predict import prepare
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.runtime.engine import keras, tf
from dlcli.score.evaluate import evaluate
from dlcli.tasks import TASKS

pytestmark = pytest.mark.usefixtures("without_pictures")
Array = np.ndarray[Any, Any]
FORMATS: tuple[Format, ...] = ("keras", "saved_model", "tflite", "onnx")
UNUSUAL_COLUMNS = ["größe, cm", "x-y", "1st.Floor", 'a "b" | <c>', "colour"]
CLASSES = ["no\nnot", "yes \x1b[31m"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def photos(folder: Path) -> RunFolder:
    """A run on colour images with a high accuracy."""
    write_pngs(folder / "photos", each=40)
    data = "image: {size: [8, 8]}, split: {test: 0.5}"
    source = "{kind: folder, path: photos}"
    training = "epochs: 9, optimizer: {kind: adam, learning_rate: 0.005}"
    grouped = "{kind: conv2d, filters: 8, kernel_size: 3, groups: 2, activation: relu}"
    model = f"{{kind: cnn, layers: [{{kind: conv2d, filters: 4, kernel_size: 3, activation: gelu}}, {grouped}, flatten]}}"
    return trained(write_spec(folder, source, model=model, data=data, training=training, name="photos"))


@pytest.fixture(scope="module")
def table(folder: Path) -> RunFolder:
    """A run on columns with unusual names, numbers and text with gaps, and classes with unusual names."""
    import pandas as pd

    random = np.random.default_rng(0)
    rows = {name: random.normal(3, 2, 80).round(3) for name in UNUSUAL_COLUMNS[:4]}
    rows["colour"] = random.choice(["red", "green, pale", "Grün", ""], 80)
    rows["target"] = np.where(rows["x-y"] + (rows["colour"] == "red") > 3, CLASSES[1], CLASSES[0])
    frame = pd.DataFrame(rows)
    frame.loc[::7, "x-y"] = np.nan
    frame.to_csv(folder / "table.csv", index=False)
    return trained(write_spec(folder, "{kind: csv, path: table.csv, target: target}", task="binary", name="table"))


@pytest.fixture(scope="module")
def export_of(photos: RunFolder, table: RunFolder) -> Callable[[str, Format], Exported]:
    """Returns a function that exports one of the two runs, once for each format."""
    exports: dict[tuple[str, Format], Exported] = {}
    runs = {"photos": photos, "table": table}

    def get(name: str, form: Format) -> Exported:
        if (name, form) not in exports:
            exports[name, form] = export(runs[name], form)
        return exports[name, form]

    return get


def export_outputs(path: Path, form: Format, inputs: dict[str, Array]) -> Array:
    """Returns an export's outputs without using dlcli; inputs are arrays `(n, ...)`, or columns of numbers and text `(n,)`."""
    file = path / {"keras": "model.keras", "saved_model": "model", "tflite": "model.tflite", "onnx": "model.onnx"}[form]
    if form == "saved_model":
        served = tf.saved_model.load(str(file)).signatures["serving_default"]
        (answer,) = served(**{name: tf.constant(values) for name, values in inputs.items()}).values()
        return np.asarray(answer)
    rows = {name: values[:, None] if values.ndim == 1 else values.astype("float32") for name, values in inputs.items()}
    if form == "keras":
        tensors = {name: tf.constant(values) for name, values in rows.items()}
        model = keras.saving.load_model(file, compile=False)
        return np.asarray(model(tensors if isinstance(model.input, dict) else next(iter(tensors.values())), training=False))
    if form == "onnx":
        import onnxruntime

        (answer,) = onnxruntime.InferenceSession(str(file)).run(None, rows)
        return np.asarray(answer)
    from ai_edge_litert.interpreter import Interpreter

    (answer,) = Interpreter(model_path=str(file)).get_signature_runner()(**rows).values()
    return np.asarray(answer)


def scored(run: RunFolder) -> tuple[list[str], list[str], Array]:
    """Returns ids, predicted classes and probabilities from the run's evaluation of its test split."""
    rows = read_table(run.evaluation("test") / "predictions.csv")
    shares = [name for name in rows[0] if name.startswith("p_")]
    table = np.array([[row[name] for name in shares] for row in rows], "float32")
    return [row["id"] for row in rows], [row["predicted"] for row in rows], table


@pytest.mark.parametrize("form", FORMATS)
def test_training_evaluation_prediction_and_export_agree_on_the_same_files(
    photos: RunFolder, folder: Path, export_of: Callable[[str, Format], Exported], form: Format
) -> None:
    ids, classes, shares = scored(photos)
    assert len(ids) == 80
    assert float(photos.metrics("test")["metrics"]["accuracy"]["value"]) > 0.9
    files = [folder / "photos" / example_id for example_id in ids]
    predicted_scores = np.concatenate(
        [example_id.scores for example_id in prepare(photos, list(map(str, files))).answers(pytest.fail)]
    )
    assert np.array_equal(predicted_scores, shares)
    exported = export_of("photos", form)
    answers = export_outputs(exported.path, form, {"image": np.stack([np.asarray(Image.open(path)) for path in files])})
    assert np.abs(answers - shares).max() < 1e-5
    labels = (exported.path / "labels.txt").read_text().splitlines()
    assert [labels[place] for place in answers.argmax(axis=1)] == classes
    figures = json.loads((exported.path / "export.json").read_text())
    assert figures["agreement"]["examples"] == 80
    assert figures["agreement"]["same_decisions"] == 1.0
    assert figures["agreement"]["largest_difference"] == pytest.approx(np.abs(answers - shares).max(), abs=1e-6)
    assert figures["agreement"]["original"] == photos.metrics("test")["metrics"]["accuracy"]["value"]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_five_hundred_photos_get_the_same_answers_from_every_export(tmp_path: Path, test_data: Path, form: Format) -> None:
    photos = test_data / "images" / "cifar10_subset"
    layers = "[{kind: conv2d, filters: 16, kernel_size: 3, activation: gelu}, {kind: max_pooling2d, pool_size: 2}, flatten]"
    model, data = f"{{kind: cnn, layers: {layers}}}", "image: {size: [32, 32]}"
    run = trained(write_spec(tmp_path, f"{{kind: folder, path: '{photos}'}}", model=model, data=data, training="epochs: 4"))
    ids, classes, shares = scored(run)
    assert len(ids) == 500
    predicted_scores = np.concatenate(
        [
            example_id.scores
            for example_id in prepare(run, [str(photos / example_id) for example_id in ids]).answers(pytest.fail)
        ]
    )
    assert np.abs(predicted_scores - shares).max() < 1e-5
    evaluate(run, "test")
    assert np.array_equal(scored(run)[2], shares)
    exported = export(run, form)
    images = np.stack([np.asarray(Image.open(photos / example_id).convert("RGB")) for example_id in ids])
    answers = export_outputs(exported.path, form, {"image": images})
    assert np.abs(answers - shares).max() < 1e-5
    names = np.array((exported.path / "labels.txt").read_text().splitlines())
    assert names[answers.argmax(axis=1)].tolist() == classes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images", "series"])
def test_every_layer_is_supported_by_every_export(tmp_path: Path, name: str) -> None:
    """The quick version is the network of `photos`, with the two layers that an exporter once lacked."""
    from models.test_conformance import NETS

    {"images": save_images, "series": save_series}[name](tmp_path / f"{name}.npz")
    model = f"{{kind: cnn, layers: [{', '.join(NETS[name])}]}}"
    run = trained(write_spec(tmp_path, f"{{kind: npz, path: {name}.npz}}", model=model, name=name))
    for form in FORMATS:
        assert export(run, form).agreement.largest_difference < 1e-5


def columns(folder: Path, ids: list[str], form: Format, path: Path) -> dict[str, Array]:
    """Returns the raw columns of the table's rows as inputs of an export, by the names in its README."""
    table_rows = read_table(folder / "table.csv")
    rows = [table_rows[int(example_id.split("/")[1])] for example_id in ids]
    lines = (path / "README.md").read_text().splitlines()
    names = [line.split("`")[1] for line in lines if line.endswith((" if missing |", ".json |"))]
    assert len(names) == len(UNUSUAL_COLUMNS)
    arrays: dict[str, Array] = {
        name: np.array([float(row[column] or "nan") for row in rows], "float32")
        for name, column in zip(names, UNUSUAL_COLUMNS[:4], strict=False)
    }
    text = [row["colour"] for row in rows]
    if form == "tflite":
        categories = json.loads((path / "categories.json").read_text())[names[4]]
        assert categories[1:] == ["", "Grün", "green, pale", "red"]
        return arrays | {names[4]: np.array([categories.index(word) for word in text], "int32")}
    return arrays | {names[4]: np.array(text, dtype=object)}


@pytest.mark.parametrize("form", FORMATS[1:])
def test_exports_take_raw_columns_of_numbers_and_text(
    table: RunFolder, folder: Path, export_of: Callable[[str, Format], Exported], form: Format
) -> None:
    ids, _, shares = scored(table)
    exported = export_of("table", form)
    answers = export_outputs(exported.path, form, columns(folder, ids, form, exported.path))
    assert answers.shape == (len(ids), 1)
    assert np.abs(answers[:, 0] - shares[:, 1]).max() < 1e-5
    assert (exported.path / "labels.txt").read_text() == "no\\nnot\nyes \\x1b[31m\n"
    assert "\x1b" not in (exported.path / "README.md").read_text()


def test_unknown_text_counts_as_unknown_in_onnx(
    table: RunFolder, tmp_path: Path, export_of: Callable[[str, Format], Exported]
) -> None:
    rows = ",".join(f'"{name}"'.replace('"b"', '""b""') for name in UNUSUAL_COLUMNS) + "\n1,2,3,4,never seen\n"
    (tmp_path / "new.csv").write_text(rows)
    (answer,) = prepare(table, [str(tmp_path / "new.csv")]).answers(pytest.fail)
    path = export_of("table", "onnx").path
    names = [row.split("`")[1] for row in (path / "README.md").read_text().splitlines() if row.endswith(" if missing |")]
    inputs: dict[str, Array] = {name: np.array([place], "float32") for place, name in enumerate(names[:4], 1)}
    output = export_outputs(path, "onnx", inputs | {names[4]: np.array(["never seen"], dtype=object)})
    assert output[0, 0] == pytest.approx(answer.scores[0, 1], abs=1e-6)


EXAMPLES = [(name, form) for name in ("photos", "table") for form in FORMATS]
QUICK = (("photos", "saved_model"), *((name, form) for name in ("photos", "table") for form in ("tflite", "onnx")))
"""The others start TensorFlow for several seconds each; every export to Keras also starts plain Keras."""


@pytest.mark.parametrize(
    ("name", "form"), [name if name in QUICK else pytest.param(*name, marks=pytest.mark.slow) for name in EXAMPLES]
)
def test_the_example_runs_without_dlcli(
    folder: Path,
    photos: RunFolder,
    table: RunFolder,
    export_of: Callable[[str, Format], Exported],
    name: str,
    form: Format,
    tmp_path: Path,
) -> None:
    path = export_of(name, form).path / "example.py"
    assert len(path.read_text().splitlines()) <= 26
    picture = folder / "photos" / "b" / "1.png"
    arguments = [str(picture)] if name == "photos" else []
    program = (
        "import sys, runpy; sys.modules['dlcli'] = None; sys.argv[0] = sys.argv[1]; del sys.argv[1];runpy.run_path(sys.argv[0])"
    )
    process = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", program, str(path), *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    printed = [line.rsplit(": ", 1) for line in process.stdout.splitlines()]
    if name == "photos":
        (answer,) = prepare(photos, arguments).answers(pytest.fail)
        expected = next(layout_of(answer.task).ranked(answer, 5))
    else:
        row = runpy.run_path(str(path), init_globals={}, run_name="other") if form == "onnx" else {}
        if not row:
            assert sorted(label for label, _ in printed) == ["no\\nnot", "yes \\x1b[31m"]
            return
        (tmp_path / "row.csv").write_text(
            ",".join(f'"{name}"'.replace('"b"', '""b""') for name in UNUSUAL_COLUMNS)
            + "\n"
            + ",".join(f'"{value}"' for value in row["row"].values())
            + "\n"
        )
        (answer,) = prepare(table, [str(tmp_path / "row.csv")]).answers(pytest.fail)
        expected = [
            (label.replace("\n", "\\n").replace("\x1b", "\\x1b"), share)
            for label, share in next(layout_of(answer.task).ranked(answer, 2))
        ]
    assert [label for label, _ in printed] == [label for label, _ in expected]
    assert [float(share) for _, share in printed] == pytest.approx([share for _, share in expected], abs=1e-5)


def save_in_mixed_precision(run: RunFolder) -> None:
    """Saves the model of a run as earlier versions did, whose files kept the precision of the training."""
    model = keras.saving.load_model(run.model_path, compile=False)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense) and layer.name != "output":
            layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    model.save(run.model_path)


def test_values_labels_and_mixed_precision(folder: Path) -> None:
    save_rows(folder / "rows.npz")
    x = np.load(folder / "rows.npz")["x"]
    for task, target in (("regression", "y2"), ("multilabel", "labels")):
        more = "hardware: {precision: mixed_bfloat16}" if task == "multilabel" else ""
        run = trained(write_spec(folder, f"{{kind: npz, path: rows.npz, target: {target}}}", task=task, name=task, more=more))
        if more:
            save_in_mixed_precision(run)
        scores = np.concatenate([answers.scores for answers in prepare(run, [str(folder / "rows.npz")]).answers(pytest.fail)])
        tolerance = 0.02 if more else 1e-5
        for form in FORMATS[1:]:
            exported = export(run, form)
            assert np.abs(export_outputs(exported.path, form, {"features": x}) - scores).max() < tolerance
            assert exported.agreement.mixed_precision == (bool(more) and form != "saved_model")
            assert exported.agreement.judged_as == ("float16" if more and form == "saved_model" else "")
            assert exported.agreement.largest_difference < 1e-5
            assert exported.agreement.metric == ("mae" if task == "regression" else "accuracy")
            assert (exported.agreement.same_decisions is None) == (task == "regression")


@pytest.mark.parametrize("quantize", ["float16", "int8"])
def test_quantized_files_have_the_smaller_type_and_a_measured_agreement(photos: RunFolder, quantize: Any) -> None:
    from ai_edge_litert.interpreter import Interpreter

    exported = export(photos, "tflite", quantize=quantize)
    assert exported.path.name == f"tflite-{quantize}"
    interpreter = Interpreter(model_path=str(exported.path / "model.tflite"))
    kinds = {np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    assert quantize in kinds
    assert interpreter.get_input_details()[0]["dtype"] == np.float32
    assert 1e-6 < exported.agreement.largest_difference < 0.2
    assert exported.agreement.same_decisions is not None
    assert exported.agreement.same_decisions >= 0.9


def test_models_that_a_format_does_not_support_are_refused(table: RunFolder, folder: Path) -> None:
    from runtime.test_hub import signature_only

    with pytest.raises(UsageError, match="without missing values; use float16"):
        export(table, "tflite", quantize="int8")
    assert not (table.path / "exports" / "tflite-int8").exists()
    write_pngs(folder / "small", each=6, side=4)
    model = f"{{kind: transfer, backbone: {{kind: hub, handle: '{signature_only(folder / 'hub')}', input_size: [4, 4]}}}}"
    run = trained(write_spec(folder, "{kind: folder, path: small}", model=model, training="epochs: 1", name="hub"))
    with pytest.raises(UsageError, match="contains a TensorFlow Hub module, which needs dlcli's layer; --format saved_model"):
        export(run, "keras")
    for form in FORMATS[1:]:
        assert export(run, form).agreement.largest_difference < 1e-5


def test_an_export_that_does_not_agree_is_deleted(photos: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_other(source: Any, model: Any, path: Path) -> None:
        changed = keras.models.clone_model(model)
        changed.set_weights([weights + 0.01 for weights in model.get_weights()])
        write(source, changed, path)

    write = module.write_onnx
    monkeypatch.setattr(module, "write_onnx", write_other)
    with pytest.raises(RunFailed, match=r"does not agree with the run's model and was deleted: accuracy .*at most 1e-05 is"):
        export(photos, "onnx", to=tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_replaced_only_if_dlcli_wrote_all_its_files(photos: RunFolder, tmp_path: Path) -> None:
    first = export(photos, "onnx")
    (first.path / "__pycache__").mkdir(exist_ok=True)  # as after a run of example.py
    (first.path / "__pycache__" / "image_reader.cpython-311.pyc").touch()
    first_record = (first.path / "export.json").read_text()
    assert export(photos, "onnx").path == first.path
    assert (first.path / "export.json").read_text() != first_record  # written at a different time
    assert sorted(path.name for path in first.path.parent.iterdir() if path.name.startswith(".")) == []
    (first.path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"contains notes\.txt, which dlcli did not write"):
        export(photos, "onnx")
    (first.path / "notes.txt").unlink()
    (first.path / "README.md").write_text("mine")
    with pytest.raises(UsageError, match=r"contains README\.md"):
        export(photos, "onnx")
    (first.path / "export.json").write_text("{}")
    with pytest.raises(UsageError, match="is not an export of dlcli"):
        export(photos, "onnx")
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="this folder exists"):
        export(photos, "onnx", to=tmp_path / "there")
    with pytest.raises(UsageError, match="no folder"):
        export(photos, "onnx", to=tmp_path / "gone" / "made")


def test_a_link_in_the_exports_place_is_refused(photos: RunFolder, tmp_path: Path) -> None:
    moved = (photos.path / "exports").rename(photos.path / "kept") if (photos.path / "exports").exists() else None
    (photos.path / "exports").symlink_to(tmp_path)
    try:
        with pytest.raises(DamagedFile, match="not a folder inside the run"):
            export(photos, "onnx")
    finally:
        (photos.path / "exports").unlink()
        if moved:
            moved.rename(photos.path / "exports")
    assert list(tmp_path.iterdir()) == []


def does_agree(export: Array, original: Array, truth: Array, task: str, quantize: str, spread: float = 1.0) -> bool:
    compared = ComparedExamples("test", truth, original, original)
    return agreement(compared, export, TASKS[task], metric=None, spread=np.full(1, spread), judge=quantize).agrees


def test_limits_of_agreement() -> None:
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.ones(3), 200).astype("float32")
    truth = shares.argmax(axis=1)
    assert does_agree(shares + 9e-6, shares, truth, "classification", "")
    assert not does_agree(shares + 2e-5, shares, truth, "classification", "")
    assert not does_agree(np.where(shares > 2, 0, np.nan), shares, truth, "classification", "")
    for quantize, most in (("float16", 2), ("int8", 10)):
        for different, agrees in ((most, True), (most + 1, False)):
            export = shares.copy()
            export[:different] = np.roll(shares[:different], 1, axis=1)
            assert does_agree(export, shares, truth, "classification", quantize) is agrees
    wrong_labels = (truth + 1) % 3  # without accuracy to lose, the share of different decisions is the limit
    export = shares.copy()
    export[:20] = np.roll(shares[:20], -1, axis=1)
    assert does_agree(export, shares, wrong_labels, "classification", "int8")
    export[:21] = np.roll(shares[:21], -1, axis=1)
    assert not does_agree(export, shares, wrong_labels, "classification", "int8")
    values = random.normal(1000, 2, (200, 1)).astype("float32")
    assert does_agree(values + 1e-4, values, values, "regression", "", spread=2)  # float32 has steps of 6e-5 there
    assert not does_agree(values + 2e-3, values, values, "regression", "", spread=2)
    assert does_agree(values + 0.09, values, values, "regression", "int8", spread=2)
    assert not does_agree(values + 0.11, values, values, "regression", "int8", spread=2)
    assert not does_agree(values + 0.03, values, values, "regression", "float16", spread=2)
