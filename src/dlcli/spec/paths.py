"""Paths of the user's in a spec: environment variables replaced, relative to the spec's folder."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo
from pydantic_core import PydanticCustomError

_LONGEST = 4000
_SECRET = re.compile(r"(?i)SECRET|TOKEN|PASSW|CREDENTIAL|API_?KEY|ACCESS_KEY|PRIVATE_KEY")
"""Names of variables that hold secrets: their values must not reach a spec, a log or a tracker."""
_NO_NAME = "not a valid file name: it is too long, or contains a NUL character"


def with_environment(value: str) -> str:
    """Returns a text with `${NAME}` and `${NAME:-default}` replaced."""
    import os

    if len(value) > _LONGEST:  # before the search, whose time grows with the number of unclosed braces
        raise PydanticCustomError("path", _NO_NAME)

    def replaced(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        if _SECRET.search(name) and not name.endswith(("_DIR", "_FILE", "_FOLDER", "_PATH")):
            raise PydanticCustomError(
                "environment", "{name} is named like a secret, and the run would store its value", {"name": name}
            )
        if name not in os.environ and default is None:
            raise PydanticCustomError(
                "environment", "environment variable {name} is not set; `${{name}:-default}` gives a default", {"name": name}
            )
        return os.environ.get(name, default or "")

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}", replaced, value)


def as_path(value: str, info: ValidationInfo) -> str:
    """Returns an absolute path: environment variables replaced, relative to the spec's folder."""
    import os
    from pathlib import Path

    text = with_environment(value)
    folder = (info.context or {}).get("folder", ".")
    try:
        path = os.path.normpath(Path(folder).absolute() / Path(text).expanduser())
    except RuntimeError:  # `~name` of a user that there is not
        raise PydanticCustomError("path", "there is no user of this name") from None
    if "\0" in path or len(os.fsencode(path)) > _LONGEST or any(len(os.fsencode(part)) > 255 for part in path.split("/")):
        raise PydanticCustomError("path", _NO_NAME)
    return path


FilePath = Annotated[str, AfterValidator(as_path)]
"""A path of the user's, made absolute when the spec is read, so that a run can be moved without losing its data."""
