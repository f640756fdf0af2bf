"""Faults of a value that may have several forms, such as `auto` or a list: pydantic reports one fault for each form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from dlcli.spec.base import Spec
from dlcli.spec.document import Path
from dlcli.spec.messages import (
    BOUNDS,
    LENGTHS,
    SHAPES,
    alternatives,
    fix_of,
    literal_words,
    message_of,
    nearest,
    place_of,
    shown,
)

_OF_A_VALUE = frozenset({"literal_error", "finite_number", *LENGTHS, *SHAPES, *BOUNDS})
"""Types of pydantic's errors about a value that is there: their place is in the data, up to the name of a form."""
_TRUTH = ["true", "false"]


def messages_of(errors: list[Any], data: Any, root: type[Spec]) -> Iterator[tuple[Path, str]]:
    """Yields place and words of pydantic's errors; of a value that has none of its forms one fault.

    Args:
        errors: entries of `ValidationError.errors()`, in their order.
        data: what was validated.
        root: the class that validated it.
    """
    for place, group in groupby(errors, lambda error: _place_in_data(error, data)):
        several = list(group)
        if len(several[0]["loc"]) == len(place):
            yield from ((place_of(error), message_of(error, data, root)) for error in several)
            continue
        # A form whose content is looked at is the one that was meant.
        inside = [error | {"loc": (*place, *error["loc"][len(place) + 1 :])} for error in several]
        deepest = max(len(error["loc"]) for error in inside)
        of_form = [error for error in inside if len(error["loc"]) == deepest]
        if deepest == len(place):
            of_form = [error for error in inside if error["type"] not in SHAPES and error["type"] != "literal_error"]
        if of_form:
            yield from ((tuple(error["loc"]), message_of(error, data, root)) for error in of_form)
        else:
            yield place, _expected_forms(inside)


def _place_in_data(error: Any, data: Any) -> Path:
    """Returns the place of an error without the name of a form, which pydantic puts behind the place of the value."""
    place = tuple(error["loc"])
    if error["type"] not in _OF_A_VALUE:
        return place
    for depth, part in enumerate(place):
        is_there = part in data if isinstance(data, Mapping) else isinstance(data, list) and part in range(len(data))
        if not is_there:  # a number is the index in a list that a single value replaces
            return place if isinstance(part, int) else place[:depth]
        data = data[part]
    return place


def _expected_forms(errors: list[Any]) -> str:
    value = errors[0]["input"]
    words: list[str] = []
    fixes: list[str] = []
    for error in errors:
        kind = error["type"]
        words += literal_words(error) if kind == "literal_error" else _TRUTH if kind == "bool_type" else [SHAPES[kind]]
        fixes += [fix_of(kind, value)] if kind != "list_type" else []  # a list of the one value is rarely meant
    near = nearest(value, map(str, words)) if isinstance(value, str) else None
    fixes += [f"; did you mean `{near}`?"] if near else []
    return f"expected {alternatives(list(dict.fromkeys(words)))}, found {shown(value)}{next(filter(None, fixes), '')}"
