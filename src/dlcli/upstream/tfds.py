"""Workarounds for TensorFlow Datasets, each with its reason and link; `tests/upstream/test_tfds.py` says when one may go."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from math import prod
from pathlib import Path
from typing import Any

from dlcli.errors import DataError
from dlcli.upstream.keras import import_keras
from dlcli.upstream.tensorflow import steady_options

Convert = Callable[[Any], Any]
_BATCH = 256
"""Examples that are read at once: enough to hide the cost of a call, too few to weigh in memory."""
_AHEAD = 32_000_000
"""Bytes of decoded examples that may wait to be used."""


def import_tfds() -> Any:
    """Imports and returns TensorFlow Datasets, which fetches nothing until it prepares a set.

    TFDS looked sets up in its cloud bucket unless `_is_gcs_disabled` was set (the default since 4.9.7); without a
    network each look-up waited for minutes (github.com/tensorflow/datasets `core/utils/gcs_utils.py`).
    """
    import_keras()
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.features.feature import FeatureConnector
    from tensorflow_datasets.core.utils import gcs_utils

    gcs_utils._is_gcs_disabled = True
    FeatureConnector.cls_from_name = classmethod(_own_feature)
    return tfds


def _own_feature(connector: Any, name: str) -> Any:
    """Returns the class of a feature by its name in a prepared set's `features.json`, if it is one of TFDS's own.

    TFDS imports any module that the file names (github.com/tensorflow/datasets `core/features/feature.py`,
    `cls_from_name`), so that a folder of data could run code.

    Raises:
        DataError: it is not one of TFDS's own.
    """
    if name not in connector._registered_features and name.startswith(_FEATURES):
        with suppress(ImportError):
            importlib.import_module(name.rpartition(".")[0])
    if not name.startswith(_FEATURES) or name not in connector._registered_features:
        raise DataError(
            f"a prepared TFDS set has a feature of the class {name[:80]!r}, which is not a class of TFDS: it is not opened"
        )
    return connector._registered_features[name]


_FEATURES = "tensorflow_datasets.core.features."


def prepare_tfds(name: str, folder: Path) -> Any:
    """Downloads and prepares a TFDS set in a folder of sets, and returns its builder. Failures take seconds.

    TFDS tries a host that cannot be found ten times, waiting up to 51 s in between, and has no limit at all for one that
    does not answer (github.com/tensorflow/datasets `core/download/downloader.py`). What it prints goes to stderr.

    Raises:
        Exception: any error of TFDS or the network; there is no common class.
    """
    tfds = import_tfds()
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with redirect_stdout(sys.stderr), _impatient():
        builder = tfds.builder(name, data_dir=str(folder))
        builder.download_and_prepare()
    return builder


@contextmanager
def _impatient() -> Iterator[None]:
    """Gives every request inside the block a time limit, and TFDS two tries, without urllib3's warnings."""
    from unittest.mock import patch

    import requests
    from tensorflow_datasets.core.download import downloader

    patient, logger = requests.Session.request, logging.getLogger("urllib3")
    level = logger.level

    def request(*args: Any, **kwargs: Any) -> Any:
        return patient(*args, **{"timeout": 20, **kwargs})

    logger.setLevel(logging.ERROR)
    try:
        with patch.object(requests.Session, "request", request), patch.object(downloader, "MAX_RETRIES", 1):
            yield
    finally:
        logger.setLevel(level)


def read_split(builder: Any, expression: str, convert: Convert | None = None) -> tuple[Any, Any]:
    """Returns inputs and labels of all examples of a TFDS split expression, in the order of its files.

    Inputs of one fixed shape come as an array `(n, ...)` in their own dtype, others as a list of arrays, those with
    names as a mapping of such; labels as an array `(n, ...)`. `convert` is applied to every single input as it is read,
    so that large images need not all be in memory at their full size.

    Raises:
        ValueError: the expression names a split that the set does not have.
    """
    import tensorflow as tf

    count = builder.info.splits[expression].num_examples
    dataset = builder.as_dataset(
        split=expression, shuffle_files=False, as_supervised=True, read_config=_read_config(builder), batch_size=None
    )
    specs = tf.nest.flatten(dataset.element_spec)
    if convert is None and all(spec.shape.is_fully_defined() for spec in specs):
        columns = _in_batches(dataset, specs, count)
    else:
        columns = _one_by_one(dataset, specs, convert)
    inputs, labels = tf.nest.pack_sequence_as(dataset.element_spec, columns)
    return inputs, labels


def read_features(builder: Any, expression: str, names: Sequence[str]) -> dict[str, Any]:
    """Returns single features of all examples of a TFDS split expression as arrays `(n, ...)`, in the order of `read_split`.

    Only these features are decoded.

    Raises:
        ValueError: the expression names a split that the set does not have.
    """
    import numpy as np
    from tensorflow_datasets.core.decode import PartialDecoding

    decoders = PartialDecoding({name: builder.info.features[name] for name in names})
    dataset = builder.as_dataset(
        split=expression, shuffle_files=False, decoders=decoders, read_config=_read_config(builder), batch_size=None
    )
    examples = list(dataset.with_options(steady_options()).as_numpy_iterator())
    return {name: np.array([example[name] for example in examples]) for name in names}


def _read_config(builder: Any) -> Any:
    """Returns TFDS's reading settings: one file after the other, and no value set by the autotuner."""
    from tensorflow_datasets.core.utils.read_config import ReadConfig

    return ReadConfig(
        options=steady_options(),
        try_autocache=False,
        interleave_cycle_length=1,
        num_parallel_calls_for_interleave_files=1,
        num_parallel_calls_for_decode=_parallel_calls(_example_bytes(builder)),
        skip_prefetch=True,
    )


def _example_bytes(builder: Any) -> int | None:
    """Returns the bytes of an example's tensors; None where they differ from example to example."""
    import numpy as np
    import tensorflow as tf

    infos = tf.nest.flatten(builder.info.features.get_tensor_info())
    if any(None in info.shape for info in infos):
        return None
    return int(sum(prod(info.shape) * np.dtype(info.np_dtype).itemsize for info in infos))


def _parallel_calls(example_bytes: int | None) -> int:
    """Returns how many examples are decoded at a time.

    Many calls keep TensorFlow's threads from waiting for each other: 60,000 images of 28 x 28 take 0.9 s instead of 1.5 s on
    2 cores. What is decoded and not yet used is in memory, so that large examples, and those of unknown size, get few.
    """
    cores = os.cpu_count() or 1
    if example_bytes is None:
        return 2 * cores
    return int(min(max(_AHEAD // max(example_bytes, 1), 2 * cores), 32 * cores))


def _in_batches(dataset: Any, specs: list[Any], count: int) -> list[Any]:
    """Returns an array for each component of an example, filled batch by batch so that nothing is held twice."""
    import numpy as np
    import tensorflow as tf

    arrays = [np.empty((count, *spec.shape), spec.dtype.as_numpy_dtype) for spec in specs]
    start = 0
    for batch in dataset.batch(_BATCH).prefetch(2).with_options(steady_options()).as_numpy_iterator():
        parts = tf.nest.flatten(batch)
        for array, part in zip(arrays, parts, strict=True):
            array[start : start + len(part)] = part
        start += len(parts[0])
    return [array[:start] for array in arrays]


def _one_by_one(dataset: Any, specs: list[Any], convert: Convert | None) -> list[Any]:
    """Returns a list of arrays for each part of an example, the label's (the last) as one array."""
    import numpy as np
    import tensorflow as tf

    lists: list[list[Any]] = [[] for _ in specs]
    for example in dataset.prefetch(2).with_options(steady_options()).as_numpy_iterator():
        parts = tf.nest.flatten(example)
        for values, part in zip(lists[:-1], parts[:-1], strict=True):
            values.append(convert(part) if convert else part)
        lists[-1].append(parts[-1])
    return [*lists[:-1], np.asarray(lists[-1])]
