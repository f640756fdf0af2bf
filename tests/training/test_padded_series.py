"""Trainings on whole series of different lengths: padding changes no answer, and an interruption no bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli.killing import assert_same_bits
from conftest import run_plain
from trainings import trained, write_spec

from dlcli.api.run import Run
from dlcli.errors import RunFailed
from dlcli.runs import RunFolder
from dlcli.runtime.keras_file import load_keras_file
from training.test_resume import Stopping, gone_on, stopped

LAYERS = "[{kind: conv1d, filters: 8, kernel_size: 3, padding: same, activation: relu}, {kind: gru, units: 4, dropout: 0.2}]"
MODEL = f"{{kind: sequence, layers: {LAYERS}}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Series of 4 to 12 steps and two channels, whose first channel rises or falls."""
    random, path = np.random.default_rng(0), tmp_path_factory.mktemp("series")
    x, y = np.full((80, 12, 2), np.nan, dtype="float32"), np.arange(80) % 2
    for row, rises in zip(x, y, strict=True):
        steps = random.integers(4, 13)
        row[:steps, 0] = 3 + (2 * rises - 1) * np.linspace(0, 1, steps) + random.normal(0, 0.1, steps)
        row[:steps, 1] = random.normal(100, 20, steps)
    np.savez(path / "series.npz", x=x, y=y)
    return path


def spec(folder: Path, model: str = MODEL, name: str = "series", **fields: str) -> Path:
    source = f"{{kind: npz, path: {folder / 'series.npz'}}}"
    fields = {"training": "epochs: 12, optimizer: {kind: adam, learning_rate: 0.02}", "data": "batch_size: 16", **fields}
    return write_spec(folder, source, task="binary", model=model, name=name, **fields)


@pytest.fixture(scope="module")
def run(folder: Path) -> RunFolder:
    return trained(spec(folder))


@pytest.mark.usefixtures("without_pictures")
def test_padding_and_the_other_series_of_a_batch_change_no_answer(run: RunFolder, folder: Path) -> None:
    model = load_keras_file(run.model_path)
    assert run.metrics("test")["metrics"]["accuracy"]["value"] > 0.8
    x = np.load(folder / "series.npz")["x"][:16]
    together = model.predict(x, verbose=0, batch_size=16)
    alone = np.concatenate([model.predict(series[None], verbose=0) for series in x])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    short = x[:, :5][~np.isnan(x[:, 4, 0])]
    padded = np.full((len(short), 12, 2), np.nan, dtype="float32")
    padded[:, :5] = short
    rises = Run(run.path).predict(short).scores[:, 1:]
    np.testing.assert_allclose(rises, model.predict(padded, verbose=0), atol=1e-6)


def test_the_saved_model_takes_padded_series_in_plain_keras(run: RunFolder, folder: Path) -> None:
    code = (
        "import sys, numpy as np, keras\n"
        "model = keras.saving.load_model(sys.argv[1], compile=False)\n"
        f"print(np.isfinite(model.predict(np.load({str(folder / 'series.npz')!r})['x'], verbose=0)).all())\n"
    )
    assert run_plain(code, run.model_path, cwd=run.path).stdout.split() == ["True"]


@pytest.mark.usefixtures("without_pictures")
def test_a_killed_training_on_series_ends_with_the_same_bits(folder: Path) -> None:
    path = spec(folder, name="killed", training="epochs: 2")
    whole = trained(path)
    killed = stopped(path, Stopping(step=6))
    gone_on(killed)
    assert_same_bits(killed, whole)


def test_a_model_that_takes_no_padding_is_refused(folder: Path) -> None:
    model = "{kind: cnn, layers: [flatten, {kind: dense, units: 4}]}"
    with pytest.raises(RunFailed, match=r"model\.kind: `cnn` does not take series of different lengths; use `sequence`"):
        trained(spec(folder, model, name="cnn"))
