"""Reading and checking a spec loads nothing heavy: over `sys.modules`, not a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HEAVY = {
    "tensorflow",
    "keras",
    "numpy",
    "matplotlib",
    "pandas",
    "sklearn",
    "PIL",
    "mlflow",
    "wandb",
    "keras_hub",
    "tensorflow_text",
}
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


def test_a_check_loads_of_sources_augmentations_and_balances_only_those_that_it_uses() -> None:
    folder = "dlcli.spec.data."
    code = f"{SNIPPETS['load and rules']}; print(*(name for name in sys.modules if name.startswith('{folder}')))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY / "src")},
    )
    names = {name.removeprefix(folder) for name in done.stdout.split()}
    kinds = {name for name in names if name.startswith(("sources.", "augmentations.", "balance."))}
    assert kinds == {
        *("sources.base", "sources.builtin", "sources.labels", "sources.row_ids", "sources.row_storage"),
        *("augmentations.base", "augmentations.geometry", "augmentations.presets", "balance.base"),
    }


DEFERRED = "from dlcli.upstream.start import defer_package_metadata; defer_package_metadata(); "


def test_a_check_of_arrays_loads_no_reader_of_tables_and_no_metadata_of_packages() -> None:
    """`email` belongs to `importlib.metadata`, and `csv` to the reader of tables."""
    names = loaded(f"import os; os.environ['PYDANTIC_DISABLE_PLUGINS'] = '__all__'; {DEFERRED}{SNIPPETS['load and rules']}")
    assert {"pydantic", "yaml"} <= names
    assert not {"email", "csv"} & names


def test_deferred_metadata_is_there_once_it_is_used() -> None:
    code = (
        f"{DEFERRED}import importlib, importlib.metadata as metadata, sys; from importlib.metadata import entry_points\n"
        "assert 'email' not in sys.modules\n"
        "assert metadata.version('numpy') == importlib.metadata.version('numpy')\n"
        "assert entry_points(group='console_scripts')\n"
        "assert importlib.metadata.__spec__.name == 'importlib.metadata'\n"
        "try: metadata.version('no such package')\n"
        "except importlib.metadata.PackageNotFoundError: print('not found')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": "src"}, cwd=REPOSITORY
    )
    assert done.stdout == "not found\n", done.stderr
