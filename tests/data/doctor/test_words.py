"""Shares in percent are never rounded to nothing or to everything."""

from __future__ import annotations

import pytest

from dlcli.data.doctor import words


@pytest.mark.parametrize(
    ("part", "text"),
    [
        *((0.0, "0 %"), (0.0004, "less than 0.1 %"), (0.0005, "0.1 %"), (0.0123, "1.2 %"), (0.123, "12 %")),
        *((0.9949, "99 %"), (0.995, "99.5 %"), (0.9994, "99.9 %"), (0.9999, "more than 99.9 %"), (1.0, "100 %")),
    ],
)
def test_only_nothing_is_0_and_only_everything_is_100_percent(part: float, text: str) -> None:
    assert words.share(part) == text
