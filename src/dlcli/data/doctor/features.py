"""Simple features of examples for scikit-learn's models: no network is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor.check import Progress, Subject
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.padded_series import filled_series
from dlcli.runtime.text_tokens import unicode_words
from dlcli.upstream.sklearn import import_sklearn

CELLS, DIRECTIONS, SIDE = 4, 8, 32
"""Images become 4 by 4 cells of their mean colours and the directions of their edges, at 32 by 32 pixels."""
_BLOCK = 256
_MOST_CATEGORIES = 100
_TEXT_FEATURES = 1024


def simple_features(subject: Subject, progress: Progress) -> Array:
    """Returns the features of the examples of all splits, one split after the other, float32 `(n, features)`.

    Images become mean colours and histograms of gradients (Dalal and Triggs 2005). Columns of numbers stay, with the mean for
    gaps and a further feature that marks them; categories become a feature for each of the 100 most frequent ones. Texts
    become counts of their words, or of up to three neighbouring characters, in 1,024 groups by a hash.
    """
    if subject.has_rows:
        return _of_rows(subject)
    inputs = [examples.inputs for examples in subject.splits.distinct.values()]
    if inputs[0].is_padded:
        return np.concatenate([filled_series(inputs[0], part) for part in inputs])
    total, blocks = sum(map(len, inputs)), list[Array]()
    for part in inputs:
        for start in range(0, len(part), _BLOCK):
            progress("reading examples", sum(map(len, blocks)), total)
            blocks.append(_of_arrays(part, np.arange(start, min(start + _BLOCK, len(part)))))
    return np.concatenate(blocks)


def _of_rows(subject: Subject) -> Array:
    rows, features = subject.rows, list[Array]()
    for _, values in rows.numbers():
        gaps = ~np.isfinite(values)
        features.append(np.where(gaps, values[~gaps].mean() if not gaps.all() else 0.0, values))
        features += [gaps] if gaps.any() else []
    for _, values in rows.categories():
        labels, codes, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
        frequent = np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES]
        features += [codes.reshape(-1) == code for code in frequent.tolist()] if len(labels) > 1 else []
    by_column = [np.stack(features, axis=1).astype("float32")] if features else []
    split = subject.experiment.data.text.split
    return np.concatenate([*by_column, *(_of_texts(values, split) for _, values in rows.texts())], axis=1)


def _of_texts(texts: Array, split: str) -> Array:
    """Returns hashed counts of the words or characters of texts, float32 `(n, 1024)`, each row with the length 1."""
    import_sklearn()
    from sklearn.feature_extraction.text import HashingVectorizer

    ways: dict[str, dict[str, Any]] = {
        "character": {"analyzer": "char", "ngram_range": (1, 3)},
        "unicode_words": {"tokenizer": unicode_words, "token_pattern": None},
    }
    way = ways.get(split, {})
    vectorizer = HashingVectorizer(n_features=_TEXT_FEATURES, alternate_sign=False, dtype=np.float32, **way)
    return np.asarray(vectorizer.transform(texts).toarray())


def _of_arrays(inputs: Inputs, places: Array) -> Array:
    values = np.asarray(inputs.read(places), dtype="float32")
    if inputs.kind != "images" or min(values.shape[1:3]) < 2 * CELLS:
        return values.reshape(len(values), -1)
    return image_features(values)


def image_features(images: Array) -> Array:
    """Returns the features of images `(n, height, width, channels)`, from 0 to 255: colours and edges of 16 cells."""
    images = _reduced(images / 255, min(SIDE, *images.shape[1:3]))
    rows, columns = np.gradient(images.mean(axis=3), axis=(1, 2))
    strength, angle = np.hypot(rows, columns), np.arctan2(rows, columns) % np.pi
    bins = np.minimum((angle / np.pi * DIRECTIONS).astype(int), DIRECTIONS - 1)
    edges = (bins[..., None] == np.arange(DIRECTIONS)) * strength[..., None]
    histograms, colours = _reduced(edges, CELLS).reshape(len(images), -1), _reduced(images, CELLS).reshape(len(images), -1)
    length = np.sqrt((histograms**2).sum(axis=1, keepdims=True)) + 1e-3
    return np.concatenate([histograms / length, colours], axis=1).astype("float32")


def _reduced(images: Array, side: int) -> Array:
    """Returns images as means over blocks, `(n, side, side, channels)`."""
    rows, columns = (np.linspace(0, size, side, endpoint=False).astype(int) for size in images.shape[1:3])
    sums = np.add.reduceat(np.add.reduceat(images, rows, axis=1), columns, axis=2)
    heights, widths = np.diff([*rows, images.shape[1]]), np.diff([*columns, images.shape[2]])
    return np.asarray(sums / (heights[:, None] * widths)[None, :, :, None])
