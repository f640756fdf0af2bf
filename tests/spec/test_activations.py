"""Activations by name and with settings: what they compute, what specs say of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.errors import SpecError
from dlcli.spec.base import ACTIVATIONS, dump
from dlcli.spec.load import load_text
from spec.members import sample

X = np.linspace(-3.1, 8, 23, dtype="float32")


def outputs(activation: str, kind: str = "activation", fields: str = "") -> np.ndarray:
    """Returns what a layer with an activation makes of `X`, as plain Keras says after saving and loading."""
    from dlcli.runtime.engine import keras

    layer = sample("Layer", kind, f"{fields}activation: {activation}")
    entry = keras.Input((1,))
    model = keras.Model(entry, layer.apply(entry))
    again = keras.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    return np.asarray(again(X[:, None]))[:, 0]


@pytest.mark.parametrize("kind", ["activation", "dense", "residual"])
def test_settings_of_an_activation_count_wherever_it_stands(kind: str) -> None:
    ones = "kernel_initializer: ones, "
    fields = {"activation": "", "dense": f"units: 1, {ones}", "residual": "layers: [{kind: rescaling, scale: 0.0}], "}[kind]
    found = {
        text: outputs(text, kind, fields)
        for text in (
            "leaky_relu",
            "{kind: leaky_relu, negative_slope: 0.01}",
            "elu",
            "{kind: elu, alpha: 0.5}",
            "{kind: relu, max_value: 6, threshold: 1, negative_slope: 0.1}",
            "binary_step",
        )
    }
    below = np.expm1(np.minimum(X, 0))
    expected = [
        np.where(X < 0, 0.2 * X, X),
        np.where(X < 0, 0.01 * X, X),
        np.where(X < 0, below, X),
        np.where(X < 0, 0.5 * below, X),
        np.where(X >= 6, 6, np.where(X >= 1, X, 0.1 * (X - 1))),
        (X >= 0).astype("float32"),
    ]
    for (text, values), right in zip(found.items(), expected, strict=True):
        assert values == pytest.approx(right, abs=1e-6), text


def test_slopes_without_settings_are_kerass_and_documented() -> None:
    assert dump(sample("Activation", "leaky_relu")) == {"kind": "leaky_relu", "negative_slope": 0.2}
    assert dump(sample("Layer", "leaky_relu")) == {"kind": "leaky_relu", "negative_slope": 0.3}
    assert "0.2 x below 0" in ACTIVATIONS["leaky_relu"]
    reference = (Path(__file__).parents[2] / "docs" / "spec.md").read_text()
    assert "0.2 as in Keras's activation; the layer `leaky_relu` has 0.3." in reference
    assert "0.3 as in Keras's layer; `activation: leaky_relu` has 0.2." in reference


def spec(activation: str) -> Any:
    text = "version: 1\nname: a\ntask: classification\ndata: {source: {kind: builtin, name: iris}}\n"
    return load_text(f"{text}model: {{kind: mlp, units: [4], activation: {activation}}}\n", "spec.yaml")


def test_a_wrong_setting_is_named() -> None:
    assert dump(spec("{kind: leaky_relu, negative_slope: 0.1}").experiment.model.activation)["negative_slope"] == 0.1
    for activation, message in (
        ("{kind: leaky_relu, slope: 0.1}", "known here: kind, negative_slope"),
        ("{kind: leaky_rely}", "did you mean `leaky_relu`?"),
        ("leaky_rely", "did you mean `leaky_relu`?"),
        ("{kind: elu, alpha: -1}", "model.activation.alpha: "),
        ("3", "model.activation: expected linear, "),
    ):
        with pytest.raises(SpecError) as caught:
            spec(activation)
        assert message in str(caught.value)
