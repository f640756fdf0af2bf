"""keras.io's simple MNIST convnet as one writes it in a notebook: float32 arrays in memory and `fit`.

python benchmarks/by_hand/keras_plain.py OUTPUT_FOLDER        (MNIST is read from TFDS_DATA_DIR)
"""

import json
import resource
import sys
import time
from pathlib import Path

import keras
import numpy as np
import psutil
import tensorflow_datasets as tfds
from sklearn.metrics import confusion_matrix

EPOCHS = 3


class Clock(keras.callbacks.Callback):
    """Notes when the first step ended and how long each epoch took, its validation included."""

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


output = Path(sys.argv[1])
output.mkdir(parents=True, exist_ok=True)

(x_train, y_train), (x_test, y_test) = tfds.as_numpy(
    tfds.load("mnist", split=["train", "test"], as_supervised=True, batch_size=-1, download=False)
)
x_train = x_train.astype("float32") / 255
x_test = x_test.astype("float32") / 255
y_train = keras.utils.to_categorical(y_train, 10)
y_test = keras.utils.to_categorical(y_test, 10)

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(32, kernel_size=3, activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Conv2D(64, kernel_size=3, activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
assert model.count_params() == 34_826
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])

clock = Clock()
model.fit(x_train, y_train, batch_size=128, epochs=EPOCHS, validation_split=0.1, callbacks=[clock], verbose=0)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
predicted = model.predict(x_test, verbose=0).argmax(axis=1)
confusion = confusion_matrix(y_test.argmax(axis=1), predicted)
np.savetxt(output / "confusion_matrix.csv", confusion, fmt="%d", delimiter=",")
model.save(output / "model.keras")

started = psutil.Process().create_time()
result = {
    "first_step": clock.first_step - started,
    "epochs": clock.epochs,
    "total": time.time() - started,
    "accuracy": accuracy,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}
print(json.dumps(result))
