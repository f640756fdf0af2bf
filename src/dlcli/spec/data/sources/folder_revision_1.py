"""How runs of revision 1 found their images: kept so that such a run resumes and is evaluated on the same examples."""

from __future__ import annotations

import os
from pathlib import Path

_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
_PARTS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}
_CLUTTER = ("thumbs.db", "desktop.ini")


def classes_and_images(root: str) -> tuple[tuple[str, ...], dict[str, dict[str, list[str]]]]:
    """Returns the names of the classes and, by part and class, the paths of the images."""
    parts = _parts(Path(root))
    classes = tuple(_folders(parts["train"]))
    return classes, {part: {name: _images(folder / name) for name in classes} for part, folder in parts.items()}


def _parts(root: Path) -> dict[str, Path]:
    folders = {_PARTS[name.lower()]: root / name for name in _folders(root) if name.lower() in _PARTS}
    return folders if "train" in folders and _folders(folders["train"]) else {"train": root}


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__")))
    except OSError:
        return []


def _images(folder: Path) -> list[str]:
    return sorted(
        os.path.join(root, name)
        for root, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".") and name.lower() not in _CLUTTER and name.lower().endswith(_EXTENSIONS)
    )
