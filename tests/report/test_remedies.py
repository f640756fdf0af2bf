"""Every remedy, applied as it is printed, improves the score of its finding on a run with a planted fault."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import write_spec

from dlcli.report.diagnosis import Finding, diagnose, in_words
from dlcli.runs import RunFolder
from dlcli.runs.reporter import Reporter
from dlcli.score.outcome import read_outcome
from dlcli.spec.load import load
from dlcli.training.train import train

pytestmark = pytest.mark.usefixtures("without_pictures")
slow = pytest.mark.slow
Make = Callable[[Path], Path]
Score = Callable[[RunFolder], float]


def _mlp(*units: int) -> str:
    return f"{{kind: mlp, units: {list(units)}}}"


def _epochs(count: int, rate: float = 1e-3, kind: str = "adam") -> str:
    return f"epochs: {count}, optimizer: {{kind: {kind}, learning_rate: {rate}}}"


def _npz(folder: Path, x: Any, y: Any) -> str:
    np.savez(folder / "rows.npz", x=np.asarray(x, dtype="float32"), y=y)
    return "{kind: npz, path: rows.npz, features: x, target: y}"


def _rows(count: int, columns: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, columns))


def _stripes(folder: Path, each: int = 60) -> str:
    """Writes images of 32 x 32 pixels: the first class has horizontal stripes, the second vertical ones."""
    from PIL import Image

    for label in (0, 1):
        (folder / "photos" / f"class{label}").mkdir(parents=True)
        for number in range(each):
            random = np.random.default_rng([label, number])
            place = np.mgrid[:32, :32][label]
            bright = ((place + random.integers(0, 8)) // (random.integers(4, 8) // 2) % 2)[..., None]
            pixels = bright * random.integers(90, 160, 3) + random.integers(20, 90, 3) + random.normal(0, 8, (32, 32, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(folder / "photos" / f"class{label}" / f"{number}.png")
    return "{kind: folder, path: photos}"


def _scaled_twice(folder: Path) -> Path:
    layers = (
        "{kind: rescaling, scale: 0.00392156862745098}, {kind: conv2d, filters: 8, kernel_size: 3, activation: relu},"
        " max_pooling2d, {kind: conv2d, filters: 8, kernel_size: 3, activation: relu}, max_pooling2d, flatten"
    )
    data = "image: {size: 32}, batch_size: 16"
    return write_spec(folder, _stripes(folder), data=data, model=f"{{kind: cnn, layers: [{layers}]}}", training="epochs: 8")


def _white_strokes(folder: Path) -> Path:
    """Writes white strokes, horizontal or vertical, on a transparent background: they are white on white once decoded."""
    from PIL import Image

    for label in (0, 1):
        (folder / "photos" / f"class{label}").mkdir(parents=True)
        for number in range(40):
            alpha = np.zeros((32, 32), "uint8")
            np.moveaxis(alpha, label, 0)[np.random.default_rng([label, number]).choice(32, 5, replace=False)] = 255
            pixels = np.dstack([np.full((32, 32, 3), 255, "uint8"), alpha])
            Image.fromarray(pixels).save(folder / "photos" / f"class{label}" / f"{number}.png")
    source = "{kind: folder, path: photos}"
    model = "{kind: cnn, blocks: {filters: [8, 16], convolutions: 1}}"
    return write_spec(folder, source, data="image: {size: 32}, batch_size: 8", model=model, training="epochs: 4")


def _unscaled(folder: Path) -> Path:
    x = _rows(300, 5)
    source = _npz(folder, x * [1, 1000, 10, 1, 300] + [0, 5000, 50, 0, 900], (x[:, 0] + x[:, 3] > 0).astype(int))
    return write_spec(folder, source, task="binary", data="normalize: none", model=_mlp(16), training="epochs: 15")


def _unscaled_values(folder: Path) -> Path:
    x = _rows(300, 5)
    y = x[:, 0] + x[:, 3]
    source = _npz(folder, x * [1, 1000, 10, 1, 300] + [0, 5000, 50, 0, 900], y)
    return write_spec(folder, source, task="regression", data="normalize: none", model=_mlp(16), training="epochs: 15")


def _batch_norm(folder: Path) -> Path:
    block = (
        "{{kind: conv2d, filters: {0}, kernel_size: 3, padding: same}}, {{kind: batch_normalization}},"
        " {{kind: activation, activation: relu}}, max_pooling2d"
    )
    layers = ", ".join(block.format(filters) for filters in (8, 16, 16, 16))
    data = "image: {size: 32}, batch_size: 32"
    return write_spec(folder, _stripes(folder), data=data, model=f"{{kind: cnn, layers: [{layers}]}}", training="epochs: 8")


def _large_targets(folder: Path) -> Path:
    x = _rows(400, 4)
    source = _npz(folder, x, 200_000 + 50_000 * x[:, 0] + 20_000 * x[:, 1] * x[:, 2])
    return write_spec(folder, source, task="regression", data="scale_targets: false", model=_mlp(16), training="epochs: 20")


def _small_targets(folder: Path) -> Path:
    x = _rows(400, 4)
    source = _npz(folder, x, 1e-4 * (3 + x[:, 0] + x[:, 1] * x[:, 2]))
    return write_spec(folder, source, task="regression", data="scale_targets: false", model=_mlp(16), training="epochs: 20")


def _at_its_start(folder: Path) -> Path:
    x = _rows(300, 8)
    source = _npz(folder, x, x[:, 0] + x[:, 1])
    return write_spec(folder, source, task="regression", model=_mlp(64, 64), training=_epochs(1, 2e-5))


def _rare(folder: Path) -> Path:
    x, random = _rows(1500, 4), np.random.default_rng(1)
    source = _npz(folder, x, (random.random(1500) < 1 / (1 + np.exp(3.6 - 1.5 * x[:, 0]))).astype(int))
    return write_spec(folder, source, task="binary", model=_mlp(16), training="epochs: 20")


def _linear_on_xor(folder: Path) -> Path:
    source = "{kind: playground, name: xor, examples: 400}"
    return write_spec(folder, source, task="binary", model=_mlp(), training=_epochs(25, 1e-2))


def _one_unit(folder: Path) -> Path:
    return write_spec(folder, "{kind: builtin, name: digits}", model=_mlp(1), training=_epochs(15, 1e-2))


def _large_on_few(folder: Path) -> Path:
    x, random = _rows(700, 40), np.random.default_rng(1)
    source = _npz(folder, x, (x[:, 0] + x[:, 1] + random.normal(size=700) * 0.6 > 0).astype(int))
    data = "split: {test: 0.7, validation: 0.1}"
    return write_spec(folder, source, task="binary", data=data, model=_mlp(256, 256), training=_epochs(30))


def _too_high(folder: Path) -> Path:
    return write_spec(folder, "{kind: builtin, name: iris}", model=_mlp(16, 16), training=_epochs(20, 0.5))


def _too_low(folder: Path) -> Path:
    return write_spec(folder, "{kind: builtin, name: iris}", model=_mlp(16, 16), training=_epochs(20, 5e-6))


def _one_epoch(folder: Path) -> Path:
    return write_spec(folder, "{kind: builtin, name: digits}", model=_mlp(64), training=_epochs(1))


def _jumping(folder: Path) -> Path:
    x, random = _rows(240, 6), np.random.default_rng(1)
    source = _npz(folder, x, (x[:, 0] + random.normal(size=240) > 0).astype(int))
    return write_spec(folder, source, task="binary", data="batch_size: 2", model=_mlp(64, 64), training=_epochs(20, 9e-3))


def _test(name: str) -> Score:
    return lambda run: float(run.metrics("test")["metrics"][name]["value"])


def _lower(name: str) -> Score:
    return lambda run: -_test(name)(run)


def _true_positives(run: RunFolder) -> float:
    """Returns the number of true positives of the rare class."""
    outcome = read_outcome(run, "test")
    return float(((outcome.predicted == 1) & (outcome.truth == 1)).sum())


def _smoothness(run: RunFolder) -> float:
    """Returns the negative sum of all rises of the training loss."""
    return -float(np.maximum(np.diff([float(row["loss"]) for row in run.history()]), 0).sum())


CASES = [
    (_white_strokes, "blank images", _test("accuracy")),
    (_scaled_twice, "badly scaled inputs", _test("accuracy")),
    (_unscaled, "badly scaled inputs", _test("accuracy")),
    pytest.param(_unscaled_values, "badly scaled inputs", _test("r2"), marks=slow),
    pytest.param(_batch_norm, "training and prediction disagree", _test("accuracy"), marks=slow),
    pytest.param(_large_targets, "worse than a constant guess", _test("r2")),
    pytest.param(_small_targets, "worse than a constant guess", _test("r2")),
    pytest.param(_at_its_start, "worse than a constant guess", _test("r2"), marks=slow),
    pytest.param(_rare, "class collapse", _true_positives, marks=slow),
    pytest.param(_linear_on_xor, "underfitting", _test("accuracy"), marks=slow),
    pytest.param(_one_unit, "underfitting", _test("accuracy"), marks=slow),
    pytest.param(_large_on_few, "overfitting", _test("accuracy"), marks=slow),
    pytest.param(_too_high, "learning rate too high", _lower("loss"), marks=slow),
    pytest.param(_too_low, "learning rate too low", _lower("loss"), marks=slow),
    pytest.param(_one_epoch, "too short", _lower("loss"), marks=slow),
    pytest.param(_jumping, "unstable", _smoothness, marks=slow),
]


@pytest.mark.parametrize(("make", "name", "score"), CASES)
def test_every_remedy_improves_the_score_of_its_finding(make: Make, name: str, score: Score, tmp_path: Path) -> None:
    spec = make(tmp_path)
    run = train(load(spec), tmp_path / "runs", Reporter())
    finding = next(diagnosed for diagnosed in diagnose(run) if diagnosed.name == name)
    old_score = score(run)
    changes = _printed_changes(run, finding)
    assert changes
    new_scores = {
        " ".join(change): score(train(load(spec, change), tmp_path / "runs", Reporter(), write_up=False)) for change in changes
    }
    assert {change: value for change, value in new_scores.items() if value <= old_score} == {}, old_score


@slow
def test_the_pretrained_backbone_suggested_for_few_photos_is_better(test_data: Path, tmp_path: Path) -> None:
    source = f"{{kind: folder, path: {test_data / 'images' / 'ants_bees'}}}"
    model = "{kind: cnn, blocks: {filters: [8, 16, 32], convolutions: 1}}"
    spec = write_spec(tmp_path, source, data="image: {size: 64}", model=model, training="epochs: 6")
    run = train(load(spec), tmp_path / "runs", Reporter())
    finding = next(diagnosed for diagnosed in diagnose(run) if diagnosed.name == "data too few")
    assert "training photos" in finding.evidence[0]
    change = _printed_changes(run, finding)[0]
    load(spec, change)  # valid as printed; it would download weights, which the next line replaces by a file
    offline = [option.replace("imagenet", str(test_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5")) for option in change]
    pretrained = train(load(spec, offline), tmp_path / "runs", Reporter(), write_up=False)
    assert _test("accuracy")(pretrained) > _test("accuracy")(run)


def _printed_changes(run: RunFolder, finding: Finding) -> list[list[str]]:
    """Returns the changes of each remedy from its line for a terminal."""
    lines = [line for line in in_words(run, [finding]) if line.startswith("  try: ") and " --set " in line]
    options = [shlex.split(line[line.index(" --set ") :]) for line in lines]
    return [[word for word in words if word != "--set"] for words in options]
