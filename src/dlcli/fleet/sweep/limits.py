"""What a trial's model takes, known before it is trained; one that is too large ends there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from dlcli.errors import TooLarge, UsageError
from dlcli.runs.files import write_json
from dlcli.spec.experiment import Experiment

_COPIES = 4
"""Copies of the learning weights while they learn: themselves, their gradients, and the two moments of Adam."""


@dataclass(frozen=True)
class Size:
    """A model's parameters, and the bytes that training it is estimated to take."""

    parameters: int
    memory: int


@dataclass(frozen=True)
class Limits:
    """The most that a model may have: parameters, and memory in GB of 2^30 bytes; `path` is where its size is written."""

    path: Path
    parameters: int | None = None
    memory_gb: float | None = None

    def __call__(self, experiment: Experiment) -> None:
        """Builds the experiment's model, without training it, and writes its size.

        Raises:
            TooLarge: it is over a limit.
            UsageError: there are fewer devices than the experiment asks for.
        """
        from dlcli.models.describe import describe_spec
        from dlcli.runtime.device import use_devices

        # A model starts TensorFlow, and with it the devices are settled: those that the training is to have come first.
        use_devices(experiment.hardware, experiment.seed, None)
        try:
            description = describe_spec(experiment)
        except UsageError as error:  # the data is not on this machine, so its shape is unknown: the training will fetch it
            print(f"the size of the model is unknown before its training: {error}", flush=True)
            return
        bytes_each = description.weights_bytes // max(1, description.trainable + description.frozen)
        memory = description.weights_bytes + (_COPIES - 1) * description.trainable * bytes_each + description.activations_bytes
        size = Size(description.trainable + description.frozen, memory)
        write_json(self.path, asdict(size))
        if self.parameters is not None and size.parameters > self.parameters:
            raise TooLarge(f"{size.parameters:,} parameters; the sweep allows {self.parameters:,}")
        if self.memory_gb is not None and memory > self.memory_gb * 2**30:
            raise TooLarge(f"an estimated {memory / 2**30:.2f} GB of memory; the sweep allows {self.memory_gb:g} GB")
