"""The features of a table's columns of numbers in an encoded row, for augmentations of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.stream import Augmentation
from dlcli.spec.data.augmentations import AugmentationSpec, NumberFeatures

_ROWS = 65_536
"""Rows that are read at once: all of them may not fit into memory."""


def fitted_augmentations(augment: Sequence[AugmentationSpec], raw: Inputs, encoded: Inputs) -> list[Augmentation]:
    """Returns the augmentations of a stage; those of rows are fitted to the training split.

    Args:
        augment: the augmentations of the spec.
        raw: the inputs of the training split.
        encoded: the training rows in the form of the batches: those of `raw`, which `smote` follows by synthetic ones.

    Raises:
        DataError: an augmentation of rows has other inputs, or names a column that is not there.
    """
    if not any(augmentation.inputs == "columns" for augmentation in augment):
        return list(augment)
    if encoded.shape is None or len(encoded.shape) != 1:
        raise DataError("data.augment: augmentations of columns need rows of numbers")
    features = number_features(raw, encoded)
    width = encoded.shape[0]
    return [item.fitted(features, width) if item.inputs == "columns" else item for item in augment]


def number_features(raw: Inputs, encoded: Inputs) -> NumberFeatures:
    """Returns the place of the feature of each column of numbers, and its deviation in the training split without gaps.

    Columns without names are numbered from 0.
    """
    deviations = _deviations(encoded, len(raw))
    if not raw.columns:
        return {str(place): (place, float(deviation)) for place, deviation in enumerate(deviations)}
    layout = raw.layout
    # As in `runtime.columns.column_inputs`: the features of numeric kinds come first.
    first = min(layout.kinds.values(), key=lambda kind: not kind.is_numeric)
    if not first.is_quantity:
        return {}
    names = (name for columns in layout.columns.values() for name in columns if raw.column_kinds[name] == first)
    features: dict[str, tuple[int, float]] = {}
    for place, name in enumerate(names):
        # A gap is filled with the mean, so it adds nothing to the variance of the encoded column.
        present = 1.0 - float(first.gaps(raw.columns[name]).mean())
        features[name] = (place, float(deviations[place]) / max(present, 1e-12) ** 0.5)
    return features


def _deviations(encoded: Inputs, rows: int) -> Array:
    """Returns the deviation of each feature of the first rows, float64; that of a constant feature is 0."""
    first = encoded.read(np.array([0])).astype("float64")
    total, squares = np.zeros(first.shape[1]), np.zeros(first.shape[1])
    for start in range(0, rows, _ROWS):
        # Differences from the first row have few digits in common, also where the features do.
        differences = encoded.read(np.arange(start, min(start + _ROWS, rows))).astype("float64") - first
        total, squares = total + differences.sum(axis=0), squares + (differences**2).sum(axis=0)
    return np.asarray(np.sqrt(np.maximum(squares / rows - (total / rows) ** 2, 0.0)))
