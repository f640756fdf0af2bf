"""Numbers as text."""

from __future__ import annotations


def short_number(value: float) -> str:
    """Returns a number with four figures, for places where many stand."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
