"""The trainings that the weights of a run went through: its own, and those of the runs that it started from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.source_examples import open_examples
from dlcli.errors import DataError, DlcliError
from dlcli.runs import RunFolder
from dlcli.runtime.inputs import Inputs
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.backbones.run import RunBackbone, run_folder
from dlcli.spec.model.models import Transfer


@dataclass(frozen=True)
class PastTrainings:
    """The trainings of a run's weights, its own first.

    Attributes:
        runs: the runs, each with its experiment and the split of its examples by their ids.
        is_complete: whether no run is missing from them: one whose folder was removed is not known, nor are those before it.
    """

    runs: tuple[tuple[RunFolder, Experiment, dict[str, str]], ...]
    is_complete: bool

    @property
    def train_body(self) -> bool:
        """Whether one of them changed the layers below the head; True if that is not known."""
        stages = [stage for _, experiment, _ in self.runs for stage in experiment.stages]
        return not self.is_complete or any(stage.trains_backbone for stage in stages)

    def trained_on(self, inputs: Sequence[Inputs]) -> Array:
        """Returns which examples were training examples, bool `(n,)`; all of them if that can no longer be read."""
        count = sum(map(len, inputs))
        if not self.is_complete:
            return np.ones(count, dtype=bool)
        try:
            keys = {key for run, experiment, split in self.runs for key in _training_keys(run, experiment, split)}
        except DataError:
            return np.ones(count, dtype=bool)
        return np.array([key in keys for part in inputs for key in part.keys(np.arange(len(part)))], dtype=bool)


def past_trainings(run: RunFolder) -> PastTrainings:
    """Returns the trainings of a run's weights.

    Raises:
        DlcliError: a file of the run itself is damaged.
    """
    runs = {run.path.absolute(): (run, run.experiment(), run.split())}
    waiting, is_complete = [*_origins(run.experiment())], True
    while waiting:
        path = waiting.pop()
        if path in runs:
            continue
        origin = RunFolder(path)
        try:
            runs[path] = origin, origin.experiment(), origin.split()
        except (DlcliError, OSError):
            is_complete = False
        else:
            waiting += _origins(runs[path][1])
    return PastTrainings(tuple(runs.values()), is_complete)


def _origins(experiment: Experiment) -> Iterator[Path]:
    """Yields the folders of the runs whose weights a training started from, or whose models it averages."""
    model, initial_weights = experiment.model, experiment.training.initial_weights
    backbone = model.backbone if isinstance(model, Transfer) else None
    folders = [*([initial_weights] if initial_weights else []), *model.members]
    for folder in [*folders, *([backbone.run] if isinstance(backbone, RunBackbone) else [])]:
        yield (run_folder(folder) or Path(folder)).absolute()


def _training_keys(run: RunFolder, experiment: Experiment, split: dict[str, str]) -> Iterator[Any]:
    """Yields the keys of the training examples of a run.

    Raises:
        DataError: its data can no longer be read.
    """
    source = open_examples(experiment, offline=True, split=split, revision=run.revision())
    for examples in source.parts.values():
        places = np.array([place for place, name in enumerate(examples.ids) if split.get(name) == "train"], "int64")
        yield from examples.inputs.keys(places)
