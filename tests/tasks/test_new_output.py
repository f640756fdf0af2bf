"""A new output that is not a row of numbers takes one file: it is trained, resumed and scored, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import SMALL_CNN, bright_quarters, trained, write_pngs, write_spec

from dlcli.cli.console import show_result
from dlcli.errors import DataError, SpecError, UsageError
from dlcli.explain import explain
from dlcli.export.export import export
from dlcli.predict.answers import layout_of
from dlcli.predict.predict import prepare_examples
from dlcli.report.card import markdown
from dlcli.report.report import write_report
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.runtime.loading import load_model
from dlcli.score.baseline import baselines
from dlcli.score.compare import pair_runs
from dlcli.score.evaluate import EvaluateOptions, evaluate
from dlcli.score.outcome import has_outcome
from dlcli.spec.base import OneOf
from dlcli.spec.load import load
from dlcli.tasks import TASKS, Classes
from tasks import masks, reconstruction
from tasks.resuming import assert_resumed_bit_for_bit

pytestmark = pytest.mark.usefixtures("without_pictures")

SOURCE = "{kind: npz, path: images.npz, target: null}"
MODEL = "{kind: mlp, units: [16], activation: relu}"
TRAINING = "epochs: 15, optimizer: {kind: adam, learning_rate: 0.01}"

Array = np.ndarray[Any, Any]


def save_images(folder: Path) -> Array:
    """Writes images without labels and returns them."""
    images, _ = bright_quarters(120)
    np.savez(folder / "images.npz", x=images)
    return images


@pytest.fixture(scope="module", autouse=True)
def _task() -> Iterator[None]:
    """Registers the task for the tests of this file only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "reconstruction", reconstruction.RECONSTRUCTION)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("images")
    save_images(folder)
    return trained(write_spec(folder, SOURCE, task="reconstruction", model=MODEL, training=TRAINING), write_up=True)


def test_the_output_has_the_shape_of_the_input_and_the_error_is_that_of_the_saved_model(run: RunFolder) -> None:
    model = load_model(run.model_path, output=(8, 8, 1))
    images = np.load(run.path.parents[2] / "images.npz")["x"]
    places = [int(row["id"].removeprefix("train/")) for row in read_table(run.evaluation("test") / "losses.csv")]
    errors = (np.asarray(model(images[places])) - images[places] / 255) ** 2
    scores = run.metrics("test")["metrics"]
    assert scores["mse"]["value"] == pytest.approx(errors.mean(), rel=1e-5)
    assert scores["loss"]["value"] == pytest.approx(errors.mean(), rel=1e-5)
    low, high = scores["mse"]["interval"]
    assert low < errors.mean() < high
    assert errors.mean() < 0.5 * (images / 255).var()
    losses = [float(row["loss"]) for row in read_table(run.evaluation("test") / "losses.csv")]
    assert losses == pytest.approx(errors.mean(axis=(1, 2, 3)), rel=1e-4)


def test_the_data_of_the_run_has_neither_classes_nor_a_scale_of_targets(run: RunFolder) -> None:
    data = run.data()
    assert (data["task"], data["classes"], data["counts"]["train"], data["means"]) == ("reconstruction", [], {}, None)
    assert not run.experiment().data.scales_targets


def test_the_run_is_evaluated_again_and_on_other_data(run: RunFolder, tmp_path: Path) -> None:
    assert evaluate(run, "test").metrics["mse"] == run.metrics("test")["metrics"]["mse"]["value"]
    assert not has_outcome(run, "test")
    np.savez(tmp_path / "other.npz", x=bright_quarters(20, seed=1)[0])
    other = evaluate(run, "", data=str(tmp_path / "other.npz"))
    assert (other.examples, list(other.metrics)) == (20, ["loss", "mse"])


def test_a_comparison_tells_that_predictions_of_the_task_are_not_stored(run: RunFolder) -> None:
    (pairing,) = pair_runs([run, run], "test")
    reason = "those of `task: reconstruction` are not stored"
    assert pairing.notes == [f"{run.id} has no stored predictions of its test split: {reason}"]


def test_a_temperature_is_refused_with_the_task(run: RunFolder) -> None:
    words = "for probabilities; the task of this run is reconstruction"
    with pytest.raises(UsageError, match=f"--calibrate is {words}"):
        evaluate(run, "test", options=EvaluateOptions(calibrate=True))
    with pytest.raises(UsageError, match=f"--calibrated is {words}"):
        prepare_examples(run, bright_quarters(3)[0], calibrate=True)


def test_a_report_is_written_and_new_examples_are_predicted_in_memory(run: RunFolder) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert "gives its input again" in page
    assert "mse" in page
    answers = next(prepare_examples(run, bright_quarters(3)[0]).answers(pytest.fail))
    assert answers.scores.shape == (3, 8, 8, 1)
    assert "omitted" not in (run.path / "log.txt").read_text(encoding="utf-8")


def test_what_needs_a_row_refuses_the_task_by_name(run: RunFolder) -> None:
    refused = "does not support `task: reconstruction`"
    with pytest.raises(UsageError, match=f"`dlcli predict` {refused}"):
        layout_of(run.experiment().task)
    with pytest.raises(UsageError, match=f"`dlcli explain` {refused}"):
        explain(run, [], method="", class_name="", offline=True, skip=pytest.fail)
    with pytest.raises(UsageError, match=f"`dlcli export` {refused}"):
        export(run, "onnx")
    with pytest.raises(UsageError, match=f"`dlcli baseline` {refused}"):
        baselines(run.experiment(), print)
    assert markdown(f"`dlcli predict` {refused}") in run.model_card_path.read_text(encoding="utf-8")


def test_the_hints_after_a_training_name_only_what_the_task_supports(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    show_result(run)
    hints = capsys.readouterr().out.partition("next:")[2]
    assert "evaluate" in hints
    assert "explain" not in hints
    assert "export" not in hints


@pytest.mark.parametrize(("values", "model"), [("rows", MODEL), ("series", MODEL), ("images", SMALL_CNN)])
def test_rows_series_and_images_of_a_labelled_source_are_reconstructed_too(tmp_path: Path, values: str, model: str) -> None:
    random = np.random.default_rng(0)
    x = {"rows": random.normal(size=(60, 5)), "series": random.normal(size=(60, 6, 2)), "images": bright_quarters(60)[0]}[
        values
    ]
    np.savez(tmp_path / "images.npz", x=x, y=np.array(["a", "b", "c"] * 20))
    source = "{kind: npz, path: images.npz}"
    run = trained(write_spec(tmp_path, source, task="reconstruction", model=model))
    assert load_model(run.model_path).output_shape[1:] == (*x.shape[1:], 1)[: x.ndim - 1]
    assert run.metrics("test")["metrics"]["mse"]["value"] > 0


def test_an_output_that_is_not_a_row_cannot_derive_from_classes_of_whole_examples() -> None:
    with pytest.raises(TypeError, match=r"Pixels\.is_row is False, so it must derive from OutputType"):
        type("Pixels", (Classes,), {"is_row": False})


def test_r2_of_rows_does_not_measure_another_output(tmp_path: Path) -> None:
    save_images(tmp_path)
    spec = write_spec(tmp_path, SOURCE, task="reconstruction", model=MODEL, training="epochs: 1, metrics: [r2]")
    with pytest.raises(SpecError, match="`r2` does not fit `task: reconstruction`"):
        load(spec)


def test_what_targets_and_sources_cannot_give_is_refused(tmp_path: Path) -> None:
    save_images(tmp_path)
    with pytest.raises(SpecError, match="the source has no labels, which `task: classification` needs"):
        load(write_spec(tmp_path, SOURCE, model=MODEL))
    (tmp_path / "table.csv").write_text("a,b\n" + "1,2\n3,4\n" * 20, encoding="utf-8")
    source = "{kind: csv, path: table.csv, target: b}"
    with pytest.raises(DataError, match="a reconstruction needs images or arrays"):
        trained(write_spec(tmp_path, source, task="reconstruction", model=MODEL))
    data = "scale_targets: true, augment: [{kind: random_flip}]"
    with pytest.raises(SpecError) as refused:
        load(write_spec(tmp_path, SOURCE, task="reconstruction", model=MODEL, data=data))
    assert "only a regression scales its targets" in str(refused.value)
    assert "augmentation changes the images, but not the targets of `task: reconstruction`" in str(refused.value)


def test_a_killed_run_of_the_new_output_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    save_images(tmp_path)
    training = "epochs: 30, checkpoint_minutes: 0.001"
    spec = write_spec(tmp_path, SOURCE, task="reconstruction", model=MODEL, data="batch_size: 4", training=training)
    run = assert_resumed_bit_for_bit(Path(reconstruction.__file__), spec)
    assert json.loads((run.path / "status.json").read_text())["state"] == "completed"


def save_masks(folder: Path) -> tuple[Array, Array]:
    """Writes images, and masks of their bright quarter, and returns both."""
    images, _ = bright_quarters(120)
    truth = (images[..., 0] >= 130).astype("uint8")
    np.savez(folder / "masks.npz", x=images, y=truth)
    return images, truth


@pytest.fixture
def _masks() -> Iterator[None]:
    """Registers the task of masks for one test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OneOf.registry["Metric"], "_added", [])
        patch.setitem(TASKS, "segmentation", masks.SEGMENTATION)
        masks.add()
        yield


@pytest.mark.usefixtures("_masks")
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_a_class_for_each_pixel_is_learned_and_scored(tmp_path: Path, loss: str) -> None:
    images, truth = save_masks(tmp_path)
    training = f"epochs: 30, loss: {loss}, optimizer: {{kind: adam, learning_rate: 0.01}}"
    source = "{kind: npz, path: masks.npz}"
    run = trained(write_spec(tmp_path, source, task="segmentation", model=MODEL, training=training), write_up=True)
    model = load_model(run.model_path, output=(8, 8, 2))
    rows = read_table(run.evaluation("test") / "losses.csv")
    places = [int(row["id"].removeprefix("train/")) for row in rows]
    shares = np.asarray(model(images[places]))
    scores = run.metrics("test")["metrics"]
    is_right = shares.argmax(axis=-1) == truth[places]
    assert scores["pixel_accuracy"]["value"] == pytest.approx(is_right.mean())
    assert is_right.mean() > 0.9
    losses = -np.log(np.take_along_axis(shares, truth[places][..., None], axis=-1))
    assert scores["loss"]["value"] == pytest.approx(losses.mean(), rel=1e-4)
    assert [float(row["loss"]) for row in rows] == pytest.approx(losses.mean(axis=(1, 2, 3)), rel=1e-4)
    assert float(run.history()[-1]["val_pixel_accuracy"]) > 0.9
    assert evaluate(run, "test").metrics["pixel_accuracy"] == scores["pixel_accuracy"]["value"]
    assert (run.data()["classes"], has_outcome(run, "test")) == (["0", "1"], False)
    assert "gives each pixel one of 2 classes: 0 and 1" in run.report_path.read_text(encoding="utf-8")
    assert "omitted" not in (run.path / "log.txt").read_text(encoding="utf-8")


@pytest.mark.usefixtures("_masks")
def test_classes_of_pixels_cannot_be_selected_and_folders_of_classes_have_no_masks(tmp_path: Path) -> None:
    np.savez(tmp_path / "masks.npz", x=bright_quarters(20)[0], y=bright_quarters(20)[0] // 128)
    spec = write_spec(tmp_path, "{kind: npz, path: masks.npz}", task="segmentation", model=MODEL)
    with pytest.raises(SpecError, match="`task: segmentation` has no classes of examples to select"):
        load(spec, ['data.classes=["0", "1"]'])
    write_pngs(tmp_path / "photos", each=4, names=("a", "b"))
    with pytest.raises(SpecError, match=r"this source is for .*, not segmentation"):
        load(write_spec(tmp_path, "{kind: folder, path: photos}", task="segmentation", model=MODEL))


@pytest.mark.usefixtures("_masks")
def test_masks_of_another_form_are_refused_with_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "masks.npz", x=bright_quarters(20)[0], y=np.arange(20))
    source = "{kind: npz, path: masks.npz}"
    with pytest.raises(DataError, match=r"masks\.npz: masks need class numbers \(n, height, width\), found int64 \(20,\)"):
        trained(write_spec(tmp_path, source, task="segmentation", model=MODEL))
