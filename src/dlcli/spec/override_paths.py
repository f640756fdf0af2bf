"""Relative paths in `--set`: they are relative to the working folder, where the user types them, as in any command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dlcli.spec.document import Document
from dlcli.spec.document import Path as Place

Validate = Callable[[str], Any]
"""Returns the experiment whose relative paths start at a folder; None where the document is invalid."""


def with_absolute_paths(
    document: Document, overrides: Sequence[str], folder: str, validate: Validate, to_text: Callable[[Any], str]
) -> tuple[str, ...]:
    """Makes the relative paths that overrides set absolute, in the document, and returns the overrides with them.

    Only the spec's classes know which values are paths: those that differ when the spec is in another folder.
    """
    if not document.options or Path(folder).absolute() == Path.cwd():
        return tuple(overrides)
    here, there = validate("."), validate(folder)
    if here is None or there is None:
        return tuple(overrides)
    changed: dict[str, Any] = {}
    for place, option in document.options.items():
        raw = _at(document.data, place)
        value = _absolute(raw, _at(here, place), _at(there, place))
        if value != raw:
            _at(document.data, place[:-1])[place[-1]] = value
            changed[option] = value
    names = {override: override.partition("=")[0] for override in overrides if f"--set {override}" in changed}
    return tuple(
        f"{names[override]}={to_text(changed[f'--set {override}'])}" if override in names else override
        for override in overrides
    )


def _absolute(raw: Any, here: Any, there: Any) -> Any:
    """Returns a value with its paths, the texts that the two folders turn into different ones, below the working folder."""
    if isinstance(raw, dict):
        return {key: _absolute(value, _at(here, (key,)), _at(there, (key,))) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_absolute(value, _at(here, (place,)), _at(there, (place,))) for place, value in enumerate(raw)]
    is_path = isinstance(raw, str) and isinstance(here, str) and isinstance(there, str) and here != there
    return here if is_path else raw


def _at(value: Any, place: Place) -> Any:
    """Returns the value at a place of plain data or of a spec; None where there is none."""
    for part in place:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, (list, tuple)):
            value = value[part] if isinstance(part, int) and part < len(value) else None
        else:
            value = getattr(value, str(part), None)
    return value
