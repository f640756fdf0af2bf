"""The check of the sizes of images, their aspect ratios, and images of a single colour."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

import numpy as np

from dlcli.data.doctor.check import NOT_APPLICABLE, Check, Progress, Subject
from dlcli.data.doctor.image_facts import ImageFacts, has_images, image_facts
from dlcli.data.doctor.image_record import BLANK, CONTRAST
from dlcli.data.doctor.issue import Issue
from dlcli.data.doctor.named_images import issue_of_images, share_of

SIZE_RATIO = 4.0
"""Ratio of an image's side (the root of its area) to the median from which its size counts as extreme."""
ASPECT_RATIO = 3.0
"""Ratio of an image's aspect to the median from which it counts as extreme."""


class ImageShapes(Check):
    """Images whose size or aspect ratio differs much from the median, and blank images."""

    name = "image sizes"

    def reason_against(self, subject: Subject) -> str:
        """Returns that the examples are no images."""
        return "" if has_images(subject) else NOT_APPLICABLE

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields images of extreme size and aspect, and blank images."""
        facts = image_facts(subject, progress)
        if facts.decoded:
            yield from _sizes(facts)
            yield from _aspects(facts)
            yield from _blank(facts)


def _sizes(facts: ImageFacts) -> Iterator[Issue]:
    sizes = np.array([facts.records[place].size for place in facts.decoded], "float64")
    median = np.median(sizes, axis=0)
    ratios = np.sqrt(sizes.prod(axis=1) / np.median(sizes.prod(axis=1)))
    usual = f"the median is {median[1]:.0f} x {median[0]:.0f} pixels"
    small = {place: _size(facts, place) for place, r in zip(facts.decoded, ratios, strict=True) if r <= 1 / SIZE_RATIO}
    large = {place: _size(facts, place) for place, r in zip(facts.decoded, ratios, strict=True) if r >= SIZE_RATIO}
    if small:
        summary = f"{share_of(small, facts, 'is', 'are')} at least {SIZE_RATIO:g} times smaller than usual: {usual}"
        advice = "look whether they are thumbnails: enlarged to one size they are blurred"
        yield issue_of_images(facts, small, "very small images", "warning", summary, advice)
    if large:
        summary = f"{share_of(large, facts, 'is', 'are')} at least {SIZE_RATIO:g} times larger than usual: {usual}"
        advice = "look whether their objects have the usual size once they are reduced"
        yield issue_of_images(facts, large, "very large images", "note", summary, advice)


def _aspects(facts: ImageFacts) -> Iterator[Issue]:
    logs = np.array([log(width / height) for height, width in (facts.records[place].size for place in facts.decoded)])
    far = np.abs(logs - np.median(logs)) >= log(ASPECT_RATIO)
    extreme = {place: _size(facts, place) for place, is_far in zip(facts.decoded, far, strict=True) if is_far}
    if extreme:
        summary = f"{share_of(extreme, facts, 'is', 'are')} at least {ASPECT_RATIO:g} times as wide or as high as usual"
        advice = "crop them: `resize: stretch` distorts them, `pad` makes them small, and `crop` removes most of them"
        yield issue_of_images(facts, extreme, "extreme aspect ratios", "warning", summary, advice)


def _blank(facts: ImageFacts) -> Iterator[Issue]:
    """Yields images of a single colour, and images that nearly are."""
    flat = {place: _colour(facts, place) for place in facts.decoded if facts.records[place].is_flat}
    if flat:
        advice = "remove them; where transparent pixels hide the drawing, set data.image.background"
        summary = f"{share_of(flat, facts, 'has', 'have')} a single colour once decoded"
        yield issue_of_images(facts, flat, "single-colour images", "warning", summary, advice, is_excluded=True)
    blank = {
        place: f"deviation {facts.records[place].statistics[CONTRAST]:.1f}"
        for place in facts.decoded
        if facts.records[place].is_blank and place not in flat
    }
    if blank:
        summary = f"{share_of(blank, facts, 'is', 'are')} blank: the brightness deviates by less than {BLANK:g} of 255 levels"
        yield issue_of_images(facts, blank, "blank images", "warning", summary, "remove them", is_excluded=True)


def _size(facts: ImageFacts, place: int) -> str:
    height, width = facts.records[place].size
    return f"{width} x {height} pixels"


def _colour(facts: ImageFacts, place: int) -> str:
    record = facts.records[place]
    colour = ", ".join(f"{value:.0f}" for value in record.levels[0])
    see_through = "; it has transparent pixels" if record.picture is not None and record.picture.see_through else ""
    return f"colour [{colour}]{see_through}"
