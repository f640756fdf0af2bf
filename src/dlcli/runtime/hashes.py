"""Hashes of numbers in arrays."""

from __future__ import annotations

import numpy as np

from dlcli.arrays import Array


def mixed(numbers: Array) -> Array:
    """Returns uint64 numbers each bit of which depends on all bits of the number in its place, one to one.

    The function is the finalizer of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").

    >>> mixed(np.array([0, 1], "uint64")).tolist()
    [0, 6238072747940578789]
    """
    with np.errstate(over="ignore"):
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(numbers ^ (numbers >> np.uint64(31)))
