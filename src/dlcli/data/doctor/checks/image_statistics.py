"""The check of the values of images: statistics of each channel, and channels that carry nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor.check import NOT_APPLICABLE, Check, Progress, Subject
from dlcli.data.doctor.image_facts import ImageFacts, has_images, image_facts
from dlcli.data.doctor.issue import Issue
from dlcli.data.doctor.named_images import issue_of_images, share_of

SHIFT = 0.5
"""Difference of the mean brightness of two splits, in deviations between images, from which it is a warning."""
_FEW = 0.05
"""Largest share of grey images among colour images that are named."""
_LEAST = 30
"""Smallest number of images of a split whose mean is compared."""
_CHANNELS = ("red", "green", "blue")


class ImageStatistics(Check):
    """Mean, deviation and range of each channel in each split; constant channels, and grey images stored as colour images."""

    name = "image statistics"

    def reason_against(self, subject: Subject) -> str:
        """Returns that the examples are no images."""
        return "" if has_images(subject) else NOT_APPLICABLE

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields the statistics, and issues of channels."""
        facts = image_facts(subject, progress)
        if not facts.decoded:
            return
        by_split = {
            split: [place for place in facts.decoded if facts.splits[place] == split] for split in dict.fromkeys(facts.splits)
        }
        by_split = {split: places for split, places in by_split.items() if places}
        is_grey = all(facts.records[place].is_grey for place in facts.decoded)
        yield Issue(
            kind="channel statistics",
            severity="note",
            summary=f"mean, deviation and range of each channel of {len(facts.decoded):,} images",
            advice="nothing needs to be done; `data.normalize: standard` uses the mean and the deviation of the training split",
            evidence=tuple(
                line for split, places in by_split.items() for line in _lines(facts, split, places, is_grey=is_grey)
            ),
        )
        yield from _constant_channels(facts)
        yield from _grey_images(subject, facts, is_grey=is_grey)
        yield from _shifts(facts, by_split)


def _lines(facts: ImageFacts, split: str, places: list[int], *, is_grey: bool) -> Iterator[str]:
    levels = np.stack([facts.records[place].levels for place in places]).astype("float64")
    mean = levels[:, 0].mean(axis=0)
    deviation = np.sqrt(np.maximum(levels[:, 1].mean(axis=0) - mean**2, 0))
    low, high = levels[:, 2].min(axis=0), levels[:, 3].max(axis=0)
    for channel, name in enumerate(("grey",) if is_grey else _CHANNELS):
        yield (
            f"{split}, {name}: mean {mean[channel]:.1f}, deviation {deviation[channel]:.1f},"
            f" range {low[channel]:.0f} to {high[channel]:.0f}"
        )


def _constant_channels(facts: ImageFacts) -> Iterator[Issue]:
    levels = np.stack([facts.records[place].levels for place in facts.decoded])
    low, high = levels[:, 2].min(axis=0), levels[:, 3].max(axis=0)
    constant = [channel for channel in range(3) if low[channel] == high[channel]]
    if constant and len(constant) < 3:
        names = " and ".join(_CHANNELS[channel] for channel in constant)
        yield Issue(
            kind="constant channels",
            severity="warning",
            summary=f"the {names} channel has the value {low[constant[0]]:.0f} in all images",
            advice="look whether a channel was lost when the images were saved",
        )


def _grey_images(subject: Subject, facts: ImageFacts, *, is_grey: bool) -> Iterator[Issue]:
    """Yields grey images that are stored, or read, as colour images."""
    if is_grey:
        shape = subject.splits.train.inputs.shape
        if shape is not None and shape[-1] == 3:
            yield Issue(
                kind="grey images with three channels",
                severity="note",
                summary="all images are grey, and are read with three equal channels",
                advice="set data.image.channels: 1, which takes a third of the memory; pretrained backbones need 3",
            )
        return
    grey = {place: "its three channels are equal" for place in facts.decoded if facts.records[place].is_grey}
    if grey and len(grey) <= _FEW * len(facts.decoded):
        summary = f"{share_of(grey, facts, 'is', 'are')} grey, the others have colours"
        advice = "look whether one class has most of them: a model may recognise it by the missing colour"
        yield issue_of_images(facts, grey, "grey images among colour images", "note", summary, advice)


def _shifts(facts: ImageFacts, by_split: dict[str, list[int]]) -> Iterator[Issue]:
    """Yields splits whose images are brighter or darker than those of the training split."""
    means = {split: _brightness(facts, places) for split, places in by_split.items() if len(places) >= _LEAST}
    if "train" not in means:
        return
    for split, values in means.items():
        spread = float(means["train"].std())
        difference = float(values.mean() - means["train"].mean())
        if spread > 0 and abs(difference) >= SHIFT * spread:
            yield Issue(
                kind="brightness differs between splits",
                severity="warning",
                summary=(
                    f"the images of the {split} split are {'brighter' if difference > 0 else 'darker'} than those of the"
                    f" training split: {values.mean():.0f} against {means['train'].mean():.0f} of 255, where images deviate"
                    f" by {spread:.0f}"
                ),
                advice="look whether they were taken or saved in another way",
            )


def _brightness(facts: ImageFacts, places: list[int]) -> Array:
    return np.array([facts.records[place].levels[0].mean() for place in places], "float64")
