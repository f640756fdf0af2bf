"""Every workaround for a defect of another library: its reason, its link, and how it ends.

It stands below `spec`, because specs and stages both need it. Each workaround has a test in `tests/test_upstream*.py` that
fails once the defect is fixed upstream.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from dlcli.upstream.start import QUIET, hidden, plain_settings, quiet_start, silence_dependencies

__all__ = ["QUIET", "quiet_start", "silence_dependencies"]


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


def steady_options() -> Any:
    """Returns the options that every `tf.data` dataset of dlcli gets: fixed order and parallelism, no autotuner.

    Closing an iterator waits for the autotuner's thread, up to 41 s at random (TensorFlow 2.21, `OptimizeLoop` in
    github.com/tensorflow/tensorflow `tensorflow/core/framework/model.cc`).
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return options


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


def resolve_hub(handle: str, cache: Path, *, offline: bool, limit: float = 20) -> Path:
    """Returns the folder of a Hub module's address, fetched into a cache folder on first use; `offline` forbids it.

    TensorFlow Hub warns of `pkg_resources` when it is imported, waits for a host without a limit, and caches in the
    system's temporary folder unless `TFHUB_CACHE_DIR` is set (github.com/tensorflow/hub `tensorflow_hub/resolver.py`).

    Args:
        handle: the address.
        cache: folder of modules that were fetched.
        offline: whether nothing may be fetched.
        limit: seconds that the host may be silent.

    Raises:
        DataError: the module is not in the cache and cannot be fetched.
    """
    import warnings

    from dlcli.errors import DataError, Interrupted

    import_keras()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_hub as hub  # type: ignore[import-untyped]
    try:
        with _hub_requests(cache, offline=offline, limit=limit):
            return Path(hub.resolve(handle))
    except Interrupted:
        raise
    except Exception as error:  # urllib, tarfile and TensorFlow's file system have no common class
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"model.backbone.handle: {handle} is not in the cache ({cache}) and could not be fetched: {reason}\n"
            "  a folder or an archive of the module works without a network"
        ) from None


@contextmanager
def _hub_requests(cache: Path, *, offline: bool, limit: float) -> Iterator[None]:
    """Lets TensorFlow Hub fetch by https alone, or not at all, into a cache folder; a silent host fails after a time."""
    import socket
    from unittest.mock import patch

    from tensorflow_hub import resolver

    call = resolver.HttpResolverBase._call_urlopen

    def call_urlopen(own: Any, request: Any) -> Any:
        if offline:
            raise OSError("--offline forbids it")
        response = call(own, request)
        if getattr(request, "full_url", request).startswith("https:") and not response.geturl().startswith("https:"):
            raise OSError("the host leads to an address without https")
        return response

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(limit)
    try:
        with (
            patch.object(resolver.HttpResolverBase, "_call_urlopen", call_urlopen),
            patch.dict(os.environ, {"TFHUB_CACHE_DIR": str(cache)}),
            redirect_stdout(sys.stderr),
        ):
            yield
    finally:
        socket.setdefaulttimeout(before)


def to_onnx(model: Any, output: str, *, opset: int) -> Any:
    """Returns a Keras model as an ONNX model: its inputs by their names, one output of the name given, any batch size.

    `model.export(format="onnx")` goes through `tf2onnx.convert.from_function`, which takes every constant that a layer holds
    (the mean of a `Normalization`) for an input of the model, and nobody can feed it
    (github.com/onnx/tensorflow-onnx `tf2onnx/convert.py`). Frozen first, with the inputs named, constants stay constants.
    """
    import tensorflow as tf
    import tf2onnx  # type: ignore[import-untyped]
    from tf2onnx.tf_loader import from_function  # type: ignore[import-untyped]

    tensors = model.input if isinstance(model.input, dict) else {model.input.name: model.input}
    specs = {name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, name=name) for name, tensor in tensors.items()}

    def call(inputs: Any) -> Any:
        return model(inputs if isinstance(model.input, dict) else inputs[model.input.name], training=False)

    with tf.device("CPU:0"), _without_xla(tf):
        function = tf.function(call, input_signature=[specs]).get_concrete_function()
        tensor_names = {tensor.name.split(":")[0]: tensor.name for tensor in function.inputs}
        inputs, outputs = [tensor_names[name] for name in specs], [tensor.name for tensor in function.outputs]
        graph = from_function(function, inputs, outputs)
    renamed = {tensor_names[name]: name for name in specs} | {outputs[0]: output}
    names = {"input_names": inputs, "output_names": outputs, "tensors_to_rename": renamed}
    handlers: dict[str, Any] = {"Erfc": (_erfc_by_erf, [])}
    proto, _ = tf2onnx.convert.from_graph_def(graph, **names, opset=opset, custom_op_handlers=handlers)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return proto


@contextmanager
def _without_xla(tf: Any) -> Iterator[None]:
    """Lets no function that is traced inside the block ask for XLA.

    Keras wraps grouped convolutions, as ConvNeXt has, in a function for XLA alone (github.com/keras-team/keras
    `src/backend/tensorflow/nn.py`), which freezing does not inline and tf2onnx does not know.
    """
    from unittest.mock import patch

    function = tf.function

    def plain(func: Any = None, **options: Any) -> Any:
        return function(func, **{name: value for name, value in options.items() if name != "jit_compile"})

    with patch.object(tf, "function", plain):
        yield


def _erfc_by_erf(graph: Any, node: Any, _name: str, _arguments: Any) -> None:
    """Puts ONNX's operations for TensorFlow's `Erfc`, of which Keras's `gelu` is made: erfc(x) = 1 + erf(-x).

    tf2onnx 1.17 knows `Erf` alone (github.com/onnx/tensorflow-onnx `tf2onnx/onnx_opset/math.py`).
    """
    import numpy as np
    from tf2onnx import utils

    node.type = "Erf"
    graph.insert_new_node_on_input(node, "Neg", node.input[0])
    one = graph.make_const(utils.make_name("one"), np.array(1, dtype="float32")).output[0]
    graph.insert_new_node_on_output("Add", node.output[0], inputs=[node.output[0], one])
