"""Hub modules as Keras layers: what they track, what moves, what a saved model holds."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlcli.spec.file  # noqa: F401  (registers every union)
from dlcli.errors import DataError
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.loading import load_model
from dlcli.spec.backbones.hub import Hub
from dlcli.spec.backbones.hub_files import module_folder
from dlcli.spec.backbones.hub_layer import HubLayer

Array = np.ndarray[Any, Any]
IMAGES = np.random.default_rng(0).random((6, 4, 4, 3)).astype("float32")


class Module(tf.Module):  # type: ignore[misc]
    """A reusable module with a weight, batch statistics and a penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.random.default_rng(1).normal(size=(48, 5)).astype("float32"), name="kernel")
        self.mean = tf.Variable(tf.zeros(5), trainable=False, name="moving_mean")
        self.regularization_losses = [self.penalty]

    @tf.function(input_signature=[])
    def penalty(self) -> Any:
        """Returns a penalty on the kernel."""
        return 0.1 * tf.reduce_sum(self.kernel**2)

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3)), tf.TensorSpec((), tf.bool)])
    def _features(self, inputs: Any, training: Any) -> Any:
        output = tf.reshape(inputs, (-1, 48)) @ self.kernel
        if training:
            self.mean.assign(0.5 * self.mean + 0.5 * tf.reduce_mean(output, axis=0))
        return output - self.mean

    @tf.function
    def __call__(self, inputs: Any, training: bool = False) -> Any:
        """Returns the features."""
        return self._features(inputs, tf.constant(training))


def reusable(folder: Path) -> Path:
    """Saves the module as a reusable SavedModel."""
    module = Module()
    for training in (False, True):
        module.__call__.get_concrete_function(tf.TensorSpec((None, 4, 4, 3)), training=training)
    tf.saved_model.save(module, str(folder))
    return folder


def signature_only(folder: Path) -> Path:
    """Saves a module of which only a signature can be called."""
    module = tf.Module()
    module.kernel = tf.Variable(tf.ones((48, 2)))

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3), name="images")])
    def serve(images: Any) -> Any:
        return {"default": tf.reshape(images, (-1, 48)) @ module.kernel}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    return folder


def layer_of(folder: Path, **fields: Any) -> Any:
    """Returns the layer around a module, measured."""
    return Hub(kind="hub", handle=str(folder), **fields).build((4, 4, 3))


def model_of(layer: Any) -> Any:
    """Returns a compiled model with the layer and a dense one."""
    entry = keras.Input((4, 4, 3))
    model = keras.Model(entry, keras.layers.Dense(2)(layer(entry)))
    model.compile("sgd", "mse")
    return model


def values(layer: Any) -> list[Array]:
    """Returns what the layer's weights hold."""
    return [weight.numpy() for weight in layer.weights]


def test_a_module_learns_and_its_penalty_counts(tmp_path: Path) -> None:
    layer = layer_of(reusable(tmp_path / "module"))
    assert [weight.shape for weight in layer.trainable_weights] == [(48, 5)]
    assert not layer.untracked_variables()
    model, before = model_of(layer), values(layer)
    loss = model.train_on_batch(IMAGES, np.zeros((6, 2)))
    assert loss > 0.1 * float((before[0] ** 2).sum())
    after = values(layer)
    assert (before[0] != after[0]).all()
    assert (before[1] == after[1]).all(), "statistics stand still in inference mode"


def test_statistics_move_only_where_they_may(tmp_path: Path) -> None:
    layer = layer_of(reusable(tmp_path / "module"))
    layer.inference_mode = False
    model_of(layer).train_on_batch(IMAGES, np.zeros((6, 2)))
    assert (values(layer)[1] != 0).all()


def test_a_frozen_module_stands_still(tmp_path: Path) -> None:
    layer = layer_of(reusable(tmp_path / "module"))
    layer.trainable = False
    layer.inference_mode = False
    before = values(layer)
    model_of(layer).train_on_batch(IMAGES, np.ones((6, 2)))
    assert all((one == other).all() for one, other in zip(before, values(layer), strict=True))


def test_a_module_of_signatures_does_not_learn_and_says_why(tmp_path: Path) -> None:
    layer = layer_of(signature_only(tmp_path / "module"))
    assert "signatures only" in layer.why_frozen
    assert not layer.trainable_weights
    assert layer.features == (2,)
    np.testing.assert_allclose(np.asarray(layer(IMAGES)), IMAGES.reshape(6, 48).sum(axis=1)[:, None].repeat(2, 1), rtol=1e-5)


def test_a_saved_model_holds_the_module_and_learns_on_elsewhere(tmp_path: Path) -> None:
    layer = layer_of(reusable(tmp_path / "module"))
    model = model_of(layer)
    model.train_on_batch(IMAGES, np.zeros((6, 2)))
    plain = keras.Model(model.input, model.output)
    plain.save(tmp_path / "first.keras")
    shutil.rmtree(tmp_path / "module")
    (tmp_path / "first.keras").rename(tmp_path / "moved.keras")
    np.savez(tmp_path / "known.npz", images=IMAGES, output=np.asarray(plain(IMAGES)))
    code = (
        "from pathlib import Path\nimport numpy as np\n"
        "from dlcli.runtime.loading import load_model\n"
        "known = np.load('known.npz')\n"
        "model = load_model(Path('moved.keras'))\n"
        "assert (np.asarray(model(known['images'])) == known['output']).all()\n"
        "layer = model.layers[1]\n"
        "before = [weight.numpy() for weight in layer.weights]\n"
        "model.compile('sgd', 'mse')\n"
        "model.train_on_batch(known['images'], np.zeros((6, 2)))\n"
        "assert (before[0] != layer.weights[0].numpy()).all()\n"
        "model.save('again.keras')\n"
        "again = load_model(Path('again.keras'))\n"
        "assert (np.asarray(again(known['images'])) == np.asarray(model(known['images']))).all()\n"
        "print('same')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "same", done.stderr[-2000:]


def test_the_module_is_exported_with_the_model(tmp_path: Path) -> None:
    model = model_of(layer_of(reusable(tmp_path / "module")))
    model.export(tmp_path / "out", verbose=False)
    shutil.rmtree(tmp_path / "module")
    loaded = tf.saved_model.load(tmp_path / "out")
    np.testing.assert_array_equal(loaded.serve(tf.constant(IMAGES)), np.asarray(model(IMAGES)))


def test_pixels_are_brought_to_the_modules_range() -> None:
    spec = Hub(kind="hub", handle="unused", input_range=(-1.0, 1.0))
    entry = keras.Input((1, 1, 3))
    scaled = keras.Model(entry, spec.preprocess(entry))
    np.testing.assert_allclose(np.asarray(scaled(np.array([[[[0.0, 127.5, 255.0]]]])))[0, 0, 0], [-1, 0, 1], atol=1e-6)


def test_the_size_is_the_modules_own(tmp_path: Path) -> None:
    folder = signature_only(tmp_path / "module")
    assert Hub(kind="hub", handle=str(folder)).resolved(offline=True).input_size == (4, 4)
    with pytest.raises(DataError, match=r"the module takes \[4, 4\], the spec says \[8, 8\]"):
        Hub(kind="hub", handle=str(folder), input_size=(8, 8)).resolved(offline=True)


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_an_archive_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    signature_only(tmp_path / "module")
    form = {".tar.gz": "gztar", ".zip": "zip"}[ending]
    archive = shutil.make_archive(str(tmp_path / "packed"), form, tmp_path, "module")
    folder = module_folder(archive, offline=True)
    assert folder.is_relative_to(tmp_path / "cache")
    written = (folder / "saved_model.pb").stat().st_mtime_ns
    assert module_folder(archive, offline=True) == folder
    assert (folder / "saved_model.pb").stat().st_mtime_ns == written
    assert layer_of(Path(archive)).features == (2,)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_an_archive_that_would_leave_its_folder_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as packed:
        packed.writestr(name, "evil")
    for path in (tmp_path / "bad.tar", tmp_path / "bad.zip"):
        with pytest.raises(DataError, match="would leave its folder"):
            module_folder(str(path), offline=True)
    assert not list(tmp_path.rglob("evil"))
    assert not list((tmp_path / "cache").iterdir())


def test_links_in_an_archive_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = tarfile.SYMTYPE, "elsewhere"
        archive.addfile(member)
    with pytest.raises(DataError, match="neither a file nor a folder"):
        module_folder(str(tmp_path / "bad.tar"), offline=True)


def test_a_module_that_would_write_files_is_not_opened(tmp_path: Path) -> None:
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3))])
    def serve(images: Any) -> Any:
        tf.io.write_file(str(tmp_path / "evil"), "evil")
        return {"default": tf.reshape(images, (-1, 48))}

    tf.saved_model.save(module, str(tmp_path / "module"), signatures={"serving_default": serve})
    with pytest.raises(DataError, match="would call WriteFile"):
        HubLayer(str(tmp_path / "module"))
    assert not (tmp_path / "evil").exists()


def test_a_damaged_module_is_an_error_in_words(tmp_path: Path) -> None:
    folder = signature_only(tmp_path / "module")
    (folder / "saved_model.pb").write_bytes(b"\x0a\xff nothing")
    with pytest.raises(DataError, match="cannot be read"):
        HubLayer(str(folder))
    (folder / "saved_model.pb").unlink()
    assert [field for field, _ in Hub(kind="hub", handle=str(folder)).faults()] == ["handle"]


def test_an_address_is_not_fetched_offline_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    handle = "https://example.invalid/module/1"
    with pytest.raises(DataError, match="--offline forbids it") as raised:
        module_folder(handle, offline=True)
    assert handle in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_an_address_that_cannot_be_reached_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="could not be fetched"):
        module_folder("https://example.invalid/module/1", offline=False)


def test_the_real_module_tracks_everything(tmp_path: Path) -> None:
    data = os.environ.get("DLCLI_TEST_DATA")
    if not data:
        pytest.skip("DLCLI_TEST_DATA is not set: no real Hub module")
    folder = Path(data, "hub", "mobilenet_v1_025_224_feature_vector")
    spec = Hub(kind="hub", handle=str(folder)).resolved(offline=True)
    layer = spec.build(spec.example_shape() or ())
    assert (len(layer.trainable_weights), len(layer.weights)) == (81, 135)
    entry = keras.Input((224, 224, 3))
    model = keras.Model(entry, layer(spec.preprocess(entry)))
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3))
    export = Path(data, "hub", "mobilenet_v1_025_224_keras_export")
    frozen = Hub(kind="hub", handle=str(export)).build((224, 224, 3))
    np.testing.assert_allclose(np.asarray(model(images)), np.asarray(frozen(images / 255)), atol=1e-4)
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert (np.asarray(again(images)) == np.asarray(model(images))).all()
