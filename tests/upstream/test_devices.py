"""Each workaround of `upstream/devices.py` against the defect it is for: these tests fail once it is fixed upstream."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from conftest import environment

DEVICES = """
import keras, tensorflow as tf
parts = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def per_device(function):
    return [one.numpy() for one in strategy.experimental_local_results(strategy.run(tf.function(function)))]

def place():
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)

# 2. gradients of 3 and -1 are 2 together, but each is clipped apart; no merge inside a condition
with strategy.scope():
    variable = keras.Variable([0.0])
    clipped = keras.optimizers.SGD(1.0, clipnorm=1.0)
    clipped.build([variable])
    gathering = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2)
    gathering.build([variable])

def step(optimizer):
    optimizer.apply_gradients([(tf.constant([3.0]) - 4.0 * place(), variable)])
    return tf.constant(0)

per_device(lambda: step(clipped))
print("clipped", float(variable.value.numpy()[0]))
try:
    per_device(lambda: step(gathering))
    print("gathered")
except Exception as error:
    print("gathered", type(error).__name__)

# 3. random numbers
with strategy.scope():
    draws = keras.random.SeedGenerator(1)
one, other = per_device(lambda: keras.random.uniform((4,), seed=draws))
print("same", bool((one == other).all()))

# 4. batch normalisation
with strategy.scope():
    layer = keras.layers.BatchNormalization()
    layer.build((None, 1))

def normed():
    return layer(tf.constant([[0.0], [1.0]]) + 10.0 * place(), training=True)

one, other = per_device(normed)
print("alone", bool(abs(one - other).max() < 1e-3))

# 5. a number
try:
    float(clipped.learning_rate)
    print("number")
except TypeError:
    print("number TypeError")
"""
FIT = """
import sys, keras, numpy as np, tensorflow as tf
workers = sys.argv[2:]
resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
    tf.train.ClusterSpec({"worker": workers}), task_type="worker", task_id=int(sys.argv[1])
)
strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
with strategy.scope():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse", jit_compile=False)
x = np.ones((8, 2), "float32")
try:
    model.fit(tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(4), verbose=0)
    print("fitted")
except Exception as error:
    print("failed", type(error).__name__, str(error)[:2000])
sys.stdout.flush()
import os; os._exit(0)
"""


def test_optimizers_draws_and_batch_normalisation_of_keras_are_each_devices_own() -> None:
    program = [sys.executable, "-c", DEVICES]
    quiet = environment(TF_CPP_MIN_LOG_LEVEL="3")
    done = subprocess.run(program, capture_output=True, text=True, env=quiet, timeout=200, check=False)
    assert not done.returncode, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "clipped 0.0"  # the sum is 2, clipped 1: the variable would be -1
    assert said[1] != "gathered"
    assert said[2:] == ["same True", "alone True", "number TypeError"]


def test_fit_of_keras_fails_with_several_workers() -> None:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    quiet = environment(TF_CPP_MIN_LOG_LEVEL="3")
    workers = [
        subprocess.Popen([sys.executable, "-c", FIT, str(index), *addresses], stdout=subprocess.PIPE, text=True, env=quiet)
        for index in range(2)
    ]
    said = [one.communicate(timeout=200)[0] for one in workers]
    assert all(one.startswith("failed") for one in said), said


def test_steps_of_a_share_make_the_metrics_and_the_mean_loss_of_a_model() -> None:
    from dlcli.runtime.engine import keras, tf
    from dlcli.upstream.devices import evaluation_step, make_metrics, mean_loss, training_step

    inputs, labels = tf.ones((4, 2)), tf.ones((4, 1))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse", metrics=["mae"])
    make_metrics(model, (inputs, labels))
    model.optimizer.build(model.trainable_variables)
    for step in (evaluation_step(model), training_step(model)):
        model.reset_metrics()
        tf.distribute.get_strategy().run(step, args=(inputs, labels, tf.constant(4), tf.constant(1.0)))
        assert float(mean_loss(model)) == 1.0
        assert float(model.get_metrics_result()["mae"]) == 1.0
    assert model.get_weights()[0].tolist() == [[pytest.approx(0.02)]] * 2
