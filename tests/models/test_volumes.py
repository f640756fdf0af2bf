"""Volumes from an npz file, end to end; a layer kind for volumes takes one class and one entry in the list."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field
from trainings import save_volumes, trained, write_spec

from dlcli.cli.app import app
from dlcli.errors import SpecError
from dlcli.runtime.engine import keras
from dlcli.spec.base import OneOf, Shape, Triple
from dlcli.spec.load import load
from dlcli.spec.model.layers import LayerSpec
from dlcli.spec.model.layers.base import slid

pytestmark = pytest.mark.usefixtures("without_pictures")


class AveragePooling3D(LayerSpec):
    """Average of each window of a volume: a layer kind that dlcli does not ship."""

    keras_class: ClassVar[str] = "layers.AveragePooling3D"
    rank: ClassVar[int] = 4
    kind: Literal["average_pooling3d"]
    pool_size: Triple = Field(default=(2, 2, 2), description="Size of the window.")

    def transformed(self, shape: Shape) -> Shape:
        return (*(slid(side, window, window, "valid") for side, window in zip(shape, self.pool_size, strict=False)), shape[3])


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the kind for one test and removes it afterwards: unions are global."""
    monkeypatch.setattr(OneOf.registry["Layer"], "_added", [])
    OneOf.registry["Layer"].extend(AveragePooling3D)


TRAINING = "epochs: 12, optimizer: {kind: adam, learning_rate: 0.02}"
LAYERS = "[{kind: conv3d, filters: 4, kernel_size: 3, padding: same, activation: relu}, average_pooling3d, flatten]"


def _spec(folder: Path, layers: str) -> Path:
    model = f"{{kind: cnn, layers: {layers}}}"
    return write_spec(folder, f"{{kind: npz, path: {save_volumes(folder / 'scans.npz')}}}", model=model, training=TRAINING)


@pytest.mark.usefixtures("_registered")
def test_a_layer_for_volumes_is_added_as_one_class_and_one_entry(tmp_path: Path, capsys: Any) -> None:
    run = trained(_spec(tmp_path, LAYERS), write_up=True)
    assert run.metrics()["metrics"]["accuracy"]["value"] > 0.9
    names = [type(layer).__name__ for layer in keras.saving.load_model(run.model_path).layers]
    assert names[2:4] == ["Conv3D", "AveragePooling3D"]
    np.save(tmp_path / "scan.npy", np.load(tmp_path / "scans.npz")["x"][:2])
    app(["predict", str(run.path), str(tmp_path / "scan.npy")], standalone_mode=False)
    assert len(capsys.readouterr().out.splitlines()) >= 2
    assert "from volumes of 6 × 6 × 6 voxels" in run.model_card_path.read_text(encoding="utf-8")


def test_an_input_rank_that_a_layer_does_not_support_is_a_clear_error(tmp_path: Path) -> None:
    model = "{kind: cnn, layers: [{kind: conv3d, filters: 4, kernel_size: 3}]}"
    with pytest.raises(SpecError, match=r"needs a volume `\(depth, height, width, channels\)`, but gets shape \(8, 8, 1\)"):
        load(write_spec(tmp_path, "{kind: builtin, name: digits}", model=model))
    with pytest.raises(SpecError, match=r"\(6, 6, 6, 1\); the three-dimensional kind is `conv3d` or `\.\.\.pooling3d`"):
        load(_spec(tmp_path, "[{kind: conv2d, filters: 4, kernel_size: 3}]"))


def test_a_window_of_two_numbers_is_refused_for_volumes(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a number or a list of three, found the text '3x3'"):
        load(_spec(tmp_path, "[{kind: conv3d, filters: 4, kernel_size: 3x3}]"))
