"""Steps whose batches are gathered inside the compiled function give the bits of those that `tf.data` feeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlcli.runtime.engine import keras, tf
from dlcli.runtime.inputs import Arrays, TableColumns
from dlcli.runtime.loop import Pauses, Position, run_epochs
from dlcli.runtime.steps import Validation
from dlcli.runtime.stream import OrderedStream, TrainingStream
from dlcli.spec.data.sources.column_kinds import NUMBER

X = np.random.default_rng(0).normal(size=(90, 6)).astype("float32")
Y = (X[:, :2].sum(axis=1) > 0).astype("int32")
BEGINNING = Position(0)
PAUSES = Pauses(lambda: None, lambda _: None, lambda _: None, lambda *_: None, lambda: None)


def labels(indices: Any) -> Any:
    return tf.gather(tf.constant(Y), indices)


def stream(values: Any = X, batch_size: int = 8) -> TrainingStream:
    return TrainingStream(Arrays(values), labels, examples=len(Y), batch_size=batch_size, seed=3)


def validation() -> OrderedStream:
    return OrderedStream(Arrays(X[:37]), examples=37, batch_size=8, labels=labels)


def compiled(steps_per_execution: int) -> Any:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(5, "tanh"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)]
    model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(2, "softmax")])
    optimizer, loss = keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=steps_per_execution)
    return model


class Unchanged:
    """An augmentation that changes nothing."""

    kind = "unchanged"

    def augment(self, images: Any, seed: Any) -> Any:
        return images


class Logs(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the values of every call, and the calls of a validation."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[int, float]] = []
        self.epochs: list[dict[str, float]] = []
        self.tests: list[int] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps.append((batch, float(logs["loss"])))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.tests.append(batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(dict(logs))


def trained(*, gathers: bool, steps_per_execution: int, start: Position = BEGINNING) -> tuple[list[Any], Logs]:
    model, logs, training, scored = compiled(steps_per_execution), Logs(), stream(), validation()
    assert training.gathers
    assert scored.gathers
    training.gathers = scored.gathers = gathers
    run_epochs(model, training, scored, [logs], PAUSES, start=start, last=3, adapt=False)
    return model.get_weights(), logs


@pytest.mark.parametrize(
    ("steps_per_execution", "start"),
    [
        (1, BEGINNING),
        (5, Position(1, 7)),
        pytest.param(5, BEGINNING, marks=pytest.mark.slow),
        pytest.param(1, Position(1, 7), marks=pytest.mark.slow),
    ],
)
def test_gathered_batches_give_the_same_bits(steps_per_execution: int, start: Position) -> None:
    """90 examples are 11 batches of 8 and one of 2; 37 are 4 of 8 and one of 5."""
    (weights, logs), (fed_weights, fed_logs) = (
        trained(gathers=gathers, steps_per_execution=steps_per_execution, start=start) for gathers in (True, False)
    )
    assert all(np.array_equal(left, right) for left, right in zip(weights, fed_weights, strict=True))
    assert logs.epochs == fed_logs.epochs
    assert logs.steps == fed_logs.steps
    assert logs.tests == fed_logs.tests
    assert len(logs.epochs) == 3 - start.epoch


def test_the_scores_are_those_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    model, scored = compiled(2), validation()
    expected = model.evaluate(scored.dataset, return_dict=True, verbose=0)
    monkeypatch.setattr(keras.Model, "evaluate", None)
    hooks = keras.callbacks.CallbackList([], model=model)
    assert Validation(model, scored, shared=False).scores(hooks) == expected


def test_no_iterator_is_made_for_examples_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingStream, "batches", None)
    monkeypatch.setattr(keras.Model, "evaluate", None)
    trained(gathers=True, steps_per_execution=4)


def test_what_is_not_gathered_in_a_graph_is_fed(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X)
    assert not stream(np.load(tmp_path / "x.npy", mmap_mode="r")).gathers
    assert (
        TrainingStream(TableColumns({"a": X[:, 0]}, {"a": NUMBER}), labels, examples=90, batch_size=8, seed=0).gathers is False
    )
    assert not TrainingStream(Arrays(X), labels, examples=90, batch_size=8, seed=0, augment=[Unchanged()]).gathers
    assert not TrainingStream(Arrays(X), labels, examples=90, batch_size=8, seed=0, first_order=True).gathers
