"""A saved model, loaded for predictions: never compiled, never with code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlcli.runtime.engine import keras


def load_model(path: Path) -> Any:
    """Returns the Keras model of a `model.keras`; with dlcli's layer for Hub modules known to Keras."""
    import dlcli.spec.backbones.hub_layer  # noqa: F401  (registers the layer)

    return keras.saving.load_model(path, compile=False)
