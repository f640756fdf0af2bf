"""The writers of the formats: each puts one model into a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from dlcli.arrays import Array
from dlcli.errors import RunFailed
from dlcli.export.deployed import Original, vocabularies, with_numbers_for_text
from dlcli.runs.layout import MODEL
from dlcli.runtime.engine import keras, tf
from dlcli.upstream.onnx import to_onnx
from dlcli.upstream.start import quiet_start

Format = Literal["keras", "saved_model", "tflite", "onnx"]
Quantize = Literal["", "int8", "float16"]
FILES: dict[Format, str] = {"keras": MODEL, "saved_model": "model", "tflite": "model.tflite", "onnx": "model.onnx"}
OPSET = 17
"""ONNX's version of the operations: of 2022, read by ONNX Runtime 1.13 and later."""


def write_keras(source: Original, path: Path) -> None:
    """Copies the run's own file."""
    shutil.copyfile(source.file, path)


def write_saved_model(source: Original, path: Path, labels: Path, *, deep: bool = False) -> None:
    """Writes a SavedModel whose signature takes images (uint8, or float32 where `deep`) or raw columns; labels are an asset."""
    module = tf.Module()
    module.model, module.labels = source.model, tf.saved_model.Asset(str(labels))
    with quiet_start():
        tf.saved_model.save(module, str(path), signatures={"serving_default": _served(source, deep=deep)})


def _served(source: Original, *, deep: bool) -> Any:
    """Returns the function that is served: `image` uint8 or float32, `features` float32, or each column `(batch,)`."""
    model, taken, output = source.model, source.taken, source.output_name
    if taken.columns:
        specs = {name: tf.TensorSpec((None,), tensor.dtype, name=name) for name, tensor in model.input.items()}

        def of_columns(columns: Mapping[str, Any]) -> Any:
            return {output: model({name: column[:, None] for name, column in columns.items()}, training=False)}

        return tf.function(of_columns, input_signature=[specs])

    def of_tensor(tensor: Any) -> Any:
        return {output: model(tf.cast(tensor, tf.float32), training=False)}

    dtype = tf.uint8 if taken.kind == "images" and not deep else tf.float32
    return tf.function(of_tensor, input_signature=[tf.TensorSpec((None, *taken.shape), dtype, name=model.input.name)])


def write_tflite(
    source: Original, model: Any, path: Path, quantize: Quantize = "", examples: Callable[[], Iterator[Array]] | None = None
) -> None:
    """Writes a LiteRT file of a model in float32; text columns become numbers.

    Args:
        source: the run's model.
        model: the same in float32.
        path: the file.
        quantize: `float16` keeps weights in half precision; `int8` weights and activations in 8 bits, its inputs and outputs
            stay float32.
        examples: gives examples `(1, ...)` of the training part, from which `int8` measures the range of activations.

    Raises:
        RunFailed: LiteRT has no operation for a part of the model.
    """
    operations = tf.lite.OpsSet.TFLITE_BUILTINS_INT8 if quantize == "int8" else tf.lite.OpsSet.TFLITE_BUILTINS
    target: dict[str, Any] = {"supported_ops": [operations]}  # none of TensorFlow's own, which LiteRT alone has not
    options: dict[str, Any] = {"target_spec": target}
    if quantize:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        target["supported_types"] = [tf.float16]
    if quantize == "int8":
        assert examples is not None
        options["representative_dataset"] = lambda: ([one] for one in examples())
    plain = with_numbers_for_text(model)
    named = keras.Model(plain.input, {source.output_name: plain.output})
    try:
        with quiet_start():
            named.export(str(path), format="litert", verbose=False, **options)
    except Exception as error:  # TensorFlow's converter has no class of its own
        raise RunFailed(f"LiteRT cannot represent this model: {_first_words(error)}; --format saved_model can") from error


def _first_words(error: Exception) -> str:
    """Returns the first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "error:" in line or "not supported" in line), lines[0] if lines else "")
    return told[-300:] or type(error).__name__


def write_onnx(source: Original, model: Any, path: Path) -> None:
    """Writes an ONNX file of a model in float32, the batch's size free; it takes columns of text as they are.

    Raises:
        RunFailed: ONNX has no operation for a part of the model.
    """
    import onnx

    plain = with_numbers_for_text(model)
    try:
        with quiet_start():
            proto = to_onnx(plain, source.output_name, opset=OPSET)
            for name, words in vocabularies(model).items():
                _take_text(proto, name, words)
            onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # neither tf2onnx nor ONNX has one class for what cannot be converted
        raise RunFailed(f"ONNX cannot represent this model: {_first_words(error)}; --format saved_model can") from error
    onnx.save(proto, str(path))


def _take_text(proto: Any, name: str, words: list[str]) -> None:
    """Puts a look-up in front of an input of category numbers, so that the model takes text there."""
    from onnx import TensorProto, helper

    graph, inner = proto.graph, f"{name}/number"
    for node in graph.node:
        for place, one in enumerate(node.input):
            if one == name:
                node.input[place] = inner
    (entry,) = (one for one in graph.input if one.name == name)
    entry.type.tensor_type.elem_type = TensorProto.STRING
    known = list(enumerate(words))[1:]
    node = helper.make_node(
        "LabelEncoder",
        [name],
        [f"{inner}/int64"],
        domain="ai.onnx.ml",
        keys_strings=[word for _, word in known],
        values_int64s=[number for number, _ in known],
        default_int64=0,
    )
    graph.node.insert(0, node)
    graph.node.insert(1, helper.make_node("Cast", [f"{inner}/int64"], [inner], to=TensorProto.INT32))
    if not any(one.domain == "ai.onnx.ml" for one in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
