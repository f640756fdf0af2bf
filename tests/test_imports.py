"""Imports go one way, and what a user waits for at start loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, environment

SOURCES = REPOSITORY / "src" / "dlcli"
PACKAGES = (
    *(
        "visible",
        "arrays",
        "errors",
        "program",
        "upstream",
        "runtime",
        "tasks",
        "spec",
        "runs",
        "charts",
        "data",
        "models",
        "score",
    ),
    *("predict", "export", "explain", "report", "training", "fleet", "api", "cli"),
)
"""Lowest first: each may import itself and what stands before it."""
SPEC = (
    *("unions", "base", "paths", "run_files", "document", "override_paths", "edit", "messages", "addresses", "support"),
    *("data", "training", "model", "search.sweep", "experiment", "rules", "search", "load", "reference"),
)
"""The order inside `spec`, lowest first; a package counts as one, but for the settings of a sweep."""
OUTSIDE = {"__init__", "__main__"}
HEAVY = {"tensorflow", "keras", "numpy", "pandas", "matplotlib", "sklearn", "PIL", "mlflow", "wandb", "optuna"}


def _modules() -> list[Path]:
    return sorted(SOURCES.rglob("*.py"))


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yields line and dotted name of every `dlcli` import of a file, also inside functions and for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.startswith("dlcli"))
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            if node.module == "dlcli":
                yield from ((node.lineno, f"dlcli.{alias.name}") for alias in node.names)
            elif (node.module or "").startswith("dlcli."):
                yield node.lineno, str(node.module)


def _parts(path: Path) -> tuple[str, ...]:
    return path.relative_to(SOURCES).with_suffix("").parts


@pytest.mark.parametrize("path", _modules(), ids=lambda path: "/".join(_parts(path)))
def test_a_module_imports_only_what_stands_below_it(path: Path) -> None:
    own = _parts(path)[0]
    if own in OUTSIDE:
        return
    for line, name in _imported(path):
        other = name.partition(".")[2].partition(".")[0]
        if other not in ("", "__version__"):
            assert PACKAGES.index(other) <= PACKAGES.index(own), f"{path}:{line}: {own} imports {name}"


def test_every_module_belongs_to_a_package_with_a_place() -> None:
    assert {_parts(path)[0] for path in _modules()} == {*PACKAGES, *OUTSIDE}


@pytest.mark.parametrize("path", sorted((SOURCES / "spec").rglob("*.py")), ids=lambda path: "/".join(_parts(path)[1:]))
def test_inside_spec_words_stand_below_sentences(path: Path) -> None:
    own = _parts(path)[1:]
    for line, name in _imported(path):
        parts = name.split(".")
        if own[0] != "__init__" and parts[1] == "spec" and len(parts) > 2 and not _for_types(path, line):
            assert _floor(tuple(parts[2:])) <= _floor(own), f"{path}:{line}: spec.{'.'.join(own)} imports {name}"


def _floor(parts: tuple[str, ...]) -> int:
    """Returns the place of a module of `spec` in its order."""
    both = ".".join(parts[:2])
    return SPEC.index(both if both in SPEC else parts[0])


def _for_types(path: Path, line: int) -> bool:
    """Tells whether a line stands under `if TYPE_CHECKING:`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.lineno <= line <= (node.end_lineno or 0)
    return False


@pytest.mark.parametrize("package", ["cli", "spec", "runs"])
def test_nothing_heavy_is_imported_at_the_top_of_what_starts_first(package: str) -> None:
    for path in sorted((SOURCES / package).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & HEAVY, f"{path}:{node.lineno}"


STARTS = {
    "import": "import dlcli.cli.app",
    "help": "sys.argv = ['dlcli', '--help']; run()",
    "help of a command": "sys.argv = ['dlcli', 'train', '--help']; run()",
    "version": "sys.argv = ['dlcli', '--version']; run()",
    "runs list": "sys.argv = ['dlcli', 'runs', 'list']; run()",
    "unknown run": "sys.argv = ['dlcli', 'evaluate', 'nothing']; run()",
    "wrong spec": "sys.argv = ['dlcli', 'train', 'nothing.yaml']; run()",
}
RUN = """
import sys
def run():
    from dlcli.cli.app import app
    try: app(prog_name='dlcli')
    except SystemExit: pass
"""


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_light_start_loads_nothing_heavy(start: str, tmp_path: Path) -> None:
    code = f"{RUN}\n{start}\nprint('LOADED', *sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment(), check=True
    )
    _, said, names = done.stdout.rpartition("LOADED")
    loaded = names.split()
    assert said
    assert "dlcli" in loaded
    assert not HEAVY & set(loaded)
