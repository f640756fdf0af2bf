"""Images that are equal or nearly equal: their pairs, and the groups that these form."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor.check import Progress
from dlcli.data.doctor.image_facts import ImageFacts
from dlcli.data.doctor.image_hashes import oriented, similar_pairs
from dlcli.data.doctor.image_record import GREY_WEIGHTS
from dlcli.data.small_images import ALIKE, aligned_correlations

MOST_PARTNERS = 50
"""Maximum number of similar hashes per image, on average: images with more are alike by nature."""
_BRIGHTNESS, _DIFFERENCE = 1.0, 6.0
"""Maximum differences of two decodings of equal images of which one was reduced by the JPEG decoder, of 255."""
_CHUNK = 1024


@dataclass(frozen=True)
class NearPairs:
    """Pairs of images that show the same picture.

    Attributes:
        orientations: the orientation of the second image of each pair, by the places of both.
        correlations: the correlation of the small images of each pair.
        compared: the number of images that were compared.
        tiny: the number of images that are too small.
        two_valued: the number of images that have nearly two values.
        alike_by_nature: whether so many images are similar that copies cannot be told from them.
    """

    orientations: dict[tuple[int, int], int]
    correlations: dict[tuple[int, int], float]
    compared: int
    tiny: int
    two_valued: int
    alike_by_nature: bool = False


def equal_groups(facts: ImageFacts) -> list[list[int]]:
    """Returns the groups of images with equal pixels, each as sorted places; single-colour images are in no group."""
    places = [place for place in facts.decoded if not facts.records[place].is_flat]
    by_digest = defaultdict[bytes, set[int]](set)
    for place in places:
        if facts.records[place].digest:
            by_digest[facts.records[place].digest].add(place)
    for place in _reduced_candidates(facts, places):
        by_digest[facts.digest_of(place)].add(place)
    return sorted(sorted(group) for group in by_digest.values() if len(group) > 1)


def _reduced_candidates(facts: ImageFacts, places: list[int]) -> set[int]:
    """Returns the places of images of which one was reduced while it was decoded, and which may be equal to another.

    Images of equal size are sorted by brightness, so that only neighbours are compared.
    """
    by_size = defaultdict[tuple[int, int], list[int]](list)
    for place in places:
        by_size[facts.records[place].size].append(place)
    candidates = set[int]()
    for same_size in by_size.values():
        if len(same_size) < 2 or all(facts.records[place].digest for place in same_size):
            continue
        small = np.stack([facts.records[place].small for place in same_size]).astype("int16")
        means = small.mean(axis=(1, 2, 3))
        order = np.argsort(means)
        ends = np.searchsorted(means[order], means[order] + _BRIGHTNESS, side="right")
        for position, end in enumerate(ends.tolist()):
            near = order[position + 1 : end]
            hits = near[np.abs(small[near] - small[order[position]]).mean(axis=(1, 2, 3)) <= _DIFFERENCE]
            candidates.update(same_size[hit] for hit in ([*hits.tolist(), int(order[position])] if len(hits) else []))
    return candidates


def near_pairs(facts: ImageFacts, progress: Progress) -> NearPairs:
    """Returns the pairs of images that show the same picture, found by hashes and confirmed by their pixels.

    Of images with equal pixels only the first is compared.
    """
    decoded = [place for place in facts.decoded if not facts.records[place].is_blank]
    large = [place for place in decoded if not facts.records[place].is_tiny]
    many_valued = [place for place in large if not facts.records[place].is_two_valued]
    repeats = {place for group in equal_groups(facts) for place in group[1:]}
    places = np.array([place for place in many_valued if place not in repeats], "int64")
    none = NearPairs(
        orientations={},
        correlations={},
        compared=len(many_valued),
        tiny=len(decoded) - len(large),
        two_valued=len(large) - len(many_valued),
    )
    if len(places) < 2:
        return none
    hashes = np.stack([facts.records[place].hashes for place in places])
    most = MOST_PARTNERS * len(places) + 10_000
    pairs = similar_pairs(hashes, most, lambda done, total: progress("comparing hashes", done, total))
    if pairs is None:
        return replace(none, alike_by_nature=True)
    orientations, correlations = _confirmed(facts, places, pairs)
    return replace(none, orientations=orientations, correlations=correlations)


def _confirmed(
    facts: ImageFacts, places: Array, pairs: Array
) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], float]]:
    """Returns orientation and correlation of the pairs whose pixels correlate in one of their orientations."""
    orientations, best = dict[tuple[int, int], int](), dict[tuple[int, int], float]()
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs[start : start + _CHUNK]
        ours, theirs = places[chunk[:, 0]], places[chunk[:, 1]]
        scores = _pair_correlations(facts, ours, theirs, chunk[:, 2])
        for first, second, orientation, score in zip(ours, theirs, chunk[:, 2], scores, strict=True):
            pair = (int(min(first, second)), int(max(first, second)))
            if score > max(ALIKE, best.get(pair, 0.0)):
                orientations[pair], best[pair] = int(orientation), float(score)
    return orientations, best


def _pair_correlations(facts: ImageFacts, ours: Array, theirs: Array, orientations: Array) -> Array:
    first = np.stack([facts.records[place].small for place in ours]).astype("float32")
    second = np.stack(
        [oriented(facts.records[place].small, number) for place, number in zip(theirs, orientations, strict=True)]
    ).astype("float32")
    is_grey = np.array([facts.records[a].is_grey or facts.records[b].is_grey for a, b in zip(ours, theirs, strict=True)])
    first[is_grey], second[is_grey] = (_grey(images[is_grey]) for images in (first, second))
    return aligned_correlations(first, second)


def _grey(images: Array) -> Array:
    return np.repeat((images @ GREY_WEIGHTS)[..., None], 3, axis=3)
