"""Regular expressions on names of files: only those whose search takes a bounded time."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

LONGEST = 200
MOST_REPETITIONS = 3
"""The search of a name of 255 characters takes about 255 to this power steps at most, since no repetition is nested."""
_GROUP = r"\((?:\?(?:[:=!>]|<[=!]|P<\w+>))?"
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|" + _GROUP + r"|[*+]|\{\d*,\d*\}|\{\d+\}|.", re.DOTALL)


def _checked(pattern: str) -> str:
    if len(pattern) > LONGEST:
        raise _expected(f"a regular expression of at most {LONGEST} characters")
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise _expected(f"a regular expression ({error})") from None
    if fault := unbounded(pattern):
        raise _expected(f"a regular expression {fault}, whose search may take forever")
    return pattern


def _expected(what: str) -> PydanticCustomError:
    return PydanticCustomError("expected", "expected {what}", {"what": what})


def unbounded(pattern: str) -> str:
    """Returns why the search of a valid expression may take very long; empty if it does not.

    Python's `re` tries all ways to divide a text among repetitions: exponentially many if a repeated group contains a
    repetition or alternatives, such as `(a+)+`, and a power of the length for repetitions after each other.
    """
    tokens = _TOKEN.findall(pattern)
    varies, open_groups, closed, count = False, list[bool](), False, 0
    for token, follows in zip(tokens, [*tokens[1:], ""], strict=True):
        repeats = token in ("*", "+") or (token.startswith("{") and token.endswith("}"))
        if repeats and closed:
            return "without a repeated group that contains a repetition or alternatives"
        count += repeats and not re.fullmatch(r"\{\d{1,2}\}", token)
        varies = varies or repeats or token in ("|", "?")
        closed = False
        if token.startswith("("):
            open_groups.append(varies)
            varies = follows == "|"
        elif token == ")" and open_groups:
            closed = varies
            varies = open_groups.pop() or varies
    return f"with at most {MOST_REPETITIONS} repetitions" if count > MOST_REPETITIONS else ""


NamePattern = Annotated[str, AfterValidator(_checked)]
