"""Text that came from data, files or specs, made harmless for terminals and logs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from unicodedata import category

_JOINERS = "\u200c\u200d"
"""Characters without a width that some scripts, and emoji of several parts, need."""


def _as_python(char: str) -> str:
    return char.encode("unicode_escape").decode()


def visible(text: object, *, keep: str = "", escape: Callable[[str], str] = _as_python) -> str:
    r"""Returns a text with every control character written out: ESC as `\x1b`, a line's end as `\n`.

    So are marks that turn the direction of writing, and bytes that were no text: all that could colour a terminal, move
    its cursor, forge a line or hide a word. Letters, signs and spaces of every script stay.

    Args:
        text: anything; its `str` is taken.
        keep: control characters that stay, such as a line's end between lines.
        escape: how a character is written out; as Python does if not given.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep or _is_harmless(char) else escape(char) for char in text)


def _is_harmless(char: str) -> bool:
    return category(char) == "Zs" or char in _JOINERS


def listed(names: Sequence[str]) -> str:
    """Returns the first ten names, with dots for the others."""
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
