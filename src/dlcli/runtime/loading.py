"""A saved model, loaded for predictions: never compiled, never with code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlcli.errors import DamagedFile
from dlcli.spec.backbones.keras_file import load_keras_file


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
        taken = sorted(model.input) if isinstance(model.input, dict) else ["one tensor"]
        if taken != sorted(inputs):
            raise DamagedFile(f"{path}: takes {', '.join(taken)[:200]}, not the columns of the run's data")
        return
    wanted, shape = tuple(inputs.shape), model.input_shape
    wanted = wanted if hasattr(inputs, "read") else wanted[1:]
    if not isinstance(shape, tuple) or len(shape) != len(wanted) + 1 or not _fits(shape[1:], wanted):
        raise DamagedFile(f"{path}: takes inputs of shape {shape}, not the {wanted} of the run's data")


def _fits(shape: tuple[int | None, ...], wanted: tuple[int, ...]) -> bool:
    return all(one in (None, other) for one, other in zip(shape, wanted, strict=True))
