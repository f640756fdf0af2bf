"""Pairs of similar hashes are those of a comparison of all pairs, in memory that does not grow with their square."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import imagehash
import numpy as np
import pytest
from conftest import environment
from PIL import Image

from data.doctor.image_folders import photos
from dlcli.data.doctor import image_hashes
from dlcli.data.doctor.image_hashes import MOST_BITS, hashes_of, oriented, similar_pairs

Array = np.ndarray[Any, Any]


def _ignore(done: int, total: int) -> None:
    """Reports nothing."""


def _with_near_ones(count: int, near: int, seed: int = 0) -> Array:
    """Returns random hashes, of which the last ones differ from the first ones in 0 to 12 bits in one orientation."""
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**64, (count, 8, 2), dtype="uint64")
    for place in range(near):
        flipped = random.permutation(64)[: place % 13].astype("uint64")
        difference = np.bitwise_or.reduce(np.uint64(1) << flipped) if len(flipped) else np.uint64(0)
        hashes[count - 1 - place, place % 8, place % 2] = hashes[place, 0, place % 2] ^ difference
    return hashes


def _all_pairs(hashes: Array) -> set[tuple[int, int, int]]:
    pairs = set()
    for orientation in range(8):
        distances = np.bitwise_count(hashes[:, None, 0, :] ^ hashes[None, :, orientation, :]).min(axis=2)
        rows, columns = np.nonzero(distances <= MOST_BITS)
        pairs |= {(a, b, orientation) for a, b in zip(rows.tolist(), columns.tolist(), strict=True) if a != b}
    return pairs


@pytest.mark.parametrize("few", [0, 3000])
def test_similar_pairs_are_those_of_a_comparison_of_all_pairs(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By bands as for many images, and without them as for few."""
    monkeypatch.setattr(image_hashes, "_FEW", few)
    hashes = _with_near_ones(300, 140)
    pairs = similar_pairs(hashes, 10_000, _ignore)
    assert pairs is not None
    assert {tuple(pair) for pair in pairs.tolist()} == _all_pairs(hashes)
    assert len(pairs) > 90


def test_more_pairs_than_allowed_are_not_returned() -> None:
    assert similar_pairs(np.zeros((100, 8, 2), "uint64"), 5000, _ignore) is None


def test_hashes_are_those_of_the_library_in_every_orientation() -> None:
    grey = np.asarray(photos(1, size=(32, 32))[0].convert("L"))
    hashes = hashes_of(grey.astype("float32"))
    for number in range(8):
        image = Image.fromarray(np.ascontiguousarray(oriented(grey, number)))
        for kind, method in enumerate((imagehash.phash, imagehash.dhash)):
            assert int(hashes[number, kind]) == int(str(method(image)), 16)


def test_the_orientations_are_all_different_and_turn_clockwise() -> None:
    image = np.arange(6).reshape(2, 3)
    assert len({oriented(image, number).tobytes() + bytes(oriented(image, number).shape) for number in range(8)}) == 8
    assert oriented(image, 1).tolist() == [[3, 0], [4, 1], [5, 2]]
    assert oriented(image, 4).tolist() == [[2, 1, 0], [5, 4, 3]]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_hashes_need_little_memory() -> None:
    """The matrix of all pairs would take 10 GB as bytes."""
    program = (
        "import resource, numpy as np\n"
        "from dlcli.data.doctor.image_hashes import similar_pairs\n"
        "hashes = np.random.default_rng(0).integers(0, 2**64, (100_000, 8, 2), dtype='uint64')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert len(similar_pairs(hashes, 10**6, lambda done, total: None)) < 50\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True, timeout=850
    )
    assert int(result.stdout) < 150
