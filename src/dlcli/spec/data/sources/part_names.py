"""The usual names of the folders for training, validation and test examples."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dlcli.spec.data.sources.labels import composed

SPLITS = ("train", "validation", "test")
"""The names of the splits, in the order in which they are written and shown."""
_WORDS = {
    "train": "train training trn",
    "validation": "validation validate val valid dev devel development",
    "test": "test testing tests tst holdout heldout",
    "evaluation": "evaluation evaluate eval",
}
_PART_OF = {word: part for part, words in _WORDS.items() for word in words.split()}
# Words that may occur beside the name of a split: `train_images`, `test set`, `ValData`.
_NEUTRAL = frozenset(
    {
        "set",
        "sets",
        "data",
        "dataset",
        "image",
        "images",
        "img",
        "imgs",
        "photo",
        "photos",
        "picture",
        "pictures",
        "pic",
        "pics",
    }
    | {"file", "files", "folder", "dir", "part", "split", "sample", "samples", "example", "examples", "the"}
)
_UNLABELLED = _NEUTRAL | {"unknown", "unlabeled", "unlabelled", "none", "all"}


def _either(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_GLUED = re.compile(f"({_either(_PART_OF)})({_either(_NEUTRAL)})")


def part_of(name: str) -> tuple[str, str] | None:
    """Returns the part that a folder's name means, with the other words of the name; None if it names no part, or two.

    `Training` is `train`, `seg_test` is `test` of `seg`, `valid-set` is `validation`. The part may be `evaluation`, which
    people use for validation and for test.
    """
    words = _words(name)
    part_words = [word for word in words if word in _PART_OF]
    if len(part_words) != 1:
        return None
    return _PART_OF[part_words[0]], " ".join(word for word in words if word not in _NEUTRAL and word != part_words[0])


def is_for_unlabelled(name: str) -> bool:
    """Whether a folder's name is no class: `unknown`, `images`, `test_images`."""
    return all(word in _UNLABELLED or word in _PART_OF for word in _words(name))


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", composed(name)).casefold()
    words = re.findall(r"[^\W\d_]+|\d+", spaced)
    parted = [part for word in words for part in _parted(word)]
    return " ".join(parted).replace("hold out", "holdout").replace("held out", "heldout").split()


def _parted(word: str) -> tuple[str, ...]:
    """Returns a word that is a split's name and a neutral one, such as `trainset`, as both."""
    glued = _GLUED.fullmatch(word)
    return glued.groups() if glued else (word,)
