"""Each workaround of `upstream/keras.py` against its defect: a test of the defect fails once it is fixed upstream."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.runtime.engine import keras
from dlcli.upstream.keras import (
    add_variables,
    all_layers,
    first_input,
    has_unbuilt_metrics,
    is_called,
    keras_weights,
    maker_of,
    nodes_of,
    optimizer_by_part,
    stepped_variables,
    variable_key,
    weights_watched,
)
from upstream.programs import run


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


def test_keras_imports_scikit_learn_and_matplotlib_by_itself() -> None:
    assert run("import sys, keras; print('sklearn' in sys.modules, 'matplotlib' in sys.modules)") == "True True"


def test_import_keras_leaves_both_out_and_importable_afterwards() -> None:
    program = (
        "import sys; from dlcli.upstream.keras import import_keras; keras = import_keras();"
        "print([n for n in sys.modules if n.split('.')[0] in ('sklearn', 'matplotlib')]);"
        "import sklearn.linear_model, matplotlib.figure;"
        "print(keras.layers.Dense(2)(keras.ops.ones((1, 3))).shape, bool(sklearn.__version__ and matplotlib.__version__))"
    )
    assert run(program) == "[]\n(1, 2) True"


def test_keras_fetches_weights_without_a_time_limit_and_fails_with_a_bare_exception(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import inspect

    from keras.src.utils import file_utils

    monkeypatch.setenv("no_proxy", "*")
    assert "timeout" not in inspect.signature(file_utils.urlretrieve).parameters
    with pytest.raises(Exception, match="URL fetch failure") as raised:
        keras.utils.get_file("weights.h5", "http://127.0.0.1:9/weights.h5", cache_dir=str(tmp_path))
    assert type(raised.value) is Exception


def test_weights_are_fetched_with_a_time_limit_only_inside_the_block() -> None:
    import socket

    from keras.src.utils import file_utils

    fetch = file_utils.urlretrieve
    with keras_weights("vgg16", offline=True):
        assert file_utils.urlretrieve is not fetch
        assert socket.getdefaulttimeout() == 20
    assert file_utils.urlretrieve is fetch
    assert socket.getdefaulttimeout() is None


def _compiled(metrics: list[str] | None = None) -> Any:
    entry, inner_entry = keras.Input((2,), name="entry"), keras.Input((2,))
    inner = keras.Model(inner_entry, keras.layers.Dense(3, name="inside")(inner_entry), name="inner")
    model = keras.Model(entry, keras.layers.Dense(1, name="last")(inner(entry)))
    model.compile("sgd", "mse", metrics=metrics)
    return model


def test_all_layers_are_found_at_every_depth() -> None:
    assert {layer.name for layer in all_layers(_compiled())} >= {"entry", "inner", "inside", "last"}


def test_nodes_distinguish_what_a_model_inside_is_called_on_from_its_own_entry() -> None:
    model = _compiled()
    inner = model.get_layer("inner")
    node = next(node for node in nodes_of(model) if node.operation is inner)
    assert first_input(inner) is node.input_tensors[0] is model.input
    assert inner.input is not model.input
    assert maker_of(node.output_tensors[0]) is inner
    assert is_called(inner)
    assert not is_called(keras.layers.Dense(1))


def test_metrics_are_unbuilt_until_the_first_step() -> None:
    model, inputs = _compiled(["mae"]), np.zeros((4, 2), "float32")
    assert has_unbuilt_metrics(model)
    model.train_on_batch(inputs, np.zeros((4, 1), "float32"))
    assert not has_unbuilt_metrics(model)
    assert not has_unbuilt_metrics(_compiled())


def test_an_optimizer_knows_what_it_was_built_for() -> None:
    low, high, optimizer = keras.Variable([1.0]), keras.Variable([1.0]), keras.optimizers.SGD(0.1)
    optimizer.build([low])
    assert [variable is low for variable in stepped_variables(optimizer)] == [True]
    assert variable_key(optimizer, low) == variable_key(optimizer, low) != variable_key(optimizer, high)


def test_an_optimizer_by_part_steps_and_decays_the_backbone_at_its_own_rate() -> None:
    def stepped(gradient: float, weight_decay: float) -> list[float]:
        variables = [keras.Variable([1.0]) for _ in range(2)]
        optimizer = keras.optimizers.SGD(0.5, weight_decay=weight_decay)
        optimizer.__class__ = optimizer_by_part(type(optimizer))
        optimizer.backbone_keys, optimizer.backbone_rate = {variable_key(optimizer, variables[0])}, None
        optimizer.backbone_share = 0.5
        optimizer.apply_gradients([(np.full(1, gradient, "float32"), one) for one in variables])
        return [float(one.numpy()[0]) for one in variables]

    assert stepped(1.0, 0.0) == [0.75, 0.5]
    assert stepped(0.0, 0.5) == [0.875, 0.75]


def test_a_built_layer_takes_variables_only_once_it_is_unlocked() -> None:
    layer = keras.layers.Dense(1)
    layer.build((None, 2))
    variable = keras.Variable([1.0])
    with pytest.raises(ValueError, match="cannot add new elements"):
        layer.other = variable
    add_variables(layer, [variable])
    assert any(one is variable for one in layer.trainable_variables)
