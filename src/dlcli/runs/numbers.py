"""Numbers as text."""

from __future__ import annotations


def digits(value: float) -> str:
    """Returns a number with nine digits, which tell every float32 from its neighbours: read back, it is the same."""
    return f"{value:.9g}"


def short_number(value: float) -> str:
    """Returns a number with four figures, for places where many stand."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
