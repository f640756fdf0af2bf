"""A folder of images for `init`: its classes and parts, how many images there are, and what they are like."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from dlcli.cli.scaffold.plan import DataPlan, Pictures
from dlcli.errors import DataError, UsageError
from dlcli.spec.data.sources.file_tree import listing, walk
from dlcli.spec.data.sources.folder import Folder
from dlcli.spec.data.sources.image_types import FORMATS
from dlcli.spec.data.sources.table.files import is_table
from dlcli.tasks import TASKS

_SAMPLE = 60
_HANDED = re.compile(r"(?i)(?:^|[\W_])(?:left|right|[a-z]|\d{1,3}|digit|letter|text|arrow)(?:$|[\W_])")
"""Names of classes that change when an image is mirrored: left and right, letters, digits."""


def look_at_folder(path: str, task: str | None) -> DataPlan:
    """Returns what a folder of images shows.

    Raises:
        UsageError: it has no class folders, or the task is not for them.
    """
    source = Folder.model_validate({"kind": "folder", "path": path}, context={"folder": "."})
    try:
        faults = [message for _, message in source.faults()]
        if faults:
            raise UsageError("\n".join([*faults, *_others(path)]))
        facts, train = source.facts(TASKS["classification"]), source.layout().classes["train"]
        images = [image for folders in train.values() for folder in folders for image in walk(folder).files]
        pictures = look_at_pictures(images, facts.classes)
        notes = (*_parts(source), *source.notes())
    except DataError as error:
        raise UsageError(str(error)) from None
    tasks = ("binary", "classification") if len(facts.classes) == 2 else ("classification",)
    why = f"{len(facts.classes)} class folders: {', '.join(facts.classes[:10])}{', ...' if len(facts.classes) > 10 else ''}"
    if task is not None and task not in tasks:
        raise UsageError(f"--task: {task} does not fit {path} ({why}): {' or '.join(tasks)} does")
    summary = f"{path}: {len(images):,} images to train on{_of_side(pictures)}; {why}"
    return DataPlan(
        path, {"kind": "folder", "path": path}, tasks, Path(path).absolute().name, "", why, (summary, *notes), {}, pictures
    )


def _parts(source: Folder) -> Iterator[str]:
    """Yields the splits of the folder."""
    facts = source.facts(TASKS["classification"])
    parts = [part for part, has in (("validation", facts.has_validation), ("test", facts.has_test)) if has]
    yield f"its own {' and '.join(parts)} split" if parts else "validation and test splits are drawn from it"


def _others(path: str) -> Iterator[str]:
    """Yields the tables and arrays in a folder without images."""
    if not os.path.isdir(path):
        return
    tables = [name for name in map(os.path.basename, listing(path).files) if is_table(name) or name.lower().endswith(".npz")]
    if tables:
        yield f"it contains {', '.join(tables[:5])}: name a file, e.g. --data {os.path.join(path, tables[0])}"


def _of_side(pictures: Pictures) -> str:
    return f" of about {pictures.side} pixels" if pictures.side else ""


def look_at_pictures(paths: Sequence[str], classes: Sequence[str]) -> Pictures:
    """Returns the properties of the images, from the sizes of a sample."""
    from PIL import Image

    sides, modes = [], set()
    for path in paths[:: max(1, len(paths) // _SAMPLE)]:
        try:
            with Image.open(path, formats=FORMATS) as image:
                sides.append(min(image.size))
                modes.add(image.mode)
        except (OSError, ValueError, Image.DecompressionBombError):  # `check` and `train` report it
            continue
    grey = bool(modes) and modes <= {"L", "1", "I", "F", "I;16"}
    flips = not any(_HANDED.search(name) for name in classes)
    return Pictures(len(paths), round(median(sides)) if sides else None, grey, flips=flips)
