"""Private names of other packages are read in `upstream/` alone: there each has a test that fails once it is gone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import REPOSITORY

SOURCES = REPOSITORY / "src" / "dlcli"
MODULES = sorted(path for path in SOURCES.rglob("*.py") if path.relative_to(SOURCES).parts[0] != "upstream")
DOCUMENTED = {"_replace", "_asdict", "_fields", "_make", "_exit"}
"""Of named tuples and of `os`: Python documents them, and the underscore means something else."""
INTERNAL = ("keras.src", "tensorflow.python")
"""Packages that hold private code under names without an underscore."""
ASKING = {"getattr", "hasattr", "setattr", "delattr"}


def is_private(name: str) -> bool:
    """Whether a name has a leading underscore and is none of Python's own, such as `__init__`."""
    return name.startswith("_") and not name.startswith("__")


def classes_in(tree: ast.Module) -> list[ast.ClassDef]:
    """Returns the classes that a module defines, also inside functions."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


@cache
def project() -> dict[str, list[ast.ClassDef]]:
    """Returns all classes of the project outside `upstream/`, by name."""
    classes: dict[str, list[ast.ClassDef]] = {}
    for node in (node for path in MODULES for node in classes_in(ast.parse(path.read_text(encoding="utf-8")))):
        classes.setdefault(node.name, []).append(node)
    return classes


def defined_in(owner: ast.ClassDef) -> set[str]:
    """Returns the names that a class defines, in its body or on `self`."""
    names: set[str] = set()
    for node in ast.walk(owner):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            names.add(node.attr)
    return names


def members_of(owner: ast.ClassDef, beside: list[ast.ClassDef]) -> set[str]:
    """Returns the names that a class defines, or one of its bases: of the classes beside it, or else of the project's."""
    names, waiting, seen = set[str](), [owner], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            names |= defined_in(node)
            for base in (ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases):
                waiting += [one for one in beside if one.name == base] or project().get(base, [])
    return names


def is_own(value: ast.expr) -> bool:
    """Whether an expression is `self`, `cls` or `super()`."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def private_name(node: ast.AST) -> tuple[str, bool]:
    """Returns the private name that an expression reads or asks for, if it does, and whether on the object itself."""
    name, value = "", None
    if isinstance(node, ast.Attribute):
        name, value = node.attr, node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ASKING and len(node.args) > 1:
        name, value = str(getattr(node.args[1], "value", "")), node.args[0]
    return (name, is_own(value)) if value is not None and is_private(name) else ("", False)


def foreign_reads(tree: ast.Module) -> Iterator[str]:
    """Yields place and text of every read of a private attribute that none of the module's classes has.

    On `self`, `cls` and `super()` it must be of the class around it; on other objects, of any class of the module.
    """
    beside = classes_in(tree)
    members = {id(owner): members_of(owner, beside) for owner in beside}
    everywhere = DOCUMENTED.union(*members.values())

    def visit(node: ast.AST, inside: set[str]) -> Iterator[str]:
        inside = members.get(id(node), inside)
        name, on_itself = private_name(node)
        if name and name not in (inside if on_itself else everywhere):
            yield f"{getattr(node, 'lineno', 0)}: {ast.unparse(node)}"
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    return visit(tree, set())


def foreign_imports(tree: ast.Module) -> Iterator[str]:
    """Yields place and text of every import of another package's private or internal module or name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            private = any(map(is_private, name.split("."))) or name.startswith(INTERNAL)
            if private and not name.startswith("dlcli."):
                yield f"{node.lineno}: {ast.unparse(node)}"


def private_names(source: str) -> list[str]:
    """Returns what a module has of other packages' private names."""
    tree = ast.parse(source)
    return [*foreign_reads(tree), *foreign_imports(tree)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_private_names_of_other_packages_are_read_in_upstream_alone(path: Path) -> None:
    assert private_names(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "planted",
    [
        "def loss(model): return model._loss_tracker.result()",
        "def build(model): model._symbolic_build(data_batch=None)",
        "def silence(utils): utils._is_gcs_disabled = True",
        "def nodes(layer): return getattr(layer, '_inbound_nodes', None)",
        "class Step(keras.Layer):\n    def add(self, variable): self._track_variable(variable)",
        "class Step(keras.Layer):\n    def rate(self): return super()._get_current_learning_rate()",
        "class Step(keras.Layer):\n    def open(self): self._tracker.unlock()",
        "from ray._private import worker",
        "import PIL._imaging",
        "from keras.src.utils import file_utils",
        "from tensorflow.python.eager import context",
    ],
)
def test_a_planted_private_name_is_found(planted: str) -> None:
    assert len(private_names(planted)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "class Base:\n    def _open(self): ...\nclass Run(Base):\n    def read(self): return self._open()",
        "class Run:\n    def __init__(self): self._path = ''\n    def same(self, other): return other._path == self._path",
        "class Run:\n    _known: int = 0\n    @classmethod\n    def known(cls): return cls._known",
        "def moved(pair): return pair._replace(first=1)",
        "import os\nos._exit(1)",
        "from dlcli.training.proof import _table",
        "def name(value): return getattr(value, '__name__', '') or value.__class__",
    ],
)
def test_own_names_and_documented_ones_are_no_findings(source: str) -> None:
    assert private_names(source) == []
