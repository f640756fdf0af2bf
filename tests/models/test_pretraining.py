"""Layers that are trained as restricted Boltzmann machines before the first epoch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cli.killing import assert_same_bits
from sklearn.neural_network import BernoulliRBM
from training.test_resume import Stopping, gone_on, stopped
from trainings import GAUSSIANS, Heard, trained, write_spec

from dlcli.data.splits import open_splits
from dlcli.errors import SpecError
from dlcli.runtime.loading import load_model
from dlcli.spec.load import load

DIGITS = "{kind: builtin, name: digits}"
DBN = "{kind: mlp, units: [24, 12], activation: sigmoid, pretraining: {kind: rbm, epochs: 3}}"
FEW = "split: {train_fraction: 0.3}"


def test_pretrained_layers_reconstruct_their_inputs_better_than_the_mean(tmp_path: Path) -> None:
    reporter = Heard()
    run = trained(
        write_spec(tmp_path, DIGITS, model=DBN.replace("epochs: 3", "epochs: 15"), training="epochs: 1"), reporter=reporter
    )
    lines = [line for line in reporter.lines if line.startswith("pretraining: ")]
    assert [line.split(":")[1] for line in lines] == [" layer 1 of 2, 24 units", " layer 2 of 2, 12 units"]
    error, guess = (float(number) for number in re.findall(r"0\.\d{4}", lines[0]))
    assert error < 0.9 * guess
    assert run.experiment().data.normalize == "unit"


def test_the_weights_are_those_of_scikit_learns_machine_on_the_training_split(tmp_path: Path) -> None:
    model = "{kind: mlp, units: [6], activation: sigmoid, pretraining: {kind: rbm, epochs: 2, batch_size: 50}}"
    run = trained(write_spec(tmp_path, DIGITS, model=model, training="epochs: 0"))
    images = open_splits(run.experiment()).train.inputs.read(np.arange(1258)).reshape(-1, 64) / np.float32(255)
    machine, random = BernoulliRBM(6, batch_size=50, random_state=0), np.random.default_rng(0)
    for _ in range(2):
        for places in np.array_split(random.permutation(1258), 26):
            machine.partial_fit(images[np.sort(places)])
    (dense,) = [layer for layer in load_model(run.model_path).layers if layer.name == "dense"]
    kernel, bias = dense.get_weights()
    np.testing.assert_allclose(kernel, machine.components_.T, atol=1e-4)
    np.testing.assert_allclose(bias, machine.intercept_hidden_, atol=1e-4)


def test_an_interrupted_training_is_not_pretrained_again_and_has_the_same_bits(tmp_path: Path) -> None:
    path = write_spec(tmp_path, DIGITS, model=DBN, data=FEW, training="epochs: 3")
    whole, run = trained(path), stopped(path, Stopping(step=20))
    assert not any("pretraining" in line for line in gone_on(run))
    assert_same_bits(whole, run)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("{kind: mlp, units: [8], pretraining: {kind: rbm}}", "", "model.activation: the hidden units of an RBM are sigmoid"),
        ("{kind: mlp, activation: sigmoid, pretraining: {kind: rbm}}", "", "model.pretraining: there is no hidden layer"),
        (DBN.replace("{kind: rbm", "{kind: rbm, batch: 3"), "", "model.pretraining"),
        (DBN, "normalize: standard", "data.normalize: expected unit, which the model needs, found standard"),
        (DBN.replace("sigmoid,", "sigmoid, batch_normalization: true,"), "", "model.batch_normalization: an RBM has no"),
    ],
)
def test_what_a_machine_cannot_be_is_refused_with_its_place(tmp_path: Path, model: str, data: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load(write_spec(tmp_path, DIGITS, model=model, data=data))
    assert message in str(error.value)


def test_columns_of_a_table_are_scaled_to_0_to_1(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, GAUSSIANS, task="binary", model=DBN, training="epochs: 1"))
    assert run.experiment().data.normalize == "unit"
    normalize = next(layer for layer in load_model(run.model_path).layers if layer.name == "normalize")
    rows = open_splits(run.experiment()).train.inputs
    scaled = np.asarray(normalize(rows.read(np.arange(len(rows)))))
    np.testing.assert_allclose([scaled.min(axis=0), scaled.max(axis=0)], [[0, 0], [1, 1]], atol=1e-5)
