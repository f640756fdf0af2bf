"""Streams examples through `tf.data`: batch t of an epoch depends on (seed, epoch, t) only.

The order of an epoch is a permutation drawn from (seed, epoch); examples are gathered or read by index. So there is no
shuffle buffer, and every epoch is perfectly shuffled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, Protocol, cast

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.runtime.cores import affinity
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.inputs import Inputs
from dlcli.upstream.tensorflow import WaitingTime, steady_options

_AHEAD = 4
_SHUFFLING = 0x5BF1E
"""The second word of the generator's key: any other use of the same seed must have another word."""


class Augmentation(Protocol):
    """A random change of training examples, such as an entry of `data.augment`.

    Attributes:
        kind: its name in a spec, for advice.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns changed inputs of the same shape; every random draw comes from the seed."""
        ...


class MaskAugmentation(Protocol):
    """A random change of images whose masks move with them."""

    def augment_pair(self, images: Any, masks: Any, seed: Any, *, ignored: int = 0) -> tuple[Any, Any]:
        """Returns changed images and their masks."""
        ...


class Draw(Protocol):
    """Which examples each epoch has, such as `EpochDraw`."""

    def __len__(self) -> int:
        """Returns the number of examples in an epoch."""
        ...

    def order(self, epoch: int) -> Array:
        """Returns the places of the examples of an epoch in their order, int64 `(len(self),)`."""
        ...


class TrainingStream:
    """The batches of every epoch, starting at any step.

    With `copies`, `inputs` hold that many versions of all examples one after another; every epoch takes the next version.
    `first_order` is for resuming runs of revision 1: it gives their order of examples. `draw` says which examples an epoch
    has, and their order; without it each of them once, shuffled.

    Attributes:
        steps: the batches of an epoch.
        batch: returns the batch of a step of the current epoch, in a graph.
        gathers: whether batches are gathered from the memory in which the model computes, so that they need no `tf.data`.
        measures: whether the time that is waited for the batches of the epochs that begin is counted; the batches are the same.
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: Callable[[Any], Any],
        *,
        examples: int,
        batch_size: int,
        seed: int,
        augment: Sequence[Augmentation] = (),
        copies: int = 1,
        first_order: bool = False,
        draw: Draw | None = None,
    ) -> None:
        in_epoch = examples if draw is None else len(draw)
        self.steps, self.measures = -(-in_epoch // batch_size), False
        with tf.device("CPU:0"):  # where tf.data reads it
            self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        drawn = partial(epoch_order, seed, examples=examples) if draw is None else draw.order
        self._order = _FirstOrder(examples, seed, self._epoch) if first_order else _Order(drawn, examples)
        order, read = self._order, inputs.reader()
        self.gathers = _gathers(inputs, augment) and not first_order

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def batch(step: Any) -> Any:
            places = tf.range(step * batch_size, tf.minimum((step + 1) * batch_size, in_epoch))
            indices = order.at(places)
            images, targets = read(indices + (self._epoch % copies) * examples), labels(indices)
            if augment:
                images, targets = augmented_examples(images, targets, augment, seed, self._epoch * self.steps + step)
            return images, targets

        self.batch = batch
        self._parallel = _parallel(inputs, augment)

    def _dataset(self, first: int) -> Any:
        return _prepared(self.batch, first, self.steps, self._parallel)

    @cached_property
    def _whole(self) -> Any:
        return self._dataset(0)

    @cached_property
    def _iterable(self) -> Any:
        return self._whole.with_options(steady_options())

    @cached_property
    def _waiting(self) -> WaitingTime:
        return WaitingTime()

    def begin(self, epoch: int) -> None:
        """Makes `batch` return the batches of an epoch, counted from 0."""
        self._epoch.assign(epoch)
        self._order.begin(epoch)

    def batches(self, epoch: int, first: int = 0) -> Any:
        """Returns an iterator over the batches of an epoch from step `first` on, both counted from 0."""
        self.begin(epoch)
        if not self.measures:
            return iter(self._dataset(first).with_options(steady_options()) if first else self._iterable)
        dataset = self._waiting.measured(self._dataset(first) if first else self._whole)
        return iter(dataset.with_options(steady_options()))

    def waited(self) -> float:
        """Returns the seconds that were waited for batches so far, in the epochs that were measured."""
        return self._waiting.total()[1]

    def first_batch(self) -> Any:
        """Returns the first batch of the current epoch."""
        return next(iter(self._iterable))


class OrderedStream:
    """The batches of all examples in order: (inputs, labels), or inputs alone.

    With `augment` the inputs are changed at random, by draws that depend on (seed, epoch, step) only.

    Attributes:
        steps: the number of batches.
        batch: returns the batch of a step, in a graph.
        gathers: whether batches are gathered from the memory in which the model computes, so that they need no `tf.data`.
    """

    def __init__(
        self,
        inputs: Inputs,
        *,
        examples: int,
        batch_size: int,
        labels: Callable[[Any], Any] | None = None,
        augment: Sequence[Augmentation] = (),
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        read = inputs.reader()
        self.steps = count = -(-examples // batch_size)
        self.gathers = _gathers(inputs, augment)

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def batch(step: Any) -> Any:
            indices = tf.range(step * batch_size, tf.minimum((step + 1) * batch_size, examples))
            batch_inputs = read(indices)
            if augment:
                batch_inputs = augmented(batch_inputs, augment, seed, epoch * count + step)
            return batch_inputs if labels is None else (batch_inputs, labels(indices))

        self.batch = batch
        self._parallel = _parallel(inputs, augment)

    @cached_property
    def dataset(self) -> Any:
        """The batches as a `tf.data` dataset."""
        return _prepared(self.batch, 0, self.steps, self._parallel).with_options(steady_options())


def _gathers(inputs: Inputs, augment: Sequence[Augmentation]) -> bool:
    """Whether batches are gathered from the memory in which the model computes: a GPU is fed while it computes."""
    return inputs.gathers and not augment and not tf.config.get_visible_devices("GPU")


def _parallel(inputs: Inputs, augment: Sequence[Augmentation]) -> int:
    """Returns the number of batches that are prepared at once."""
    return len(affinity()) if augment or inputs.in_files else 2


def _prepared(batch: Callable[[Any], Any], first: int, end: int, parallel: int) -> Any:
    """Returns the dataset of the batches of the steps from `first` to before `end`, prepared ahead."""
    return tf.data.Dataset.range(first, end).map(batch, num_parallel_calls=parallel, deterministic=True).prefetch(_AHEAD)


def ordered_batches(inputs: Inputs, *, examples: int, batch_size: int, **options: Any) -> Any:
    """Returns the dataset of an `OrderedStream`, whose options these are."""
    return OrderedStream(inputs, examples=examples, batch_size=batch_size, **options).dataset


def epoch_order(seed: int, epoch: int, examples: int) -> Array:
    """Returns the order of the examples in an epoch, int64 `(examples,)`: a permutation drawn from (seed, epoch).

    Examples are sorted by random numbers of 64 bits. Each pair of seed and epoch has its own stream of the counter-based
    generator Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), whose bits are the same in every
    version of NumPy; those of `Generator.permutation` may change.
    """
    bits = np.random.Philox(key=[seed, _SHUFFLING], counter=[0, 0, epoch, 0]).random_raw(examples)
    return np.argsort(bits, kind="stable").astype("int64", copy=False)


class _Order:
    """The order of examples in the current epoch; `drawn` returns that of an epoch, as places among `examples`.

    It takes 4 bytes for each example where these suffice: there may be many millions.
    """

    def __init__(self, drawn: Callable[[int], Array], examples: int) -> None:
        self._drawn, self._dtype = drawn, "int32" if examples < 2**31 else "int64"
        with tf.device("CPU:0"):
            self._indices = tf.Variable(drawn(0).astype(self._dtype), trainable=False)

    def begin(self, epoch: int) -> None:
        """Draws the order of an epoch."""
        self._indices.assign(self._drawn(epoch).astype(self._dtype))

    def at(self, places: Any) -> Any:
        """Returns the examples at the given places of the order, int64."""
        return tf.cast(tf.gather(self._indices, places), tf.int64)


class _FirstOrder:
    """The order of runs of revision 1, for resuming them: `index_shuffle`, which is nearly sorted in some epochs."""

    def __init__(self, examples: int, seed: int, epoch: Any) -> None:
        self._examples, self._seed, self._epoch = examples, seed, epoch

    def begin(self, epoch: int) -> None:
        """Does nothing, since the order is computed for each place."""

    def at(self, places: Any) -> Any:
        """Returns the examples at the given places of the order, int64."""
        key = tf.stack([tf.constant(self._seed, tf.uint32), tf.cast(self._epoch, tf.uint32)])
        return tf.random.experimental.index_shuffle(places, key, tf.constant(self._examples - 1, tf.int64))


@contextmanager
def data_errors() -> Iterator[None]:
    """Raises the DataError of an unreadable file inside the block, which TensorFlow wraps in another error."""
    try:
        yield
    except tf.errors.OpError as error:
        match = re.search("DataError: (.*)", error.message)
        if match is None:
            raise
        raise DataError(match.group(1)) from None


def on_host(array: Array) -> Any:
    """Returns an array as a tensor in the host's memory, even if there is a GPU."""
    with tf.device("CPU:0"):
        return tf.constant(array)  # texts as objects too: an array of texts would give each the room of the longest


def augmented(images: Any, augment: Sequence[Augmentation], seed: int, step: Any) -> Any:
    """Returns augmented images, float32; every random draw depends on (seed, step) only."""
    images = tf.cast(images, tf.float32)
    shape = images.shape
    for index, augmentation in enumerate(augment):
        images = augmentation.augment(images, StepSeed(seed, index, step))
    return tf.ensure_shape(images, shape)


def mixes_labels(augmentation: Augmentation) -> bool:
    """Whether an augmentation mixes examples, so that labels become shares of several classes."""
    return bool(getattr(augmentation, "mixes_labels", False))


def augmented_examples(images: Any, labels: Any, augment: Sequence[Augmentation], seed: int, step: Any) -> tuple[Any, Any]:
    """Returns augmented inputs, float32, and their labels `(batch, units)`, which change only where examples are mixed."""
    images = tf.cast(images, tf.float32)
    shape, shape_of_labels = images.shape, labels.shape
    for index, augmentation in enumerate(augment):
        step_seed = StepSeed(seed, index, step)
        if mixes_labels(augmentation):
            images, labels = cast("Any", augmentation).mix(images, labels, step_seed)
        else:
            images = augmentation.augment(images, step_seed)
    return tf.ensure_shape(images, shape), tf.ensure_shape(labels, shape_of_labels)


def augmented_pairs(
    images: Any, masks: Any, augment: Sequence[MaskAugmentation], seed: int, step: Any, *, ignored: int = 0
) -> tuple[Any, Any]:
    """Returns augmented images, the same as of `augmented`, and masks that have moved with them.

    Args:
        images: `(batch, height, width, channels)`.
        masks: the class number of each pixel, integers `(batch, height, width, 1)`.
        augment: the augmentations.
        seed: that of the run.
        step: the number of the batch.
        ignored: the class of pixels from outside an image.
    """
    images = tf.cast(images, tf.float32)
    shape, shape_of_masks = images.shape, masks.shape
    for index, augmentation in enumerate(augment):
        images, masks = augmentation.augment_pair(images, masks, StepSeed(seed, index, step), ignored=ignored)
    return tf.ensure_shape(images, shape), tf.ensure_shape(masks, shape_of_masks)


class StepSeed(keras.random.SeedGenerator):  # type: ignore[misc]
    """A Keras seed without state: its draws depend only on the run's seed, the augmentation's place and the step."""

    def __init__(self, seed: int, place: int, step: Any) -> None:
        # No super().__init__(): Keras would create a counter variable, which a resumed run would have to restore.
        self._key = (seed * 2_654_435_761 + place * 40_503) % 2**32
        self._step = step
        self._draws = 0

    def next(self, ordered: bool = True) -> Any:
        """Returns the seed of the next draw, uint32 `(2,)`."""
        self._draws += 1
        key = (self._key + self._draws * 69_069) % 2**32
        return tf.stack([tf.constant(key, tf.uint32), tf.cast(self._step, tf.uint32)])
