"""The diagnosis names the planted fault of each training, and finds nothing in healthy ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY
from trainings import IRIS, write_spec

from dlcli.errors import RunFailed
from dlcli.report.diagnosis import diagnose, findings, in_words, write_diagnosis
from dlcli.runs import RunFolder
from dlcli.runs.reporter import Reporter
from dlcli.spec.load import load, load_text
from dlcli.training.train import train

pytestmark = pytest.mark.usefixtures("without_pictures")
DIGITS = "{kind: builtin, name: digits}"
DIABETES = "{kind: builtin, name: diabetes}"
ADAM = "optimizer: {{kind: adam, learning_rate: {}}}"


def _points(name: str, examples: int = 400) -> str:
    return f"{{kind: playground, name: {name}, examples: {examples}}}"


def _mlp(*units: int, activation: str = "relu") -> str:
    return f"{{kind: mlp, units: {list(units)}, activation: {activation}}}"


def _epochs(count: int, rate: float = 1e-3) -> str:
    return f"epochs: {count}, {ADAM.format(rate)}"


def _npz(folder: Path, x: Any, y: Any) -> str:
    np.savez(folder / "rows.npz", x=np.asarray(x, dtype="float32"), y=y)
    return "{kind: npz, path: rows.npz, features: x, target: y}"


def _random(count: int, columns: int) -> Any:
    return np.random.default_rng(0).normal(size=(count, columns))


def _linear_on_xor(folder: Path) -> Path:
    return write_spec(folder, _points("xor"), task="binary", model=_mlp(), training=_epochs(25, 1e-2))


def _one_unit(folder: Path) -> Path:
    return write_spec(folder, DIGITS, model=_mlp(1), training=_epochs(25, 1e-2))


def _two_units_for_values(folder: Path) -> Path:
    source = _points("multi_gaussian")
    return write_spec(folder, source, task="regression", model=_mlp(2), training=_epochs(40, 1e-2))


def _large_on_few(folder: Path) -> Path:
    x, random = _random(160, 40), np.random.default_rng(1)
    source = _npz(folder, x, (x[:, 0] + x[:, 1] + random.normal(size=160) * 0.6 > 0).astype(int))
    return write_spec(folder, source, task="binary", model=_mlp(256, 256), training=_epochs(40))


def _rate_times_100(folder: Path) -> Path:
    model = "{kind: mlp, units: [128, 64], activation: relu, dropout: 0.2}"
    return write_spec(folder, DIGITS, model=model, training=_epochs(10, 0.1))


def _rate_times_100_of_iris(folder: Path) -> Path:
    return write_spec(folder, IRIS, model=_mlp(16, 16, activation="tanh"), training=_epochs(30, 0.5))


def _rate_by_1000(folder: Path) -> Path:
    return write_spec(folder, IRIS, model=_mlp(16, 16, activation="tanh"), training=_epochs(20, 5e-6))


def _rate_by_1000_of_values(folder: Path) -> Path:
    return write_spec(folder, DIABETES, task="regression", model=_mlp(16, 16), training=_epochs(20, 1e-6))


def _one_class(folder: Path) -> Path:
    rare = np.random.default_rng(0).random(600) < 0.05
    return write_spec(folder, _npz(folder, _random(600, 4), rare.astype(int)), task="binary", training=_epochs(20))


def _shuffled(folder: Path) -> Path:
    labels = np.random.default_rng(1).integers(0, 3, 300)
    return write_spec(folder, _npz(folder, _random(300, 10), labels), model=_mlp(64, 64), training=_epochs(40))


def _shuffled_values(folder: Path) -> Path:
    values = np.random.default_rng(1).normal(size=300)
    source = _npz(folder, _random(300, 10), values)
    return write_spec(folder, source, task="regression", model=_mlp(64, 64), training=_epochs(60, 5e-3))


def _copied_rows(folder: Path) -> Path:
    x = _random(300, 6)
    y = (x[:, 0] + np.random.default_rng(1).normal(size=300) > 0).astype(int)
    twice = np.r_[np.arange(300), np.arange(150)]
    return write_spec(folder, _npz(folder, x[twice], y[twice]), task="binary", training=_epochs(10, 1e-2))


def _revealing_column(folder: Path) -> Path:
    random = np.random.default_rng(0)
    rows = (f"{random.normal(40, 10):.1f},{label * 5 + random.random():.3f},{['no', 'yes'][label]}\n" for label in [0, 1] * 150)
    (folder / "rows.csv").write_text("age,code,outcome\n" + "".join(rows))
    source = "{kind: csv, path: rows.csv, target: outcome}"
    return write_spec(folder, source, task="binary", training=_epochs(10, 1e-2))


def _one_epoch(folder: Path) -> Path:
    return write_spec(folder, DIGITS, model=_mlp(64), training=_epochs(1))


def _few_epochs_of_values(folder: Path) -> Path:
    x = _random(300, 8)
    source = _npz(folder, x, x[:, 0] + x[:, 1])
    return write_spec(folder, source, task="regression", model=_mlp(32, 16), training=_epochs(5, 2e-3))


def _few_digits(folder: Path) -> Path:
    data = "split: {test: 0.96, validation: 0.02}"
    return write_spec(folder, DIGITS, data=data, model=_mlp(64), training=_epochs(60))


def _jumping(folder: Path) -> Path:
    x = _random(240, 6)
    source = _npz(folder, x, (x[:, 0] + np.random.default_rng(1).normal(size=240) > 0).astype(int))
    return write_spec(folder, source, task="binary", data="batch_size: 2", model=_mlp(64, 64), training=_epochs(20, 9e-3))


slow = pytest.mark.slow
PLANTED_FAULTS = [
    (_linear_on_xor, "underfitting"),
    pytest.param(_one_unit, "underfitting", marks=slow),
    pytest.param(_two_units_for_values, "underfitting", marks=slow),
    (_large_on_few, "overfitting"),
    (_rate_times_100_of_iris, "learning rate too high"),
    pytest.param(_rate_times_100, "learning rate too high", marks=slow),
    (_rate_by_1000, "learning rate too low"),
    pytest.param(_rate_by_1000_of_values, "learning rate too low", marks=slow),
    pytest.param(_one_class, "no better than a guess", marks=slow),
    pytest.param(_shuffled, "shuffled or meaningless labels", marks=slow),
    pytest.param(_shuffled_values, "shuffled or meaningless labels", marks=slow),
    pytest.param(_copied_rows, "leakage suspected", marks=slow),
    (_revealing_column, "leakage suspected"),
    pytest.param(_one_epoch, "too short", marks=slow),
    pytest.param(_few_epochs_of_values, "too short", marks=slow),
    pytest.param(_few_digits, "data too few", marks=slow),
    pytest.param(_jumping, "unstable", marks=slow),
]


@pytest.mark.parametrize(("spec", "expected"), PLANTED_FAULTS)
def test_the_diagnosis_names_the_planted_fault(spec: Callable[[Path], Path], expected: str, tmp_path: Path) -> None:
    run = train(load(spec(tmp_path)), tmp_path / "runs", Reporter())
    written = write_diagnosis(run)
    assert [finding.name for finding in written][:1] == [expected]
    assert findings(run) == written
    _check_remedies(run)


def _check_remedies(run: RunFolder) -> None:
    """Checks that the run's spec accepts every suggested change."""
    text = (run.path / "spec.yaml").read_text()
    changes = [remedy.set for finding in diagnose(run) for remedy in finding.remedies]
    assert changes
    for change in filter(None, changes):
        load_text(text, run.path / "spec.yaml", (change,))


HEALTHY = [
    ("iris_mlp", ["training.epochs=60"], ()),
    pytest.param("digits_cnn", ["training.epochs=10"], (), marks=slow),
    pytest.param("digits_mlp", [], (), marks=slow),
    pytest.param("playground_spiral", [], (), marks=slow),
    pytest.param("diabetes_mlp", [], (), marks=slow),
    pytest.param("breast_cancer_mlp", [], (), marks=slow),
    pytest.param("digits_transfer_run", ["training.epochs=8"], ("digits_low", ["training.epochs=8"]), marks=slow),
]


@pytest.mark.parametrize(("name", "changes", "base_run"), HEALTHY)
def test_a_healthy_run_has_no_findings(
    name: str, changes: list[str], base_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if base_run:
        base_name, base_changes = base_run
        base = train(load(REPOSITORY / "configs" / f"{base_name}.yaml", base_changes), tmp_path, Reporter())
        monkeypatch.setitem(os.environ, "DIGITS_RUN", str(base.path))
    run = train(load(REPOSITORY / "configs" / f"{name}.yaml", changes), tmp_path, Reporter())
    assert write_diagnosis(run) == []
    assert findings(run) == []
    assert in_words(run, []) == ["diagnosis: nothing stands out"]


def test_a_diverged_training_is_diagnosed_with_a_too_high_learning_rate(tmp_path: Path) -> None:
    training = "epochs: 5, optimizer: {kind: sgd, learning_rate: 10.0}"
    spec = write_spec(tmp_path, DIABETES, task="regression", model=_mlp(16), training=training)
    with pytest.raises(RunFailed, match="diverged"):
        train(load(spec), tmp_path / "runs", Reporter())
    run = RunFolder(next((tmp_path / "runs").glob("*/*")))
    diagnosed = diagnose(run)
    assert [finding.name for finding in diagnosed] == ["learning rate too high"]
    assert "the loss became" in diagnosed[0].evidence[0]
    _check_remedies(run)
