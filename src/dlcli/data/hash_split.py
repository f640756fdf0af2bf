"""Splits by hashes: the split of an example depends on the seed and on the example or its group alone."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

from dlcli.arrays import Array
from dlcli.data.side_columns import texts
from dlcli.errors import DataError
from dlcli.spec.data.sources import Examples
from dlcli.spec.data.sources.base import ROW


def divided_by_hash(examples: Examples, shares: Mapping[str, float], seed: int, *, has_files: bool) -> dict[str, Array]:
    """Returns the places of the examples of each split, int64 `(n,)`; shares are approximate.

    Args:
        examples: the examples to divide.
        shares: the shares of `validation` and `test`; one may be missing.
        seed: the seed of the spec.
        has_files: whether examples are files: their names are hashed, else their content.

    Raises:
        DataError: a split has no examples.
    """
    values = _hashes(examples, f"split {seed}", has_files=has_files)
    test = shares.get("test", 0.0)
    limits = {"test": (0.0, test), "validation": (test, test + shares.get("validation", 0.0))}
    limits["train"] = (limits["validation"][1], 1.0)
    places = {name: np.flatnonzero((low <= values) & (values < high)) for name, (low, high) in limits.items() if low < high}
    empty = next((name for name, chosen in places.items() if not len(chosen)), None)
    if empty is not None:
        units = "examples" if examples.groups is None else "groups"
        count = len(set(values.tolist()))
        raise DataError(
            f"data.split.method: hash: no example is in the {empty} split; {count} different {units} are too few, or choose"
            " another `seed`"
        )
    return places


def sampled_by_hash(examples: Examples, fraction: float, seed: int, *, has_files: bool) -> Array:
    """Returns the places of about a fraction of the examples; a smaller fraction's are among a larger one's.

    Raises:
        DataError: there are none.
    """
    chosen = np.flatnonzero(_hashes(examples, f"fraction {seed}", has_files=has_files) < fraction)
    if not len(chosen):
        raise DataError(f"data.split.train_fraction: {fraction:g} of {len(examples)} training examples are none")
    return chosen


def _hashes(examples: Examples, salt: str, *, has_files: bool) -> Array:
    """Returns a number in [0, 1) for each example float64 `(n,)`: equal for examples of one group."""
    if examples.groups is not None:
        keys = [str(group).encode(errors="surrogatepass") for group in examples.groups.tolist()]
    elif has_files:
        keys = [example.encode(errors="surrogatepass") for example in examples.ids]
    elif ROW in examples.side_columns:
        keys = [(row or "").encode(errors="surrogatepass") for row in texts(examples.side_columns[ROW])]
    else:
        keys = [examples.inputs.digest(place) for place in range(len(examples))]
    key = blake2b(salt.encode()).digest()[:32]
    return np.array([int.from_bytes(blake2b(text, key=key, digest_size=8).digest(), "big") / 2**64 for text in keys])
