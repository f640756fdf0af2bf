"""Workarounds for Keras that concern the loading of models; `tests/upstream/test_keras.py` says when one may go."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dlcli.upstream import import_keras


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
