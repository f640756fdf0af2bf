"""The occlusion of time steps finds the steps that decide, on series where these are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trainings import trained, write_spec

from dlcli.explain import explain
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on series of up to 40 steps; a peak at the steps 10 to 13 of the first channel decides the class."""
    folder, random = tmp_path_factory.mktemp("series"), np.random.default_rng(0)
    x, y = random.normal(0, 0.1, (80, 40, 2)).astype("float32"), np.arange(80) % 2
    x[y == 1, 10:14, 0] += 2
    x[::3, 30:] = np.nan
    np.savez(folder / "series.npz", x=x, y=y)
    model = "{kind: sequence, layers: [{kind: conv1d, filters: 4, kernel_size: 3, padding: same, activation: relu}]}"
    training = "epochs: 40, optimizer: {kind: adam, learning_rate: 0.05}"
    return trained(write_spec(folder, "{kind: npz, path: series.npz}", task="binary", model=model, training=training))


@pytest.mark.usefixtures("with_pictures")
def test_the_decisive_steps_have_the_largest_effects(run: RunFolder) -> None:
    assert run.metrics("test")["metrics"]["accuracy"]["value"] == 1
    explanations = explain(run)
    assert len(explanations) == 8
    for explanation in explanations:
        rows = read_table((run.path / "explanations" / explanation.file).with_suffix(".csv"))
        effects = np.array([float(row["effect"]) for row in rows])
        if "label 1" in explanation.text:
            assert 8 <= int(effects.argmax()) <= 15
            assert effects.max() > 3 * np.abs(np.delete(effects, range(8, 16))).max()
    assert any("label 1" in explanation.text for explanation in explanations)


def test_the_series_of_a_file_are_explained(run: RunFolder, tmp_path: Path) -> None:
    series = np.zeros((1, 20, 2), "float32")
    series[0, 10:14, 0] = 2
    np.save(tmp_path / "new.npy", series)
    (explanation,) = explain(run, [str(tmp_path / "new.npy")], method="occlusion")
    assert "the largest effect on the log odds" in explanation.text
