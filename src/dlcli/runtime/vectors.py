"""Word vectors of a text file, for the tokens of a vocabulary."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DataError

FIRST = 2
"""The first entries of a vocabulary stand for padding and unknown tokens."""


@dataclass(frozen=True)
class Vectors:
    """The vectors of a vocabulary.

    Attributes:
        values: the vectors by the numbers of the tokens, float32 `(tokens, dimensions)`; padding and missing tokens have 0.
        missing: the tokens that the file lacks, in the order of the vocabulary.
    """

    values: Array
    missing: tuple[str, ...]


def read_vectors(path: str, vocabulary: Sequence[str], stddev: float | None, size: int | None = None) -> Vectors:
    """Returns the vectors of a vocabulary from a file of GloVe, word2vec or fastText in their text form.

    A line has a token, which may contain spaces, and the numbers of its vector. A first line with two numbers, as word2vec
    writes it, is the header. Tokens without a vector get zeros, which say nothing until they are trained: random vectors as
    large as the others drown them out in small sets. The last results are kept, since the log and each model need them.

    Args:
        path: the file; compressed by gzip if its name ends in `.gz`.
        vocabulary: the tokens by their numbers; the first two stand for padding and unknown tokens.
        stddev: the standard deviation that the values of the file together get; None to leave them as they are.
        size: the number of values that the vectors must have; None for any.

    Raises:
        DataError: the file cannot be read, a line has another number of values than the first, the vectors have another size,
            or no token has a vector.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    vectors = _read(path, (status.st_size, status.st_mtime_ns), tuple(vocabulary), stddev)
    if size not in (None, vectors.values.shape[1]):
        raise DataError(f"{path}: its vectors have {vectors.values.shape[1]} values, expected {size} (`output_dim`)")
    return vectors


def vector_size(path: str) -> int:
    """Returns the number of values of a vector in a file.

    Raises:
        DataError: the file cannot be read, or has no vector.
    """
    with _opened(path) as file:
        for _, _, cells in _lines(file, path):
            return len(cells)
    raise DataError(f"{path}: there is no vector in it")


@lru_cache(maxsize=4)
def _read(path: str, _version: tuple[int, int], vocabulary: tuple[str, ...], stddev: float | None) -> Vectors:
    """Reads the vectors of a version of a file, given by its size and time."""
    number = {token: place for place, token in enumerate(vocabulary) if place >= FIRST}
    rows = dict[int, Array]()
    with _opened(path) as file:
        for line, token, cells in _lines(file, path):
            place = number.get(token)
            if place is not None and place not in rows:
                rows[place] = _values(cells, f"{path}:{line}")
    if not rows:
        raise DataError(f"{path}: no token of the vocabulary has a vector in it")
    vectors = np.stack([rows[place] for place in sorted(rows)])
    scale = 1.0 if stddev is None else stddev / max(float(vectors.std()), 1e-12)
    values = np.zeros((len(vocabulary), vectors.shape[1]), "float32")
    values[sorted(rows)] = vectors * np.float32(scale)
    missing = tuple(token for place, token in enumerate(vocabulary) if place >= FIRST and place not in rows)
    return Vectors(values, missing)


@contextmanager
def _opened(path: str) -> Iterator[Iterable[bytes]]:
    try:
        with Path(path).open("rb") as file:
            yield gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _lines(file: Iterable[bytes], path: str) -> Iterator[tuple[int, str, list[bytes]]]:
    """Yields the number of each line, its token, and the cells of its vector.

    Raises:
        DataError: a line has fewer cells than the vector of the first one.
    """
    dimensions = 0
    for number, line in enumerate(file, start=1):
        cells = line.rstrip().split(b" ")
        if number == 1 and len(cells) == 2 and all(cell.isdigit() for cell in cells):
            continue
        dimensions = dimensions or _dimensions(cells)
        if not dimensions or len(cells) <= dimensions:
            expected = f"{dimensions} numbers" if dimensions else "its numbers"
            raise DataError(f"{path}:{number}: expected a token and {expected}, found {len(cells)} values")
        yield number, b" ".join(cells[:-dimensions]).decode("utf-8", "replace"), cells[-dimensions:]


def _dimensions(cells: Sequence[bytes]) -> int:
    """Returns how many cells at the end of the first line are numbers; a token that is a number is still a token."""
    count = 0
    for cell in reversed(cells[1:]):
        if not _is_number(cell):
            break
        count += 1
    return count


def _is_number(cell: bytes) -> bool:
    try:
        return isfinite(float(cell))
    except ValueError:
        return False


def _values(cells: Sequence[bytes], where: str) -> Array:
    if wrong := next((cell for cell in cells if not _is_number(cell)), None):
        raise DataError(f"{where}: expected numbers after the token, found {wrong.decode('utf-8', 'replace')[:40]!r}")
    return np.array([float(cell) for cell in cells], dtype="float32")
