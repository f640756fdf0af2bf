"""Initial weights of dense layers by restricted Boltzmann machines, each trained on the outputs of the layer below."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.memory_limit import fits_in_memory
from dlcli.models.network import Network
from dlcli.runtime.engine import keras
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.layers import single_layers
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.pretraining import RbmPretraining
from dlcli.upstream.sklearn import import_sklearn, single_threaded

_AT_ONCE = 4096
"""Examples whose inputs of a layer are computed at once."""
_SCORED = 2000
"""The most training examples on which a machine's reconstruction is measured."""


def pretrain(experiment: Experiment, network: Network, inputs: Inputs, log: Callable[[str], None]) -> None:
    """Sets the weights of the hidden dense layers of a model with `layer_pretraining`; those of other models stay as they are.

    The batches of each layer and its random numbers are functions of the seed, and scikit-learn computes in one thread, so
    that the weights have the same bits on any number of cores. The output layer keeps its initial weights.

    Args:
        inputs: the training examples as the network's data source gives them.
        log: is called with a line for each layer.
    """
    settings = experiment.model.layer_pretraining
    if settings is None:
        return
    examples = network.encoded(inputs)
    scored = np.arange(min(len(examples), _SCORED))
    layers = [layer for layer in single_layers(network.functional) if layer.name != "output"]
    dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
    for number, layer in enumerate(dense, start=1):
        below = keras.Model(network.functional.input, layer.input)
        visible = _reader(examples, below)
        machine = _trained(settings, visible, len(examples), layer.units, experiment.seed)
        layer.set_weights([machine.components_.T, machine.intercept_hidden_])
        error, guess = _errors(machine, visible(scored))
        log(
            f"pretraining: layer {number} of {len(dense)}, {layer.units} units: mean squared error of the reconstruction"
            f" {error:.4f} (by the mean of the inputs {guess:.4f})"
        )


def _reader(examples: Inputs, below: Any) -> Callable[[Array], Array]:
    """Returns a function from places to the inputs of a layer, which are computed once if they fit into memory.

    They are float32 `(examples, features)`; rounding may leave them just outside 0 to 1.
    """

    def read(places: Array) -> Array:
        values = below(examples.read(places), training=False).numpy()
        return np.asarray(np.clip(values.reshape(len(places), -1), 0.0, 1.0))

    count = len(examples)
    if not fits_in_memory(4 * count * int(np.prod(below.output_shape[1:]))):
        return read
    parts = np.array_split(np.arange(count), -(-count // _AT_ONCE))
    visible = np.concatenate([read(places) for places in parts])
    return lambda places: visible[places]


def _trained(settings: RbmPretraining, visible: Callable[[Array], Array], examples: int, units: int, seed: int) -> Any:
    import_sklearn()
    from sklearn.neural_network import BernoulliRBM

    machine = BernoulliRBM(units, learning_rate=settings.learning_rate, batch_size=settings.batch_size, random_state=seed)
    random = np.random.default_rng(seed)
    with single_threaded():
        for _ in range(settings.epochs):
            for places in _batches(random.permutation(examples), settings.batch_size):
                machine.partial_fit(visible(places))
    return machine


def _batches(order: Array, size: int) -> Iterator[Array]:
    """Yields parts of nearly equal size, at most `size`: a step on very few examples would be as long as the others."""
    for places in np.array_split(order, -(-len(order) // size)):
        yield np.sort(places)


def _errors(machine: Any, visible: Array) -> tuple[float, float]:
    """Returns the mean squared errors of the reconstruction and of the mean."""
    hidden = _sigmoid(visible @ machine.components_.T + machine.intercept_hidden_)
    reconstruction = _sigmoid(hidden @ machine.components_ + machine.intercept_visible_)
    return float(((reconstruction - visible) ** 2).mean()), float(((visible.mean(axis=0) - visible) ** 2).mean())


def _sigmoid(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-values)))
