"""A model kind whose saved model generates examples from noise takes one file: this one, which dlcli does not ship."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from cli.killing import assert_same_bits, only_run, train_with_kills
from conftest import REPOSITORY, run_process
from pydantic import Field
from trainings import MLP, trained, write_spec

from dlcli import Run
from dlcli.cli.app import app
from dlcli.errors import SpecError, UsageError
from dlcli.runs import RunFolder, find_run
from dlcli.runs.compare import not_scored
from dlcli.runtime.cluster import Cluster
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.learner import Learner, NamedOptimizer
from dlcli.score.baseline import Baselines, with_run
from dlcli.spec.base import Count, OneOf, Shape
from dlcli.spec.load import load
from dlcli.spec.model.base import ModelSpec
from dlcli.spec.model.layers import LayerSpec
from dlcli.spec.model.layers.dense import Dense
from dlcli.spec.model.layers.shape import Flatten
from dlcli.spec.support import Feature
from dlcli.spec.training.optimizers import Adam, Optimizer
from dlcli.training.train import join_workers

pytestmark = pytest.mark.usefixtures("without_pictures")

REASON = "its saved model generates examples from noise"


class SmallGan(ModelSpec):
    """A generator of images from noise, and dense layers that tell them from those of the data."""

    kind: Literal["small_gan"]
    units: list[Count] = Field(description="Units of each hidden layer of the discriminator.")
    noise: Count = Field(default=8, description="Numbers that the generator makes an image of.")
    generator_optimizer: Optimizer = Field(default=Adam(kind="adam"), description="Trains the generator.")

    unsupported: ClassVar[Mapping[Feature, str]] = dict.fromkeys(
        ("evaluate", "predict", "explain", "export", "finetune", "validation"), REASON
    )
    optimizers: ClassVar[tuple[str, ...]] = ("discriminator", "generator")
    has_own_step: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ("generator_loss",)

    def stack(self, shape: Shape) -> list[tuple[LayerSpec, tuple[str | int, ...]]]:
        """Returns the discriminator's layers but the last."""
        layers = [Dense(kind="dense", units=units, activation="relu") for units in self.units]
        return [(Flatten(kind="flatten"), ()), *((layer, ("units", index)) for index, layer in enumerate(layers))]

    def purpose(self, action: str, inputs: str) -> str:
        """Returns what the generator does."""
        return f"A small GAN that generates {inputs} from noise."

    def learner(self, network: Any) -> Any:
        """Returns a model that trains generator and discriminator."""
        return Gan(network.body, self)

    def saved(self, network: Any) -> Any:
        """Returns the generator."""
        return network.learner().generator


class Gan(Learner):  # type: ignore[misc]
    """A generator, and a discriminator from the layers of the spec; each has its own optimizer."""

    def __init__(self, body: Any, settings: SmallGan) -> None:
        super().__init__()
        self.body, self._settings = body, settings
        self.real = keras.layers.Dense(1, name="real")
        self.real.build(body.output_shape)
        image = body.input_shape[1:]
        self.generator = keras.Sequential(
            [
                keras.Input((settings.noise,), name="noise"),
                keras.layers.Dense(32, activation="relu"),
                keras.layers.Dense(int(np.prod(image)), activation="sigmoid"),
                keras.layers.Rescaling(255.0),
                keras.layers.Reshape(image),
            ],
            name="generator",
        )
        self.draws = keras.random.SeedGenerator()
        self.generator_loss = keras.metrics.Mean(name="generator_loss")

    def compile(self, *, optimizer: Any, jit_compile: Any, steps_per_execution: int, **_: Any) -> None:
        super().compile(optimizer=optimizer, jit_compile=jit_compile, steps_per_execution=steps_per_execution)
        self.generator_optimizer = self._settings.generator_optimizer.build()

    def optimizers(self) -> list[NamedOptimizer]:
        discriminator = [*self.body.trainable_variables, *self.real.trainable_variables]
        return [
            NamedOptimizer("discriminator", self.optimizer, discriminator),
            NamedOptimizer("generator", self.generator_optimizer, self.generator.trainable_variables),
        ]

    def train_step(self, data: Any) -> Any:
        images = keras.ops.cast(data[0], "float32")
        noise = keras.random.normal((keras.ops.shape(images)[0], self._settings.noise), seed=self.draws)
        with tf.GradientTape(persistent=True) as tape:
            generated = self.generator(noise)
            real, fake = self.real(self.body(images)), self.real(self.body(generated))
            loss = keras.ops.mean(keras.ops.softplus(-real)) + keras.ops.mean(keras.ops.softplus(fake))
            generator_loss = keras.ops.mean(keras.ops.softplus(-fake))
        for named, target in zip(self.optimizers(), (loss, generator_loss), strict=True):
            named.optimizer.apply(tape.gradient(target, [variable.value for variable in named.variables]), named.variables)
        self.generator_loss.update_state(generator_loss)
        return self.logs_of(images, None, generated, loss)


def register() -> None:
    """Registers the model kind, as a plugin would."""
    OneOf.registry["Model"].extend(SmallGan)


SPEC = """
name: generated
task: classification
data: {source: {kind: builtin, name: digits}, batch_size: 64}
model: {kind: small_gan, units: [32], generator_optimizer: {kind: adam, learning_rate: 0.002}}
training: {epochs: 25, checkpoint_minutes: 0.001, optimizer: {kind: adam, learning_rate: 0.001}}
"""
DRIVER = (
    f"import sys; sys.path.insert(0, {str(REPOSITORY / 'tests')!r});"
    " from models.test_generative_kind import register; register(); from dlcli.__main__ import main; main()"
)


def command_of_kind(*arguments: str | Path) -> list[str]:
    """Returns the command line of a `dlcli` call with this file's model kind."""
    return [sys.executable, "-c", DRIVER, *map(str, arguments)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was trained without interruption, with its documents."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    process = run_process(command_of_kind("train", "spec.yaml", "--runs", "runs"), cwd=folder, timeout=300)
    assert process.returncode == 0, process.stderr
    (folder / "output.txt").write_text(process.stdout + process.stderr, encoding="utf-8")
    return only_run(folder / "runs")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the kind for one test and removes it afterwards: unions are global."""
    monkeypatch.setattr(OneOf.registry["Model"], "_added", [])
    register()


def test_the_generator_learns_and_the_model_of_the_last_epoch_is_kept(run: RunFolder) -> None:
    rows, status = run.history(), run.status()
    assert {"loss", "generator_loss", "learning_rate", "learning_rate_generator"} <= rows[-1].keys()
    assert not [name for name in rows[-1] if name.startswith("val_")]
    assert (status.state, status.monitor, status.best_epoch, len(rows)) == ("completed", "epoch", 25, 25)
    images = np.asarray(
        keras.saving.load_model(run.model_path).predict(np.random.default_rng(0).normal(size=(500, 8)), verbose=0)
    )
    assert images.shape == (500, 8, 8, 1)
    border, middle = images[:, :, 0].mean(), images[:, 2:6, 2:6].mean()  # digits have empty borders
    assert border < 0.3 * middle


def test_the_end_of_the_training_tells_that_the_model_is_not_scored(run: RunFolder) -> None:
    output = (run.path.parents[2] / "output.txt").read_text(encoding="utf-8")
    assert f"the evaluation at the end of a training does not support `model.kind: small_gan`: {REASON}" in output
    assert "the model of the last epoch, 25, is kept" in output
    assert "evaluate" not in output.partition("next:")[2]
    assert "could not be written" not in output
    assert "omitted" not in (run.path / "log.txt").read_text(encoding="utf-8")
    assert run.scored_splits() == []
    assert not run.diagnosis_path.exists()
    assert run.curves_path.exists()


def test_a_killed_run_resumes_bit_for_bit(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    monkeypatch.setattr("cli.killing.command", command_of_kind)
    resumed, words = train_with_kills(tmp_path / "spec.yaml", tmp_path / "runs", 2, random.Random(1))
    assert len(words) == 2
    assert_same_bits(run, resumed, scored=False)


def test_commands_that_need_predictions_refuse_the_kind_by_name(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "digit.npy", np.zeros((1, 8, 8, 1), dtype="uint8"))
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC, encoding="utf-8")
    for arguments in (
        ("evaluate", run.path),
        ("predict", run.path, tmp_path / "digit.npy"),
        ("explain", run.path),
        ("export", run.path, "--format", "keras", "--to", tmp_path / "exported"),
        ("finetune", run.path),
        ("baseline", spec),
    ):
        assert app([str(argument) for argument in arguments], standalone_mode=False) == 2
        refusal = f"`dlcli {arguments[0]}` does not support `model.kind: small_gan`: {REASON}"
        assert capsys.readouterr().err.splitlines()[-1] == refusal
    assert not (tmp_path / "exported").exists()


def test_no_training_starts_from_a_model_of_the_kind(run: RunFolder, tmp_path: Path) -> None:
    source = "{kind: builtin, name: digits}"
    spec = write_spec(tmp_path, source, model=MLP, training=f"epochs: 1, initial_weights: {run.path}")
    with pytest.raises(UsageError, match=r"a training from \S+ does not support `model\.kind: small_gan`") as refused:
        trained(spec)
    assert str(refused.value).endswith(REASON)
    assert only_run(tmp_path / "runs").status().state == "failed"
    model = f"{{kind: transfer, backbone: {{kind: run, run: {run.path}}}}}"
    with pytest.raises(SpecError) as fault:
        load(write_spec(tmp_path, source, model=model))
    words = f"model.keras is not a model from examples to an output; `model.kind: small_gan`: {REASON}"
    assert words in str(fault.value)


def test_a_missing_score_is_told_without_a_command_that_refuses_the_kind(run: RunFolder) -> None:
    refused = f"does not support `model.kind: small_gan`: {REASON}"
    assert not_scored(run, "test") == f"{run.id} was not scored on test: `dlcli evaluate` {refused}"
    with pytest.raises(UsageError) as unscored:
        Run(run.path).metrics()
    assert str(unscored.value) == f"{run.id}: the split 'test' was not scored (scored: none); Run.evaluate {refused}"
    with pytest.raises(UsageError) as missing:
        with_run(Baselines("test", 1, 1, [], [], "", "test"), run)
    assert str(missing.value) == not_scored(run, "test")


def test_none_of_the_runs_is_the_best_of_its_name(run: RunFolder) -> None:
    with pytest.raises(UsageError, match="with `monitor: epoch` none has a monitored score; try generated@latest"):
        find_run("generated@best", run.path.parents[1])


def test_commands_that_need_no_predictions_work(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def output_of(*arguments: object) -> str:
        app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr().out

    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    for described in (run.path, tmp_path / "spec.yaml"):
        assert "Reshape" in output_of("describe", described)
    assert "25 of 25; best 25 (last)" in output_of("runs", "show", run.path)
    assert json.loads(output_of("runs", "show", run.path, "--json"))["scores"] == {}
    assert run.id in output_of("runs", "list", "--runs", run.path.parents[1])
    output_of("report", run.path)
    card, report = (path.read_text(encoding="utf-8") for path in (run.model_card_path, run.report_path))
    assert "A small GAN that generates grey images of 8 × 8 pixels from noise." in card
    assert "the model is that of epoch 25, the last" in card
    assert "dlcli predict {" not in card
    assert f"An evaluation does not support `model.kind: small_gan`: {REASON}." in report
    assert "dlcli evaluate" not in report.partition("Reproduce")[2].partition("refuses data")[0].partition("fingerprint")[0]
    assert Run(run.path).model().output_shape == (None, 8, 8, 1)


def test_a_monitor_may_be_a_column_of_the_kind(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("epochs: 25", "epochs: 3, monitor: generator_loss"), encoding="utf-8")
    finished = trained(spec)
    losses = [float(row["generator_loss"]) for row in finished.history()]
    assert finished.status().best_epoch == 1 + losses.index(min(losses))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.metrics=[accuracy]", f"`accuracy` does not support `model.kind: small_gan`: {REASON}"),
        ("training.monitor=val_loss", "the history will have no column `val_loss`; available: epoch, loss, generator_loss"),
        (
            "training.callbacks=[early_stopping]",
            "`epoch` selects the last epoch and is not a value to monitor; available: loss, generator_loss",
        ),
        (
            "training.optimizer.use_ema=true",
            "`use_ema` does not support `model.kind: small_gan`: it has 2 optimizers (discriminator, generator)",
        ),
        (
            "sweep={space: {training.optimizer.learning_rate: {low: 1e-4, high: 1e-2, log: true}}, trials: 2}",
            "a sweep, which compares trials on the validation split, does not support `model.kind: small_gan`",
        ),
    ],
)
def test_settings_that_the_kind_does_not_support_are_faults_of_the_spec(tmp_path: Path, setting: str, message: str) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    with pytest.raises(SpecError) as refused:
        load(tmp_path / "spec.yaml", [setting], with_search=setting.startswith("sweep"))
    assert message in str(refused.value)


def test_early_stopping_may_monitor_a_column_of_the_kind(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    load(tmp_path / "spec.yaml", ["training.callbacks=[{kind: early_stopping, monitor: generator_loss, patience: 2}]"])


def test_several_workers_are_refused_before_they_wait_for_each_other(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    experiment = load(tmp_path / "spec.yaml").experiment
    with pytest.raises(UsageError, match=r"a training by several workers does not support `model\.kind: small_gan`"):
        join_workers(experiment, Cluster(("localhost:1", "localhost:2"), 0))


def test_data_without_other_splits_trains_too(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    data = "split: {validation: 0, test: 0}, batch_size: 64"
    spec.write_text(SPEC.replace("batch_size: 64", data).replace("epochs: 25", "epochs: 1"), encoding="utf-8")
    assert trained(spec).status().state == "completed"
