"""A batch of new examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dlcli.runtime.inputs import Inputs


@dataclass(frozen=True)
class Batch:
    """Examples with their names: images, arrays, or raw columns."""

    ids: list[str]
    inputs: Inputs
    notes: tuple[str, ...] = ()
    """Notes on the file after all its rows were read; such a batch is empty."""


Skip = Callable[[str, str], None]
"""A function that reports a skipped example or file: its name, and the reason."""
