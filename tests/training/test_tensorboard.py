"""What TensorBoard's own event reader finds in the log of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from trainings import trained, write_spec

from dlcli.runs import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    training = "epochs: 3, optimizer: {kind: adam, learning_rate: {kind: cosine_decay, initial_learning_rate: 0.01}}"
    return trained(write_spec(tmp_path_factory.mktemp("board"), training=training))


def read(run: RunFolder, folder: str) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.tensorboard_path / folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def numbers(run: RunFolder, folder: str, tag: str) -> list[tuple[int, float]]:
    from tensorboard.util.tensor_util import make_ndarray

    return [(event.step, float(make_ndarray(event.tensor_proto))) for event in read(run, folder).Tensors(tag)]


@pytest.mark.parametrize(
    ("folder", "tag", "column"),
    [
        ("train", "epoch_loss", "loss"),
        ("train", "epoch_accuracy", "accuracy"),
        ("train", "epoch_learning_rate", "learning_rate"),
        ("validation", "epoch_loss", "val_loss"),
        ("validation", "epoch_accuracy", "val_accuracy"),
    ],
)
def test_every_epoch_is_a_point_of_its_curve(run: RunFolder, folder: str, tag: str, column: str) -> None:
    points = numbers(run, folder, tag)
    assert [step for step, _ in points] == [0, 1, 2]
    assert [value for _, value in points] == pytest.approx([float(row[column]) for row in run.history()])


def test_no_summary_is_made_for_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras's callback makes one for every metric after every call, and writes none of them."""
    import tensorflow as tf

    names: list[str] = []
    scalar = tf.summary.scalar

    def noted(name: str, *arguments: Any, **options: Any) -> Any:
        names.append(name)
        return scalar(name, *arguments, **options)

    monkeypatch.setattr(tf.summary, "scalar", noted)
    trained(write_spec(tmp_path, training="epochs: 1"))
    assert {"epoch_loss", "epoch_accuracy"} <= set(names)
    assert not [name for name in names if name.startswith("batch_")]


def test_final_scores_stand_in_the_same_charts_at_the_best_epoch(run: RunFolder) -> None:
    for name, entry in run.metrics()["metrics"].items():
        ((step, value),) = numbers(run, "test", f"epoch_{name}")
        assert step == run.status().best_epoch - 1
        assert value == pytest.approx(entry["value"])


def test_results_and_spec_are_texts(run: RunFolder) -> None:
    events = read(run, "test")
    (table,), (spec,) = (events.Tensors(tag)[0].tensor_proto.string_val for tag in ("results", "spec"))
    low, high = run.metrics()["metrics"]["accuracy"]["interval"]
    assert f"| {low:.4f} to {high:.4f} |" in table.decode()
    assert spec.decode().startswith("    version: 1\n    name: tiny\n")


def test_the_confusion_matrix_is_a_picture(run: RunFolder) -> None:
    width, height, png = read(run, "test").Tensors("confusion_matrix")[0].tensor_proto.string_val
    file = run.evaluation("test") / "confusion_matrix.png"
    assert png == file.read_bytes()
    with Image.open(file) as picture:
        assert (int(width), int(height)) == picture.size


def test_scores_of_the_validation_part_do_not_mix_with_its_curve(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, data="split: {test: 0}", training="epochs: 1"))
    assert [step for step, _ in numbers(run, "validation", "epoch_loss")] == [0]
    assert numbers(run, "validation_best", "epoch_accuracy") == [
        (0, pytest.approx(run.metrics("validation")["metrics"]["accuracy"]["value"]))
    ]
