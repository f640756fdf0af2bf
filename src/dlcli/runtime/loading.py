"""A saved model, loaded for predictions: never compiled, never with code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlcli.errors import DamagedFile
from dlcli.runtime.columns import input_names
from dlcli.runtime.keras_file import load_keras_file


def load_model(path: Path, *, outputs: int | None = None) -> Any:
    """Returns the Keras model of a `model.keras`; with dlcli's layer for Hub modules known to Keras.

    Raises:
        DamagedFile: it cannot be loaded, holds foreign code, or has not as many outputs as wanted.
    """
    model = load_keras_file(path)
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise DamagedFile(f"{path}: its output has the shape {shape}, not a row of numbers for each example")
    if outputs is not None and shape[1] != outputs:
        raise DamagedFile(f"{path}: has {shape[1]} outputs, not the {outputs} of the run's data")
    return model


def refuse_other_inputs(model: Any, inputs: Any, path: Path) -> None:
    """Checks that a model takes a run's inputs: an array or images of its shape, or columns of its names.

    Raises:
        DamagedFile: it takes others.
    """
    if isinstance(inputs, dict):
        names = input_names(inputs)
        wanted = {names[name]: "text" if column.dtype == object else "numbers" for name, column in inputs.items()}
        given = model.input if isinstance(model.input, dict) else {}
        taken = {name: "text" if tensor.dtype == "string" else "numbers" for name, tensor in given.items()}
        if taken != wanted:
            listed = ", ".join(f"{name} ({kind})" for name, kind in sorted(taken.items())) or "one tensor"
            raise DamagedFile(f"{path}: takes {listed[:200]}, not the columns of the run's data")
        return
    example, shape = tuple(inputs.shape if hasattr(inputs, "read") else inputs.shape[1:]), model.input_shape
    if not isinstance(shape, tuple) or len(shape) != len(example) + 1 or not _fits(shape[1:], example):
        raise DamagedFile(f"{path}: takes inputs of shape {shape}, not the {example} of the run's data")


def _fits(shape: tuple[int | None, ...], wanted: tuple[int, ...]) -> bool:
    return all(one in (None, other) for one, other in zip(shape, wanted, strict=True))
