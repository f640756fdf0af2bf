"""Features of a frozen backbone: computed once, kept in memory and on disk, and shared by later runs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from dlcli.runs.files import replacing
from dlcli.runtime.engine import keras
from dlcli.runtime.stream import data_errors, ordered_batches
from dlcli.spec.augmentations import AugmentationSpec
from dlcli.spec.base import dump
from dlcli.spec.experiment import Experiment
from dlcli.spec.models import Transfer
from dlcli.stages.build import Built
from dlcli.stages.data import Splits, fits_in_memory

Array = np.ndarray[Any, Any]

_PLACES = ("weights", "handle", "run")
"""Fields that say where weights come from; the weights themselves are in the key."""


@dataclass(frozen=True)
class Kept:
    """The features of the training part, `(copies * n, ...)`, and of the validation part, with how they were come by."""

    train: Array
    validation: Array | None
    copies: int
    told: str


def reason_against(experiment: Experiment, augment: Sequence[AugmentationSpec]) -> str:
    """Returns why a frozen stage does not keep its features; empty if it does."""
    features = experiment.training.features
    if not features.once:
        return "`training.features: off`"
    if augment and not features.augmented_copies:
        return "images are changed at random; `training.features: {augmented_copies: 4}` keeps those of 4 versions of each"
    return ""


def kept_features(
    experiment: Experiment, splits: Splits, built: Built, augment: Sequence[AugmentationSpec], folder: Path
) -> Kept:
    """Returns the features of the training and validation parts: read from `folder` if an earlier run kept them there.

    Args:
        experiment: the resolved experiment.
        splits: the data.
        built: the model, its backbone's weights in place.
        augment: the stage's random changes; `augmented_copies` versions of the training part are made.
        folder: the cache of the runs folder.
    """
    started = perf_counter()
    copies = experiment.training.features.augmented_copies if augment else 1
    extractor = _Extractor(experiment, built)
    cache = Cache(folder, experiment.training.features.disk_gb)
    train, reused = cache.get(
        extractor.key(splits, "train", augment, copies),
        lambda: np.concatenate([extractor.features(splits, "train", augment, copy) for copy in range(copies)]),
    )
    validation = None
    if "validation" in splits.parts:
        validation, _ = cache.get(extractor.key(splits, "validation", (), 1), lambda: extractor.features(splits, "validation"))
    cache.tidy()
    size = (train.nbytes + (0 if validation is None else validation.nbytes)) / 2**20
    how = "read from an earlier run's" if reused else "computed once"
    many = f"{copies} versions of " if augment else ""
    told = f"{how}: {many}{len(splits.train):,} examples, {size:,.1f} MiB, in {perf_counter() - started:.1f} s"
    return Kept(train, validation, copies, told)


class _Extractor:
    """The model from examples to features, at rest, and the key of what it gives."""

    def __init__(self, experiment: Experiment, built: Built) -> None:
        self._experiment, self._model = experiment, built.features
        digest = hashlib.sha256()
        for variable in built.backbone.weights:
            digest.update(np.ascontiguousarray(variable.numpy()).data.cast("B"))
        self._weights = digest.hexdigest()
        self._graph = _graph_digest(built)

    def key(self, splits: Splits, part: str, augment: Sequence[AugmentationSpec], copies: int) -> str:
        """Returns a SHA-256 of all that the features depend on."""
        experiment = self._experiment
        model = experiment.model
        assert isinstance(model, Transfer)
        told = {
            "weights": self._weights,
            "graph": self._graph,
            "backbone": {
                name: value for name, value in dump(model.backbone).items() if name not in ("weights", "handle", "run")
            },
            "data": splits.fingerprint,
            "part": part,
            "image": dump(experiment.data.image),
            "classes": list(splits.classes),
            "precision": str(experiment.hardware.precision),
            "batch": _batch(experiment),
            "augment": [dump(one) for one in augment],
            "copies": copies,
            "seed": experiment.seed if augment else None,
            "keras": keras.__version__,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def features(self, splits: Splits, part: str, augment: Sequence[AugmentationSpec] = (), copy: int = 0) -> Array:
        """Returns the features of one part, float32 `(n, ...)`; of one augmented version of it."""
        examples = splits.parts[part]
        batches = ordered_batches(
            examples.inputs,
            examples=len(examples),
            batch_size=_batch(self._experiment),
            augment=augment,
            seed=self._experiment.seed,
            epoch=copy,
        )
        self._model.jit_compile = self._experiment.hardware.xla
        with data_errors():
            return np.asarray(self._model.predict(batches, verbose=0), dtype="float32")


def _batch(experiment: Experiment) -> int:
    """Returns the images in one call of the backbone: as in a prediction, at most 64, so that large images fit."""
    wanted = experiment.data.batch_size
    return 64 if wanted == "full" else min(max(int(wanted), 32), 64)


def _graph_digest(built: Built) -> str:
    """Returns a digest of what the backbone computes: two with the same weights may differ in activations or scaling."""
    text = re.sub(r'"(shared_object_id|trainable)": *(\d+|true|false|null)', "", built.features.to_json())
    digest = hashlib.sha256(text.encode())
    for name, content in sorted(getattr(built.backbone, "files", {}).items()):
        if not name.startswith("variables/"):
            digest.update(name.encode() + content)
    return digest.hexdigest()


class Cache:
    """Feature files in one folder, under a budget of disk space: the longest unused go first.

    A file appears whole or not at all, so that runs side by side may share it. With a budget of 0 nothing is written.
    """

    def __init__(self, folder: Path, budget_gb: float) -> None:
        self._folder, self._budget = folder, budget_gb * 1e9

    def get(self, key: str, compute: Any) -> tuple[Array, bool]:
        """Returns the array of a key, from its file where there is one, and whether there was."""
        path = self._folder / f"{key}.npy"
        found = self._read(path)
        if found is not None:
            return found, True
        computed: Array = compute()
        if computed.nbytes <= self._budget and self._has_room(computed.nbytes):
            with suppress(OSError):  # they are kept to save time; the run has them in any case
                self._folder.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary, open(temporary, "wb") as file:
                    np.save(file, computed, allow_pickle=False)
        return computed, False

    def tidy(self) -> None:
        """Deletes the longest unused files beyond the budget."""
        if not self._budget:
            return
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*.npy"):
            with suppress(OSError):  # a run beside this one tidies too
                about = path.stat()
                found.append((about.st_mtime, about.st_size, path))
        used = 0
        for _, size, path in sorted(found, reverse=True):
            used += size
            if used > self._budget:
                path.unlink(missing_ok=True)

    def _read(self, path: Path) -> Array | None:
        if not self._budget or not path.is_file():
            return None
        try:
            # Larger ones stay on disk and are read where they are needed.
            large = not fits_in_memory(path.stat().st_size)
            found: Array = np.load(path, mmap_mode="r" if large else None, allow_pickle=False)
            os.utime(path)
        except (OSError, ValueError, EOFError):  # damaged, or deleted by a run beside this one: computed anew
            return None
        return found

    def _has_room(self, size: int) -> bool:
        parent = next(one for one in (self._folder, *self._folder.parents) if one.exists())
        return shutil.disk_usage(parent).free > 2 * size
