"""Formats numbers as text."""

from __future__ import annotations


def digits(value: float) -> str:
    """Returns a number with nine digits, from which every float32 can be read back exactly."""
    return f"{value:.9g}"


def short_number(value: float) -> str:
    """Returns a number with four significant digits, for crowded places."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
