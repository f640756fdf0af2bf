"""A run that was killed at any instant and resumed ends with the same bits as one that was never touched."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cli.killing import assert_same_bits, only_run, started, train_with_kills
from dlcli.runs import RunFolder

pytestmark = pytest.mark.usefixtures("without_pictures")

STAGES = """
name: stages
task: classification
data:
  source: {kind: builtin, name: digits}
  augment: [{kind: random_translation, height_factor: 0.1, width_factor: 0.1}]
model:
  kind: cnn
  layers:
    - {kind: conv2d, filters: 8, kernel_size: 3, activation: relu}
    - batch_normalization
    - flatten
    - {kind: dropout, rate: 0.3}
    - {kind: dense, units: 32, activation: relu}
training:
  checkpoint_minutes: 0.002
  metrics: [accuracy, f1]
  callbacks: [{kind: early_stopping, patience: 2}]
  stages:
    - name: all
      train: all
      epochs: 12
      optimizer: {kind: adam, learning_rate: {kind: cosine_decay, initial_learning_rate: 3e-3}}
    - name: top
      train: {last: 2}
      epochs: 10
      augment: [{kind: rand_augment, factor: 0.2}, {kind: mix_up, alpha: 0.4}]
      optimizer: {kind: sgd, learning_rate: 0.05, momentum: 0.9, use_ema: true}
"""

FOLDER = """
name: folder
task: classification
data:
  source: {kind: folder, path: photos}
  image: {size: [12, 12]}
  batch_size: 8
  augment: [{kind: random_flip, mode: horizontal}, {kind: random_rotation, factor: 0.1}]
model: {kind: cnn, layers: [{kind: conv2d, filters: 4, kernel_size: 3, activation: relu}, flatten, {kind: dropout, rate: 0.2}]}
training: {epochs: 25, checkpoint_minutes: 0.001, callbacks: [{kind: reduce_lr_on_plateau, patience: 2, factor: 0.5}]}
"""

TABLE = """
name: table
task: regression
data: {source: {kind: csv, path: table.csv, target: price}, batch_size: 8, augment: [{kind: column_noise, stddev: 0.1}]}
model: {kind: mlp, units: [16], dropout: 0.2}
training: {epochs: 25, checkpoint_minutes: 0.001, optimizer: {kind: rmsprop, learning_rate: 0.01, use_ema: true}}
"""


def _photos(folder: Path) -> None:
    draw = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(60):
            pixels = draw.integers(level - 50, level + 50, (16, 16, 3)).astype("uint8")
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")


def _table(folder: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [
        f"{a:.3f},{'xyz'[int(b)]},{3 * a + b:.3f}" for a, b in zip(draw.normal(size=160), draw.integers(0, 3, 160), strict=True)
    ]
    (folder / "table.csv").write_text("size,kind,price\n" + "\n".join(rows) + "\n", encoding="utf-8")


def _nothing(folder: Path) -> None:
    """The digits come with scikit-learn."""


def untouched(spec: Path) -> RunFolder:
    """Trains a spec in one go."""
    process = started("train", spec, "--quiet", "--runs", spec.parent / "untouched", cwd=spec.parent)
    assert process.wait(300) == 0, (spec.parent / "output.txt").read_text(encoding="utf-8")
    return only_run(spec.parent / "untouched")


def _check(folder: Path, text: str, make: Callable[[Path], None], runs: int, kills: int) -> None:
    make(folder)
    spec = folder / "spec.yaml"
    spec.write_text(text, encoding="utf-8")
    whole = untouched(spec)
    draw = random.Random(4)
    words: list[str] = []
    for number in range(runs):
        run, said = train_with_kills(spec, folder / f"killed{number}", kills, draw)
        assert said, "the run ended before it could be killed"
        assert run.status().resumed == len(said)
        assert_same_bits(whole, run)
        words += said
    print(*words, sep="\n")
    assert len(words) == runs * kills


SOURCES: list[Any] = [
    pytest.param(STAGES, _nothing, id="two stages on images in memory"),
    pytest.param(FOLDER, _photos, marks=pytest.mark.slow, id="a folder of images"),
    pytest.param(TABLE, _table, marks=pytest.mark.slow, id="a table with a moving average of the weights"),
]


@pytest.mark.parametrize(("text", "make"), SOURCES)
def test_a_run_killed_and_resumed_ends_with_the_same_bits(tmp_path: Path, text: str, make: Callable[[Path], None]) -> None:
    _check(tmp_path, text, make, runs=1, kills=2)


@pytest.mark.slow
def test_twenty_kills_at_random_instants_change_no_bit(tmp_path: Path) -> None:
    _check(tmp_path, STAGES, _nothing, runs=5, kills=4)
