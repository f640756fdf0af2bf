"""Workarounds for tf2onnx; `tests/upstream/test_onnx.py` says when one may go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def to_onnx(model: Any, output: str, *, opset: int) -> Any:
    """Returns a Keras model as an ONNX model: its inputs by their names, one output of the name given, any batch size.

    `model.export(format="onnx")` goes through `tf2onnx.convert.from_function`, which treats every constant that a layer holds
    (the mean of a `Normalization`) as an input of the model, which no caller can feed
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
