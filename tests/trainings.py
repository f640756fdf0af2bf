"""Small trainings for tests: specs as YAML text, and data made to be learned in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.runs import RunFolder
from dlcli.runs.reporter import Reporter
from dlcli.spec.load import load
from dlcli.training.train import train

Array = np.ndarray[Any, Any]

CIRCLES = "{kind: playground, name: circles, examples: 120}"
GAUSSIANS = "{kind: playground, name: gaussians, examples: 120}"
PLANE = "{kind: playground, name: plane, examples: 120}"
IRIS = "{kind: builtin, name: iris}"
MLP = "{kind: mlp, units: [8], activation: tanh}"
SMALL_CNN = "{kind: cnn, layers: [{kind: conv2d, filters: 4, kernel_size: 3, activation: relu}, flatten]}"


class Heard(Reporter):
    """Keeps what a stage says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


def write_spec(
    folder: Path,
    source: str = IRIS,
    *,
    task: str = "classification",
    model: str = MLP,
    data: str = "",
    training: str = "epochs: 2",
    name: str = "tiny",
    more: str = "",
) -> Path:
    """Writes a spec whose sections are given as flow YAML without braces, and returns its path."""
    path = folder / f"{name}.yaml"
    data = f"source: {source}" + (f", {data}" if data else "")
    text = f"name: {name}\ntask: {task}\ndata: {{{data}}}\nmodel: {model}\ntraining: {{{training}}}\n{more}\n"
    path.write_text(text, encoding="utf-8")
    return path


def trained(
    spec: Path, overrides: Sequence[str] = (), reporter: Reporter | None = None, *, write_up: bool = False
) -> RunFolder:
    """Trains a spec into the folder `runs` beside it; the report, which takes a second, only if it is asked for."""
    return train(load(spec, overrides), spec.parent / "runs", reporter or Reporter(), write_up=write_up)


def newest_run(folder: Path) -> RunFolder:
    """Returns the run of a folder that was written last; names do not order runs of the same second."""
    return RunFolder(max(folder.glob("*"), key=lambda path: (path / "status.json").stat().st_mtime_ns))


def losses(run: RunFolder) -> list[float]:
    """Returns the training loss of every epoch."""
    return [float(row["loss"]) for row in run.history()]


def column(run: RunFolder, name: str) -> list[float]:
    """Returns one column of the history as numbers."""
    return [float(row[name]) for row in run.history()]


def outputs(model: Any, inputs: Any) -> Array:
    """Returns a model's output for all inputs in one batch."""
    return np.asarray(model(inputs, training=False))


def save_rows(path: Path, *, examples: int = 96, seed: int = 0) -> Path:
    """Writes rows of 3 features: `y` is one positive number, `y2` two, `labels` two 0/1 columns, `kinds` three."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(examples, 3)).astype("float32")
    y = 5 + x @ [1.0, -0.5, 0.25]
    labels = np.stack([x[:, 0] > 0, x[:, 1] + x[:, 2] > 0.3], axis=1).astype("int64")
    np.savez(path, x=x, y=y, y2=np.stack([y, 8 - x[:, 0]], axis=1), labels=labels, kinds=labels.sum(axis=1), yes=labels[:, 0])
    return path


def bright_quarters(examples: int, *, side: int = 8, channels: int = 1, seed: int = 0) -> tuple[Array, Array]:
    """Returns uint8 images one quarter of which is bright, and the number of that quarter."""
    random = np.random.default_rng(seed)
    labels = np.arange(examples) % 4
    images = random.integers(0, 90, (examples, side, side, channels)).astype("uint8")
    half = side // 2
    for image, label in zip(images, labels, strict=True):
        top, left = half * (label // 2), half * (label % 2)
        image[top : top + half, left : left + half] += 130
    return images, labels


def save_images(path: Path, *, examples: int = 96, side: int = 8, channels: int = 1) -> Path:
    """Writes an npz of images in four classes."""
    images, labels = bright_quarters(examples, side=side, channels=channels)
    np.savez(path, x=images, y=labels)
    return path


def save_volumes(path: Path, *, examples: int = 96) -> Path:
    """Writes an npz of volumes `(6, 6, 6, 1)` in two classes: those whose upper half is bright, those whose lower half is."""
    random = np.random.default_rng(0)
    labels = np.arange(examples) % 2
    volumes = random.normal(0, 0.5, (examples, 6, 6, 6, 1))
    volumes[labels == 0, :3] += 2
    volumes[labels == 1, 3:] += 2
    np.savez(path, x=volumes.astype("float32"), y=labels)
    return path


def save_series(path: Path, *, examples: int = 96) -> Path:
    """Writes an npz of series `(12, 2)` in two classes: those whose first channel rises, those where it falls."""
    random = np.random.default_rng(0)
    labels = np.arange(examples) % 2
    slope = np.where(labels == 1, 1.0, -1.0)[:, None, None]
    series = slope * np.linspace(-1, 1, 12)[None, :, None] + random.normal(0, 0.3, (examples, 12, 2))
    np.savez(path, x=series.astype("float32"), y=labels)
    return path


def write_pngs(folder: Path, *, each: int = 8, names: Sequence[str] = ("a", "b", "c", "d"), side: int = 8) -> Path:
    """Writes class folders of tiny PNGs; class k has quarter k bright."""
    from PIL import Image

    images, labels = bright_quarters(4 * each, side=side, channels=3)
    for position, (image, label) in enumerate(zip(images, labels, strict=True)):
        if label < len(names):
            (folder / names[label]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / names[label] / f"{position}.png")
    return folder
