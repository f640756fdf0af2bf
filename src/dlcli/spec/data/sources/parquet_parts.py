"""Which rows of a large table belong to which split: a hash of the row's number decides, so appended rows change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcli.arrays import Array

_BLOCK_ROWS = 1_048_576


def part_of_rows(numbers: Array, shares: Mapping[str, Any], seed: int, part: str) -> dict[str, Array]:
    """Returns the positions of the rows of each part.

    Args:
        numbers: the number of each row in its files, int64 `(n,)`.
        shares: the share of the test and the validation rows; a text where they have their own files.
        seed: the seed of the run.
        part: the part that the other rows belong to.
    """
    import numpy as np

    drawn = {name: share for name, share in shares.items() if isinstance(share, float) and share > 0}
    ends = list(accumulate(drawn.values()))
    part_numbers = np.empty(len(numbers), "uint8")
    for start in range(0, len(numbers), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        part_numbers[block] = np.searchsorted(ends, unit_hashes(numbers[block], seed), side="right")
    places = {name: np.flatnonzero(part_numbers == number) for number, name in enumerate(drawn)}
    return {part: np.flatnonzero(part_numbers == len(ends)), **{name: rows for name, rows in places.items() if len(rows)}}


def unit_hashes(numbers: Array, seed: int) -> Array:
    """Returns a hash of each number as a float64 in [0, 1): a number of SplitMix64 (`mixed`)."""
    import numpy as np

    from dlcli.runtime.hashes import mixed

    with np.errstate(over="ignore"):
        z = (numbers.astype("uint64") + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64((seed * 0xD1B54A32D192ED03 + 0x2545F4914F6CDD1D) % 2**64)
    return np.asarray((mixed(z) >> np.uint64(11)).astype("float64") / 2.0**53)
