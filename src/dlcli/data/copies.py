"""Examples that are nearly the same in two parts, that share the stem of their names, or that stand under two labels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.splits import Splits
from dlcli.spec.data.sources import Examples

MOST_TRAIN, MOST_OTHERS = 1500, 500
"""Images of the training split, and of each other part, that are compared; all images in memory up to ten times as many."""
SIDE = 16
"""Pixels of a side of the small colour images that are compared."""
ALIKE, NEARLY = 0.96, 0.88
"""Correlation of two small images from which on they are near copies: among independent photos none comes near; and from
which on they are alike by nature."""
SAME = 0.99
"""Correlation from which on two images show the same: that of one picture saved in two ways."""
SIBLINGS = 10
"""Training images that may be alike to one image: where there are many, the images are alike by nature (X-rays, digits)."""
SMALLEST = 32
"""Pixels of a side from which on images are compared: smaller ones are alike by chance."""
NAMED = 10


def near_copies(splits: Splits, others: dict[str, Examples]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns how many images of each other part are nearly training images (as they are, mirrored, brighter, cropped), and
    how many images, of any part, look the same as one with another label.

    Colour images are brought to 16 by 16 pixels and compared by Pearson's correlation over their pixels, which brightness
    and contrast leave as it is. Of files up to 1,500 training images and 500 of each part are read: 2 to 6 s for photos.
    """
    shape = splits.shape or ()
    if not splits.is_image or len(shape) != 3 or shape[2] != 3 or min(shape[:2]) < SMALLEST:
        return {}, {}
    train = _chosen(splits.train, MOST_TRAIN)
    known = _small(splits.train, train)
    found, seen = {}, [(splits.train, train, known)]
    for name, part in others.items():
        places = _chosen(part, MOST_OTHERS)
        images = _small(part, places)
        seen.append((part, places, images))
        alike = np.maximum(_correlations(images, known), _correlations(images[:, :, ::-1], known))
        pairs = _pairs(alike)
        some = [[part.ids[places[ours]], splits.train.ids[train[theirs]]] for ours, theirs in pairs[:NAMED]]
        found[name] = {"examples": len(pairs), "of": len(places), "some": some}
    return found, _unlike_labels(splits, seen) if not splits.task.output.is_numeric else {}


def _unlike_labels(splits: Splits, seen: list[tuple[Examples, Array, Array]]) -> dict[str, Any]:
    """Returns how many images look the same as one with another label, without being equal to the bit."""
    named = [(part, int(place)) for part, places, _ in seen for place in places]
    images = np.concatenate([images for _, _, images in seen])
    alike = np.triu(_correlations(images, images), 1)
    if _are_alike_by_nature(alike):
        return {}
    pairs = []
    for first, second in np.argwhere(alike > SAME).tolist():
        labels = [_label(splits, *named[at]) for at in (first, second)]
        if labels[0] != labels[1] and not np.array_equal(images[first], images[second]):
            ours, theirs = (part.ids[place] for part, place in (named[first], named[second]))
            pairs.append((first, second, [ours, labels[0], theirs, labels[1]]))
    count = len({at for first, second, _ in pairs for at in (first, second)})
    return {"examples": count, "of": len(named), "some": [words for _, _, words in pairs[:NAMED]]}


def _are_alike_by_nature(alike: Array) -> bool:
    return int(((alike > NEARLY) & (alike <= ALIKE)).sum()) > 10 * len(alike)


def _pairs(alike: Array) -> list[tuple[int, int]]:
    """Returns the images that have near copies among the training images, each with the nearest.

    None where the images are alike by nature, as digits, stripes and X-rays are: copies stand apart, with few others
    between them and the rest, while natural likeness has no edge.
    """
    counts, nearly = (alike > ALIKE).sum(axis=1), ((alike > NEARLY) & (alike <= ALIKE)).sum(axis=1)
    hits = np.flatnonzero((counts > 0) & (counts <= SIBLINGS))
    if nearly[hits].sum() > counts[hits].sum() / 2:
        return []
    return [(at, int(alike[at].argmax())) for at in hits.tolist()]


def _chosen(part: Examples, most: int) -> Array:
    most *= 1 if part.inputs.in_files else 10
    places = np.arange(len(part))
    return places if len(part) <= most else np.sort(np.random.default_rng(0).permutation(len(part))[:most])


def _small(part: Examples, places: Array) -> Array:
    """Returns images as float32 `(n, 16, 16, 3)`: the means of equal fields of pixels."""
    found = []
    for at in range(0, len(places), 64):
        some = places[at : at + 64]
        images = part.inputs.read(some)
        found.append(_fields(images.astype("float32")))
    return np.concatenate(found)


def _fields(images: Array) -> Array:
    rows, columns = (np.linspace(0, size, SIDE, endpoint=False).astype(int) for size in images.shape[1:3])
    sums = np.add.reduceat(np.add.reduceat(images, rows, axis=1), columns, axis=2)
    heights, widths = np.diff([*rows, images.shape[1]]), np.diff([*columns, images.shape[2]])
    return np.asarray(sums / (heights[:, None] * widths)[None, :, :, None])


def _correlations(images: Array, others: Array) -> Array:
    return np.asarray(_standardised(images) @ _standardised(others).T)


def _standardised(images: Array) -> Array:
    """Returns rows of mean 0 and length 1; a picture of one colour is 0, and like no other."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.sqrt((flat**2).sum(axis=1, keepdims=True))
    return np.asarray(np.where(length > flat.shape[1] ** 0.5, flat / np.maximum(length, 1e-6), 0))


def shared_stems(splits: Splits, others: dict[str, Examples]) -> dict[str, Any]:
    """Returns for each other part how many examples share the stem of their file's name with training examples.

    The stem is the name up to its last `_`, `-`, `.` or space: `ants/003` of `ants/003_mirrored.jpg`. It counts where the
    names are made of many small groups with endings that recur (`orig`, `mirrored`; `1`, `2`), as those of augmented
    copies, of frames or of visits are; not where it is the same for a whole folder (`cat.1.jpg`, `cat.2.jpg`).
    """
    names = {part: [_stem(name) for name in examples.ids] for part, examples in {"train": splits.train, **others}.items()}
    every = [name for part in names.values() for name in part if name]
    if len(every) < 0.9 * sum(map(len, names.values())) or not _are_groups(every):
        return {}
    first = {name[0]: place for place, name in reversed(list(enumerate(names["train"]))) if name}
    found = {}
    for part, examples in others.items():
        pairs = [(place, first[name[0]]) for place, name in enumerate(names[part]) if name and name[0] in first]
        some = [[examples.ids[ours], splits.train.ids[theirs]] for ours, theirs in pairs[:NAMED]]
        found[part] = {"examples": len(pairs), "of": len(examples), "some": some}
    return found


def _stem(name: str) -> tuple[tuple[str, str], str] | None:
    """Returns the stem of a file's name, with its folder, and the ending; None of a name without both."""
    path = PurePosixPath(name)
    found = re.fullmatch(r"(.*[^\W_])[ _.\-]+\(?([A-Za-z0-9]+)\)?", path.stem) if path.suffix else None
    return None if found is None else ((path.parent.name, found.group(1)), found.group(2).lower())


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


def contradictions(splits: Splits, parts: dict[str, Examples], groups: Iterable[list[tuple[str, int]]]) -> dict[str, Any]:
    """Returns how many examples are equal to another one with another label, and some pairs with their labels.

    Args:
        splits: the data.
        parts: its parts, each once.
        groups: places, by part, of examples that are equal to the bit.
    """
    count, some = 0, list[list[str]]()
    for group in groups:
        labels = [_label(splits, parts[part], place) for part, place in group]
        if len(set(labels)) < 2:
            continue
        count += len(group)
        other = next(at for at, label in enumerate(labels) if label != labels[0])
        named = [parts[part].ids[place] for part, place in (group[0], group[other])]
        some.append([named[0], labels[0], named[1], labels[other]])
    return {"examples": count, "of": sum(map(len, parts.values())), "some": some[:NAMED]}


def _label(splits: Splits, part: Examples, place: int) -> str:
    return splits.task.output.text(part.targets[place], splits.classes)
