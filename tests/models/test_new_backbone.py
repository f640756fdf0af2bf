"""A backbone with its own layer class takes one file: this one, which dlcli does not ship."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from trainings import save_images, trained, write_spec

from dlcli.errors import DamagedFile, UsageError
from dlcli.export.export import export
from dlcli.report.card import write_model_card
from dlcli.runs import RunFolder
from dlcli.runtime.engine import keras
from dlcli.runtime.layers import single_layers
from dlcli.runtime.loading import load_model
from dlcli.runtime.saved_layers import SavedLayers, declare
from dlcli.score.evaluate import evaluate
from dlcli.spec.base import Count, OneOf, Shape, keras_attribute
from dlcli.spec.model.backbones.base import BackboneSpec, blocks_of

pytestmark = pytest.mark.usefixtures("without_pictures")


@keras.saving.register_keras_serializable("models")  # type: ignore[untyped-decorator]
class Pyramid(keras.Model):  # type: ignore[misc]
    """A network whose saved form is its settings alone, as that of KerasHub's backbones."""

    def __init__(self, shape: Shape, filters: int, **more: Any) -> None:
        images = keras.Input(shape)
        maps = keras.layers.Conv2D(filters, 3, activation="relu", name="first")(images)
        maps = keras.layers.Conv2D(filters, 3, activation="relu", name="second")(maps)
        super().__init__(images, keras.layers.GlobalAveragePooling2D(name="pooling")(maps), **more)
        self._settings = {"shape": tuple(shape), "filters": filters}

    def get_config(self) -> dict[str, Any]:
        return {**self._settings, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)


def _refusal(config: Any) -> str:
    return "its pyramid has too many filters" if config.get("filters", 0) > 100 else ""


class PyramidBackbone(BackboneSpec):
    """Two convolutions; its images are brought to [-1, 1]."""

    saved_layers: ClassVar[SavedLayers | None] = SavedLayers(("models>Pyramid",), __name__, "a pyramid", _refusal)
    kind: Literal["pyramid"]
    filters: Count = 8

    def example_shape(self) -> Shape | None:
        """Returns the shape of the images that it was pretrained on."""
        return (8, 8, 1)

    def preprocess(self, tensor: Any) -> Any:
        """Returns images in [-1, 1]."""
        return keras_attribute("layers.Rescaling")(1 / 127.5, offset=-1.0, name="normalize", dtype="float32")(tensor)

    def licence(self) -> str:
        """Returns whose weights they are."""
        return "The weights of the pyramid are in the public domain."

    def build(self, shape: Shape, *, load_weights: bool = True, offline: bool = False) -> Any:
        """Returns the network with the weights that it was pretrained to."""
        model = Pyramid(shape, self.filters, name="pyramid")
        if load_weights:
            draw = np.random.default_rng(0)
            model.set_weights([0.1 * draw.normal(size=weight.shape) for weight in model.weights])
        return model

    def blocks(self, backbone: Any) -> list[tuple[str, list[Any]]]:
        """Returns a block for each convolution."""
        return blocks_of(single_layers(backbone))


IMAGES = "{kind: npz, path: images.npz}"
STAGES = (
    "stages: [{name: head, train: head, epochs: 1}, {name: top, train: {blocks: 1}, epochs: 1,"
    " optimizer: {kind: adam, learning_rate: 1e-3}}]"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run on the backbone, which is a member of the union for the tests of this file only."""
    folder = tmp_path_factory.mktemp("pyramids")
    save_images(folder / "images.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OneOf.registry["Backbone"], "_added", [])
        OneOf.registry["Backbone"].extend(PyramidBackbone)
        model = "{kind: transfer, backbone: {kind: pyramid, filters: 6}}"
        yield trained(write_spec(folder, IMAGES, model=model, training=STAGES))


def test_the_backbone_is_trained_in_stages_and_its_scaling_is_in_the_saved_model(run: RunFolder) -> None:
    head, top = run.stages()
    assert head["proof"]["moved"] == 2
    assert top["proof"]["moved"] == 4
    model = load_model(run.model_path)
    assert type(model.get_layer("pyramid")) is Pyramid
    assert model.get_layer("normalize").offset == -1.0
    fresh = PyramidBackbone(kind="pyramid", filters=6).build(model.input_shape[1:])
    first, second = (model.get_layer("pyramid").get_layer(name).kernel.numpy() for name in ("first", "second"))
    assert (first == fresh.get_layer("first").kernel.numpy()).all()
    assert (second != fresh.get_layer("second").kernel.numpy()).any()


def test_runs_of_the_backbone_can_be_evaluated_and_exported(run: RunFolder) -> None:
    scores = run.metrics("test")["metrics"]
    assert evaluate(run, "test").metrics == {name: entry["value"] for name, entry in scores.items()}
    assert export(run, "onnx").agreement.agrees
    with pytest.raises(UsageError, match="contains a pyramid, which needs models's layer"):
        export(run, "keras")


def test_a_run_of_the_backbone_is_fine_tuned_as_a_backbone(run: RunFolder) -> None:
    folder = run.path.parents[2]
    model = f"{{kind: transfer, backbone: {{kind: run, run: {run.path}}}}}"
    above = trained(write_spec(folder, IMAGES, model=model, training="epochs: 1", name="above"))
    assert evaluate(above, "test").metrics["accuracy"] >= 0


def test_the_model_card_has_the_licence_and_what_is_needed_to_load_the_model(run: RunFolder) -> None:
    card = write_model_card(run).read_text(encoding="utf-8")
    assert "The weights of the pyramid are in the public domain." in card
    assert "A model with a pyramid needs models to load its layer." in card


def test_a_layer_that_is_not_declared_or_that_its_backbone_refuses_is_not_loaded(run: RunFolder, tmp_path: Path) -> None:
    def changed(old: str, new: str) -> Path:
        with zipfile.ZipFile(run.model_path) as archive, zipfile.ZipFile(tmp_path / "changed.keras", "w") as copy:
            for name in archive.namelist():
                content = archive.read(name)
                copy.writestr(name, content.replace(old.encode(), new.encode()) if name == "config.json" else content)
        return tmp_path / "changed.keras"

    with pytest.raises(DamagedFile, match="its pyramid has too many filters: it is not loaded"):
        load_model(changed('"filters": 6', '"filters": 600'))
    with pytest.raises(DamagedFile, match=r"'Pyramid' of .* which may run code: it is not loaded"):
        load_model(changed("models>Pyramid", "other>Pyramid"))
    declare(SavedLayers(("other>Pyramid",), "no_such_package.layers", "a pyramid"))
    with pytest.raises(DamagedFile, match="contains a pyramid, which needs the package no_such_package"):
        load_model(changed("models>Pyramid", "other>Pyramid"))
