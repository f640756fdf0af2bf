"""Measures in a training what limits its speed: waiting for batches, Python between the calls, or the computation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from time import perf_counter, process_time
from typing import Any

import numpy as np

from dlcli.data.memory_limit import MEMORY_SHARE, fits_in_memory
from dlcli.runs.files import as_json
from dlcli.runs.folder import RunFolder
from dlcli.runs.reporter import Log
from dlcli.runs.speed import Bound, StageSpeed, write_stage_speed
from dlcli.runtime.cores import affinity
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.pixel_file import PixelFile
from dlcli.runtime.stream import Augmentation, TrainingStream, augmented

ENOUGH = 1.0
"""Seconds of training that are measured; a training that is shorter needs no advice on its speed."""
SETTLED = 3
"""Calls that are not measured: the first one compiles, and so does the third where the second was slow."""
LARGE = 1 / 3
"""Share of the time that waiting, or Python between the calls, takes at least where it limits the speed."""
LARGE_ON_GPU = 0.7
"""The same for waiting on a GPU, which computes while the training waits for the next batch."""
BUSY = 0.25
"""Share of the cores' time from which on the preparation of batches slows the computation on the same cores down."""


@dataclass(frozen=True)
class StageFacts:
    """What the advice on a stage depends on.

    Attributes:
        stage: the name of the stage; `several` says whether a training has others.
        inputs: the training examples.
        augment: the augmentations of a batch.
        batch_size: the examples in a step.
        on_gpu: whether the model is computed on a GPU.
        precision: the precision policy.
        epoch_steps: the steps of an epoch.
        cores: the cores that the process may use.
    """

    stage: str
    several: bool
    inputs: Inputs
    augment: Sequence[Augmentation]
    batch_size: int
    on_gpu: bool
    precision: str
    epoch_steps: int
    cores: int


@dataclass(frozen=True)
class Measured:
    """Sums over measured calls of the training function, in seconds; `between` is the time between calls."""

    seconds: float = 0.0
    waiting: float = 0.0
    between: float = 0.0
    steps: int = 0
    calls: int = 0
    reading: float | None = None
    augmenting: float | None = None

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.seconds / max(self.steps, 1)

    @property
    def waiting_share(self) -> float:
        """The share of the time in which the training waited for batches."""
        return min(1.0, self.waiting / max(self.seconds, 1e-9))

    @property
    def between_share(self) -> float:
        """The share of the time between the calls."""
        return min(1.0, self.between / max(self.seconds, 1e-9))

    @property
    def preparing(self) -> float:
        """CPU seconds for preparing a batch, as far as they were measured."""
        return (self.reading or 0.0) + (self.augmenting or 0.0)


class SpeedWatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Measures the calls of a stage until a second is measured, and then logs and records what limits the speed.

    It stands first among the callbacks, so that the time of the others is between the calls. The first epoch is not measured
    if another one follows: files are read from the disk in it, and from the system's memory afterwards.
    """

    def __init__(self, stream: TrainingStream, facts: StageFacts, run: RunFolder, log: Log, *, last: int) -> None:
        super().__init__()
        self._stream, self._facts, self._run, self._log, self._last = stream, facts, run, log, last
        self._calls, self._epochs, self._done = 0, 0, False
        self._sums = Measured()
        self._window: tuple[float, float, int] | None = None
        self._began = self._ended = self._in_calls = 0.0
        self._window_calls = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Reports what was measured, and notes whether the epoch is the only one."""
        self._report()
        self._measures = not self._done and (self._epochs > 0 or epoch + 1 >= self._last)
        self._stream.measures = self._measures  # it costs some percent of a step of a tiny model, for about a second
        self._epochs += 1
        self._window = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Starts the clock of a call, and of the epoch's measurement at its first call."""
        if not self._measures:
            return
        if self._window is None and self._calls >= SETTLED:
            self._window = (perf_counter(), self._stream.waited(), batch)
            self._in_calls, self._window_calls = 0.0, 0
        self._began = perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stops the clock of a call: Keras has fetched its results, so that the device has finished."""
        self._calls += 1
        if self._measures and self._window is not None:
            self._ended = perf_counter()
            self._in_calls += self._ended - self._began
            self._window_calls += 1
            if batch + 1 >= self._stream.steps:
                self._end_window(batch + 1)

    def _end_window(self, end: int) -> None:
        assert self._window is not None
        began, waited, first = self._window
        sums, seconds = self._sums, self._ended - began
        self._window = None
        self._sums = Measured(
            sums.seconds + seconds,
            sums.waiting + self._stream.waited() - waited,
            sums.between + seconds - self._in_calls,
            sums.steps + end - first,
            sums.calls + self._window_calls,
        )

    def on_train_end(self, logs: Any = None) -> None:
        """Reports what was measured, if the last epoch completed it."""
        self._report()

    def _report(self) -> None:
        """Logs and records the finding once enough was measured: between epochs, whose times it does not change."""
        if self._done or self._sums.seconds < ENOUGH:
            return
        self._done = True
        speed = speed_of(with_input_alone(self._sums, self._facts), self._facts)
        self._log(line_of(speed, self._facts))
        if self._run.path.is_dir():
            write_stage_speed(self._run, speed)


def with_input_alone(measured: Measured, facts: StageFacts) -> Measured:
    """Returns measurements with the CPU time of preparing one batch, measured outside of the training.

    Only reading files and augmentation are measured: gathering from memory costs next to nothing. Neither changes any state.
    """
    if not (_reads_files(facts.inputs) or facts.augment):
        return measured
    places = np.arange(min(facts.batch_size, len(facts.inputs)))
    began = process_time()
    images = facts.inputs.read(places)
    reading = process_time() - began if _reads_files(facts.inputs) else None
    augmenting = None
    if facts.augment:
        # As in the training, in a graph: a policy has hundreds of operations, each of which Python would call.
        augment = tf.function(lambda images, step: augmented(images, facts.augment, 0, step), autograph=False)
        with tf.device("CPU:0"):
            batch = tf.constant(images)
            augment(batch, tf.constant(0, tf.int64))  # the first call is slower
            began = process_time()
            augment(batch, tf.constant(1, tf.int64))
            augmenting = process_time() - began
    fields = vars(measured) | {"reading": reading, "augmenting": augmenting}
    return Measured(**fields)


def speed_of(measured: Measured, facts: StageFacts) -> StageSpeed:
    """Returns what limits the speed, with its evidence and advice."""
    bound = _bound(measured, facts)
    return StageSpeed(
        stage=facts.stage,
        bound=bound,
        seconds=round(measured.seconds, 3),
        steps=measured.steps,
        calls=measured.calls,
        waiting=round(measured.waiting_share, 4),
        between=round(measured.between_share, 4),
        reading=as_json(measured.reading),
        augmenting=as_json(measured.augmenting),
        text=_evidence(bound, measured, facts),
        advice=_advice(bound, measured, facts),
    )


def line_of(speed: StageSpeed, facts: StageFacts) -> str:
    """Returns the line of the log on a stage's speed."""
    stage = f"stage {speed.stage}: " if facts.several else ""
    return f"{stage}{speed.bound}: {speed.text}" + "".join(f"; {advice}" for advice in speed.advice)


def _bound(measured: Measured, facts: StageFacts) -> Bound:
    if measured.waiting_share >= (LARGE_ON_GPU if facts.on_gpu else LARGE):
        return "input-bound"
    return "overhead-bound" if measured.between_share >= LARGE else "compute-bound"


def _evidence(bound: Bound, measured: Measured, facts: StageFacts) -> str:
    up_to = "up to " if facts.on_gpu else ""
    parts = [f"{up_to}{100 * measured.waiting_share:.0f} % of the training time was spent waiting for batches"]
    if bound == "overhead-bound":
        share = 100 * measured.between_share
        parts.insert(0, f"{share:.0f} % of the training time was spent in Python, between the calls of the device")
    parts.append(f"a step of {facts.batch_size} examples takes {_milliseconds(measured.step)}")
    costs = []
    if measured.reading is not None:
        costs.append(f"reading its files {_milliseconds(measured.reading)}")
    if measured.augmenting is not None:
        costs.append(f"augmenting it {_milliseconds(measured.augmenting)}")
    if costs:
        parts.append(f"{' and '.join(costs)} of CPU time, on {facts.cores} {'core' if facts.cores == 1 else 'cores'}")
    return ", ".join(parts)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.3g} ms" if seconds < 1 else f"{1000 * seconds:,.0f} ms"


def _advice(bound: Bound, measured: Measured, facts: StageFacts) -> list[str]:
    if bound == "overhead-bound":
        return _fewer_calls(measured, facts)
    competes = not facts.on_gpu and measured.preparing >= BUSY * facts.cores * measured.step
    if bound == "input-bound" or competes:
        return _faster_input(measured, facts) or ["no setting of dlcli makes this input faster; more cores do"]
    if facts.on_gpu and facts.precision == "float32":
        return ["`hardware.precision: mixed_float16` may be faster; it changes results"]
    return ["the time is that of the model: a faster input would not help"]


def _fewer_calls(measured: Measured, facts: StageFacts) -> list[str]:
    """Returns advice on a training whose time is spent in Python, between calls of few or short steps."""
    steps_per_call = measured.steps / max(measured.calls, 1)
    advice = []
    if steps_per_call < facts.epoch_steps:
        advice.append(
            f"a call runs {steps_per_call:.3g} steps: a larger `hardware.steps_per_execution`, up to the {facts.epoch_steps}"
            " steps of an epoch, needs fewer calls and gives the same results"
        )
    return advice or ["an epoch is a single call: no setting makes it faster"]


def _faster_input(measured: Measured, facts: StageFacts) -> list[str]:
    """Returns advice on reading and augmenting, the more expensive one first."""
    reading = _faster_reading(facts) if measured.reading is not None else []
    if facts.inputs.on_disk:
        reading = ["the rows are read from the disk and encoded in each epoch: `data.cache: memory` keeps them, if they fit"]
    names = ", ".join(augmentation.kind for augmentation in facts.augment)
    fewer = [f"fewer augmentations (`data.augment`: {names}); this changes results"] if measured.augmenting is not None else []
    return [*reading, *fewer] if (measured.reading or 0) >= (measured.augmenting or 0) else [*fewer, *reading]


def _faster_reading(facts: StageFacts) -> list[str]:
    """Returns advice on image files that are decoded in every epoch, or arrays that are read from the disk."""
    inputs = facts.inputs
    size = len(inputs) * prod(inputs.shape or ())
    if not isinstance(inputs, ImageFiles):
        return ["the array does not fit into memory and is read from the disk: more free memory, or a faster disk"]
    size *= np.dtype(inputs.dtype).itemsize
    height, width = inputs.shape[:2]
    stored = inputs.stored_size(0)
    if isinstance(inputs.cache, PixelFile):
        return ["the pixels are read from the disk (`data.cache: disk`): a faster disk, or more free memory"]
    if inputs.cache is None and inputs.decoded is None:
        advice = ["`data.cache: auto` keeps the pixels in memory as far as they fit, `disk` all of them in a file"]
    elif fits_in_memory(size):
        advice = []  # it did not when the data was opened
    else:
        kept_files = 0 if inputs.cache is None else inputs.cache.kept_files
        subject = f"the files that are not kept in memory ({kept_files:,} are)" if kept_files else "the files"
        advice = [
            f"{subject} are decoded in every epoch, since the pixels of all {len(inputs):,} need {size / 1e9:,.3g} GB, more"
            f" than {100 * MEMORY_SHARE:.0f} % of the free memory; with less they are decoded once and kept: a smaller"
            " `data.image.size` (it changes results), or more memory"
        ]
    if stored is not None and stored[0] * stored[1] >= 2 * height * width:
        advice.append(
            f"copies of the files in the size that is used, {height} x {width} (the first has {stored[0]} x {stored[1]}),"
            " are decoded faster"
        )
    return advice


def _reads_files(inputs: Inputs) -> bool:
    """Whether examples are read from the disk in every epoch."""
    if isinstance(inputs, ImageFiles):
        return inputs.decoded is None  # pixels on the disk are read in every epoch too
    return isinstance(getattr(inputs, "values", None), np.memmap)


def facts_of_stage(
    stage: str, inputs: Inputs, augment: Sequence[Augmentation], batch_size: int, epoch_steps: int, *, several: bool
) -> StageFacts:
    """Returns the facts of a stage on this machine."""
    return StageFacts(
        stage=stage,
        several=several,
        inputs=inputs,
        augment=augment,
        batch_size=batch_size,
        on_gpu=bool(tf.config.get_visible_devices("GPU")),
        precision=str(keras.config.dtype_policy().name),
        epoch_steps=epoch_steps,
        cores=len(affinity()),
    )
