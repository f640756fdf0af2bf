"""The contents of charts: scores that were just computed, or that were read from a run's files."""

from __future__ import annotations

from typing import Protocol

from dlcli.arrays import Array


class Curve(Protocol):
    """The curve of one class against the rest."""

    @property
    def name(self) -> str:
        """The class."""

    @property
    def x(self) -> Array:
        """Horizontal positions `(n,)`."""

    @property
    def y(self) -> Array:
        """Vertical positions `(n,)`."""

    @property
    def area(self) -> float:
        """The area below it."""


class Bin(Protocol):
    """The examples whose probability lies in (low, high]."""

    @property
    def low(self) -> float:
        """The lower end."""

    @property
    def high(self) -> float:
        """The upper end."""

    @property
    def examples(self) -> int:
        """Their number."""

    @property
    def confidence(self) -> float:
        """Their mean probability."""

    @property
    def accuracy(self) -> float:
        """The share of correct claims among them."""


class Decile(Protocol):
    """A tenth of the examples by actual value."""

    @property
    def decile(self) -> int:
        """Its number, from 1."""

    @property
    def low(self) -> float:
        """The smallest actual value."""

    @property
    def high(self) -> float:
        """The largest actual value."""

    @property
    def mae(self) -> float:
        """The mean absolute error."""

    @property
    def bias(self) -> float:
        """The mean error."""
