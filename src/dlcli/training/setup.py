"""The experiment, data and network that all stages of a training share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from dlcli.data.balance import TrainingExamples, epoch_examples, training_examples
from dlcli.data.splits import Splits
from dlcli.models.network import Network
from dlcli.models.precision import apply_precision, choose_precision
from dlcli.runs.folder import REVISION
from dlcli.runs.reporter import Log
from dlcli.runtime.spread import Spread
from dlcli.spec.experiment import Experiment


@dataclass(frozen=True)
class TrainingSetup:
    """The setup that the stages of a training share, whether a run records it or not.

    Attributes:
        experiment: the resolved experiment.
        splits: its data.
        network: its model as submodels.
        log: writes a line to the log.
        spread: the devices that share each batch; None for a single device.
        revision: that of the run.
    """

    experiment: Experiment
    splits: Splits
    network: Network
    log: Log
    spread: Spread | None = None
    revision: int = REVISION

    @cached_property
    def training(self) -> TrainingExamples:
        """The examples that the training reads."""
        return training_examples(self.experiment, self.splits)

    @cached_property
    def epoch_examples(self) -> int:
        """Training examples in an epoch: those of the training split, unless `data.balance` draws others."""
        return epoch_examples(self.experiment, self.splits)

    @property
    def batch_size(self) -> int:
        """Examples in a step."""
        examples = self.epoch_examples
        return min(self.experiment.data.examples_in_step(examples), examples)

    @property
    def in_stages(self) -> bool:
        """Whether stages say what is trained, so that it is recorded and verified: the spec's, or those of a backbone."""
        return bool(self.experiment.training.stages) or self.experiment.model.has_backbone

    @property
    def batches(self) -> int:
        """Steps in an epoch."""
        return -(-self.epoch_examples // self.batch_size)


def with_precision(setup: TrainingSetup) -> TrainingSetup:
    """Returns the setup with `hardware.precision: auto` resolved; the layers of its model then compute in the precision."""
    experiment = setup.experiment
    if experiment.hardware.precision == "auto":
        choice = choose_precision(experiment, setup.network, setup.splits, setup.batch_size)
        setup.log(f"precision: {choice}")
        hardware = experiment.hardware.model_copy(update={"precision": choice.precision})
        experiment = experiment.model_copy(update={"hardware": hardware})
    note = apply_precision(experiment.hardware.precision, setup.network)
    if note:
        setup.log(f"note: {note}")
    return replace(setup, experiment=experiment)
