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
from dlcli.upstream.keras_hub import saved_vocabularies

_PLACES = ("weights", "handle", "run", "preset")
"""Fields that name the origin of weights; they are not in the key, which holds a digest of the weights themselves."""


@dataclass(frozen=True)
class CachedFeatures:
    """The features of the training split, `(copies * n, ...)`, and of the validation split, and how they were obtained."""

    train: Array
    validation: Array | None
    copies: int
    description: str


def reason_against(experiment: Experiment, augment: Sequence[AugmentationSpec]) -> str:
    """Returns why a frozen stage does not cache its features; empty if it does."""
    features = experiment.training.features
    if not features.once:
        return "`training.features: off`"
    if augment and not features.augmented_copies:
        return "images are augmented; `training.features: {augmented_copies: 4}` stores those of 4 versions of each"
    return ""


def cached_features(
    experiment: Experiment, splits: Splits, network: Network, augment: Sequence[AugmentationSpec], folder: Path
) -> CachedFeatures:
    """Returns the features of the training and validation splits: read from `folder` if an earlier run stored them there.

    Args:
        experiment: the resolved experiment.
        splits: the data.
        network: the model, with the weights of its backbone loaded.
        augment: the stage's augmentations; `augmented_copies` versions of the training split are computed.
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
    origin = "read from an earlier run" if reused else "computed once"
    versions = f"{copies} versions of " if augment else ""
    description = f"{origin}: {versions}{len(splits.train):,} examples, {size:,.1f} MiB, in {perf_counter() - started:.1f} s"
    return CachedFeatures(train, validation, copies, "; ".join((description, *cache.notes)))


class _Extractor:
    """The frozen model from examples to features, and the cache key of its output."""

    def __init__(self, experiment: Experiment, network: Network) -> None:
        self._experiment, self._network, self._model = experiment, network, network.body
        digest = hashlib.sha256()
        for variable in network.backbone.weights:
            digest.update(np.ascontiguousarray(variable.numpy()).data.cast("B"))
        self._weights = digest.hexdigest()
        self._graph = _graph_digest(network)

    def key(self, splits: Splits, split: str, augment: Sequence[AugmentationSpec], copies: int) -> str:
        """Returns a SHA-256 of everything the features depend on."""
        experiment = self._experiment
        model = experiment.model
        assert isinstance(model, Transfer)
        description = {
            "weights": self._weights,
            "graph": self._graph,
            "backbone": {name: value for name, value in dump(model.backbone).items() if name not in _PLACES},
            "data": splits.fingerprint,
            "part": split,
            "image": dump(experiment.data.image),
            "classes": list(splits.classes),
            "precision": str(experiment.hardware.precision),
            "batch": _batch(experiment),
            "augment": [dump(augmentation) for augmentation in augment],
            "copies": copies,
            "seed": experiment.seed if augment else None,
            "keras": keras.__version__,
        }
        if self._network.encode is not None:
            description["encode"] = self._encode_digest()
        return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()

    def _encode_digest(self) -> str:
        """Returns a digest of the layers that encode raw columns, vocabularies included."""
        with saved_vocabularies():
            return hashlib.sha256(self._network.encode.to_json().encode()).hexdigest()

    def shape(self, splits: Splits, split: str, copies: int) -> Shape:
        """Returns the shape of the features of all copies of a split; None where the backbone's output size is unknown."""
        return (copies * len(splits[split]), *self._model.output_shape[1:])

    def features(self, splits: Splits, split: str, augment: Sequence[AugmentationSpec] = (), copy: int = 0) -> Array:
        """Returns the features of one split, float32 `(n, ...)`; with `augment`, of one augmented version of it."""
        examples = splits[split]
        batches = ordered_batches(
            self._network.encoded(examples.inputs),
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
    """Returns the batch size of one call of the backbone: that of a prediction, at most 64, so that large images fit."""
    return min(max(experiment.data.examples_in_step(64), 32), 64)


def _graph_digest(network: Network) -> str:
    """Returns a digest of the backbone's graph: backbones of equal weights may differ in activations or scaling."""
    text = re.sub(r'"(shared_object_id|trainable)": *(\d+|true|false|null)', "", network.body.to_json())
    digest = hashlib.sha256(text.encode())
    for name, content in sorted((network.backbone.files if isinstance(network.backbone, BackboneLayer) else {}).items()):
        if not name.startswith("variables/"):
            digest.update(name.encode() + content)
    return digest.hexdigest()
