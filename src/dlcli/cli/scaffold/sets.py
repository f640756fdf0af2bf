"""Finds what `--data` names: a set of dlcli or TensorFlow Datasets, a folder, a table, or an .npz file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from dlcli.cli.scaffold.arrays import look_at_arrays
from dlcli.cli.scaffold.folders import look_at_folder
from dlcli.cli.scaffold.image_tables import tables_of_images
from dlcli.cli.scaffold.plan import DataPlan, Pictures
from dlcli.cli.scaffold.questions import Options, Questions
from dlcli.cli.scaffold.sequences import TEXTS, look_at_texts, look_at_ts
from dlcli.cli.scaffold.tables import look_at_table
from dlcli.errors import DataError, UsageError
from dlcli.spec.base import OneOf
from dlcli.spec.data.sources.base import Facts
from dlcli.spec.data.sources.folder import Folder
from dlcli.spec.data.sources.image_types import extension_of, is_image_file
from dlcli.spec.data.sources.table.files import is_table
from dlcli.tasks import TASKS, Task

_ARRAYS = (".npz",)


def look_at_data(data: str, options: Options, questions: Questions) -> DataPlan:
    """Returns what the data shows that `--data` names.

    Raises:
        UsageError: nothing has this name or path, or an option does not fit what has it.
    """
    path = os.path.expanduser(data)
    if os.path.isdir(path):
        if table := _table_of(path):
            return look_at_table(table, options.target, options.task, questions)
        _refuse_target(options, f"{data} is a folder, whose classes are its folders")
        if texts := look_at_texts(path, options.task):
            return texts
        return look_at_folder(path, options.task)
    if os.path.exists(path):
        return _look_at_file(path, options, questions)
    if _is_path(data) or (kind := _kind_of_set(data)) is None:
        raise UsageError(f"--data: {_no_data(data)}")
    _refuse_target(options, f"{data} is a dataset, whose label is known")
    return _look_at_set(kind, data, options.task)


def _table_of(folder: str) -> str | None:
    """Returns the table that lists the images of a folder without class folders; None for other folders.

    Raises:
        UsageError: several tables list images.
    """
    try:
        source = Folder.model_validate({"kind": "folder", "path": folder}, context={"folder": "."})
        tables = tables_of_images(folder) if next(source.faults(), None) else []
    except DataError:
        return None
    if len(tables) > 1:
        raise UsageError(f"--data: {len(tables)} tables in {folder} list images: name one, such as --data {tables[0]}")
    return tables[0] if tables else None


def _look_at_file(path: str, options: Options, questions: Questions) -> DataPlan:
    if not os.path.isfile(path):
        raise UsageError(f"--data: {path} does not exist")
    if extension_of(path) and is_image_file(path):
        raise UsageError(f"--data: {path} is a single image: name the folder with one folder of images per class")
    if path.lower().endswith(".ts"):
        _refuse_target(options, f"{path} has one label for each series")
        return look_at_ts(path, options.task)
    if path.lower().endswith(_ARRAYS):
        if len(options.target) > 1:
            raise UsageError("--target: an .npz file has one array of labels")
        return look_at_arrays(path, options.target[0] if options.target else None, options.task, questions)
    return look_at_table(path, options.target, options.task, questions)


def _refuse_target(options: Options, why: str) -> None:
    if options.target:
        raise UsageError(f"--target: {why}; omit --target")


def _is_path(data: str) -> bool:
    """Whether a text is meant as a path: it has a separator or ends like a file."""
    return (
        "\\" in data
        or (data.count("/") and not _SET_WITH_CONFIG.fullmatch(data))
        or is_table(data)
        or bool(re.search(r"\.(npz|ts|data|txt|json|xls|zip|gz)$", data.lower()))
    )


_SET_WITH_CONFIG = re.compile(r"[a-z][a-z0-9_]*/[A-Za-z0-9_.-]+")


def _kind_of_set(name: str) -> str | None:
    """Returns the kind of source that has a set of this name; None where none has."""
    if name in _included():
        return _included()[name]
    plain = name.partition("/")[0]
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?", name):
        return None
    is_prepared = _facts("tfds", name, TASKS["classification"]).tasks
    return "tfds" if is_prepared or plain in _tfds_names() else None


def _included() -> dict[str, str]:
    """Returns the kind of source of every set that comes with the packages, by its name."""
    kinds = OneOf.registry["Source"].kinds
    return {name: kind for kind in ("builtin", "playground") for name in get_args(kinds[kind].model_fields["name"].annotation)}


def _tfds_names() -> frozenset[str]:
    from dlcli.spec.data.sources.tfds import data_dir
    from dlcli.upstream.tfds_names import tfds_names

    prepared = {path.name for path in data_dir().glob("*/") if path.is_dir()} if data_dir().is_dir() else set()
    return tfds_names() | prepared


def _facts(kind: str, name: str, task: Task) -> Facts:
    source = OneOf.registry["Source"].validate({"kind": kind, "name": name}, {"folder": "."})
    facts: Facts = source.facts(task)
    return facts


def _look_at_set(kind: str, name: str, task: str | None) -> DataPlan:
    facts = _facts(kind, name, TASKS[task or "classification"])
    tasks = facts.tasks or tuple(TASKS)
    if facts.outputs == 2 and "binary" in tasks:
        tasks = ("binary", *(word for word in tasks if word != "binary"))
    elif facts.outputs:
        tasks = tuple(word for word in tasks if word != "binary")
    if task is not None and task not in tasks:
        raise UsageError(f"--task: {task} does not fit {name}: {' or '.join(tasks)} does")
    unsure = f"--task: {name} is not prepared, so its label is unknown; set --task, e.g. --task classification"
    where = {"builtin": "comes with the packages", "playground": "is computed", "tfds": "of TensorFlow Datasets"}[kind]
    pictures = Pictures(None, min(facts.shape[:2]), facts.shape[2] == 1, facts.shape) if facts.image and facts.shape else None
    pictures = pictures or (Pictures() if facts.image else None)
    doubt = "" if task or facts.tasks else unsure
    notes = (f"{name}: {where}",)
    sequences = TEXTS if facts.texts else None
    source = {"kind": kind, "name": name}
    return DataPlan(name, source, tasks, re.sub(r"\W+", "_", name), doubt, "", notes, {}, pictures, sequences)


def _no_data(data: str) -> str:
    """Returns the message for data that does not exist, with the nearest name."""
    from dlcli.spec.messages import nearest

    path = Path(os.path.expanduser(data))
    what = f"there is no file or folder {data}" if _is_path(data) else f"there is no file, folder or dataset {data!r}"
    neighbours = {name: str(path.parent / name) if path.parent != Path() else name for name in _names_in(path.parent)}
    near = nearest(path.name, neighbours)
    if near is None and not _is_path(data):
        near = nearest(data, [*_included(), *_tfds_names()])
    return f"{what}; did you mean {neighbours.get(near, near)!r}?" if near else f"{what}: {_MAY_BE}"


_MAY_BE = (
    "name a folder of images or texts, a table (.csv, .parquet, ...), an .npz or .ts file, or a set such as digits or mnist"
)


def _names_in(folder: Path) -> Iterator[str]:
    try:
        yield from (name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return
