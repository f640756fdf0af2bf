"""Loads saved models for predictions, without compiling them and without running code from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlcli.errors import DamagedFile
from dlcli.runtime.keras_file import load_keras_file


def load_model(path: Path, *, output: tuple[int, ...] | None = None) -> Any:
    """Returns the Keras model of a `model.keras`, which may contain layers that the backbones of specs declare.

    Raises:
        DamagedFile: the file cannot be loaded, contains foreign code, has several outputs, or an output that does not have the
            shape `output` for one example.
    """
    model = load_keras_file(path)
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple):
        raise DamagedFile(f"{path}: its output has the shape {shape}, not an array of numbers for each example")
    if output is None or shape[1:] == output:
        return model
    if len(output) != 1:
        raise DamagedFile(f"{path}: its output has the shape {shape}, not {output} for each example")
    if len(shape) != 2:
        raise DamagedFile(f"{path}: its output has the shape {shape}, not a row of numbers for each example")
    raise DamagedFile(f"{path}: has {shape[1]} outputs, not the {output[0]} of the run's data")
