"""A model kind with a training step of its own and two optimizers is one file: this one, which dlcli does not ship."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from cli.killing import assert_same_bits, only_run, train_with_kills
from conftest import REPOSITORY, environment
from pydantic import Field

from dlcli.runs import Run
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.learner import Learner, NamedOptimizer
from dlcli.spec.base import Count, OneOf, Positive, Shape
from dlcli.spec.model.layers import LayerSpec
from dlcli.spec.model.layers.dense import Dense
from dlcli.spec.model.models import ModelSpec
from dlcli.spec.training.optimizers import SGD, Optimizer


class MlpWithDecoder(ModelSpec):
    """Dense layers whose last output a decoder must turn back into the inputs."""

    kind: Literal["mlp_with_decoder"]
    units: list[Count] = Field(description="Units of each hidden layer.")
    weight: Positive = Field(default=0.1, description="Weight of the decoder's loss.")
    decoder_optimizer: Optimizer = Field(default=SGD(kind="sgd", learning_rate=0.01), description="Trains the decoder.")

    def stack(self, shape: Shape) -> list[tuple[LayerSpec, tuple[str | int, ...]]]:
        """Returns a dense layer for each entry of `units`."""
        layers = [Dense(kind="dense", units=units, activation="tanh") for units in self.units]
        return [(layer, ("units", index)) for index, layer in enumerate(layers)]

    def learner(self, network: Any) -> Any:
        """Returns a model that trains encoder, head and decoder together."""
        return WithDecoder(network.body, network.head, self)


class WithDecoder(Learner):  # type: ignore[misc]
    """Encoder, head and decoder; the spec's optimizer changes encoder and head, another one the decoder."""

    def __init__(self, body: Any, head: Any, settings: MlpWithDecoder) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.decoder = keras.layers.Dense(body.input_shape[-1], name="decoder")
        self.decoder.build(body.output_shape)
        self._settings = settings

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.head(self.body(inputs, training=training), training=training)

    def compile(self, **arguments: Any) -> None:
        super().compile(**arguments)
        self.decoder_optimizer = self._settings.decoder_optimizer.build()

    def optimizers(self) -> list[NamedOptimizer]:
        shared = [*self.body.trainable_variables, *self.head.trainable_variables]
        decoder = self.decoder.trainable_variables
        return [
            NamedOptimizer("classifier", self.optimizer, shared),
            NamedOptimizer("decoder", self.decoder_optimizer, decoder),
        ]

    def compute_loss(  # the arguments that Keras names
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        decoded = self.decoder(self.body(x))
        error = keras.ops.mean(keras.ops.square(decoded - keras.ops.cast(x, decoded.dtype)))
        return super().compute_loss(x, y, y_pred, sample_weight, training) + self._settings.weight * error

    def train_step(self, data: Any) -> Any:
        inputs, labels = data[:2]
        with tf.GradientTape(persistent=True) as tape:
            output = self(inputs, training=True)
            loss = self.compute_loss(x=inputs, y=labels, y_pred=output, training=True)
        for named in self.optimizers():
            named.optimizer.apply(tape.gradient(loss, [one.value for one in named.variables]), named.variables)
        return self.logs_of(inputs, labels, output, loss)


OneOf.registry["Model"].extend(MlpWithDecoder)

SPEC = """
name: decoded
task: classification
data: {source: {kind: builtin, name: iris}, batch_size: 16}
model: {kind: mlp_with_decoder, units: [16, 8], decoder_optimizer: {kind: adam, learning_rate: 0.003}}
training: {epochs: 40, checkpoint_minutes: 0.001, optimizer: {kind: adam, learning_rate: 0.01}}
"""
DRIVER = (
    f"import sys; sys.path.insert(0, {str(REPOSITORY / 'tests')!r});"
    " import models.test_new_model_kind; from dlcli.__main__ import main; main()"
)


def command_of_kind(*arguments: str | Path) -> list[str]:
    """Returns the command line of a `dlcli` call that knows the model kind of this file."""
    return [sys.executable, "-c", DRIVER, *map(str, arguments)]


def called(folder: Path, *arguments: str | Path, code: int = 0) -> str:
    """Calls `dlcli` in a process of its own and returns what it printed."""
    process = subprocess.run(
        command_of_kind(*arguments), capture_output=True, text=True, cwd=folder, env=environment(), timeout=300, check=False
    )
    assert process.returncode == code, process.stderr
    return process.stdout + process.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was trained in one go, with its report."""
    folder = tmp_path_factory.mktemp("decoded")
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    called(folder, "check", "spec.yaml")
    called(folder, "train", "spec.yaml", "--quiet", "--runs", "runs")
    return only_run(folder / "runs")


def test_it_trains_by_its_own_step_and_both_optimizers(run: Run) -> None:
    rows = run.history()
    assert float(rows[-1]["val_accuracy"]) > 0.8
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert {float(row["learning_rate_decoder"]) for row in rows} == {float(np.float32(0.003))}
    assert run.status().state == "completed"


def test_a_run_killed_and_resumed_ends_with_the_same_bits(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    monkeypatch.setattr("cli.killing.command", command_of_kind)
    resumed, words = train_with_kills(tmp_path / "spec.yaml", tmp_path / "runs", 2, random.Random(1))
    assert len(words) == 2
    assert_same_bits(run, resumed)
