"""The lists of the layers of nested models."""

from __future__ import annotations

from dlcli.runtime.engine import keras
from dlcli.runtime.layers import single_layers, single_operations


def _model() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="first"), keras.layers.ReLU(name="second")], name="in"
    )
    middle_input = keras.Input((4,), name="middle_input")
    middle = keras.Model(middle_input, keras.layers.Dropout(0.5, name="third")(inner(middle_input)), name="middle")
    outer_input, other_input = keras.Input((4,), name="outer_input"), keras.Input((3,), name="other_input")
    total = keras.ops.add(middle(outer_input), other_input)
    return keras.Model([outer_input, other_input], keras.layers.Dense(1, name="last")(total))


def test_layers_of_nested_models_are_listed_in_order_without_inputs() -> None:
    model = _model()
    assert [layer.name for layer in single_layers(model)][:3] == ["first", "second", "third"]
    assert single_layers(model)[-1].name == "last"
    assert not any(isinstance(layer, keras.layers.InputLayer) for layer in single_layers(model))
    layer = model.get_layer("last")
    assert single_layers(layer) == [layer]


def test_operations_include_layers_other_operations_and_the_models_own_inputs() -> None:
    operations = single_operations(_model())
    names = [operation.name for operation in operations]
    assert {"outer_input", "other_input", "first", "second", "third", "last"} < set(names)
    assert "middle_input" not in names
    assert [name for name in names if name in ("first", "second", "third", "last")] == ["first", "second", "third", "last"]
    assert "Add" in {type(operation).__name__ for operation in operations}
