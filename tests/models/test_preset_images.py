"""Pretrained networks of KerasHub for images as backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from presets import needs_text
from trainings import save_images, trained, write_spec

from dlcli.errors import DataError, SpecError
from dlcli.export.export import export
from dlcli.runtime.loading import load_model
from dlcli.score.evaluate import evaluate
from dlcli.spec.load import load

pytestmark = [needs_text, pytest.mark.usefixtures("without_pictures")]

IMAGES = "{kind: npz, path: images.npz}"
SCALE, OFFSET = [0.01, 0.02, 0.03], [-1.0, -0.5, 0.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of 16x16 in `images.npz`, and presets of a small ResNet and a small vision Transformer."""
    from dlcli.upstream.keras_hub import import_keras_hub

    hub, folder = import_keras_hub(), tmp_path_factory.mktemp("presets")
    save_images(folder / "images.npz", side=16, channels=3)
    resnet = hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64, 8], stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2], block_type="basic_block", use_pre_activation=False,
    )  # fmt: skip
    resnet.save_to_preset(str(folder / "resnet"))
    hub.layers.ResNetImageConverter(image_size=(16, 16), scale=SCALE, offset=OFFSET).save_to_preset(str(folder / "resnet"))
    transformer = hub.models.ViTBackbone(
        image_shape=(16, 16, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    transformer.save_to_preset(str(folder / "vit"))
    hub.layers.ViTImageConverter(image_size=(16, 16), scale=1 / 127.5, offset=-1.0).save_to_preset(str(folder / "vit"))
    return folder


def spec(folder: Path, preset: str, more: str = "", name: str = "", training: str = "epochs: 1") -> Path:
    model = f"{{kind: transfer, backbone: {{kind: keras_hub, preset: {preset}{more}}}}}"
    return write_spec(folder, IMAGES, model=model, training=training, name=name or preset)


def test_a_network_for_images_is_trained_in_stages_with_the_scaling_of_its_preset(folder: Path) -> None:
    stages = (
        "stages: [{name: head, train: head, epochs: 1}, {name: top, train: {blocks: 1}, epochs: 1},"
        " {name: all, train: all, epochs: 1}]"
    )
    run = trained(spec(folder, "resnet", training=stages))
    head, top, everything = (stage["proof"]["moved"] for stage in run.stages())
    assert head == 2 < top < everything
    model: Any = load_model(run.model_path)
    assert np.allclose(model.get_layer("normalize").scale, SCALE)
    assert np.allclose(model.get_layer("normalize").offset, OFFSET)
    assert evaluate(run, "test").metrics["accuracy"] >= 0
    assert "stack1_block0" in run.log_path.read_text(encoding="utf-8")
    exported = export(run, "keras")
    assert exported.agreement.agrees
    assert "keras-hub" in (exported.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("pooling", ["avg", "first"])
def test_a_network_of_patches_gives_the_mean_of_its_tokens_or_the_first(folder: Path, pooling: str) -> None:
    run = trained(spec(folder, "vit", f", pooling: {pooling}", name=pooling))
    backbone = load_model(run.model_path).get_layer("backbone")
    assert backbone.output_shape == (None, 8)


def test_settings_that_do_not_fit_a_network_for_images_are_refused(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"model\.backbone\.input_size: ViTBackbone takes images of \(16, 16\)"):
        load(spec(folder, "vit", ", input_size: [32, 32]", name="wrong"))
    with pytest.raises(DataError, match="`first` needs a network of tokens; this one gives maps"):
        trained(spec(folder, "resnet", ", pooling: first", name="first_map"))
    (folder / "rows.csv").write_text("text,label\n" + "a text,x\nb text,y\n" * 20, encoding="utf-8")
    path = spec(folder, "vit", name="texts")
    path.write_text(path.read_text().replace(IMAGES, "{kind: csv, path: rows.csv, target: label, text: [text]}"))
    with pytest.raises(SpecError, match=r"data\.source\.text: the backbone does not read texts"):
        load(path)


def test_a_preset_without_a_scaling_is_refused(folder: Path) -> None:
    import shutil

    shutil.copytree(folder / "resnet", folder / "bare")
    (folder / "bare" / "image_converter.json").unlink()
    with pytest.raises(DataError, match="does not say how images are scaled"):
        trained(spec(folder, "bare", ", input_size: [16, 16]"))
