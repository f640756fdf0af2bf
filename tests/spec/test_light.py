"""Reading and checking a spec loads nothing heavy: over `sys.modules`, not a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HEAVY = {"tensorflow", "keras", "numpy", "matplotlib", "pandas", "sklearn", "PIL", "mlflow", "wandb"}
SNIPPETS = {
    "import dlcli.spec.load": "import dlcli.spec.load",
    "load and rules": "from dlcli.spec.load import load; load('configs/digits_cnn.yaml')",
    "json schema": "from dlcli.spec.load import json_schema; json_schema()",
    "reference": "from dlcli.spec.reference import reference; reference()",
    "commands": "import dlcli.cli.specs",
}


def loaded(snippet: str) -> set[str]:
    """Returns the modules that a fresh Python has loaded after a line of code."""
    code = f"import sys; {snippet}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY / "src")},
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("snippet", SNIPPETS.values(), ids=SNIPPETS)
def test_nothing_heavy_is_loaded(snippet: str) -> None:
    assert not HEAVY & loaded(snippet)


def test_the_help_loads_no_pydantic_and_importing_dlcli_not_even_typing() -> None:
    assert not (HEAVY | {"pydantic", "pydantic_core", "yaml", "tempfile"}) & loaded("import dlcli.__main__, dlcli.cli.app")
    assert not {"typing", "re"} & loaded("import dlcli")
