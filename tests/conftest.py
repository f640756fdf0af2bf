"""What every test may use: real test data where it is at hand, and `dlcli` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
Dlcli = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**changes: str) -> dict[str, str]:
    """Returns this process's environment for a child that runs this checkout: no colours, no runs folder of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DLCLI_", "FORCE_COLOR", "PYTEST_"))}
    return kept | {"PYTHONPATH": str(REPOSITORY / "src"), "PYTHONFAULTHANDLER": "1"} | changes


def command(*arguments: str | Path) -> list[str]:
    """Returns the command line of a `dlcli` call."""
    return [sys.executable, "-m", "dlcli", *map(str, arguments)]


@pytest.fixture
def dlcli(tmp_path: Path) -> Dlcli:
    """Calls `dlcli` in a process of its own, in the test's folder."""

    def call(
        *arguments: str | Path, timeout: float = 120, cwd: Path = tmp_path, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment(**changes),
            timeout=timeout,
            check=False,
        )

    return call


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data sets that DLCLI_TEST_DATA names."""
    folder = os.environ.get("DLCLI_TEST_DATA")
    if not folder:
        pytest.skip("DLCLI_TEST_DATA names no folder of real data sets")
    return Path(folder)
