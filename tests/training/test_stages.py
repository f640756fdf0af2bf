"""Stages of a training: what each moves, the proof of it, and which model is kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import GAUSSIANS, Heard, column, newest_run, save_images, trained, write_spec

from dlcli.charts.learning import stage_borders
from dlcli.errors import RunFailed, SpecError
from dlcli.models import selection
from dlcli.models.feature_cache import FeatureCache
from dlcli.runs import RunFolder
from dlcli.runs.stage_answers import read_stage_answers
from dlcli.runtime.engine import keras
from dlcli.runtime.hub_layer import HubLayer
from dlcli.runtime.layers import single_layers
from dlcli.runtime.stream import TrainingStream
from dlcli.score.compare import Difference
from dlcli.score.evaluate import evaluate
from dlcli.score.outcome import read_outcome
from dlcli.spec.load import load
from dlcli.training import stage_trainer
from dlcli.training.unfreezing import in_words

pytestmark = pytest.mark.usefixtures("without_pictures")

IMAGES = "{kind: npz, path: images.npz}"
BODY = (
    "{kind: cnn, layers: [{kind: conv2d, filters: 6, kernel_size: 3}, batch_normalization,"
    " {kind: activation, activation: relu}, {kind: conv2d, filters: 8, kernel_size: 3}, batch_normalization,"
    " {kind: dropout, rate: 0.5}, flatten, {kind: dense, units: 12, activation: relu}]}"
)
TRANSFER = "{kind: transfer, backbone: {kind: run, run: runs/low}, head: [{kind: dropout, rate: 0.2}]}"
DATA = "batch_size: 16, split: {validation: 0.25, test: 0.25}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, and a run `low` to stand on."""
    folder = tmp_path_factory.mktemp("stages")
    save_images(folder / "images.npz", examples=128)
    trained(write_spec(folder, IMAGES, model=BODY, data=DATA, training="epochs: 2", name="low"))
    return folder


def transfer(folder: Path, training: str, *, model: str = TRANSFER, data: str = DATA, heard: Heard | None = None) -> RunFolder:
    """Trains a model on the run `low` with some training settings."""
    return trained(write_spec(folder, IMAGES, model=model, data=data, training=training, name="high"), reporter=heard)


def weights(run: RunFolder, name: str) -> list[Any]:
    """Returns what a layer of the run's backbone, or of the run itself, holds."""
    model = keras.saving.load_model(run.model_path, compile=False)
    inner = model.get_layer("backbone") if any(layer.name == "backbone" for layer in model.layers) else model
    return [weight.numpy() for weight in inner.get_layer(name).weights]


def low(folder: Path) -> RunFolder:
    """Returns the run that the others stand on."""
    return RunFolder(next(iter((folder / "runs" / "low").glob("*"))))


def names(run: RunFolder) -> tuple[list[str], list[str]]:
    """Returns the names of the convolutions and of the BatchNorm layers of the run `low`."""
    layers = keras.saving.load_model(run.model_path, compile=False).layers
    kinds = (keras.layers.Conv2D, keras.layers.BatchNormalization)
    first, second = ([layer.name for layer in layers if isinstance(layer, kind)] for kind in kinds)
    return first, second


def same(one: list[Any], other: list[Any]) -> bool:
    """Whether two lists of arrays hold the same bits."""
    return all((left == right).all() for left, right in zip(one, other, strict=True))


def test_a_frozen_stage_leaves_every_bit_of_the_backbone(folder: Path) -> None:
    run = transfer(folder, "epochs: 2")
    convolutions, norms = names(low(folder))
    assert all(same(weights(run, name), weights(low(folder), name)) for name in (*convolutions, *norms))
    (stage,) = run.stages()
    assert (stage["name"], stage["train"], stage["trainable"]) == ("head", "head", 12 * 4 + 4)
    assert stage["proof"]["moved"] == 2
    assert stage["proof"]["still"] == len(keras.saving.load_model(run.model_path, compile=False).weights) - 2


def test_kept_features_give_the_history_of_the_plain_path(folder: Path) -> None:
    """The backbone has dropout, which rests on both paths."""
    heard, plain_heard = Heard(), Heard()
    kept = transfer(folder, "epochs: 3", heard=heard)
    plain = transfer(folder, "epochs: 3, features: off", heard=plain_heard)
    assert any(("features: " in line and "once" in line) or "earlier run" in line for line in heard.lines)
    assert any("computed at every step" in line for line in plain_heard.lines)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(column(kept, name), column(plain, name), rtol=1e-5)
    assert kept.metrics()["metrics"].keys() == plain.metrics()["metrics"].keys()
    for name, entry in kept.metrics()["metrics"].items():
        assert entry["value"] == pytest.approx(plain.metrics()["metrics"][name]["value"], rel=1e-5)


def test_a_second_run_reads_the_features_of_the_first(folder: Path) -> None:
    transfer(folder, "epochs: 1")
    heard = Heard()
    transfer(folder, "epochs: 1", heard=heard)
    assert any(line.startswith("features: read from an earlier run") for line in heard.lines)


@pytest.mark.parametrize("change", ["data", "weights", "damage"])
def test_features_of_something_else_are_computed_anew(folder: Path, change: str) -> None:
    transfer(folder, "epochs: 1")
    data, model = DATA, TRANSFER
    if change == "data":
        data = DATA.replace("0.25}", "0.2}")
    if change == "weights":
        model = TRANSFER.replace("runs/low", "runs/low, until: flatten").replace("head: [", "head: [{kind: dense, units: 3}, ")
    if change == "damage":
        for file in (folder / "runs" / ".features").glob("*.npy"):
            file.write_bytes(file.read_bytes()[:40])
    heard = Heard()
    transfer(folder, "epochs: 1", model=model, data=data, heard=heard)
    assert any(line.startswith("features: computed once") for line in heard.lines)


def test_kept_features_stay_within_their_disk_space(folder: Path) -> None:
    cache = folder / "runs" / ".features"
    transfer(folder, "epochs: 1")
    assert list(cache.glob("*.npy"))
    transfer(folder, "epochs: 1, features: {disk_gb: 0.000001}")
    assert not list(cache.glob("*.npy"))


@pytest.mark.parametrize("norm", ["freeze", "train"])
def test_batch_norm_moves_only_where_the_stage_says_so(folder: Path, norm: str) -> None:
    run = transfer(folder, f"stages: [{{name: all, train: all, epochs: 1, batch_norm: {norm}}}]")
    convolutions, norms = names(low(folder))
    assert not any(same(weights(run, name), weights(low(folder), name)) for name in convolutions)
    assert all(same(weights(run, name), weights(low(folder), name)) is (norm == "freeze") for name in norms)


def test_a_stage_trains_the_layers_it_names(folder: Path) -> None:
    convolutions, _ = names(low(folder))
    run = transfer(folder, f"stages: [{{name: top, train: {{from: {convolutions[1]}}}, epochs: 1}}]")
    assert same(weights(run, convolutions[0]), weights(low(folder), convolutions[0]))
    assert not same(weights(run, convolutions[1]), weights(low(folder), convolutions[1]))


def test_several_numbers_are_a_stage_for_each(folder: Path) -> None:
    run = transfer(folder, "stages: [{name: up, train: {blocks: [1, 3]}, epochs: 1}]")
    assert [stage["name"] for stage in run.stages()] == ["up_1", "up_3"]
    assert [row["stage"] for row in run.history()] == ["up_1", "up_3"]
    assert [row["epoch"] for row in run.history()] == ["1", "2"]
    first, second = (stage["trainable"] for stage in run.stages())
    assert first < second


def test_the_better_stages_model_is_the_one_kept(folder: Path) -> None:
    heard = Heard()
    wild = "{name: wild, train: all, epochs: 1, optimizer: {kind: sgd, learning_rate: 3.0}}"
    run = transfer(folder, f"stages: [{{name: head, train: head, epochs: 3}}, {wild}]", heard=heard)
    status = run.status()
    assert (status.best_stage, status.epoch) == ("head", 4)
    assert evaluate(run, "validation").metrics["loss"] == pytest.approx(min(column(run, "val_loss")[:3]), rel=1e-5)
    assert any(line.startswith("unfreezing did not help") and "head is kept" in line for line in heard.lines)
    assert run.stages()[1]["compared"] in heard.lines


def test_the_kept_epoch_of_the_last_stage_is_compared_and_not_its_last_one(folder: Path) -> None:
    """The last stage gets better for two epochs and is undone in its third."""
    rate = "{kind: piecewise_constant_decay, boundaries: [5], values: [0.05, 0.7]}"
    top = f"{{name: top, train: all, epochs: 3, optimizer: {{kind: sgd, learning_rate: {rate}}}}}"
    run = transfer(folder, f"stages: [{{name: head, train: head, epochs: 1}}, {top}]")
    losses = column(run, "val_loss")
    assert run.status().best_stage == "top"
    assert losses[3] > losses[0], "the last epoch must be worse than the first stage to tell anything"
    evaluate(run, "validation")
    kept = read_outcome(run, "validation").scores
    assert read_stage_answers(run, 1) == pytest.approx(kept, abs=1e-6)
    assert not run.stages()[1]["compared"].startswith("unfreezing did not help")


def test_unfreezing_that_changes_next_to_nothing_helped_nobody(folder: Path) -> None:
    """The last stage's rate is so small that no answer changes its class: there is nothing that the examples can show."""
    heard = Heard()
    still = "{name: still, train: all, epochs: 1, start: last, optimizer: {kind: sgd, learning_rate: 1.0e-9}}"
    transfer(folder, f"stages: [{{name: head, train: head, epochs: 2}}, {still}]", heard=heard)
    (told,) = [line for line in heard.lines if line.startswith("unfreezing")]
    assert re.match(r"unfreezing: no significant difference on \d+ validation examples: .*; the model of \w+ is kept$", told)


def test_what_helped_is_said_of_the_score_and_of_the_loss() -> None:
    score = Difference("accuracy", 0.8, 0.9, (0.02, 0.18), "better", True, 0.01, 2, 17)
    one_photo = Difference("accuracy", 0.8105, 0.817, (-0.02, 0.03), "none shown", True, 1.0, 3, 4)
    rose = Difference("loss", 0.3, 0.5, (0.1, 0.3), "worse", False)
    helped = in_words([score], "head", "top", 153)
    assert helped == "unfreezing helped: top is better by 10 points of accuracy; 95 % interval 2 to 18.0; McNemar p = 0.01"
    assert in_words([one_photo], "head", "top", 153) == (
        "unfreezing: no significant difference on 153 validation examples: accuracy of top is higher by 0.65 points;"
        " 95 % interval -2 to 3; McNemar p = 1"
    )
    assert in_words([score, rose], "head", "top", 153).startswith("unfreezing helped the accuracy and not the loss: ")
    assert in_words([one_photo, rose], "head", "top", 153).startswith("unfreezing did not help: ")


@pytest.mark.parametrize("start", ["best", "last"])
def test_a_stage_starts_from_the_best_or_the_last_weights(folder: Path, start: str) -> None:
    """The first stage worsens with every epoch; the second barely moves, so its first epoch shows where it began."""
    rate = "{kind: piecewise_constant_decay, boundaries: [4], values: [0.1, 50.0]}"
    first = f"{{name: one, train: head, epochs: 3, optimizer: {{kind: sgd, learning_rate: {rate}}}}}"
    second = f"{{name: two, train: head, epochs: 1, start: {start}, optimizer: {{kind: sgd, learning_rate: 1e-9}}}}"
    run = transfer(folder, f"stages: [{first}, {second}]")
    assert run.stages()[1]["proof"]["tiny_step"]
    losses = column(run, "val_loss")
    assert min(losses[:3]) != losses[2], "the example must worsen to tell anything"
    assert losses[3] == pytest.approx(min(losses[:3]) if start == "best" else losses[2], rel=1e-4)


def test_rates_by_part_are_in_the_history(folder: Path) -> None:
    rates = "{kind: adam, learning_rate: {backbone: 1e-5, head: 1e-3}}"
    second = f"{{name: all, train: all, epochs: 1, optimizer: {rates}}}"
    run = transfer(folder, f"stages: [{{name: head, train: head, epochs: 1}}, {second}]")
    assert run.history()[0]["learning_rate_backbone"] == ""
    assert column(run, "learning_rate")[1] == pytest.approx(1e-3)
    assert float(run.history()[1]["learning_rate_backbone"]) == pytest.approx(1e-5)


def test_augmented_copies_are_kept_and_take_turns(folder: Path) -> None:
    heard = Heard()
    data = DATA + ", augment: [random_flip]"
    run = transfer(folder, "epochs: 4, features: {augmented_copies: 2}", data=data, heard=heard)
    assert any("2 versions of 64 examples" in line for line in heard.lines)
    assert len(run.history()) == 4
    heard = Heard()
    transfer(folder, "epochs: 1", data=data, heard=heard)
    assert any("images are augmented" in line for line in heard.lines)


def test_a_stages_own_callbacks_count_its_own_epochs(folder: Path) -> None:
    stop = "[{kind: early_stopping, patience: 0, start_from_epoch: 1, min_delta: 10.0}]"
    stages = f"[{{name: one, train: head, epochs: 3}}, {{name: two, train: head, epochs: 5, callbacks: {stop}}}]"
    run = transfer(folder, f"stages: [{stages[1:-1]}]")
    assert [row["stage"] for row in run.history()].count("two") == 3  # epoch 1 is passed over, 2 is the best, 3 is no better


def test_what_a_later_stage_cannot_do_is_known_before_the_first(folder: Path) -> None:
    convolution = names(low(folder))[0][0]
    wrong = convolution[:-1] if convolution[-1].isdigit() else convolution + "x"
    with pytest.raises(RunFailed, match="did you mean"):
        transfer(folder, f"stages: [{{name: head, train: head}}, {{name: top, train: {{from: {wrong}q}}}}]")
    with pytest.raises(RunFailed, match="200 layers were requested, but the backbone has only"):
        transfer(folder, "stages: [{name: head, train: head}, {name: top, train: {last: 200}}]")
    assert not (newest_run(folder / "runs" / "high").path / "history.csv").exists()


def test_a_head_that_cannot_take_the_features_is_told_before_the_first_step(folder: Path) -> None:
    model = TRANSFER.replace("head: [", "head: [{kind: conv2d, filters: 2, kernel_size: 1}, ")
    with pytest.raises(SpecError, match=r"model.head.0: needs an image"):
        transfer(folder, "epochs: 1", model=model)


BREAKS = {
    "a BatchNorm layer that drifts": ("changed, but is frozen", "batch_normalization"),
    "a frozen layer left trainable": ("changed, but is frozen", "conv2d"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_the_proof_stops_a_run_in_which_something_frozen_moves(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    said, kind = BREAKS[what]
    honest = selection.plan_stage

    def broken(network: Any, stage: Any) -> Any:
        plan = honest(network, stage)
        layers = single_layers(network.backbone)
        if "BatchNorm" in what:
            next(layer for layer in layers if selection.is_batch_norm(layer)).trainable = True
        else:
            next(layer for layer in layers if isinstance(layer, keras.layers.Conv2D)).trainable = True
        return plan

    monkeypatch.setattr(stage_trainer, "plan_stage", broken)
    with pytest.raises(RunFailed, match=said) as raised:
        transfer(folder, "stages: [{name: top, train: {last: 3}, epochs: 1}]")
    assert kind in str(raised.value)
    run = newest_run(folder / "runs" / "high")
    assert run.status().state == "failed"
    assert said in run.status().error


def test_the_proof_stops_a_stage_that_was_not_compiled_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras keeps the function of an earlier stage; steps whose batches are gathered in the graph have a new one."""
    honest: Callable[..., None] = stage_trainer.compile_stage
    streams: Callable[..., TrainingStream] = stage_trainer.stream_of

    def fed(*arguments: Any) -> TrainingStream:
        stream = streams(*arguments)
        stream.gathers = False
        return stream

    def once(setup: Any, plan: Any, *rest: Any) -> None:
        if plan.stage.name == "first":
            honest(setup, plan, *rest)

    monkeypatch.setattr(stage_trainer, "stream_of", fed)
    monkeypatch.setattr(stage_trainer, "compile_stage", once)
    stages = "[{name: first, train: {last: 1}, epochs: 1}, {name: second, train: all, epochs: 1}]"
    with pytest.raises(RunFailed, match=r"stage second: .*trainable variables did not") as raised:
        transfer(folder, f"stages: {stages}")
    assert "conv2d" in str(raised.value)


def test_the_proof_stops_a_hub_module_whose_variables_are_not_tracked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.test_hub import reusable

    honest = HubLayer._track_variable

    def forgetful(layer: Any, variable: Any) -> None:
        if "kernel" not in variable.name:
            honest(layer, variable)

    monkeypatch.setattr(HubLayer, "_track_variable", forgetful)
    model = f"{{kind: transfer, backbone: {{kind: hub, handle: {reusable(tmp_path / 'module')}, input_size: [4, 4]}}}}"
    data = DATA + ", image: {channels: 3}"
    with pytest.raises(RunFailed, match="trainable, but unchanged") as raised:
        transfer(folder, "stages: [{name: all, train: all, epochs: 1}]", model=model, data=data)
    assert "kernel" in str(raised.value)


WAITS = {
    "a rate that starts at 0": "{kind: adam, learning_rate: {kind: warmup, learning_rate: 0.01, warmup_steps: 2}}",
    "gradients gathered over steps": "{kind: adam, learning_rate: 0.01, gradient_accumulation_steps: 2}",
}


@pytest.mark.parametrize("why", WAITS)
def test_the_proof_waits_for_the_first_step_that_can_move_anything(folder: Path, why: str) -> None:
    run = transfer(folder, f"features: off, stages: [{{name: all, train: all, epochs: 1, optimizer: {WAITS[why]}}}]")
    assert run.stages()[0]["proof"]["step"] > 1


def test_units_that_no_example_reaches_are_no_broken_promise(folder: Path) -> None:
    dead = "{kind: dense, units: 3, activation: relu, bias_initializer: {kind: constant, value: -1e6}}"
    run = transfer(folder, "epochs: 1", model=TRANSFER.replace("head: [", f"head: [{dead}, "))
    proof = run.stages()[0]["proof"]
    assert len(proof["zero_gradient"]) == 3  # kernel and bias of the dead units, and the output's kernel
    assert proof["moved"] == 1


@pytest.mark.parametrize("kind", ["logistic_regression", "knn", "svc"])
def test_a_classifier_is_a_head_like_any_other(folder: Path, kind: str) -> None:
    run = transfer(folder, "monitor: val_accuracy", model=TRANSFER.replace("[{kind: dropout, rate: 0.2}]", kind))
    assert run.metrics()["metrics"]["accuracy"]["value"] > 0.5
    (row,) = run.history()
    assert evaluate(run, "validation").metrics["accuracy"] == pytest.approx(float(row["val_accuracy"]))
    assert run.stages()[0]["classifier"] == kind


def test_a_classifier_is_fitted_though_there_are_no_epochs_and_its_spec_resolves_to_itself(folder: Path) -> None:
    run = transfer(folder, "epochs: 0", model=TRANSFER.replace("[{kind: dropout, rate: 0.2}]", "logistic_regression"))
    assert run.metrics()["metrics"]["accuracy"]["value"] > 0.5
    assert load(run.path / "spec.yaml").experiment == run.experiment()


def test_a_transfer_model_without_epochs_is_built_and_scored_as_it_is(folder: Path) -> None:
    run = transfer(folder, "epochs: 0")
    assert not run.history()
    assert evaluate(run, "test").examples == 32


def test_curves_mark_where_a_stage_begins() -> None:
    rows = [{"stage": stage, "epoch": str(epoch)} for epoch, stage in enumerate(("head", "head", "top"), start=1)]
    assert stage_borders(rows) == [(0.5, "head"), (2.5, "top")]
    assert not stage_borders(rows[:2])


def test_features_of_another_graph_with_the_same_weights_are_not_mixed_up(folder: Path) -> None:
    """Two untrained networks of one seed hold the same weights; their activations differ."""
    told = []
    for activation in ("relu", "tanh"):
        body = f"{{kind: mlp, units: [16], activation: {activation}}}"
        base = trained(write_spec(folder, IMAGES, model=body, data=DATA, training="epochs: 0", name=f"raw_{activation}"))
        heard = Heard()
        transfer(folder, "epochs: 1", model=f"{{kind: transfer, backbone: {{kind: run, run: {base.path}}}}}", heard=heard)
        told += [line for line in heard.lines if line.startswith("features: ")]
    assert [line.split(":")[1].strip() for line in told] == ["computed once", "computed once"]


def test_an_empty_file_of_features_is_computed_anew(folder: Path) -> None:
    transfer(folder, "epochs: 1")
    for file in (folder / "runs" / ".features").glob("*.npy"):
        file.write_bytes(b"")
    assert transfer(folder, "epochs: 1").history()


@pytest.mark.parametrize("damage", ["a flipped bit", "fewer rows", "another shape", "an older name"])
def test_kept_features_that_are_not_what_was_written_are_computed_again(tmp_path: Path, damage: str) -> None:
    key, computed = "0" * 64, np.arange(12, dtype="float32").reshape(4, 3)
    FeatureCache(tmp_path, 1).get(key, (4, 3), lambda: computed)
    (file,) = tmp_path.glob("*.npy")
    content = bytearray(file.read_bytes())
    if damage == "a flipped bit":
        content[-5] ^= 1
        file.write_bytes(content)
    elif damage == "an older name":
        file.rename(file.with_name(f"{key}.npy"))
    shape = {"fewer rows": (5, 3), "another shape": (4, 3, 1)}.get(damage, (4, 3))
    cache = FeatureCache(tmp_path, 1)
    array, was_kept = cache.get(key, shape, lambda: np.ones(shape, "float32"))
    assert not was_kept
    assert array.sum() == np.prod(shape)
    assert len(cache.notes) == (0 if damage == "an older name" else 1)
    assert cache.get(key, shape, lambda: computed)[1]


def test_a_linked_folder_of_features_is_neither_read_nor_tidied(tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
    elsewhere.mkdir()
    (elsewhere / "mine.npy").write_bytes(b"mine")
    link.symlink_to(elsewhere)
    cache = FeatureCache(link, 1e-9)
    assert not cache.get("0" * 64, (1,), lambda: np.ones(1, "float32"))[1]
    cache.tidy()
    assert [path.name for path in elsewhere.iterdir()] == ["mine.npy"]
    assert cache.notes == [
        f"features are not stored on disk: {link}: dlcli does not write here, since this is a link and not a folder that it"
        " created"
    ]


def test_a_resolved_spec_with_a_head_stage_is_good_as_it_is(folder: Path) -> None:
    run = transfer(folder, "epochs: 1")
    assert load(run.path / "spec.yaml").experiment == run.experiment()


def test_stages_are_compared_without_penalties_that_one_of_them_counts(folder: Path) -> None:
    """Neither stage moves anything, so both hold the same model: only the second one minimises the backbone's penalty."""
    heavy = BODY.replace("kernel_size: 3}", "kernel_size: 3, kernel_regularizer: {kind: l2, l2: 0.1}}")
    base = trained(write_spec(folder, IMAGES, model=heavy, data=DATA, training="epochs: 1", name="heavy"))
    still = "epochs: 1, optimizer: {kind: sgd, learning_rate: 1e-12}"
    stages = f"[{{name: head, train: head, {still}}}, {{name: all, train: all, {still}}}]"
    run = transfer(folder, f"stages: {stages}", model=f"{{kind: transfer, backbone: {{kind: run, run: {base.path}}}}}")
    head, everything = column(run, "val_loss")
    assert everything == pytest.approx(head, rel=1e-4)
    of_head, of_everything = column(run, "penalty")
    assert (of_head, of_everything > 0.01) == (0.0, True)
    first, second = (stage["best_value"] for stage in run.stages())
    assert second == pytest.approx(first, rel=1e-4)


def test_a_selection_in_which_nothing_can_learn_is_refused(folder: Path) -> None:
    flatten = next(layer.name for layer in keras.saving.load_model(low(folder).model_path).layers if "flatten" in layer.name)
    cut = TRANSFER.replace("runs/low", f"runs/low, until: {flatten}")
    with pytest.raises(RunFailed, match="none of these layers has trainable weights"):
        transfer(folder, "stages: [{name: top, train: {last: 1}}]", model=cut)


def test_a_perceptron_trains_though_no_layer_below_its_head_has_weights(folder: Path) -> None:
    run = trained(write_spec(folder, GAUSSIANS, model="{kind: mlp, units: []}", training="epochs: 1"))
    assert len(run.history()) == 1
