"""The context of an explanation: the run with its model, what is explained, and captions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ModelInputs
from dlcli.data.open_run import OpenRun
from dlcli.data.splits import Splits
from dlcli.errors import UsageError
from dlcli.explain.cluster_settings import ClusterSettings
from dlcli.predict.batch import Skip
from dlcli.runs import RunFolder
from dlcli.runs.explanations import made_folder
from dlcli.spec.experiment import Experiment
from dlcli.tasks import Classes, Decisions


@dataclass
class ExplanationContext:
    """The context of an explanation: the run with its model, and what was requested.

    Attributes:
        opened: the run.
        model_inputs: what its model takes.
        class_name: the explained class, label or target; empty for the predicted one.
        skip: is called for each file that cannot be read.
        split: the split of the run's data that is explained; empty for test, else validation, else train.
        clustering: the settings of clusters.
    """

    opened: OpenRun
    model_inputs: ModelInputs
    class_name: str
    skip: Skip
    split: str = ""
    clustering: ClusterSettings = field(default_factory=ClusterSettings)

    @property
    def run(self) -> RunFolder:
        """The explained run."""
        return self.opened.run

    @property
    def experiment(self) -> Experiment:
        """The run's experiment."""
        return self.opened.experiment

    @property
    def model(self) -> Any:
        """The run's model."""
        return self.opened.model

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of classes, labels or targets."""
        return self.opened.classes

    @property
    def data(self) -> tuple[Splits, str]:
        """The run's data, and the split that is explained: the requested one, or test, else validation, else train.

        Raises:
            UsageError: the run has no such split.
        """
        splits = self.opened.splits
        if self.split and self.split not in splits.by_name:
            raise UsageError(f"--split: this run has no {self.split} split; it has {', '.join(splits.by_name)}")
        return splits, self.split or splits.scored

    @property
    def folder(self) -> Path:
        """The folder of the pictures."""
        return made_folder(self.run)

    @property
    def kind(self) -> str:
        """The kind of the examples: images, series or windows of them, rows with texts, other rows, or other arrays."""
        if self.model_inputs.kind == "arrays" and len(self.model_inputs.shape) == 2:
            return "series"
        if self.model_inputs.kind == "images":
            return "images"
        if any(kind.is_text for kind in (self.model_inputs.columns or {}).values()):
            return "texts"
        return "rows" if self.model_inputs.kind == "columns" or len(self.model_inputs.shape) == 1 else "arrays"


def explained_places(context: ExplanationContext, output: Array) -> Array:
    """Returns the explained class, label or target of each example: the requested one, or the predicted one."""
    if context.class_name:
        return np.full(len(output), context.classes.index(context.class_name))
    kind = context.experiment.task.output
    if isinstance(kind, Classes):
        return kind.decide(output)
    return np.asarray(output.argmax(axis=1)) if isinstance(kind, Decisions) else np.zeros(len(output), dtype="int64")


def example_caption(context: ExplanationContext, label: str, output: Any, place: int) -> str:
    """Returns the prediction for an example, and its label."""
    caption = context.experiment.task.output.caption(output, context.classes, place)
    return caption + (f", label {label}" if label else "")
