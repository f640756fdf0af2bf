"""The same training as keras_plain.py, made as fast and as small as plain Keras and TensorFlow allow on a CPU.

python benchmarks/by_hand/keras_tuned.py OUTPUT_FOLDER [mixed_bfloat16]        (MNIST is read from TFDS_DATA_DIR)

What is done, and why: scikit-learn and matplotlib stay out of Keras's import; images stay uint8 in memory and are scaled
inside the model; batches are gathered by index, so nothing is copied whole; TensorFlow's pipeline autotuner is off, which
otherwise lets an epoch end seconds late; several steps run in one call of the graph.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.modules["sklearn"] = sys.modules["matplotlib"] = None  # Keras imports them for its wrappers only: 1.7 s
import json  # noqa: E402
import resource  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import keras  # noqa: E402

del sys.modules["sklearn"], sys.modules["matplotlib"]
import numpy as np  # noqa: E402
import psutil  # noqa: E402
import tensorflow as tf  # noqa: E402

EPOCHS, BATCH = 3, 128
TRAIN, VALIDATION = 54_000, 6_000
STEPS_PER_CALL = 10


class Clock(keras.callbacks.Callback):
    """Notes when the first steps ended and how long each epoch took, its validation included."""

    def __init__(self):
        super().__init__()
        self.async_safe = True  # reads no logs, so Keras need not wait for them
        self.first_step = None
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.time()

    def on_train_batch_end(self, batch, logs=None):
        self.first_step = self.first_step or time.time()

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(time.time() - self.started)


def steady(dataset):
    """Returns the dataset without the autotuner."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def load(builder, split):
    """Returns the images, uint8 `(n, 28, 28, 1)`, and labels `(n,)` of a split."""
    import tensorflow_datasets as tfds

    options = tf.data.Options()
    options.autotune.enabled = False
    config = tfds.ReadConfig(options=options, try_autocache=False, num_parallel_calls_for_decode=4, skip_prefetch=True)
    count = builder.info.splits[split].num_examples
    images, labels, start = np.empty((count, 28, 28, 1), "uint8"), np.empty(count, "int64"), 0
    batches = builder.as_dataset(split=split, as_supervised=True, shuffle_files=False, read_config=config, batch_size=500)
    for image, label in steady(batches.prefetch(2)).as_numpy_iterator():
        images[start : start + len(label)], labels[start : start + len(label)] = image, label
        start += len(label)
    return images, labels


def load_mnist():
    """Returns (images, labels) of train and test."""
    import tensorflow_datasets as tfds

    builder = tfds.builder("mnist")
    return load(builder, "train"), load(builder, "test")


def gathered(indices, images, labels):
    """Returns batches taken from the arrays by index: a dataset of numbers instead of 784 bytes an example."""
    return indices.map(lambda batch: (tf.gather(images, batch), tf.gather(labels, batch)), num_parallel_calls=2)


def make_model():
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1), dtype="uint8"),
            keras.layers.Rescaling(1 / 255, dtype="float32"),
            keras.layers.Conv2D(32, kernel_size=3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(64, kernel_size=3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10, activation="softmax", dtype="float32"),
        ]
    )
    assert model.count_params() == 34_826
    model.compile(
        loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"], steps_per_execution=STEPS_PER_CALL
    )
    return model


output = Path(sys.argv[1])
output.mkdir(parents=True, exist_ok=True)

keras.config.set_dtype_policy(sys.argv[2] if len(sys.argv) > 2 else "float32")
keras.utils.set_random_seed(0)
(x_train, y_train), (x_test, y_test) = load_mnist()
images, labels = tf.constant(x_train), tf.constant(y_train)
del x_train, y_train
train = gathered(tf.data.Dataset.range(TRAIN).shuffle(TRAIN).batch(BATCH), images, labels)
validation = gathered(tf.data.Dataset.range(TRAIN, TRAIN + VALIDATION).batch(BATCH), images, labels)
test = tf.data.Dataset.from_tensor_slices(x_test).batch(BATCH)

model, clock = make_model(), Clock()
model.fit(
    steady(train.prefetch(4)),
    validation_data=steady(validation.prefetch(2)),
    epochs=EPOCHS,
    callbacks=[clock],
    shuffle=False,
    verbose=0,
)
del images, labels, train, validation
predicted = model.predict(steady(test.prefetch(2)), verbose=0).argmax(axis=1)
confusion = np.bincount(y_test * 10 + predicted, minlength=100).reshape(10, 10)
np.savetxt(output / "confusion_matrix.csv", confusion, fmt="%d", delimiter=",")
model.save(output / "model.keras")

started = psutil.Process().create_time()
result = {
    "first_step": clock.first_step - started,
    "epochs": clock.epochs,
    "total": time.time() - started,
    "accuracy": float((predicted == y_test).mean()),
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}
print(json.dumps(result))
