"""The readers of the formats: each loads an export with its own runtime, like a user, and predicts batches."""

from __future__ import annotations

import os
import runpy
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import RunFailed
from dlcli.export.deployed import numbers_for
from dlcli.runs.layout import TOKENIZER, TOKENS
from dlcli.runtime.engine import tf
from dlcli.runtime.python import python_command, python_environment
from dlcli.upstream.start import QUIET, quiet_start

Inputs = Any
"""A batch in the form of the source: uint8 or float32 arrays, or arrays `(n, columns)` by the names of the model's inputs."""
Answer = Callable[[Inputs], Array]
"""A function from a batch to the model's output."""

_PLAIN_KERAS = """
import sys
sys.modules["dlcli"] = None  # an import of dlcli fails
import importlib
import keras, numpy, tensorflow
for name in sys.argv[3].split():
    importlib.import_module(name)
model = keras.saving.load_model(sys.argv[1], compile=False)
model.jit_compile = False  # XLA does not support text
answers = []
for name in sys.argv[4:]:
    with numpy.load(name) as arrays:
        batch = {key: tensorflow.constant(arrays[key]) for key in arrays.files}
    answers.append(model.predict_on_batch(batch if isinstance(model.input, dict) else batch["inputs"]))
numpy.save(sys.argv[2], numpy.concatenate(answers))
"""


def answers_of_plain_keras(path: Path, batches: list[Inputs], packages: Sequence[str] = ()) -> Array:
    """Returns the outputs for all batches from Keras in a separate process, where dlcli cannot be imported.

    `packages` are those that the model needs beside Keras, as pip installs them.

    Raises:
        RunFailed: the process could not load the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, batch in enumerate(batches):
            files.append(os.path.join(folder, f"{number}.npz"))
            np.savez(files[-1], **_with_plain_text(batch) if isinstance(batch, dict) else {"inputs": batch})
        answers, modules = os.path.join(folder, "answers.npy"), " ".join(name.replace("-", "_") for name in packages)
        process = subprocess.run(
            python_command("-c", _PLAIN_KERAS, str(path), answers, modules, *files),
            capture_output=True,
            text=True,
            env=python_environment(QUIET | {"CUDA_VISIBLE_DEVICES": "", "KERAS_HOME": folder}),
            check=False,
        )
        if process.returncode:
            last_line = (process.stderr.strip().splitlines() or ["it printed nothing"])[-1]
            raise RunFailed(f"plain Keras cannot load the export: {last_line}")
        outputs: Array = np.load(answers)
    return outputs


def _with_plain_text(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Returns arrays with text as NumPy's string type."""
    return {name: values.astype(str) if values.dtype == object else values for name, values in arrays.items()}


def saved_model(path: Path, output: str, shared: Collection[str] = ()) -> Answer:
    """Loads a SavedModel's signature, which takes columns `(n,)`, and inputs `(n, columns)` of the names in `shared`."""
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    (name, *_) = served.structured_input_signature[1]

    def answer(batch: Inputs) -> Array:
        tensors = {name: batch}
        if isinstance(batch, dict):
            tensors = {name: values if name in shared else values[:, 0] for name, values in batch.items()}
        return np.asarray(served(**{name: tf.constant(values) for name, values in tensors.items()})[output])

    answer.loaded = served  # type: ignore[attr-defined]  # a signature does not keep its module alive
    return answer


Tokenize = Callable[[Inputs], Inputs]
"""A function from a batch to the same with numbers of tokens, int32 `(n, max_length)`, in place of texts."""


def exported_tokenizer(folder: Path) -> Tokenize:
    """Returns what an export's own program makes of texts; the batch itself if the export has no such program."""
    if not (folder / TOKENIZER).is_file():
        return lambda batch: batch
    tokenizers = runpy.run_path(str(folder / TOKENIZER), run_name="tokenizer")["read_tokenizers"](folder / TOKENS)

    def tokenized(batch: Inputs) -> Inputs:
        tokens = {
            name: np.array(tokenizer.numbers(batch[name][:, 0].tolist()), dtype="int32")
            for name, tokenizer in tokenizers.items()
        }
        return batch | tokens

    return tokenized


def litert(path: Path, output: str, vocabularies: Mapping[str, list[str]]) -> Answer:
    """Loads a LiteRT file; a text becomes its number in the vocabularies, if it is a category, or those of its tokens."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet_start():
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
    (name, *_) = runner.get_input_details()
    tokenized = exported_tokenizer(path.parent)

    def answer(batch: Inputs) -> Array:
        if not isinstance(batch, dict):
            return np.asarray(runner(**{name: batch.astype("float32")})[output])
        numbers = {
            name: numbers_for(values[:, 0], vocabularies[name])[:, None] if name in vocabularies else values
            for name, values in tokenized(batch).items()
        }
        return np.asarray(runner(**numbers)[output])

    return answer


def onnx_runtime(path: Path, output: str) -> Answer:
    """Loads an ONNX file on the CPU.

    Raises:
        RunFailed: ONNX Runtime cannot load it.
    """
    import onnxruntime

    try:
        with quiet_start():
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no public common class
        raise RunFailed(f"ONNX Runtime cannot load the export: {str(error).splitlines()[0][:300]}") from error
    (name, *_) = (entry.name for entry in session.get_inputs())
    tokenized = exported_tokenizer(path.parent)

    def answer(batch: Inputs) -> Array:
        if not isinstance(batch, dict):
            return np.asarray(session.run([output], {name: batch.astype("float32")})[0])
        return np.asarray(session.run([output], tokenized(batch))[0])

    return answer
