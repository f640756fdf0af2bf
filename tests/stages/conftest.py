"""What tests of the stages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def without_pictures() -> Iterator[None]:
    """Leaves the pictures out: a quarter of so small a training's time. `test_plots.py` and `test_bad_input.py` draw them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dlcli.stages.plots.save", lambda figure, path: None)
        yield
