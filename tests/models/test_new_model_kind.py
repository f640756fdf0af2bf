"""A model kind with its own training step and two optimizers takes one file: this one, which dlcli does not ship."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from cli.killing import assert_same_bits, only_run, train_with_kills
from conftest import REPOSITORY, run_process
from pydantic import Field
from trainings import trained

from dlcli.cli.app import app
from dlcli.errors import SpecError, UsageError
from dlcli.runs import RunFolder
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.learner import Learner, NamedOptimizer
from dlcli.spec.base import Count, OneOf, Positive, Shape
from dlcli.spec.load import load
from dlcli.spec.model.base import ModelSpec
from dlcli.spec.model.layers import LayerSpec
from dlcli.spec.model.layers.dense import Dense
from dlcli.spec.training.optimizers import SGD, Optimizer
from dlcli.training.lr_find import Search, find_rate

pytestmark = pytest.mark.usefixtures("without_pictures")


class MlpWithDecoder(ModelSpec):
    """Dense layers, with a decoder that reconstructs the inputs from the last layer's output."""

    kind: Literal["mlp_with_decoder"]
    units: list[Count] = Field(description="Units of each hidden layer.")
    weight: Positive = Field(default=0.1, description="Weight of the decoder's loss.")
    decoder_optimizer: Optimizer = Field(default=SGD(kind="sgd", learning_rate=0.01), description="Trains the decoder.")
    optimizers: ClassVar[tuple[str, ...]] = ("classifier", "decoder")
    has_own_step: ClassVar[bool] = True

    def stack(self, shape: Shape) -> list[tuple[LayerSpec, tuple[str | int, ...]]]:
        """Returns a dense layer for each entry of `units`."""
        layers = [Dense(kind="dense", units=units, activation="tanh") for units in self.units]
        return [(layer, ("units", index)) for index, layer in enumerate(layers)]

    def learner(self, network: Any) -> Any:
        """Returns a model that trains encoder, head and decoder together."""
        return WithDecoder(network.body, network.head, self)


class WithDecoder(Learner):  # type: ignore[misc]
    """Encoder, head and decoder; the spec's optimizer trains encoder and head, a second one the decoder."""

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
            named.optimizer.apply(tape.gradient(loss, [variable.value for variable in named.variables]), named.variables)
        return self.logs_of(inputs, labels, output, loss)


def register() -> None:
    """Registers the model kind, as a plugin would."""
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
    " from models.test_new_model_kind import register; register(); from dlcli.__main__ import main; main()"
)


def command_of_kind(*arguments: str | Path) -> list[str]:
    """Returns the command line of a `dlcli` call with this file's model kind."""
    return [sys.executable, "-c", DRIVER, *map(str, arguments)]


def called(folder: Path, *arguments: str | Path) -> None:
    """Calls `dlcli` in a process of its own."""
    process = run_process(command_of_kind(*arguments), cwd=folder, timeout=300)
    assert process.returncode == 0, process.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was trained without interruption, with its report."""
    folder = tmp_path_factory.mktemp("decoded")
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    called(folder, "train", "spec.yaml", "--quiet", "--runs", "runs")
    return only_run(folder / "runs")


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the kind for one test and removes it afterwards: unions are global."""
    monkeypatch.setattr(OneOf.registry["Model"], "_added", [])
    register()


def test_the_model_trains_with_its_own_step_and_both_optimizers(run: RunFolder) -> None:
    rows = run.history()
    assert float(rows[-1]["val_accuracy"]) > 0.8
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert {float(row["learning_rate_decoder"]) for row in rows} == {float(np.float32(0.003))}
    assert run.status().state == "completed"


def test_a_killed_run_with_two_optimizers_resumes_bit_for_bit(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    monkeypatch.setattr("cli.killing.command", command_of_kind)
    resumed, words = train_with_kills(tmp_path / "spec.yaml", tmp_path / "runs", 2, random.Random(1))
    assert len(words) == 2
    assert_same_bits(run, resumed)


@pytest.mark.usefixtures("_registered")
def test_every_command_works_with_a_run_of_the_new_kind(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answered(*arguments: object) -> str:
        app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr().out

    assert "Dense dense_1" in answered("describe", run.path)
    assert "accuracy" in answered("evaluate", run.path, "--split", "validation")
    np.save(tmp_path / "flower.npy", np.array([[5.1, 3.5, 1.4, 0.2]], dtype="float32"))
    assert "setosa" in answered("predict", run.path, tmp_path / "flower.npy")
    assert "100.0 % equal decisions" in answered("export", run.path, "--format", "keras", "--to", tmp_path / "exported")
    answered("report", run.path)
    assert "A mlp with decoder model" in (run.path / "model_card.md").read_text(encoding="utf-8")
    assert "Decoder" not in (run.path / "model_card.md").read_text(encoding="utf-8")


def test_the_saved_model_is_plain_keras(run: RunFolder) -> None:
    model = keras.saving.load_model(run.model_path)
    assert type(model).__name__ == "Functional"
    assert model.count_params() - sum(layer.count_params() for layer in model.layers if "norm" in layer.name) == 243


@pytest.mark.usefixtures("_registered")
def test_stages_are_verified_with_both_optimizers(tmp_path: Path) -> None:
    stages = "stages: [{name: all, train: all, epochs: 2}, {name: top, train: {last: 2}, epochs: 2}]"
    (tmp_path / "spec.yaml").write_text(SPEC.replace("epochs: 40", stages), encoding="utf-8")
    first, second = trained(tmp_path / "spec.yaml").stages()
    assert (first["proof"]["moved"], first["proof"]["still"]) == (8, 0)
    assert (second["proof"]["moved"], second["proof"]["still"]) == (6, 2)


@pytest.mark.usefixtures("_registered")
def test_options_for_a_single_optimizer_are_refused_with_the_names_of_both(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC, encoding="utf-8")
    experiment = load(spec).experiment
    words = r"does not support `model.kind: mlp_with_decoder`: it has 2 optimizers \(classifier, decoder\)"
    with pytest.raises(UsageError, match=f"`dlcli lr-find` {words}"):
        find_rate(experiment, tmp_path / "runs", print, Search(steps=20))
    with pytest.raises(SpecError, match=f"training.optimizer.use_ema: `use_ema` {words}"):
        trained(spec, ["training.optimizer.use_ema=true"])
    with pytest.raises(SpecError, match=f"training.callbacks.0: `reduce_lr_on_plateau` {words}"):
        trained(spec, ["training.callbacks+=reduce_lr_on_plateau"])
    stages = "training.stages=[{name: all, train: all, optimizer: {kind: adam, use_ema: true}}]"
    with pytest.raises(SpecError, match=f"`use_ema` {words}"):
        trained(spec, [stages])
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("_registered")
def test_a_kind_that_does_not_declare_its_optimizers_is_a_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlpWithDecoder, "optimizers", ("",))
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"MlpWithDecoder.optimizers is \('',\), but its learner has \('classifier', 'decoder'\)"
    ):
        trained(tmp_path / "spec.yaml")


@pytest.mark.usefixtures("_registered")
def test_several_devices_are_refused_for_a_model_with_its_own_step_before_it_has_a_folder(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC, encoding="utf-8")
    process = run_process(
        command_of_kind(
            *("train", spec, "--quiet", "--runs", tmp_path / "runs"),
            *("--set", "hardware.device=cpu", "--set", "hardware.strategy=mirrored", "--set", "hardware.devices=2"),
        ),
        timeout=300,
    )
    assert process.returncode == 2
    words = "it overrides Keras's training step, so several devices cannot share a batch"
    assert f"`strategy: mirrored` does not support `model.kind: mlp_with_decoder`: {words}" in process.stderr
    assert not (tmp_path / "runs").exists()
