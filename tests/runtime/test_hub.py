"""Hub modules as Keras layers: their variables, what training changes, and the content of a saved model."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run_process

import dlcli.spec.load  # noqa: F401  (registers every union)
from dlcli.errors import DataError
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.hub_layer import HubLayer
from dlcli.runtime.loading import load_model
from dlcli.spec.model.backbones.hub import Hub

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
    """Saves a module that can be called by a signature only."""
    module = tf.Module()
    module.kernel = tf.Variable(tf.ones((48, 2)))

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3), name="images")])
    def serve(images: Any) -> Any:
        return {"default": tf.reshape(images, (-1, 48)) @ module.kernel}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    return folder


def tf1(folder: Path, *, before: Callable[[], Any] | None = None, tags: tuple[list[str], ...] = (["serve"],)) -> Path:
    """Saves a module in the format of TensorFlow 1, with a graph for each set of tags."""
    v1, saver = tf.compat.v1, tf.compat.v1.saved_model.Builder(str(folder))
    for number, names in enumerate(tags):
        with tf.Graph().as_default(), v1.Session() as session:
            images = v1.placeholder(tf.float32, (None, 4, 4, 3), name="images")
            kernel = v1.get_variable("kernel", initializer=np.ones((48, 2), "float32"))
            with tf.control_dependencies([before()] if before else []):
                features = tf.reshape(images, (-1, 48)) @ kernel
            session.run(v1.global_variables_initializer())
            signatures = {"default": v1.saved_model.predict_signature_def({"images": images}, {"default": features})}
            if number:
                saver.add_meta_graph(names, signature_def_map=signatures)
            else:
                saver.add_meta_graph_and_variables(session, names, signature_def_map=signatures)
    saver.save()
    return folder


def whole_numbers(folder: Path) -> Path:
    """Saves a reusable module that takes images of whole numbers."""

    class Bytes(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, 2, 2, 3), tf.uint8)])
        def __call__(self, images: Any) -> Any:
            return tf.reduce_sum(tf.cast(images, tf.float32), axis=(1, 2))

    tf.saved_model.save(Bytes(), str(folder))
    return folder


def layer_of(folder: Path, **fields: Any) -> Any:
    """Returns the layer of a module, with the shape of its features."""
    return Hub(kind="hub", handle=str(folder), **fields).build((4, 4, 3))


def model_of(layer: Any) -> Any:
    """Returns a compiled model with the layer and a dense one."""
    entry = keras.Input((4, 4, 3))
    model = keras.Model(entry, keras.layers.Dense(2)(layer(entry)))
    model.compile("sgd", "mse")
    return model


def values(layer: Any) -> list[Array]:
    """Returns the values of the layer's weights."""
    return [weight.numpy() for weight in layer.weights]


def test_a_module_is_trained_and_its_penalty_is_part_of_the_loss(tmp_path: Path) -> None:
    layer = layer_of(reusable(tmp_path / "module"))
    assert [weight.shape for weight in layer.trainable_weights] == [(48, 5)]
    assert not layer.untracked_variables()
    model, before = model_of(layer), values(layer)
    loss = model.train_on_batch(IMAGES, np.zeros((6, 2)))
    assert loss > 0.1 * float((before[0] ** 2).sum())
    assert layer.has_penalties
    assert layer.penalty() == pytest.approx(float(layer._module.penalty()))
    after = values(layer)
    assert (before[0] != after[0]).all()
    assert (before[1] == after[1]).all(), "statistics do not change in inference mode"


def test_batch_statistics_change_only_outside_inference_mode(tmp_path: Path) -> None:
    layer = layer_of(reusable(tmp_path / "module"))
    layer.inference_mode = False
    model_of(layer).train_on_batch(IMAGES, np.zeros((6, 2)))
    assert (values(layer)[1] != 0).all()


def test_a_frozen_module_does_not_change(tmp_path: Path) -> None:
    layer = layer_of(reusable(tmp_path / "module"))
    layer.trainable = False
    layer.inference_mode = False
    before = values(layer)
    model_of(layer).train_on_batch(IMAGES, np.ones((6, 2)))
    assert all((old == new).all() for old, new in zip(before, values(layer), strict=True))
    assert layer.penalty() == 0.0


def test_a_module_of_signatures_is_frozen_with_a_reason(tmp_path: Path) -> None:
    layer = layer_of(signature_only(tmp_path / "module"))
    assert "only has signatures" in layer.why_frozen
    assert not layer.trainable_weights
    assert layer.features == (2,)
    np.testing.assert_allclose(np.asarray(layer(IMAGES)), IMAGES.reshape(6, 48).sum(axis=1)[:, None].repeat(2, 1), rtol=1e-5)


def test_a_saved_model_contains_the_module_and_can_be_trained_elsewhere(tmp_path: Path) -> None:
    layer = layer_of(reusable(tmp_path / "module"))
    model = model_of(layer)
    model.train_on_batch(IMAGES, np.zeros((6, 2)))
    plain = keras.Model(model.input, model.output)
    plain.save(tmp_path / "first.keras")
    shutil.rmtree(tmp_path / "module")
    (tmp_path / "first.keras").rename(tmp_path / "moved.keras")
    np.savez(tmp_path / "expected.npz", images=IMAGES, output=np.asarray(plain(IMAGES)))
    code = (
        "from pathlib import Path\nimport numpy as np\n"
        "import dlcli.spec.load\n"  # declares the layers of backbones
        "from dlcli.runtime.loading import load_model\n"
        "expected = np.load('expected.npz')\n"
        "model = load_model(Path('moved.keras'))\n"
        "assert (np.asarray(model(expected['images'])) == expected['output']).all()\n"
        "layer = model.layers[1]\n"
        "before = [weight.numpy() for weight in layer.weights]\n"
        "model.compile('sgd', 'mse')\n"
        "model.train_on_batch(expected['images'], np.zeros((6, 2)))\n"
        "assert (before[0] != layer.weights[0].numpy()).all()\n"
        "model.save('again.keras')\n"
        "again = load_model(Path('again.keras'))\n"
        "assert (np.asarray(again(expected['images'])) == np.asarray(model(expected['images']))).all()\n"
        "print('same')"
    )
    done = run_process([sys.executable, "-c", code], cwd=tmp_path)
    assert done.stdout.strip() == "same", done.stderr[-2000:]


def test_the_module_is_exported_with_the_model(tmp_path: Path) -> None:
    model = model_of(layer_of(reusable(tmp_path / "module")))
    model.export(tmp_path / "out", verbose=False)
    shutil.rmtree(tmp_path / "module")
    loaded = tf.saved_model.load(tmp_path / "out")
    np.testing.assert_array_equal(loaded.serve(tf.constant(IMAGES)), np.asarray(model(IMAGES)))


def test_pixels_are_scaled_to_the_input_range_of_the_module() -> None:
    spec = Hub(kind="hub", handle="unused", input_range=(-1.0, 1.0))
    entry = keras.Input((1, 1, 3))
    scaled = keras.Model(entry, spec.preprocess(entry))
    np.testing.assert_allclose(np.asarray(scaled(np.array([[[[0.0, 127.5, 255.0]]]])))[0, 0, 0], [-1, 0, 1], atol=1e-6)


def test_the_input_size_is_that_of_the_module(tmp_path: Path) -> None:
    folder = signature_only(tmp_path / "module")
    assert Hub(kind="hub", handle=str(folder)).resolved(offline=True).input_size == (4, 4)
    with pytest.raises(DataError, match=r"the module takes \[4, 4\], the spec says \[8, 8\]"):
        Hub(kind="hub", handle=str(folder), input_size=(8, 8)).resolved(offline=True)


def test_a_damaged_module_is_a_clear_error(tmp_path: Path) -> None:
    folder = signature_only(tmp_path / "module")
    (folder / "saved_model.pb").write_bytes(b"\x0a\xff nothing")
    with pytest.raises(DataError, match="cannot be read"):
        HubLayer(str(folder))
    (folder / "saved_model.pb").unlink()
    assert [field for field, _ in Hub(kind="hub", handle=str(folder)).faults()] == ["handle"]


def test_images_of_whole_numbers_stay_0_to_255(tmp_path: Path) -> None:
    folder = whole_numbers(tmp_path / "module")
    spec = Hub(kind="hub", handle=str(folder)).resolved(offline=True)
    assert spec.input_range == (0.0, 255.0)
    assert spec.resolved(offline=True) == spec
    entry = keras.Input((2, 2, 3))
    model = keras.Model(entry, spec.build((2, 2, 3))(spec.preprocess(entry)))
    images = np.random.default_rng(0).integers(0, 256, (5, 2, 2, 3))
    np.testing.assert_array_equal(np.asarray(model(images)), images.sum(axis=(1, 2)))
    with pytest.raises(DataError, match=r"takes integers, \[0, 255\]; the spec says \[0.0, 1.0\]"):
        Hub(kind="hub", handle=str(folder), input_range=(0.0, 1.0)).resolved(offline=True)


def test_an_input_size_that_a_callable_module_does_not_take_is_refused(tmp_path: Path) -> None:
    folder = reusable(tmp_path / "module")
    assert Hub(kind="hub", handle=str(folder)).resolved(offline=True).input_size == (4, 4)
    with pytest.raises(DataError, match=r"shape \(8, 8, 3\): it takes \(4, 4, 3\)"):
        Hub(kind="hub", handle=str(folder)).build((8, 8, 3))


def test_a_module_of_any_size_uses_the_size_of_the_spec_or_its_usual_one(tmp_path: Path) -> None:
    class Pooling(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
        def __call__(self, images: Any) -> Any:
            return tf.reduce_mean(images, axis=(1, 2))

    module = Pooling()
    usual = tf.function(lambda images: {"default": module(images)}, input_signature=[tf.TensorSpec((None, 4, 6, 3))])
    tf.saved_model.save(module, str(tmp_path / "module"), signatures={"serving_default": usual.get_concrete_function()})
    spec = Hub(kind="hub", handle=str(tmp_path / "module"))
    assert spec.resolved(offline=True).input_size == (4, 6)
    own = spec.model_copy(update={"input_size": (8, 8)}).resolved(offline=True)
    assert own.input_size == (8, 8)
    assert own.build((8, 8, 3)).features == (3,)


def test_an_unknown_signature_or_output_is_refused_by_name(tmp_path: Path) -> None:
    signatures, with_call = signature_only(tmp_path / "signatures"), reusable(tmp_path / "callable")
    with pytest.raises(DataError, match="has the signatures serving_default; name one of them"):
        layer_of(signatures, signature="serve")
    with pytest.raises(DataError, match="gives default; name one of them"):
        layer_of(signatures, output="features")
    with pytest.raises(DataError, match="one output without a name"):
        layer_of(with_call, output="features")


@pytest.mark.parametrize("tags", [(["serve"],), ([],), (["train"], []), (["train"], ["serve"])])
def test_a_module_of_tensorflow_1_gives_features(tmp_path: Path, tags: tuple[list[str], ...]) -> None:
    layer = layer_of(tf1(tmp_path / "module", tags=tags))
    assert "only has signatures" in layer.why_frozen
    np.testing.assert_allclose(np.asarray(layer(IMAGES)), IMAGES.reshape(6, 48).sum(axis=1)[:, None].repeat(2, 1), rtol=1e-5)


def test_a_module_of_tensorflow_1_without_a_graph_for_predictions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no graph for predictions"):
        HubLayer(str(tf1(tmp_path / "module", tags=(["train"], ["tune"]))))


@pytest.mark.parametrize("make", [signature_only, tf1])
def test_a_module_that_cannot_be_trained_is_saved_completely(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    model = model_of(layer_of(make(tmp_path / "module")))
    for weight in model.layers[1].weights:
        weight.assign(weight * 3)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(tmp_path / "module")
    again = load_model(tmp_path / "model.keras")
    assert (np.asarray(again(IMAGES)) == np.asarray(model(IMAGES))).all()
    assert "only has signatures" in again.layers[1].why_frozen
    assert not again.layers[1].trainable_weights


def test_a_module_computes_in_float32_under_mixed_precision(tmp_path: Path) -> None:
    folder = reusable(tmp_path / "module")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = layer_of(folder)
        output = layer(tf.constant(IMAGES, tf.float16))
    finally:
        keras.config.set_dtype_policy("float32")
    assert output.dtype == tf.float32
    assert {weight.dtype for weight in layer.weights} == {"float32"}


def test_all_variables_of_a_real_module_are_tracked(tmp_path: Path, test_data: Path) -> None:
    folder = test_data / "hub" / "mobilenet_v1_025_224_feature_vector"
    spec = Hub(kind="hub", handle=str(folder)).resolved(offline=True)
    layer = spec.build(spec.example_shape() or ())
    assert (len(layer.trainable_weights), len(layer.weights)) == (81, 135)
    entry = keras.Input((224, 224, 3))
    model = keras.Model(entry, layer(spec.preprocess(entry)))
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3))
    export = test_data / "hub" / "mobilenet_v1_025_224_keras_export"
    frozen = Hub(kind="hub", handle=str(export)).build((224, 224, 3))
    np.testing.assert_allclose(np.asarray(model(images)), np.asarray(frozen(images / 255)), atol=1e-4)
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert (np.asarray(again(images)) == np.asarray(model(images))).all()


def test_a_real_module_is_trained_and_equal_in_another_process(tmp_path: Path, test_data: Path) -> None:
    spec = Hub(kind="hub", handle=str(test_data / "hub" / "mobilenet_v1_025_224_feature_vector"))
    layer = spec.build((224, 224, 3))
    entry = keras.Input((224, 224, 3))
    model = keras.Model(entry, keras.layers.Dense(2)(layer(entry)))
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    images = np.random.default_rng(0).random((4, 224, 224, 3)).astype("float32")
    for inference_mode, moving in ((True, 81), (False, 135)):
        layer.inference_mode, before = inference_mode, values(layer)
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        model.train_on_batch(images, np.ones((4, 2)))
        assert sum((old != new).any() for old, new in zip(before, values(layer), strict=True)) == moving
    model.save(tmp_path / "model.keras")
    loss = model.evaluate(images, np.ones((4, 2)), verbose=0)
    np.savez(tmp_path / "expected.npz", *values(layer), images=images, output=np.asarray(model(images)), loss=loss)
    code = (
        "from pathlib import Path\nimport numpy as np\n"
        "import dlcli.spec.load\n"  # declares the layers of backbones
        "from dlcli.runtime.loading import load_model\n"
        "expected, model = np.load('expected.npz'), load_model(Path('model.keras'))\n"
        "weights = [weight.numpy() for weight in model.layers[1].weights]\n"
        "assert len(weights) == 135\n"
        "assert all((weight == expected[f'arr_{index}']).all() for index, weight in enumerate(weights))\n"
        "assert (np.asarray(model(expected['images'])) == expected['output']).all()\n"
        "model.compile(loss='mse', jit_compile=False)\n"
        "assert model.evaluate(expected['images'], np.ones((4, 2)), verbose=0) == expected['loss']\n"
        "print('same')"
    )
    done = run_process([sys.executable, "-c", code], cwd=tmp_path)
    assert done.stdout.strip() == "same", done.stderr[-2000:]
