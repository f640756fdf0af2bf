"""Determines the git commit of the working folder without running any program that its repository names.

A repository's `config` may name programs that git runs on `git status`: `core.fsmonitor`, hooks, filters of attributes.
The working folder may belong to someone else, so git never reads that config: it gets a temporary empty repository, with the
objects and a copy of the index of the real one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

_HARMLESS = ("autocrlf", "eol", "filemode", "ignorecase", "precomposeunicode", "symlinks")
"""Settings of `core` that affect which files count as changed, and that name no program."""
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LARGEST = 2**20
"""Maximum number of bytes that are read of a file of references or a config."""


def checkout_state(folder: Path | None = None) -> dict[str, Any] | None:
    """Returns the commit of the checkout around a folder (by default the working folder), and whether it has changes.

    `changed` is None if git is not installed or takes too long; the result is None outside a checkout.
    """
    try:
        top, private = _git_folders((folder or Path()).absolute())
        if private is None:
            return None
        shared = _shared(private)
        commit = _commit(private, shared)
        return None if commit is None else {"commit": commit, "changed": _is_changed(top, private, shared, commit)}
    except (OSError, ValueError):
        return None


def _git_folders(folder: Path) -> tuple[Path, Path | None]:
    """Returns the top folder of a checkout and its git folder, which a file `.git` may name, or None if there is none."""
    for top in (folder, *folder.parents):
        place = top / ".git"
        if place.is_dir():
            return top, place
        if place.is_file():
            words = _text(place).removeprefix("gitdir:").strip()
            return top, top / words
    return folder, None


def _shared(private: Path) -> Path:
    """Returns the folder that all worktrees of a repository share."""
    pointer = private / "commondir"
    return private / _text(pointer).strip() if pointer.is_file() else private


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_LARGEST).decode("utf-8", "surrogateescape")


def _commit(private: Path, shared: Path) -> str | None:
    """Returns the hash of the checked-out commit; None before the first commit."""
    head = _text(private / "HEAD").strip()
    for _ in range(5):  # a reference may name another one
        if not head.startswith("ref:"):
            break
        name = head.removeprefix("ref:").strip()
        if not re.fullmatch(r"refs/[^\0]{1,500}", name) or ".." in name:
            return None
        loose = next((place / name for place in (private, shared) if (place / name).is_file()), None)
        head = _text(loose).strip() if loose else _packed(shared, name)
    return head if _HASH.fullmatch(head) else None


def _packed(shared: Path, name: str) -> str:
    path = shared / "packed-refs"
    lines = path.read_text("utf-8", "surrogateescape").splitlines() if path.is_file() else []
    return next((line.split(" ")[0] for line in lines if line.endswith(f" {name}")), "")


def _is_changed(top: Path, private: Path, shared: Path, commit: str) -> bool | None:
    """Returns whether files differ from the commit or are untracked; None if git fails."""
    with tempfile.TemporaryDirectory(prefix="dlcli-git-") as name:
        own = Path(name)
        _write_repository(own, private, shared, commit)
        variables = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        places = {"GIT_DIR": name, "GIT_WORK_TREE": str(top), "GIT_OBJECT_DIRECTORY": str(shared / "objects")}
        safe = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        command = ["git", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "status", "--porcelain"]
        try:
            done = subprocess.run(
                [*command, "--ignore-submodules=dirty"],
                cwd=top,
                env=variables | places | safe,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=5,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
    return bool(done.stdout.strip())


def _write_repository(own: Path, private: Path, shared: Path, commit: str) -> None:
    """Writes a repository without the config of the real one, but with its index and ignored files."""
    large = len(commit) == 64
    lines = ["[core]", f"\trepositoryformatversion = {int(large)}", "\tbare = false", *_harmless(shared / "config")]
    lines += ["[extensions]", "\tobjectFormat = sha256"] if large else []
    (own / "config").write_text("\n".join([*lines, ""]))
    (own / "HEAD").write_text(f"{commit}\n")
    (own / "refs").mkdir()
    if (private / "index").is_file():
        shutil.copy2(private / "index", own / "index")  # with its time, by which git decides which files it must compare
    if (shared / "info" / "exclude").is_file():
        (own / "info").mkdir()
        shutil.copy2(shared / "info" / "exclude", own / "info" / "exclude")


def _harmless(config: Path) -> list[str]:
    """Returns the lines of a config's section `core` that name no program."""
    settings, section = [], ""
    for line in _text(config).splitlines() if config.is_file() else []:
        text = line.strip()
        if text.startswith("["):
            section = text.lower()
        name, _, value = (part.strip() for part in text.partition("="))
        if section == "[core]" and name.lower() in _HARMLESS and re.fullmatch("[A-Za-z]{1,10}", value):
            settings.append(f"\t{name} = {value}")
    return settings
