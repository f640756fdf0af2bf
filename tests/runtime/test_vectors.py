"""Files of word vectors: only the vectors of the vocabulary are kept."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dlcli.errors import DataError
from dlcli.runtime.vectors import read_vectors

VOCABULARY = ("", "[UNK]", "the", "new york", "7", "absent")
LINES = "the 1 2 3\n. 9 9 9\nnew york 4 5 6\n7 7 8 9\n"


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_rows_of_the_vocabulary_are_those_of_the_file_and_others_are_zero(tmp_path: Path) -> None:
    vectors = read_vectors(written(tmp_path / "v.txt", LINES), VOCABULARY, None)
    np.testing.assert_array_equal(vectors.values[2:5], [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(vectors.values[[0, 1, 5]], 0)
    assert vectors.missing == ("absent",)
    assert vectors.values.shape == (6, 3)
    assert vectors.values.dtype == np.float32


def test_a_header_and_compression_change_nothing_and_the_deviation_is_set(tmp_path: Path) -> None:
    plain = read_vectors(written(tmp_path / "v.txt", LINES), VOCABULARY, None)
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(f"4 3\n{LINES}".encode()))
    packed = read_vectors(str(tmp_path / "v.txt.gz"), VOCABULARY, None)
    np.testing.assert_array_equal(packed.values, plain.values)
    scaled = read_vectors(str(tmp_path / "v.txt.gz"), VOCABULARY, 0.3)
    assert scaled.values[2:5].std() == pytest.approx(0.3, rel=1e-5)
    np.testing.assert_array_equal(scaled.values[[0, 1, 5]], 0)
    np.testing.assert_allclose(scaled.values / scaled.values[2, 0], plain.values / plain.values[2, 0], rtol=1e-5)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    first = read_vectors(written(tmp_path / "v.txt", LINES), VOCABULARY, None)
    second = read_vectors(written(tmp_path / "v.txt", LINES.replace("the 1 2 3", "the 1 2 3.5")), VOCABULARY, None)
    assert (first.values[2, 2], second.values[2, 2]) == (3, 3.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2 3\ndog 1 2\n", r":2: expected a token and 3 numbers, found 3 values"),
        ("the 1 2 3\nnew york 1 x 3\n", r":2: expected numbers after the token, found 'x'"),
        ("dog 1 2 3\n", "no token of the vocabulary has a vector in it"),
        ("just words\n", r":1: expected a token and its numbers, found 2 values"),
        ("", "no token of the vocabulary"),
    ],
)
def test_damaged_files_are_refused_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_vectors(written(tmp_path / "v.txt", text), VOCABULARY, None)


def test_a_missing_file_and_a_broken_archive_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: No such file"):
        read_vectors(str(tmp_path / "none.txt"), VOCABULARY, None)
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(LINES.encode() * 100)[:-20])
    with pytest.raises(DataError, match=r"v\.txt\.gz: "):
        read_vectors(str(tmp_path / "v.txt.gz"), VOCABULARY, None)
