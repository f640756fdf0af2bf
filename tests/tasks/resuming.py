"""Kills a training of a task in one file and resumes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cli.killing import PATIENCE, assert_same_bits, lines_of, only_run, wait_for
from conftest import start_process

from dlcli.runs import RunFolder


def assert_resumed_bit_for_bit(program: Path, spec: Path) -> RunFolder:
    """Asserts that a run that is killed within an epoch and resumed ends like an uninterrupted one, and returns it.

    Args:
        program: the file of the task, which is dlcli with this task.
        spec: a spec that writes checkpoints within an epoch.
    """
    folder = spec.parent
    assert _started(program, folder, "train", spec, "--runs", folder / "whole").wait(PATIENCE) == 0, _output(folder)
    process = _started(program, folder, "train", spec, "--runs", folder / "killed")
    assert wait_for(lambda: list((folder / "killed").glob("[!.]*/[!.]*/log.txt")), process)
    run = only_run(folder / "killed")
    assert wait_for(lambda: sum(" checkpoint " in line for line in lines_of(run)) >= 4, process)
    process.kill()
    assert process.wait(PATIENCE) < 0
    assert _started(program, folder, "train", "--resume", run.path).wait(PATIENCE) == 0, _output(folder)
    assert_same_bits(only_run(folder / "whole"), run)
    return run


def _started(program: Path, folder: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """Starts dlcli with the task in a separate process."""
    with (folder / "output.txt").open("a", encoding="utf-8") as output:
        command = [sys.executable, str(program), *map(str, arguments), "--quiet"]
        return start_process(command, stdout=output, stderr=output, cwd=folder)


def _output(folder: Path) -> str:
    return (folder / "output.txt").read_text(encoding="utf-8")
