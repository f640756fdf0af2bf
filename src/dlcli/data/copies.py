"""Examples of two splits that are nearly the same or share the stem of their names, and examples with two labels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.small_images import ALIKE, block_means, correlations
from dlcli.data.splits import Splits
from dlcli.spec.data.sources import Examples

MOST_TRAIN, MOST_OTHERS = 1500, 500
"""Maximum number of compared images of the training split, and of each other split; ten times as many in memory."""
NEARLY = 0.88
"""Correlation of two small images above which they count as alike by nature, if they are no near copies."""
SAME = 0.99
"""Correlation above which two images show the same picture, as when it was saved in two formats."""
SIBLINGS = 10
"""Maximum number of near copies of one image: images with more are alike by nature (X-rays, digits)."""
SMALLEST = 32
"""Minimum side of compared images in pixels: smaller images are alike by chance."""
NAMED = 10


def near_copies(splits: Splits, others: dict[str, Examples]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns how many images of each other split are near copies of training images (mirrored, brighter or cropped), and
    how many images, of any split, look the same as an image with another label.

    Colour images are reduced to 16 by 16 pixels and compared by Pearson's correlation over their pixels, which does not
    depend on brightness and contrast. At most 1,500 training files and 500 of each other split are read: 2 to 6 s for photos.
    """
    shape = splits.shape or ()
    if not splits.is_image or len(shape) != 3 or shape[2] != 3 or min(shape[:2]) < SMALLEST:
        return {}, {}
    train = _chosen(splits.train, MOST_TRAIN)
    train_images = _small(splits.train, train)
    facts, compared = {}, [(splits.train, train, train_images)]
    for split, examples in others.items():
        places = _chosen(examples, MOST_OTHERS)
        images = _small(examples, places)
        compared.append((examples, places, images))
        alike = np.maximum(correlations(images, train_images), correlations(images[:, :, ::-1], train_images))
        pairs = _pairs(alike)
        id_pairs = [[examples.ids[places[ours]], splits.train.ids[train[theirs]]] for ours, theirs in pairs[:NAMED]]
        facts[split] = {"examples": len(pairs), "of": len(places), "some": id_pairs}
    return facts, _unlike_labels(splits, compared) if splits.task.output.has_texts else {}


def _unlike_labels(splits: Splits, compared: list[tuple[Examples, Array, Array]]) -> dict[str, Any]:
    """Returns how many images look the same as an image with another label without being identical to it."""
    compared_places = [(examples, int(place)) for examples, places, _ in compared for place in places]
    images = np.concatenate([images for _, _, images in compared])
    alike = np.triu(correlations(images, images), 1)
    if _are_alike_by_nature(alike):
        return {}
    pairs = []
    for first, second in np.argwhere(alike > SAME).tolist():
        labels = [_label(splits, *compared_places[index]) for index in (first, second)]
        if labels[0] != labels[1] and not np.array_equal(images[first], images[second]):
            ours, theirs = (examples.ids[place] for examples, place in (compared_places[first], compared_places[second]))
            pairs.append((first, second, [ours, labels[0], theirs, labels[1]]))
    count = len({index for first, second, _ in pairs for index in (first, second)})
    return {"examples": count, "of": len(compared_places), "some": [words for _, _, words in pairs[:NAMED]]}


def _are_alike_by_nature(alike: Array) -> bool:
    return int(((alike > NEARLY) & (alike <= ALIKE)).sum()) > 10 * len(alike)


def _pairs(alike: Array) -> list[tuple[int, int]]:
    """Returns the indices of images with near copies among the training images, each with that of its nearest copy.

    Empty where the images are alike by nature, as digits, stripes and X-rays are: the correlations of copies form a
    separate group above all others, while those of natural likeness vary without a gap.
    """
    counts, nearly = (alike > ALIKE).sum(axis=1), ((alike > NEARLY) & (alike <= ALIKE)).sum(axis=1)
    hits = np.flatnonzero((counts > 0) & (counts <= SIBLINGS))
    if nearly[hits].sum() > counts[hits].sum() / 2:
        return []
    return [(index, int(alike[index].argmax())) for index in hits.tolist()]


def _chosen(examples: Examples, most: int) -> Array:
    most *= 1 if examples.inputs.in_files else 10
    places = np.arange(len(examples))
    return places if len(examples) <= most else np.sort(np.random.default_rng(0).permutation(len(examples))[:most])


def _small(examples: Examples, places: Array) -> Array:
    """Returns images as float32 `(n, 16, 16, 3)`: the means of pixel blocks of equal size."""
    small_images = []
    for start in range(0, len(places), 64):
        chosen = places[start : start + 64]
        images = examples.inputs.read(chosen)
        small_images.append(block_means(images.astype("float32")))
    return np.concatenate(small_images)


def shared_stems(splits: Splits, others: dict[str, Examples]) -> dict[str, Any]:
    """Returns for each other split how many examples share the stem of their file name with training examples.

    The stem is the name up to its last `_`, `-`, `.` or space: `ants/003` of `ants/003_mirrored.jpg`. Stems count only where
    the names form many small groups with recurring endings (`orig`, `mirrored`; `1`, `2`), as those of augmented copies,
    frames or visits do; not where a whole folder has one stem (`cat.1.jpg`, `cat.2.jpg`).
    """
    names = {split: [_stem(name) for name in examples.ids] for split, examples in {"train": splits.train, **others}.items()}
    stems = [stem for split_stems in names.values() for stem in split_stems if stem]
    if len(stems) < 0.9 * sum(map(len, names.values())) or not _are_groups(stems):
        return {}
    first = {name[0]: place for place, name in reversed(list(enumerate(names["train"]))) if name}
    facts = {}
    for split, examples in others.items():
        pairs = [(place, first[name[0]]) for place, name in enumerate(names[split]) if name and name[0] in first]
        id_pairs = [[examples.ids[ours], splits.train.ids[theirs]] for ours, theirs in pairs[:NAMED]]
        facts[split] = {"examples": len(pairs), "of": len(examples), "some": id_pairs}
    return facts


def _stem(name: str) -> tuple[tuple[str, str], str] | None:
    """Returns the folder and stem of a file name, and its ending; None for a name without stem or ending."""
    if "." not in name:  # a path is slow to take apart, and a set has tens of thousands of numbers as names
        return None
    path = PurePosixPath(name)
    match = re.fullmatch(r"(.*[^\W_])[ _.\-]+\(?([A-Za-z0-9]+)\)?", path.stem) if path.suffix else None
    return None if match is None else ((path.parent.name, match.group(1)), match.group(2).lower())


def _are_groups(names: list[tuple[tuple[str, str], str]]) -> bool:
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for stem, _ in names:
        sizes[stem] += 1
    endings = {ending for _, ending in names}
    folders: dict[str, int] = defaultdict(int)
    for folder, _ in sizes:
        folders[folder] += 1
    several = [size for size in sizes.values() if size > 1]
    return (
        len(several) >= max(5, 0.5 * len(sizes))
        and max(sizes.values()) <= 50
        and min(folders.values()) >= 2
        and len(endings) <= 0.2 * len(names)
    )


def contradictions(splits: Splits, examples: dict[str, Examples], groups: Iterable[list[tuple[str, int]]]) -> dict[str, Any]:
    """Returns how many examples are identical to an example with another label, with up to 10 pairs and their labels.

    Args:
        splits: the data.
        examples: the examples of its distinct splits, by name.
        groups: groups of identical examples, each given by its split and its place there.
    """
    count, labelled_pairs = 0, list[list[str]]()
    for group in groups:
        labels = [_label(splits, examples[split], place) for split, place in group]
        if len(set(labels)) < 2:
            continue
        count += len(group)
        differing = next(index for index, label in enumerate(labels) if label != labels[0])
        ids = [examples[split].ids[place] for split, place in (group[0], group[differing])]
        labelled_pairs.append([ids[0], labels[0], ids[1], labels[differing]])
    return {"examples": count, "of": sum(map(len, examples.values())), "some": labelled_pairs[:NAMED]}


def _label(splits: Splits, examples: Examples, place: int) -> str:
    return splits.task.output.text(examples.targets[place], splits.classes)
