"""The program itself: the command that the user typed, and how this installation gets an extra."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

DISTRIBUTION = "dlcli-keras"
"""Name of the distribution; the package and the command are called `dlcli`."""
owns_process = False
"""Whether the process was started by dlcli's command, rather than by a program that imports dlcli."""
COMMAND_VARIABLE = "DLCLI_COMMAND"
"""Environment variable with the command as the user typed it, for the processes that a command starts."""


def command() -> str:
    """Returns the command as the user typed it: `dlcli`, `scripts/dlcli` or `python -m dlcli`."""
    return os.environ.get(COMMAND_VARIABLE) or _typed(sys.argv[0], sys.orig_argv)


def _typed(script: str, words: list[str]) -> str:
    """Returns the words before the arguments, quoted for a shell.

    Args:
        script: the path in `sys.argv[0]`.
        words: the whole command line of the process.
    """
    if Path(script).name == "__main__.py":
        for index, word in enumerate(words[1:], 1):
            if word == "-m" and words[index + 1 : index + 2] == ["dlcli"]:
                return shlex.join(words[: index + 2])
            if word.startswith("-") and not word.startswith("--") and word.endswith("mdlcli"):
                return shlex.join(words[: index + 1])
    if Path(script).name != "dlcli":
        return "dlcli"
    usual = shutil.which("dlcli")
    same = usual is not None and os.path.exists(script) and os.path.samefile(usual, script)
    return "dlcli" if same else shlex.quote(script)


def install_command(extra: str = "") -> str:
    """Returns the command line that installs this dlcli, with an extra, into the Python that runs it."""
    return f"{_installer()} {_requirement(f'[{extra}]' if extra else '')}"


def install_package_command(*packages: str) -> str:
    """Returns the command line that installs other packages into the Python that runs dlcli."""
    return f"{_installer()} {shlex.join(packages)}"


def _installer() -> str:
    """Returns the start of an installation: pip of this Python, or uv where this Python has no pip."""
    from importlib.util import find_spec

    python = shlex.quote(sys.executable)
    if find_spec("pip") is None and shutil.which("uv"):
        return f"uv pip install --python {python}"
    return f"{python} -m pip install"


def _requirement(extra: str) -> str:
    """Returns what is installed: the checkout, the place that dlcli was installed from, or the name on the index."""
    folder = checkout()
    if folder is not None:
        return f"-e {shlex.quote(f'{folder}{extra}')}"
    place = _installed_from()
    return shlex.quote(f"{DISTRIBUTION}{extra} @ {place}" if place else f"{DISTRIBUTION}{extra}")


def checkout() -> Path | None:
    """Returns the folder of the checkout that this package is part of; None for an installed one."""
    source = Path(__file__).resolve().parents[1]
    return source.parent if source.name == "src" and (source.parent / "pyproject.toml").is_file() else None


def _installed_from() -> str:
    """Returns the address that pip recorded for a distribution from a folder, a file or a repository; else ""."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote, urlsplit

    try:
        text = distribution(DISTRIBUTION).read_text("direct_url.json")
        record = json.loads(text) if text else {}
    except (PackageNotFoundError, ValueError):
        return ""
    address = str(record.get("url", ""))
    repository = record.get("vcs_info")
    if repository:
        return f"{repository.get('vcs')}+{address}@{repository.get('commit_id')}"
    parts = urlsplit(address)
    return address if parts.scheme != "file" or os.path.exists(unquote(parts.path)) else ""


def requirements() -> list[str] | None:
    """Returns the requirements of dlcli and its extras, as a distribution lists them; None where nothing says them."""
    import tomllib
    from importlib.metadata import PackageNotFoundError, requires

    folder = checkout()
    if folder is None:
        try:
            return requires(DISTRIBUTION) or []
        except PackageNotFoundError:
            return None
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [str(line) for line in project["dependencies"]]
