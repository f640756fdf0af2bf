"""Workarounds for Keras: how it is imported, where it gets weights, how models load; see `tests/upstream/test_keras.py`."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from dlcli.upstream.start import QUIET, hidden, plain_settings, quiet_start


def import_keras() -> Any:
    """Imports and returns Keras, without what it imports only for its wrappers, its gallery plots and data frames.

    `import keras` brings in scikit-learn, matplotlib and pandas wherever they are installed, over 2 s of 5 s
    (github.com/keras-team/keras `src/wrappers/sklearn_wrapper.py`, `src/trainers/data_adapters/array_slicing.py`);
    dlcli gives Keras no data frames, and needs the others only after training.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if "keras" not in sys.modules:
        with plain_settings(), quiet_start(), hidden("sklearn", "matplotlib", "pandas"):
            import keras
    import keras

    return keras


@contextmanager
def imagenet_graph() -> Iterator[None]:
    """Lets `weights="imagenet"` inside the block give the graph alone, its weights random and nothing fetched.

    EfficientNet B0 to B7 rescale their input once more with ImageNet's weights, and without a layer that would show it
    among the weights (github.com/keras-team/keras `src/applications/efficientnet.py`).
    """
    from unittest.mock import patch

    from keras.src.utils import file_utils

    with (
        patch.object(file_utils, "get_file", lambda *_, **__: ""),
        patch.object(import_keras().Model, "load_weights", lambda *_, **__: None),
    ):
        yield


@contextmanager
def keras_weights(kind: str, *, offline: bool) -> Iterator[None]:
    """Turns a failed download of ImageNet weights inside the block into a DataError; `offline` forbids it.

    Keras downloads by `urlretrieve`, without a time limit and with a bare `Exception` in the end
    (github.com/keras-team/keras `src/utils/file_utils.py`). It warns of sizes it has no weights for and takes others,
    as it should.

    Raises:
        DataError: the weights are not in Keras's cache and cannot be fetched.
    """
    import socket
    import warnings
    from unittest.mock import patch

    from keras.src.utils import file_utils

    from dlcli.errors import DataError, Interrupted

    fetch, requests = file_utils.urlretrieve, []

    def urlretrieve(origin: str, target: str, *rest: Any) -> Any:
        requests.append((origin, target))
        if offline:
            raise OSError("--offline forbids it")
        return fetch(origin, target, *rest)

    limit = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        with patch.object(file_utils, "urlretrieve", urlretrieve), redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`input_shape` is undefined or non-square")
            yield
    except Interrupted:
        raise
    except Exception as error:
        if not requests:
            raise
        origin, target = requests[-1]
        raise DataError(
            f"model.backbone: the ImageNet weights of {kind} are not at hand and could not be fetched:"
            f" {str(error).splitlines()[0]}\n"
            f"  put {origin.rsplit('/', 1)[-1]} into {Path(target).parent}, or set `weights` to its path"
        ) from None
    finally:
        socket.setdefaulttimeout(limit)


@contextmanager
def weights_watched(watch: Callable[[Any, int], None]) -> Iterator[None]:
    """Calls `watch(layer, numbers)` before a layer that is made inside the block gets a weight of so many numbers.

    Keras makes room for every weight that a model's description declares before it looks at what the file stores
    (github.com/keras-team/keras `src/saving/saving_lib.py`, `_load_model_from_fileobj`).
    """
    layers = import_keras().layers
    add_weight = layers.Layer.add_weight

    def watched(layer: Any, shape: Any = None, *arguments: Any, **options: Any) -> Any:
        watch(layer, math.prod(shape if isinstance(shape, (list, tuple)) else (shape or 1,)))
        return add_weight(layer, shape, *arguments, **options)

    layers.Layer.add_weight = watched
    try:
        yield
    finally:
        layers.Layer.add_weight = add_weight
