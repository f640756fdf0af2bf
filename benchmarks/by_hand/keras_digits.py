"""The training of configs/digits_cnn.yaml as one writes it in a notebook, with a confusion matrix and a curve as pictures.

python benchmarks/by_hand/keras_digits.py OUTPUT_FOLDER [EPOCHS]
"""

import json
import resource
import sys
import time
from pathlib import Path

import keras
import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import psutil
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

EPOCHS = int(sys.argv[2]) if len(sys.argv) > 2 else 5


class Clock(keras.callbacks.Callback):
    """Notes when the first step ended and how long each epoch took, its validation included."""

    def __init__(self):
        super().__init__()
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

images, labels = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
x_train, x_test, y_train, y_test = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=0)
x_train, x_valid, y_train, y_valid = train_test_split(x_train, y_train, test_size=0.125, stratify=y_train, random_state=0)

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Dropout(0.25),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
clock = Clock()
best = keras.callbacks.ModelCheckpoint(output / "model.keras", save_best_only=True)
history = model.fit(
    x_train, y_train, batch_size=32, epochs=EPOCHS, validation_data=(x_valid, y_valid), callbacks=[best, clock], verbose=0
)
model = keras.saving.load_model(output / "model.keras")
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
predicted = model.predict(x_test, verbose=0).argmax(axis=1)

ConfusionMatrixDisplay.from_predictions(y_test, predicted).figure_.savefig(output / "confusion_matrix.png")
figure, axes = plt.subplots()
for name in ("loss", "val_loss"):
    axes.plot(history.history[name], label=name)
axes.legend()
figure.savefig(output / "curves.png")

started = psutil.Process().create_time()
result = {
    "first_step": clock.first_step - started,
    "epochs": clock.epochs,
    "total": time.time() - started,
    "accuracy": accuracy,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}
print(json.dumps(result))
