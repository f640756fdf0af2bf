"""Opens a run for use: the common prologue of every command that uses a run's model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from dlcli.data.inputs import recorded_kinds, recorded_shared
from dlcli.data.same_data import refuse_other_fingerprint
from dlcli.data.splits import Splits, open_splits
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.failures import failures_in_words
from dlcli.runtime.device import any_device, use_device
from dlcli.runtime.loading import load_model
from dlcli.runtime.threads import pin_threads
from dlcli.spec.experiment import Experiment, Hardware
from dlcli.spec.support import Feature, refuse_unsupported
from dlcli.tasks import Task


@dataclass(frozen=True)
class OpenRun:
    """A run with a model, on its device. The model is loaded, and the data opened, at the first use.

    Attributes:
        run: the run.
        experiment: its resolved experiment.
        offline: whether opening the data must not download anything.
    """

    run: RunFolder
    experiment: Experiment
    offline: bool = False

    @property
    def task(self) -> Task:
        """The run's task."""
        return self.experiment.task

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, labels or targets that the model was trained on."""
        return tuple(self.run.data().get("classes") or ())

    @cached_property
    def model(self) -> Any:
        """The saved Keras model; XLA compiles it if the hardware settings say so.

        Raises:
            DamagedFile: the model cannot be loaded, or does not fit the run's data.
        """
        example = tuple(self.run.data().get("shape") or ())
        model = load_model(self.run.model_path, output=self.task.output.shape(self.task.units(len(self.classes)), example))
        model.jit_compile = self.experiment.hardware.xla
        return model

    @cached_property
    def splits(self) -> Splits:
        """The run's data, split as the run recorded it.

        Raises:
            DataError: the data cannot be read, or has changed since the training.
            DamagedFile: a file of the run was changed or damaged.
        """
        return self.splits_with(())

    def splits_with(self, side_columns: Sequence[str]) -> Splits:
        """Returns `splits` whose examples have these columns of the source beside their inputs, as far as it has them."""
        return open_recorded(self.run, self.experiment, offline=self.offline, side_columns=side_columns)


@contextmanager
def open_run(
    run: RunFolder,
    feature: Feature | None = None,
    *,
    offline: bool = False,
    hardware: Callable[[Hardware], Hardware] = any_device,
    same_threads: bool = False,
) -> Iterator[OpenRun]:
    """Opens a run for use inside a block; its failures become messages as in `failures_in_words`.

    Args:
        run: the run.
        feature: what its model must support, named like the command; None if any model will do.
        offline: whether nothing may be downloaded.
        hardware: returns the hardware of this use, given that of the training; by default a GPU is optional.
        same_threads: whether an operation runs on as many threads as in the training, so that results are equal bit for bit.

    Raises:
        UsageError: the run has no model yet, or its kind of model does not support the feature.
        SpecError: the run's spec was changed and is no longer valid.
    """
    run.refuse_missing_model()
    experiment = run.experiment()
    if feature is not None:
        refuse_unsupported(experiment, feature, f"`{command()} {feature}`")
    with failures_in_words(run):
        if same_threads:
            pin_threads(run.environment())
        use_device(hardware(experiment.hardware), experiment.seed)
        yield OpenRun(run, experiment, offline)


def open_recorded(run: RunFolder, experiment: Experiment, *, offline: bool, side_columns: Sequence[str] = ()) -> Splits:
    """Opens the data of a run, split as the run recorded it; the examples have `side_columns` beside their inputs.

    Raises:
        DataError: the data cannot be read, or has changed since the training.
        DamagedFile: a file of the run was changed or damaged.
    """
    splits = open_splits(
        experiment,
        offline=offline,
        split=run.split(),
        groups=run.groups(),
        revision=run.revision(),
        column_kinds=recorded_kinds(run),
        side_columns=side_columns,
        pixels=run.pixels_path,
    )
    refuse_other_fingerprint(run, splits.fingerprint)
    return replace(splits.sharing(recorded_shared(run)), vocabularies=run.vocabularies())
