"""The commit that a run records, determined without running any program that a repository names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dlcli.runs.checkout import checkout_state


def git(folder: Path, *arguments: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *author, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "below").mkdir(parents=True)
    (folder / "spec.yaml").write_text("version: 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_commit_and_changes_are_those_of_git(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    clean, changed = {"commit": commit, "changed": False}, {"commit": commit, "changed": True}
    assert checkout_state(repository) == checkout_state(repository / "below") == clean
    (repository / ".git" / "info" / "exclude").write_text("*.log\n")
    (repository / "train.log").touch()
    assert checkout_state(repository) == clean
    (repository / "new.yaml").touch()
    assert checkout_state(repository) == changed
    (repository / "new.yaml").unlink()
    (repository / "spec.yaml").write_text("version: 2\n")
    assert checkout_state(repository) == changed
    git(repository, "checkout", "-q", "spec.yaml")
    git(repository, "pack-refs", "--all")
    assert checkout_state(repository) == clean
    git(repository, "worktree", "add", "-q", "../other", "-b", "other")
    assert checkout_state(repository.parent / "other") == clean
    git(repository, "checkout", "-q", "--detach")
    assert checkout_state(repository) == clean


def test_a_folder_without_a_commit_has_no_state(tmp_path: Path) -> None:
    assert checkout_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert checkout_state(tmp_path) is None
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/../../../etc/passwd\n")
    assert checkout_state(tmp_path) is None


@pytest.mark.parametrize("setting", ["core.fsmonitor", "filter.own.clean", "filter.own.process"])
def test_no_program_named_by_a_repository_is_run(repository: Path, setting: str) -> None:
    mark, program = repository.parent / "was_run", repository.parent / "program"
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\ncat\n")
    program.chmod(0o755)
    (repository / ".gitattributes").write_text("* filter=own\n")
    git(repository, "config", setting, str(program))
    os.utime(repository / "spec.yaml", (0, 0))  # git looks into the file itself
    subprocess.run(["git", "status"], cwd=repository, capture_output=True, check=False)
    assert mark.exists(), "git itself should run the repository's program"
    mark.unlink()
    os.utime(repository / "spec.yaml", (1, 1))
    state = checkout_state(repository)
    assert state is not None
    assert (state["changed"], mark.exists()) == (True, False)
