"""The tasks and what each one defines: output type, activation, default loss and metrics, and words.

The pairing is the course's table: regression: linear, MSE; binary: one sigmoid, binary cross-entropy; classification:
softmax, categorical cross-entropy; multilabel: a sigmoid for each label, binary cross-entropy; forecasts: linear, mean
absolute error. A task is an entry here, or
any `Task` passed to `register`. Importing this module does not load NumPy.
"""

from dlcli.tasks.classes import Classes, TwoClasses
from dlcli.tasks.forecasts import Forecasts
from dlcli.tasks.heads import DenseHead, Head
from dlcli.tasks.labels import Labels
from dlcli.tasks.output import Decisions, OutputType, entry_of
from dlcli.tasks.task import TASKS, Task, names_of, register, required_entry
from dlcli.tasks.values import Values

__all__ = [
    "TASKS",
    "Classes",
    "Decisions",
    "DenseHead",
    "Forecasts",
    "Head",
    "Labels",
    "OutputType",
    "Task",
    "TwoClasses",
    "Values",
    "entry_of",
    "names_of",
    "register",
    "required_entry",
]

register(
    Task(
        name="classification",
        meaning="one class of several",
        action="predicts one of {count}{names}",
        activation="softmax",
        loss="sparse_categorical_crossentropy",
        metrics=("accuracy",),
        output=Classes(),
    )
)
register(
    Task(
        name="binary",
        meaning="one of two classes",
        action="predicts one of two classes{names}",
        activation="sigmoid",
        loss="binary_crossentropy",
        metrics=("accuracy", "auc"),
        output=TwoClasses(),
    )
)
register(
    Task(
        name="multilabel",
        meaning="any number of labels",
        action="predicts any of {count}{names}",
        activation="sigmoid",
        loss="binary_crossentropy",
        metrics=("accuracy", "f1"),
        output=Labels(),
    )
)
register(
    Task(
        name="regression",
        meaning="one or more numbers",
        action="predicts {listed}",
        activation="linear",
        loss="mse",
        metrics=("mae", "rmse", "r2"),
        output=Values(),
    )
)
register(
    Task(
        name="forecast",
        meaning="the next values of series",
        action="forecasts {listed}",
        activation="linear",
        loss="mae",
        metrics=("mae", "rmse", "mase", "smape"),
        output=Forecasts(),
    )
)
