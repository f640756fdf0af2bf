"""The writers of the formats: each writes one model into a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from dlcli.arrays import Array
from dlcli.errors import RunFailed
from dlcli.export.deployed import Original, with_numbers_for_text
from dlcli.runs.layout import MODEL
from dlcli.runtime.engine import keras, tf
from dlcli.upstream.keras import all_layers
from dlcli.upstream.onnx import to_onnx
from dlcli.upstream.start import quiet_start

Format = Literal["keras", "saved_model", "tflite", "onnx"]
Quantize = Literal["", "int8", "float16"]
FILES: dict[Format, str] = {"keras": MODEL, "saved_model": "model", "tflite": "model.tflite", "onnx": "model.onnx"}
OPSET = 17
"""The version of ONNX's operations: from 2022, supported by ONNX Runtime 1.13 and later."""


def write_keras(source: Original, path: Path) -> None:
    """Copies the run's model file."""
    shutil.copyfile(source.file, path)


def write_saved_model(source: Original, path: Path, labels: Path, *, deep: bool = False) -> None:
    """Writes a SavedModel whose signature takes images (uint8, or float32 where `deep`) or raw columns; labels are an asset."""
    module = tf.Module()
    module.model, module.labels = source.model, tf.saved_model.Asset(str(labels))
    with quiet_start():
        tf.saved_model.save(module, str(path), signatures={"serving_default": _serving_function(source, deep=deep)})


def _serving_function(source: Original, *, deep: bool) -> Any:
    """Returns the serving function.

    Its input is `image`, uint8 or float32, `features`, float32, or each column `(batch,)` and each shared input `(batch, n)`.
    """
    model, model_inputs, output = source.model, source.model_inputs, source.output_name
    if model_inputs.columns:
        shapes = {name: tensor.shape if name in source.shared else (None,) for name, tensor in model.input.items()}
        specs = {name: tf.TensorSpec(shapes[name], tensor.dtype, name=name) for name, tensor in model.input.items()}

        def of_columns(columns: Mapping[str, Any]) -> Any:
            rows = {name: values if name in source.shared else values[:, None] for name, values in columns.items()}
            return {output: model(rows, training=False)}

        return tf.function(of_columns, input_signature=[specs])

    def of_tensor(tensor: Any) -> Any:
        return {output: model(tf.cast(tensor, tf.float32), training=False)}

    dtype = tf.uint8 if model_inputs.kind == "images" and not deep else tf.float32
    return tf.function(of_tensor, input_signature=[tf.TensorSpec((None, *model_inputs.shape), dtype, name=model.input.name)])


def write_tflite(
    source: Original, model: Any, path: Path, quantize: Quantize = "", examples: Callable[[], Iterator[Array]] | None = None
) -> None:
    """Writes a LiteRT file of a model in float32; text columns become numbers of categories or tokens.

    Args:
        source: the run's model.
        model: the same model in float32.
        path: the file.
        quantize: `float16` stores weights in half precision; `int8` weights and activations in 8 bits, while inputs and
            outputs stay float32.
        examples: yields examples `(1, ...)` of the training split, from which `int8` measures the range of activations.

    Raises:
        RunFailed: LiteRT has no operation for a part of the model.
    """
    operations = tf.lite.OpsSet.TFLITE_BUILTINS_INT8 if quantize == "int8" else tf.lite.OpsSet.TFLITE_BUILTINS
    target: dict[str, Any] = {"supported_ops": [operations]}  # without TensorFlow's operations, which plain LiteRT lacks
    options: dict[str, Any] = {"target_spec": target}
    if quantize:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        target["supported_types"] = [tf.float16]
    if quantize == "int8":
        assert examples is not None
        options["representative_dataset"] = lambda: ([example] for example in examples())
    numeric_model = with_numbers_for_text(model, source)
    named_model = keras.Model(numeric_model.input, {source.output_name: numeric_model.output})
    recurrent = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.RNN)]
    for unroll in (False, True):
        try:
            with quiet_start(), _unrolled(recurrent if unroll else []):
                named_model.export(str(path), format="litert", verbose=False, **options)
            return
        except Exception as error:  # TensorFlow's converter has no error class
            if unroll or not recurrent:
                message = f"LiteRT cannot represent this model: {_error_summary(error)}; --format saved_model can"
                raise RunFailed(message) from error


@contextmanager
def _unrolled(recurrent: Sequence[Any]) -> Iterator[None]:
    """Makes recurrent layers a sequence of steps inside the block: LiteRT has no loop over masked steps for any batch size."""
    unroll = [layer.unroll for layer in recurrent]
    for layer in recurrent:
        layer.unroll = True
    try:
        yield
    finally:
        for layer, value in zip(recurrent, unroll, strict=True):
            layer.unroll = value


def _error_summary(error: Exception) -> str:
    """Returns the first informative line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = next((line for line in lines if "error:" in line or "not supported" in line), lines[0] if lines else "")
    return message[-300:] or type(error).__name__


def write_onnx(source: Original, model: Any, path: Path) -> None:
    """Writes an ONNX file of a model in float32 with a free batch size; categories stay text, other texts become tokens.

    Raises:
        RunFailed: ONNX has no operation for a part of the model.
    """
    import onnx

    numeric_model = with_numbers_for_text(model, source)
    try:
        with quiet_start():
            proto = to_onnx(numeric_model, source.output_name, opset=OPSET)
            for name, vocabulary in source.vocabularies.items():
                _add_text_lookup(proto, name, vocabulary)
            onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # neither tf2onnx nor ONNX has an error class for models that cannot be converted
        raise RunFailed(f"ONNX cannot represent this model: {_error_summary(error)}; --format saved_model can") from error
    onnx.save(proto, str(path))


def _add_text_lookup(proto: Any, name: str, vocabulary: list[str]) -> None:
    """Inserts a lookup before an input of category numbers, so that the model takes text there."""
    from onnx import TensorProto, helper

    graph, inner = proto.graph, f"{name}/number"
    for node in graph.node:
        for place, tensor in enumerate(node.input):
            if tensor == name:
                node.input[place] = inner
    (entry,) = (tensor for tensor in graph.input if tensor.name == name)
    entry.type.tensor_type.elem_type = TensorProto.STRING
    known_words = list(enumerate(vocabulary))[1:]
    node = helper.make_node(
        "LabelEncoder",
        [name],
        [f"{inner}/int64"],
        domain="ai.onnx.ml",
        keys_strings=[word for _, word in known_words],
        values_int64s=[number for number, _ in known_words],
        default_int64=0,
    )
    graph.node.insert(0, node)
    graph.node.insert(1, helper.make_node("Cast", [f"{inner}/int64"], [inner], to=TensorProto.INT32))
    if not any(tensor.domain == "ai.onnx.ml" for tensor in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
