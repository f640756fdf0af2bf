"""A NumPy .npz file for `init`: which arrays are examples and labels, and which task the labels make."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dlcli.cli.scaffold.plan import DataPlan, Pictures
from dlcli.cli.scaffold.questions import Questions, refuse_unknown
from dlcli.cli.scaffold.sequences import SERIES
from dlcli.errors import UsageError
from dlcli.spec.data.sources.npz_names import parts_of, stem_and_part

if TYPE_CHECKING:
    from dlcli.arrays import Array

_PAIRS = (
    *(("x", "y"), ("X", "y"), ("X", "Y"), ("features", "target"), ("features", "targets"), ("features", "labels")),
    *(("images", "labels"), ("data", "labels"), ("data", "label"), ("data", "target"), ("inputs", "targets")),
)
_AMOUNTS = 50


def look_at_arrays(path: str, target: str | None, task: str | None, questions: Questions) -> DataPlan:
    """Returns the plan for an .npz file; asks for the array of labels if its name is unusual.

    Raises:
        UsageError: it cannot be read, the arrays cannot be distinguished, or the labels fit no task, or not the requested one.
    """
    shapes = _shapes(path)
    names = sorted({_without_part(name, list(shapes)) for name in shapes})
    features, target = _pair(path, shapes, names, target, questions)
    labels = _labels(path, _training_array(shapes, target))
    tasks, why, doubt = _tasks(target, labels)
    if task is not None and task not in tasks:
        raise UsageError(f"--task: {task} does not fit {target} ({why}): {' or '.join(tasks)} does")
    source = {"kind": "npz", "path": path, "features": features, "target": target}
    shape, kind = shapes[_training_array(shapes, features)]
    listed = ", ".join(f"{name} {_by(size)}" for name, (size, _) in shapes.items())
    notes = (f"{path}: {listed}", f"target {target}: {why}")
    doubt = doubt if task is None else ""
    sequences = SERIES if len(shape) == 3 and kind != "uint8" else None
    return DataPlan(path, source, tasks, Path(path).stem, doubt, why, notes, {}, _pictures(shape, kind), sequences)


def _shapes(path: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns the shape and the kind of numbers of every array, by the headers alone."""
    from numpy.lib import format as layout

    shapes: dict[str, tuple[tuple[int, ...], str]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    version = layout.read_magic(file)
                    read = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
                    shape, _, dtype = read(file)
                    shapes[name.removesuffix(".npy")] = (shape, dtype.kind if dtype.str != "|u1" else "uint8")
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UsageError(f"{path} cannot be read as a NumPy .npz file: {error}") from None
    if not shapes:
        raise UsageError(f"{path} holds no arrays")
    return shapes


def _pair(
    path: str, shapes: dict[str, tuple[tuple[int, ...], str]], names: list[str], target: str | None, questions: Questions
) -> tuple[str, str]:
    """Returns the names of the examples and the labels, without the word that names a split."""
    if target is not None:
        target = target if target in names else stem_and_part(target)[0]
        refuse_unknown("--target", target, names)
    pairs = [(x, y) for x, y in _PAIRS if x in names and y in names and target in (None, y)]
    if pairs:
        return pairs[0]
    listed = ", ".join(f"{name} {_by(size)}" for name, (size, _) in shapes.items())
    if len(names) < 2:
        raise UsageError(f"{path} needs two arrays, examples and their labels; it holds {listed}")
    if target is None:
        doubt = f"--target: name the array with the labels; {path} holds {listed}"
        target = questions.choice("--target", f"{path} holds {listed}\nArray of labels", names, names[-1], doubt)
    rows = _length(shapes, target)
    others = [name for name in names if name != target and _length(shapes, name) == rows]
    if len(others) != 1:
        what = f"{len(others)} other arrays have" if others else "no other array has"
        raise UsageError(f"{path}: {what} as many rows as {target} ({listed}); write the spec's features by hand")
    return others[0], target


def _length(shapes: dict[str, tuple[tuple[int, ...], str]], name: str) -> int | None:
    shape, _ = shapes.get(_training_array(shapes, name), ((), ""))
    return shape[0] if shape else None


def _without_part(name: str, names: list[str]) -> str:
    """Returns an array's name without the name of a split, where the training split has such an array."""
    stem = stem_and_part(name)[0]
    return stem if "train" in parts_of(stem, names) else name


def _training_array(shapes: Iterable[str], name: str) -> str:
    """Returns the name of the array that holds the training split of `name`; the name itself where no other does."""
    return parts_of(name, list(shapes)).get("train", [name])[0]


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "(one number)"


def _labels(path: str, name: str) -> Array:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            labels: Array = archive[name]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: {name}: {error}") from None
    return labels


def _tasks(target: str, labels: Array) -> tuple[tuple[str, ...], str, str]:
    """Returns the tasks that labels fit, the likely one first; the reason; why it is not sure, or ""."""
    import numpy as np

    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "fiub":
        if not np.isin(labels, (0, 1)).all():
            return ("regression",), f"{labels.shape[1]} columns of numbers", ""
        if (labels.sum(axis=1) == 1).all():
            return ("classification", "multilabel"), f"{labels.shape[1]} classes, one-hot", ""
        return ("multilabel", "regression"), f"{labels.shape[1]} columns of 0 and 1", ""
    if labels.dtype.kind not in "fiubUS":
        raise UsageError(f"--target: {target} holds {labels.dtype}, neither numbers nor texts")
    values, counts = np.unique(labels.reshape(-1), return_counts=True)
    shown = ", ".join(str(value)[:40] for value in values[:3].tolist()) + (", ..." if len(values) > 3 else "")
    if len(values) < 2:
        raise UsageError(f"--target: {target} has {len(values)} different values, so there is nothing to predict")
    if len(values) == 2:
        return ("binary", "classification"), f"two values, {shown}", ""
    if labels.dtype.kind in "US":
        return ("classification",), f"{len(values):,} classes such as {shown}", ""
    whole = bool((values % 1 == 0).all())
    if not whole or (len(values) > _AMOUNTS and 5 * counts.min() < counts.max()):
        return ("regression",), f"{len(values):,} different numbers", ""
    if (values == np.arange(len(values))).all() and 5 * counts.min() >= counts.max():
        return ("classification", "regression"), f"{len(values)} whole numbers from 0, about equally common", ""
    if len(values) > _AMOUNTS:
        return ("regression", "classification"), f"{len(values):,} different whole numbers", ""
    doubt = (
        f"--task: the target {target} has {len(values)} different whole numbers ({shown}):"
        " use --task regression if they are amounts, --task classification if they are classes"
    )
    return ("regression", "classification"), f"{len(values)} different whole numbers", doubt


def _pictures(shape: tuple[int, ...], kind: str) -> Pictures | None:
    """Returns the properties of images; None if the examples are no images."""
    if kind == "uint8" and len(shape) == 3:
        return Pictures(shape[0], min(shape[1:]), True, (*shape[1:], 1))
    if len(shape) == 4 and shape[3] in (1, 3):
        return Pictures(shape[0], min(shape[1:3]), shape[3] == 1, shape[1:])
    return None
