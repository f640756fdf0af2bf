"""The names of all sets of TensorFlow Datasets, without importing it: `tfds.list_builders()` imports 500 modules first."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

_CLASS = re.compile(r"^class ([A-Z]\w*)\((?:[^)]*\b)?(?:\w+Builder|\w*Dataset|_?[A-Z]\w*)\b[^)]*\):", re.MULTILINE)
_NO_SETS = {"core", "scripts", "testing", "proto", "dataset_collections", "setup_teardown", "__pycache__", "url_checksums"}


def tfds_names() -> frozenset[str]:
    """Returns the names that TFDS may know: of each class of its modules as TFDS writes it, and of each set's own folder.

    Some are names of base classes and of no set. Empty where TFDS is not installed.
    """
    spec = find_spec("tensorflow_datasets")
    names: set[str] = set()
    for place in (spec and spec.submodule_search_locations) or ():
        root = Path(place)
        names |= {path.name for path in (root / "datasets").glob("*/") if path.is_dir()}
        for folder in root.iterdir():
            if folder.is_dir() and folder.name not in _NO_SETS:
                files = (path for path in folder.rglob("*.py") if not path.name.endswith("_test.py"))
                texts = (path.read_text(encoding="utf-8", errors="replace") for path in files)
                names |= {_snake_case(name) for text in texts for name in _CLASS.findall(text)}
    return frozenset(name for name in names if not name.endswith(("_config", "_test", "builder"))) - {"__pycache__"}


def _snake_case(name: str) -> str:
    """Returns a class's name as TFDS makes a set's name of it (`naming.camelcase_to_snakecase`)."""
    first = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", first).lower()
