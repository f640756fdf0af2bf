"""Series in `.ts` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dlcli.errors import DataError
from dlcli.spec.data.sources.ts import Ts
from spec.sources.opening import opened, request

HEAD = "# comment\n@problemName p\n@timestamps false\n@univariate false\n@classLabel true b a\n@data\n"
TRAIN = HEAD + "1,2,3:4,5,6:a\n\n7,8:9,10:b\n"


def source(path: Path, text: str, **fields: str) -> Ts:
    path.write_text(text, encoding="utf-8")
    return Ts.model_validate({"kind": "ts", "path": str(path), **fields})


def test_series_of_different_lengths_are_padded_to_the_longest_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "test.ts").write_text(HEAD + "1,1,1,1:2,2,2,2:b\n", encoding="utf-8")
    result = opened(source(tmp_path / "train.ts", TRAIN, test=str(tmp_path / "test.ts")))
    assert result.classes == ("b", "a")
    train, test = result.parts["train"], result.parts["test"]
    nan = np.nan
    np.testing.assert_array_equal(
        train.inputs.read(np.arange(2)), [[[1, 4], [2, 5], [3, 6], [nan, nan]], [[7, 9], [8, 10], [nan, nan], [nan, nan]]]
    )
    assert train.targets.tolist() == [1, 0]
    assert test.inputs.is_padded
    np.testing.assert_allclose(train.inputs.scale("standard")[0], [21 / 5, 34 / 5])


def test_series_of_one_length_have_no_padding_and_numbers_are_targets(tmp_path: Path) -> None:
    text = "@timestamps false\n@targetlabel true\n@data\n1,2:0.5\n3,4:1.5\n"
    result = opened(source(tmp_path / "train.ts", text), "regression")
    assert result.parts["train"].inputs.shape == (2, 1)
    assert not result.parts["train"].inputs.is_padded
    assert result.parts["train"].targets.tolist() == [[0.5], [1.5]]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1,2:a\n", "is no `.ts` file: it has no line `@data`"),
        ("@timestamps true\n@data\n(0,1):a\n", r"train\.ts:1: series with times are not supported"),
        (HEAD + "1,2:3:a\n", r"train\.ts:7: its channels have 1 to 2 steps"),
        (HEAD + "1,2:3,4:a\n5,6:b\n", r"train\.ts:8: expected 2 channels, found 1"),
        (HEAD + "1,x:3,4:a\n", r"train\.ts:7: could not convert string to float: 'x'"),
        (HEAD + "1,?,2:3,4,5:a\n", "1 series has missing values; fill them first"),
        (HEAD + "1,2:3,4:c\n", "class 'c' is not among"),
        (HEAD, "has no series"),
    ],
)
def test_wrong_files_are_refused_with_their_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        source(tmp_path / "train.ts", text).open(request())
