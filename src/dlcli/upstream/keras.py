"""Workarounds for Keras: how it is imported, where it gets weights, how models load; see `tests/upstream/test_keras.py`."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from dlcli.upstream.start import QUIET, hidden, plain_settings, quiet_start


def import_keras() -> Any:
    """Imports and returns Keras, without what it imports only for its wrappers, its gallery plots and data frames.

    `import keras` imports scikit-learn, matplotlib and pandas wherever they are installed, over 2 s of 5 s
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

    EfficientNet B0 to B7 rescale their input again with ImageNet's weights, and without a layer that would show it
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
            f"model.backbone: the ImageNet weights of {kind} are not available and could not be downloaded:"
            f" {str(error).splitlines()[0]}\n"
            f"  put {origin.rsplit('/', 1)[-1]} into {Path(target).parent}, or set `weights` to its path"
        ) from None
    finally:
        socket.setdefaulttimeout(limit)


@contextmanager
def weights_watched(watch: Callable[[Any, int], None]) -> Iterator[None]:
    """Calls `watch(layer, numbers)` before a layer that is made inside the block adds a weight of that many numbers.

    Keras allocates every weight that a model's description declares before it reads what the file stores
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


def variable_key(optimizer: Any, variable: Any) -> Any:
    """Returns the key under which an optimizer knows a variable."""
    return optimizer._var_key(variable)


def stepped_variables(optimizer: Any) -> list[Any]:
    """Returns the variables that an optimizer was built for; `variables` lists its own."""
    return list(optimizer._trainable_variables)


def track_loss(model: Any, loss: Any, examples: Any) -> None:
    """Adds the loss of a batch to the mean that a compiled model reports as `loss`, as Keras's own `train_step` does."""
    model._loss_tracker.update_state(loss, sample_weight=examples)


def optimizer_by_part(base: Any) -> Any:
    """Returns a subclass of an optimizer that steps and decays the variables of a backbone at a separate rate.

    Keras computes one rate for all variables of an optimizer, and weight decay reads it again
    (github.com/keras-team/keras `src/optimizers/base_optimizer.py`, `_get_current_learning_rate`).

    Args:
        base: the class of an optimizer, whose objects get `backbone_keys` (as `variable_key` gives them), `backbone_rate`
            and `backbone_share`.
    """

    class ByPartOptimizer(base):  # type: ignore[misc]
        _in_backbone = False

        def rate_of_backbone(self) -> Any:
            if self.backbone_share is not None:
                return super()._get_current_learning_rate() * self.backbone_share
            return self.backbone_rate(self.iterations) if callable(self.backbone_rate) else self.backbone_rate

        def _get_current_learning_rate(self) -> Any:
            return self.rate_of_backbone() if self._in_backbone else super()._get_current_learning_rate()

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            if self._var_key(variable) in self.backbone_keys:
                learning_rate = self.rate_of_backbone()
            super().update_step(gradient, variable, learning_rate)

        def _apply_weight_decay(self, variables: Any) -> None:
            for inside in (False, True):
                self._in_backbone = inside
                super()._apply_weight_decay(
                    [variable for variable in variables if (self._var_key(variable) in self.backbone_keys) is inside]
                )
            self._in_backbone = False

    ByPartOptimizer.__name__ = base.__name__
    return ByPartOptimizer


def has_unbuilt_metrics(model: Any) -> bool:
    """Whether a compiled model has metrics whose variables do not exist yet: Keras makes them in the first step."""
    return model._compile_metrics is not None and not model._compile_metrics.built


def all_layers(model: Any) -> list[Any]:
    """Returns a model and all layers in it at every depth, each once; `layers` lists those of the first depth."""
    return list(model._flatten_layers())


def nodes_of(model: Any) -> list[Any]:
    """Returns the calls of layers that a functional model is made of.

    Each is a node with `operation`, `input_tensors` and `output_tensors`. A layer inside a model has two inputs, its own and
    the one it is called on: only the nodes of the model distinguish them.
    """
    return [node for depth in model._nodes_by_depth.values() for node in depth]


def single_nodes_of(model: Any) -> list[Any]:
    """Returns the calls of layers in a functional or Sequential model, including those in nested models."""
    single = []
    for node in nodes_of(_functional(model)):
        single += single_nodes_of(node.operation) if has_nodes(node.operation) else [node]
    return single


def has_nodes(model: Any) -> bool:
    """Whether the calls of the layers of a model are known: it is functional, or Sequential and built."""
    return hasattr(_functional(model), "_nodes_by_depth")


def _functional(model: Any) -> Any:
    """Returns the functional model inside a Sequential one; other models and layers as they are."""
    return getattr(model, "_functional", None) or model


def maker_of(tensor: Any) -> Any:
    """Returns the layer or operation whose output a symbolic tensor is."""
    return tensor._keras_history.operation


def is_called(layer: Any) -> bool:
    """Whether a layer was called on a symbolic tensor, so that it has an `output`."""
    return bool(layer._inbound_nodes)


def first_input(layer: Any) -> Any:
    """Returns the first tensor that a layer or a model was first called on; `input` of a model is its own entry."""
    return layer._inbound_nodes[0].input_tensors[0]


def add_variables(layer: Any, variables: Iterable[Any]) -> None:
    """Makes variables weights of a layer, also of one that is built.

    A layer of a saved model was called, and so built, before it gets its assets; Keras then lets it add no more weights
    (github.com/keras-team/keras `src/layers/layer.py`, `_lock_state`).
    """
    layer._tracker.unlock()
    for variable in variables:
        layer._track_variable(variable)
