"""The check of images whose simple statistics lie far from those of all others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor.check import NOT_APPLICABLE, Check, Progress, Subject
from dlcli.data.doctor.image_facts import ImageFacts, has_images, image_facts
from dlcli.data.doctor.issue import Issue
from dlcli.data.doctor.named_images import issue_of_images, share_of

LEAST_IMAGES = 50
"""Smallest number of images in which outliers are sought."""
DISTANCE, TAIL = 5.3, 1.5
"""Robust distance from which an image is an outlier, in deviations, and in multiples of the 95 % quantile of all images."""
_OFFSETS = np.array([0, 4, 8, 0.05])
_NAMES = (("dark", "bright"), ("low contrast", "high contrast"), ("little colour", "much colour"), ("few edges", "many edges"))
_SAMPLE = 20_000
_SUPPORT = 0.8


class ImageOutliers(Check):
    """Images that differ from all others in brightness, contrast, colourfulness or density of edges."""

    name = "image outliers"

    def reason_against(self, subject: Subject) -> str:
        """Returns that the examples are no images."""
        return "" if has_images(subject) else NOT_APPLICABLE

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields the outliers; blank images are a separate issue."""
        facts = image_facts(subject, progress)
        places = [place for place in facts.decoded if not facts.records[place].is_blank]
        if len(places) < LEAST_IMAGES:
            return
        outliers = _outliers(facts, places)
        if outliers:
            yield issue_of_images(
                facts,
                outliers,
                "image outliers",
                "note",
                f"{share_of(outliers, facts, 'differs', 'differ')} from all others in brightness, contrast, colours or edges",
                "look at them: they may be drawings, screenshots, failed photos, or images of something else",
            )


def _outliers(facts: ImageFacts, places: list[int]) -> dict[int, str]:
    """Returns what is unusual in each outlier, by its place, the farthest first."""
    scores = _scores(np.stack([facts.records[place].statistics for place in places]).astype("float64"))
    distances = _distances(scores)
    limit = max(DISTANCE, TAIL * float(np.quantile(distances, 0.95)))
    order = np.argsort(-distances, kind="stable")
    return {places[index]: _words(scores[index], distances[index]) for index in order.tolist() if distances[index] > limit}


def _scores(statistics: Array) -> Array:
    """Returns the deviation of each statistic from its median, in robust deviations; 0 where most images have one value.

    All but the brightness are compared by their logarithms, which are nearly symmetric.
    """
    values = np.where(_OFFSETS > 0, np.log(statistics + np.maximum(_OFFSETS, 1e-9)), statistics)
    centred = values - np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(centred), axis=0)
    return np.asarray(np.where(spread > 1e-6, centred / np.maximum(spread, 1e-6), 0))


def _distances(scores: Array) -> Array:
    """Returns each image's robust Mahalanobis distance, by scikit-learn's `MinCovDet`."""
    from sklearn.covariance import MinCovDet

    used = scores[:, np.abs(scores).max(axis=0) > 0]
    if not used.shape[1]:
        return np.zeros(len(scores))
    sample = used[:: max(1, len(used) // _SAMPLE)]
    with warnings.catch_warnings():  # of statistics that are functions of each other
        warnings.simplefilter("ignore")
        fit = MinCovDet(random_state=0, support_fraction=_SUPPORT).fit(sample)
    return np.asarray(np.sqrt(np.maximum(fit.mahalanobis(used), 0)))


def _words(scores: Array, distance: float) -> str:
    unusual = [name[int(score > 0)] for score, name in zip(scores, _NAMES, strict=True) if abs(score) >= 3]
    named = f" ({', '.join(unusual)})" if unusual else ""
    return f"distance {distance:.1f}{named}"
