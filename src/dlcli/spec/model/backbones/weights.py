"""Weights of a backbone from a file, or a reason why they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlcli.errors import DamagedFile, DataError, Interrupted
from dlcli.runtime.keras_file import load_keras_file


def load_file(model: Any, path: Path, kind: str) -> None:
    """Loads weights into a built backbone: `.h5` (Keras 2's, in the order of layers), `.weights.h5`, or a `.keras` model.

    Raises:
        DataError: the file cannot be read, or is of another architecture.
    """
    try:
        if path.suffix == ".keras":
            _copy(load_keras_file(path), model)
        else:
            model.load_weights(path)
    except (DataError, DamagedFile) as error:
        raise DataError(f"model.backbone.weights: {path} does not fit {kind}: {error}") from None
    except Interrupted:
        raise
    except Exception as error:  # h5py, Keras and zipfile have no common class
        reason = " ".join(str(error).split()) or type(error).__name__  # Keras names the layer first, the shapes lines below
        raise DataError(
            f"model.backbone.weights: {path} does not fit {kind} (weights with the classification layers on top, or of"
            f" another alpha, do not): {reason[:400]}"
        ) from None


def _copy(source: Any, target: Any) -> None:
    """Copies all weights from one model to another of the same shapes, in order."""
    if len(source.weights) != len(target.weights):
        raise DataError(f"it has {len(source.weights)} variables, not {len(target.weights)}")
    for variable, other in zip(source.weights, target.weights, strict=True):
        if variable.shape != other.shape:
            raise DataError(f"its {variable.path} is {tuple(variable.shape)}, not {tuple(other.shape)}")
    for variable, other in zip(source.weights, target.weights, strict=True):
        other.assign(variable)
