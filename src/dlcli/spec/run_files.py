"""The files of a run that specs know: `spec` stands below `runs`, which has the names of all files."""

from __future__ import annotations

from pathlib import Path

MODEL, STATUS, SPEC = "model.keras", "status.json", "spec.yaml"


def is_of_run(path: str, root: str) -> bool:
    """Whether a file below the folder `root` lies in the folder of a run."""
    folders = (folder for folder in Path(path).parents if folder.is_relative_to(root))
    return any((folder / STATUS).is_file() and (folder / SPEC).is_file() for folder in folders)
