"""The four tasks and what each decides: output units and activation, default loss and metrics, the shape of labels.

The pairing is the course's table: regression: linear, MSE; binary: one sigmoid, binary cross-entropy; classification:
softmax, categorical cross-entropy; multilabel: a sigmoid for each label, binary cross-entropy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TaskName = Literal["classification", "binary", "multilabel", "regression"]


@dataclass(frozen=True)
class Task:
    """What one task decides."""

    name: TaskName
    meaning: str
    activation: str
    loss: str
    metrics: tuple[str, ...]

    @property
    def has_classes(self) -> bool:
        """Whether its labels are classes with names (all but regression)."""
        return self.name != "regression"

    def units(self, outputs: int) -> int:
        """Returns the width of the output layer for `outputs` classes, labels or targets."""
        return 1 if self.name == "binary" else outputs


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("classification", "one class of several", "softmax", "sparse_categorical_crossentropy", ("accuracy",)),
        Task("binary", "one of two classes", "sigmoid", "binary_crossentropy", ("accuracy", "auc")),
        Task("multilabel", "any number of labels", "sigmoid", "binary_crossentropy", ("accuracy", "f1")),
        Task("regression", "one or more numeric values", "linear", "mse", ("mae", "rmse", "r2")),
    )
}
