"""Addresses in a spec: written out in full, encrypted, and without a secret.

A spec may come from somebody else. A variable of the environment in an address would send its value to whoever the spec names.
"""

from __future__ import annotations

import re

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

from dlcli.spec.paths import as_path, with_environment

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECRET_KEY = re.compile(r"(?i)[?&;#][^=&]*(?:password|passwd|pwd|secret|token|credential|api_?key|signature)[^=&]*=")
_DEFAULT = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*:-([^}$]*)\}")
LOOPBACK = re.compile(r"(?i)https?://(localhost|127(\.\d{1,3}){3}|\[::1\])(?::\d+)?(?:[/?#]|$)")
"""Addresses of this machine, for which `http` is enough."""


def is_address(text: str) -> bool:
    """Whether a text is an address of a network, a database or a file, and not a path."""
    return _SCHEME.match(text) is not None


def address_or_path(value: str, info: ValidationInfo, remedy: str = "") -> str:
    """Returns an address as the spec has it, or an absolute path with its environment variables replaced.

    Args:
        value: the text of the spec. Of `${NAME:-https://...}` the default may be in an address, the variable may not.
        info: the folder of the spec.
        remedy: where a name, password or token belongs instead, for the message.
    """
    text = with_environment(value)
    if not is_address(text):
        if is_address(value):
            raise _wrong("write the address out: environment variables are only replaced in paths")
        return as_path(value, info)
    if _DEFAULT.sub(lambda match: match.group(1), value) != text:  # something is from the environment
        raise _wrong("write the address out: environment variables are only replaced in paths")
    is_stored = bool((info.context or {}).get("kept"))  # runs of earlier versions have addresses without encryption
    refuse_unsafe(text, remedy, encrypted=not is_stored)
    return text


def refuse_unsafe(address: str, remedy: str = "", *, encrypted: bool = True) -> None:
    """Raises PydanticCustomError for an address without encryption, or with a name, password or token in it."""
    rest = address.partition("://")[2]
    if "@" in re.split(r"[/?#]", rest)[0] or _SECRET_KEY.search(address):
        raise _wrong(f"contains a user name, password or token, which the run would store{remedy}")
    if encrypted and address.lower().startswith("http://") and not LOOPBACK.match(address):
        raise _wrong("http is not encrypted; use an https address")


def _wrong(words: str) -> PydanticCustomError:
    return PydanticCustomError("address", "{words}", {"words": words})
