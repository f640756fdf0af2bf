"""Each workaround of `upstream/keras.py` against its defect: a test of the defect fails once it is fixed upstream."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from dlcli.runtime.engine import keras
from dlcli.upstream.keras import weights_watched


class TooLarge(Exception):
    """Stops the loading of a model."""


def _declaring(path: Path, units: int) -> Path:
    """Saves a model whose description declares a layer of other units than its weights are of."""
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1]["config"]["units"] = units
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, content)
    return path


def test_keras_makes_room_for_declared_weights_before_it_reads_any(tmp_path: Path) -> None:
    sizes: list[int] = []
    path = _declaring(tmp_path / "model.keras", 5000)
    with weights_watched(lambda layer, numbers: sizes.append(numbers)), pytest.raises(ValueError, match="shape"):
        keras.saving.load_model(path, compile=False)
    assert sizes == [10_000, 5000]


def test_a_watched_weight_can_be_refused_before_it_takes_memory(tmp_path: Path) -> None:
    def refuse(layer: object, numbers: int) -> None:
        if numbers > 10**9:
            raise TooLarge(type(layer).__name__)

    with weights_watched(refuse), pytest.raises(TooLarge, match="Dense"):
        keras.saving.load_model(_declaring(tmp_path / "model.keras", 10**12), compile=False)
    assert keras.layers.Dense(2)(keras.ops.ones((1, 3))).shape == (1, 2)
