"""Only `runs/` knows the names of the files in a run folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

from dlcli.runs import layout
from dlcli.spec import run_files

SOURCES = REPOSITORY / "src" / "dlcli"
NAMES = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)}
FILES = {name for name in NAMES if re.fullmatch(r"\.?[a-z_-]+\.[a-z]+|\.[a-z-]+|README\.md", name)}
BELOW = {"visible.py", "errors.py", "program.py", "upstream", "runtime", "spec"}
"""Modules below `runs`, which cannot import the names: they may contain a name in a text for the user."""
EXCEPTION = SOURCES / "spec" / "run_files.py"


def modules() -> list[Path]:
    return [path for path in sorted(SOURCES.rglob("*.py")) if path.parent != SOURCES / "runs" and path != EXCEPTION]


def own_names(tree: ast.Module, *, in_texts: bool) -> Iterator[str]:
    """Yields line and text of each string that names a run file: as the whole, the end of a path, or a word of a text."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            words = re.findall(r"[\w.-]+", node.value) if in_texts else [node.value.rpartition("/")[2]]
            if FILES & {word.rstrip(".") for word in words}:
                yield f"{node.lineno}: {node.value}"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _folder(node.right) in NAMES:
            yield f"{node.lineno}: / {ast.unparse(node.right)}"


def _folder(node: ast.expr) -> str:
    """Returns the first component of a path's right operand; empty if it is no text."""
    first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
    return str(first.value).partition("/")[0] if isinstance(first, ast.Constant) else ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: "/".join(path.relative_to(SOURCES).with_suffix("").parts))
def test_only_the_run_folder_knows_the_names_of_its_files(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not list(own_names(tree, in_texts=path.relative_to(SOURCES).parts[0] not in BELOW)), path


@pytest.mark.parametrize(
    "use",
    [
        'path = run.path / "model.keras"',
        'FILE = "checks.json"',
        'names = ("report.html", "curves.png")',
        'path = folder / f"evaluation/{split}/metrics.json"',
        'path = run.path / f"explanations/{name}"',
        'path = run.path / "evaluation"',
        'text = f"{name} has no model.keras."',
        'cache = runs / ".features"',
    ],
)
def test_the_name_of_a_run_file_in_other_code_is_found(use: str) -> None:
    assert list(own_names(ast.parse(use), in_texts=True))


def test_names_in_docstrings_and_of_other_files_are_allowed() -> None:
    text = '"""Writes `model.keras`."""\npath = folder / "other.json"\nkind = "tensorboard"'
    assert not list(own_names(ast.parse(text), in_texts=True))


def test_specs_name_the_same_files() -> None:
    assert (run_files.MODEL, run_files.STATUS, run_files.SPEC) == (layout.MODEL, layout.STATUS, layout.SPEC)


def test_the_names_of_all_folders_are_searched() -> None:
    assert {"model.keras", "metrics.json", ".features", "study.db", "README.md"} <= FILES
