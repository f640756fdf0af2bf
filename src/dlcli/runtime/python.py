"""Starts Python processes that never import a module from the working folder.

Python puts the working folder first on the module path of `python -m` and `python -c`. A file `keras.py` or `json.py`
there would be imported and run in place of the package of that name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

from dlcli.program import COMMAND_VARIABLE, command


def python_command(*arguments: str) -> list[str]:
    """Returns the command line of this Python with `-P`, which keeps the working folder out of the module path."""
    return [sys.executable, "-P", *arguments]


def python_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns the environment of a process that runs Python, and of its child processes.

    The process finds the same dlcli as this one, but no module in the working folder: `PYTHONSAFEPATH` has the effect of
    `-P`, and entries for the working folder are removed from PYTHONPATH.
    """
    paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", ".")]
    ours = str(Path(__file__).resolve().parents[2])
    if ours not in paths and not _is_found(ours):
        paths.append(ours)
    safe = {"PYTHONSAFEPATH": "1", COMMAND_VARIABLE: command(), "PYTHONPATH": os.pathsep.join(paths)}
    environment = {**os.environ, **safe, **(changes or {})}
    return environment if paths else {name: value for name, value in environment.items() if name != "PYTHONPATH"}


def _is_found(folder: str) -> bool:
    """Whether a new process of this Python has a folder on its module path by default."""
    import site

    return folder in site.getsitepackages() or folder == site.getusersitepackages()


def fork_server_context() -> ForkServerContext:
    """Returns multiprocessing's fork server context; its server imports nothing from the working folder.

    The server inherits the environment of this process, so this function changes it.
    """
    os.environ.update(python_environment())
    return get_context("forkserver")
