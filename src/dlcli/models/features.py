"""Features of a frozen backbone: computed once, kept in memory and on disk, and shared by later runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from dlcli.arrays import Array
from dlcli.data.splits import Splits
from dlcli.models.feature_cache import FeatureCache, Shape
from dlcli.models.network import Network
from dlcli.runtime.backbone_layer import BackboneLayer
from dlcli.runtime.engine import keras
from dlcli.runtime.stream import data_errors, ordered_batches
from dlcli.spec.base import dump
from dlcli.spec.data.augmentations import AugmentationSpec
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.models import Transfer

_PLACES = ("weights", "handle", "run")
"""Fields that say where weights come from; the weights themselves are in the key."""


@dataclass(frozen=True)
class CachedFeatures:
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
        return "images are augmented; `training.features: {augmented_copies: 4}` stores those of 4 versions of each"
    return ""


def kept_features(
    experiment: Experiment, splits: Splits, network: Network, augment: Sequence[AugmentationSpec], folder: Path
) -> CachedFeatures:
    """Returns the features of the training and validation parts: read from `folder` if an earlier run kept them there.

    Args:
        experiment: the resolved experiment.
        splits: the data.
        network: the model, its backbone's weights in place.
        augment: the stage's random changes; `augmented_copies` versions of the training part are made.
        folder: the cache of the runs folder.
    """
    started = perf_counter()
    copies = experiment.training.features.augmented_copies if augment else 1
    extractor = _Extractor(experiment, network)
    cache = FeatureCache(folder, experiment.training.features.disk_gb)
    train, reused = cache.get(
        extractor.key(splits, "train", augment, copies),
        extractor.shape(splits, "train", copies),
        lambda: np.concatenate([extractor.features(splits, "train", augment, copy) for copy in range(copies)]),
    )
    validation = None
    if "validation" in splits:
        validation, _ = cache.get(
            extractor.key(splits, "validation", (), 1),
            extractor.shape(splits, "validation", 1),
            lambda: extractor.features(splits, "validation"),
        )
    cache.tidy()
    size = (train.nbytes + (0 if validation is None else validation.nbytes)) / 2**20
    how = "read from an earlier run" if reused else "computed once"
    many = f"{copies} versions of " if augment else ""
    told = f"{how}: {many}{len(splits.train):,} examples, {size:,.1f} MiB, in {perf_counter() - started:.1f} s"
    return CachedFeatures(train, validation, copies, "; ".join((told, *cache.notes)))


class _Extractor:
    """The model from examples to features, at rest, and the key of what it gives."""

    def __init__(self, experiment: Experiment, network: Network) -> None:
        self._experiment, self._model = experiment, network.body
        digest = hashlib.sha256()
        for variable in network.backbone.weights:
            digest.update(np.ascontiguousarray(variable.numpy()).data.cast("B"))
        self._weights = digest.hexdigest()
        self._graph = _graph_digest(network)

    def key(self, splits: Splits, part: str, augment: Sequence[AugmentationSpec], copies: int) -> str:
        """Returns a SHA-256 of all that the features depend on."""
        experiment = self._experiment
        model = experiment.model
        assert isinstance(model, Transfer)
        told = {
            "weights": self._weights,
            "graph": self._graph,
            "backbone": {name: value for name, value in dump(model.backbone).items() if name not in _PLACES},
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

    def shape(self, splits: Splits, part: str, copies: int) -> Shape:
        """Returns the shape of what `features` gives for all copies of a part; None where the backbone does not say."""
        return (copies * len(splits[part]), *self._model.output_shape[1:])

    def features(self, splits: Splits, part: str, augment: Sequence[AugmentationSpec] = (), copy: int = 0) -> Array:
        """Returns the features of one part, float32 `(n, ...)`; of one augmented version of it."""
        examples = splits[part]
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
    return min(max(experiment.data.examples_in_step(64), 32), 64)


def _graph_digest(network: Network) -> str:
    """Returns a digest of what the backbone computes: two with the same weights may differ in activations or scaling."""
    text = re.sub(r'"(shared_object_id|trainable)": *(\d+|true|false|null)', "", network.body.to_json())
    digest = hashlib.sha256(text.encode())
    for name, content in sorted((network.backbone.files if isinstance(network.backbone, BackboneLayer) else {}).items()):
        if not name.startswith("variables/"):
            digest.update(name.encode() + content)
    return digest.hexdigest()
