"""The names of the arrays of an `.npz` file: which of them belong together, and to which split."""

from __future__ import annotations

import re

from dlcli.spec.data.sources.part_names import SPLITS, part_of


def stem_and_part(name: str) -> tuple[str, str]:
    """Returns an array's name without the word that names a split, and that split; "" where no word names one."""
    words = re.split(r"([_\-. ])", name)
    parts = {place: named[0] for place, word in enumerate(words) if (named := part_of(word)) and not named[1]}
    if len(parts) != 1 or len(words) == 1:
        return name, ""
    ((place, part),) = parts.items()
    rest = words[2:] if place == 0 else words[: place - 1] + words[place + 1 :]
    return "".join(rest), part


def parts_of(name: str, names: list[str]) -> dict[str, list[str]]:
    """Returns the arrays that correspond to `name` in each split, in the order of the splits.

    `name` itself is the training split's, else `name_train`. What may be validation or test, `x_eval`, is the one that
    is missing, test if both are.
    """
    stem = stem_and_part(name)[0]
    arrays: dict[str, list[str]] = {}
    for other in names:
        other_stem, part = stem_and_part(other)
        if part and other_stem == stem:
            arrays.setdefault(part, []).append(other)
    evaluation = arrays.pop("evaluation", None)
    if evaluation:
        free = next((part for part in ("test", "validation") if part not in arrays), "test")
        arrays[free] = [*arrays.get(free, []), *evaluation]
    if name in names:
        arrays["train"] = [name]
    return {part: arrays[part] for part in SPLITS if part in arrays}


def pairs_of(names: list[str], features: str, target: str | None) -> dict[str, tuple[str, ...]]:
    """Returns the arrays of inputs and of labels of each part that has both; without `target`, those of inputs alone."""
    inputs = parts_of(features, names)
    if target is None:
        return {part: (same[0],) for part, same in inputs.items()}
    labels = parts_of(target, names)
    return {part: (same[0], labels[part][0]) for part, same in inputs.items() if part in labels}


def named_like(target: str, features: str) -> str:
    """Returns the name that the labels of an array of inputs would have: `y_test` for `x_test`."""
    part = next(word for word in re.split(r"[_\-. ]", features) if part_of(word))
    own = [word for word in re.split(r"[_\-. ]", target) if part_of(word)]
    return target.replace(own[0], part) if own else f"{target}_{part}"


def nearest_pair(names: list[str]) -> str:
    """Returns the fields that fit the arrays of a file whose names are usual ones."""
    for features, target in (("train_images", "train_labels"), ("X_train", "y_train"), ("X", "y"), ("images", "labels")):
        if features in names and target in names:
            return f"; set `features: {features}, target: {target}`"
    return ""
