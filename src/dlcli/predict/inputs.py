"""What a user names -> batches that a run's model takes: images, rows of tables, NumPy arrays; read as in training.

A batch at a time is held, and the next one while the model works. What cannot be read is told and left out.
"""

from __future__ import annotations

import glob
import os
import sys
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import groupby
from math import prod
from typing import IO, Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ModelInputs
from dlcli.errors import DataError, UsageError
from dlcli.runtime.image_reader import UnreadableImage, read_picture
from dlcli.runtime.images import fit_arrays, fit_deep_arrays, incomplete_words, settings_of
from dlcli.runtime.inputs import Inputs, Kind, TableColumns, array_inputs
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources.csv import Csv
from dlcli.spec.data.sources.csv_rows import file_columns, ignored_columns, read_rows, row_settings
from dlcli.spec.data.sources.file_tree import Tree, walk
from dlcli.spec.data.sources.image_types import EXTENSIONS, is_image_file
from dlcli.spec.data.sources.npz import Npz, as_inputs
from dlcli.spec.data.sources.table.contents import row_notes
from dlcli.spec.data.sources.table.files import ENDINGS as TABLES
from dlcli.spec.data.sources.table.reader import OpenTable, open_stream, open_table
from dlcli.spec.experiment import Experiment

_ENDINGS: dict[Kind, tuple[str, ...]] = {"images": EXTENSIONS, "columns": TABLES, "arrays": (".npz", ".npy")}
_NUMPY = (".npz", ".npy")
STDIN = "-"


@dataclass(frozen=True)
class Batch:
    """Examples with their names: images, arrays, or raw columns."""

    ids: list[str]
    inputs: Inputs
    notes: tuple[str, ...] = ()
    """What a user should know of the file, once all its rows are read; the batch is empty then."""


Skip = Callable[[str, str], None]
"""Is told of what was left out: its name, and why."""


def found_files(what: Sequence[str], kind: Kind) -> tuple[list[str], Tree]:
    """Returns the files that are named, in folders or fitted by patterns, and what those folders hold beside them.

    Files of a folder are those that training would find below a class folder, sorted by their paths. `-` stays as it is.

    Raises:
        UsageError: a name or a pattern fits nothing, or a file is of another kind than the run takes.
    """
    files: list[str] = []
    others = Tree()
    for one in what:
        if one == STDIN:
            files.append(one)
            continue
        for path in [one] if os.path.lexists(one) else _fitting(one):
            if os.path.isdir(path):
                inside = walk(path, _fitting_file(kind))
                files += inside.files
                inside.files = []
                others.add(inside)
            else:
                _refuse_other_kind(path, kind)
                files.append(path)
    return files, others


def _fitting(pattern: str) -> list[str]:
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        words = "matches no file" if glob.has_magic(pattern) else "no such file or folder"
        raise UsageError(f"{pattern}: {words}")
    return found


def _fitting_file(kind: Kind) -> Callable[[str], bool]:
    """Returns what tells whether a file is of a kind: an image by its name or content, another file by its name."""
    return is_image_file if kind == "images" else lambda path: path.lower().endswith(_ENDINGS[kind])


def _refuse_other_kind(path: str, kind: Kind) -> None:
    """Raises UsageError for a file whose name says that it is of another kind; images may also lie in NumPy files."""
    other = next((one for one, endings in _ENDINGS.items() if path.lower().endswith(endings)), kind)
    if other != kind and not (kind == "images" and other == "arrays"):
        takes = {
            "images": "images",
            "columns": "tables with the columns it was trained on (.csv, .parquet, ...)",
            "arrays": "NumPy files",
        }
        raise UsageError(f"{path}: this run's model takes {takes[kind]}")


def batches(files: Iterable[str], taken: ModelInputs, experiment: Experiment, *, size: int, skip: Skip) -> Iterator[Batch]:
    """Yields all examples of some files, `size` at a time; `-` among them is stdin: names of files, or rows of a table."""
    source = experiment.data.source
    if taken.kind == "columns":
        table = source if isinstance(source, Csv) else Csv(kind="csv", path="rows.csv", target="target")
        for path in files:
            yield from _of_table(path, table, taken.columns or {}, size, skip)
        return
    name = source.features if isinstance(source, Npz) else "x"
    for is_array, group in groupby(_with_names_from_stdin(files), lambda path: path.lower().endswith(_NUMPY)):
        if is_array or taken.kind == "arrays":
            for path in group:
                yield from _of_array(path, name, taken, experiment.data.image, size, skip)
        else:
            yield from _of_images(group, _settings(experiment.data.image, taken.shape), size, skip)


def _settings(image: ImageSettings, shape: tuple[int, ...]) -> ImageSettings:
    """Returns the run's settings with the size and channels of what its model was trained on."""
    return image.model_copy(update={"size": shape[:2], "channels": shape[2]})


def _with_names_from_stdin(files: Iterable[str]) -> Iterator[str]:
    for path in files:
        if path == STDIN:
            # Names of files need not be text; what stands for stdin in another program may have no bytes.
            for line in getattr(sys.stdin, "buffer", sys.stdin):
                if line.strip():
                    yield os.fsdecode(line).rstrip("\r\n")
        else:
            yield path


def _of_images(paths: Iterable[str], image: ImageSettings, size: int, skip: Skip) -> Iterator[Batch]:
    """Yields full batches of images, decoded ahead in threads; two batches at most wait."""
    ids: list[str] = []
    images: list[Array] = []
    with ThreadPoolExecutor() as pool:
        for path, found in _ahead(pool, paths, image, 2 * size):
            if isinstance(found, str):
                skip(path, found)
                continue
            ids.append(path)
            images.append(found)
            if len(ids) == size:
                yield Batch(ids, array_inputs(np.stack(images)))
                ids, images = [], []
    if ids:
        yield Batch(ids, array_inputs(np.stack(images)))


def _ahead(pool: ThreadPoolExecutor, paths: Iterable[str], image: ImageSettings, most: int) -> Iterator[tuple[str, Any]]:
    """Yields each path with its image, or with what is wrong with it, in order; `most` are begun before they are asked for."""
    waiting: deque[tuple[str, Future[Array | str]]] = deque()
    for path in paths:
        waiting.append((path, pool.submit(_image, path, image)))
        if len(waiting) == most:
            first, future = waiting.popleft()
            yield first, future.result()
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()


def _image(path: str, image: ImageSettings) -> Array | str:
    if not os.path.isfile(path):
        return _no_file(path)
    try:
        picture = read_picture(path, settings_of(image))
    except UnreadableImage as error:
        return str(error)
    incomplete = incomplete_words(path) if picture.ends_grey else ""
    return incomplete.removeprefix(f"{path}: ") or picture.pixels


def _no_file(path: str) -> str:
    return "not a file" if os.path.lexists(path) else "no such file"


def _of_table(path: str, source: Csv, columns: dict[str, bool], size: int, skip: Skip) -> Iterator[Batch]:
    name = "stdin" if path == STDIN else path
    try:
        with _opened_table(path, source, columns, size) as table:
            for rows in read_rows(source, table, columns, at_once=size):
                for number, fault in rows.faults.items():
                    skip(f"{name}:{number}", fault)
                if rows.numbers:
                    yield Batch([f"{name}:{number}" for number in rows.numbers], TableColumns(rows.columns))
            ignored = ignored_columns(source, table.names, file_columns(source, columns).values())
            if notes := [*table.notes, *ignored, *row_notes(table.counts)]:
                yield Batch([], TableColumns({}), tuple(f"{name}: {note}" for note in notes))
    except DataError as error:
        skip(name, str(error))
    except OSError as error:
        skip(name, error.strerror or str(error))


@contextmanager
def _opened_table(path: str, source: Csv, columns: dict[str, bool], size: int) -> Iterator[OpenTable]:
    """Yields a table of a file or of stdin, as the source reads its own."""
    settings = row_settings(source, columns)
    if path == STDIN:
        stdin: Any = sys.stdin.buffer
        yield open_stream(stdin if hasattr(stdin, "peek") else BufferedReader(stdin), settings, sample=size)
        return
    if not os.path.isfile(path):
        raise DataError(_no_file(path))
    with open_table(path, settings) as table:
        yield table


def _of_array(path: str, name: str, taken: ModelInputs, image: ImageSettings, size: int, skip: Skip) -> Iterator[Batch]:
    """Yields the examples of a NumPy file, read in slices; those with NaN or infinite values are left out."""
    try:
        for start, raw in _slices(path, name, size):
            inputs = _as_taken(raw, taken, image)
            good = np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)
            for place in np.flatnonzero(~good):
                skip(f"{path}:{start + place}", "holds NaN or infinite values")
            if good.any():
                yield Batch([f"{path}:{start + place}" for place in np.flatnonzero(good)], array_inputs(inputs[good]))
    except DataError as error:
        skip(path, str(error))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        skip(path, getattr(error, "strerror", None) or str(error))
    except (MemoryError, OverflowError):
        skip(path, "is larger than the memory")


def _as_taken(raw: Array, taken: ModelInputs, image: ImageSettings) -> Array:
    """Returns examples as the source gives them.

    Raises:
        DataError: they have another shape or type than the model takes.
    """
    if taken.kind == "images" and image.is_deep and raw.ndim in (3, 4) and raw.shape[3:] in ((), (1,), (3,)):
        return fit_deep_arrays(raw, _settings(image, taken.shape))
    inputs = as_inputs(raw)
    if taken.kind == "images":
        if inputs.dtype != "uint8" or inputs.shape[3] not in (1, 3):
            raise DataError(f"holds {raw.dtype} of shape {raw.shape[1:]}; the model takes images of uint8, 0 to 255")
        inputs = fit_arrays(inputs, _settings(image, taken.shape))
    elif inputs.dtype == "uint8":
        raise DataError(f"contains uint8 images of shape {raw.shape[1:]}; the model was trained on another numeric type")
    if inputs.shape[1:] != taken.shape:
        raise DataError(f"holds examples of shape {inputs.shape[1:]}; the model takes {taken.shape}")
    return inputs


def _slices(path: str, name: str, size: int) -> Iterator[tuple[int, Array]]:
    """Yields an array of a NumPy file, `size` rows at a time, each with the place of its first row.

    Raises:
        DataError: there is no such array, or it has no rows of numbers.
    """
    if not os.path.isfile(path):
        raise DataError(_no_file(path))
    if not path.lower().endswith(".npz"):
        with open(path, "rb") as file:
            yield from _array_slices(file, size)
        return
    with zipfile.ZipFile(path) as archive:
        held = [one.removesuffix(".npy") for one in archive.namelist()]
        if name not in held and len(held) != 1:
            raise DataError(f"has no array `{name}`; it holds {', '.join(held[:20]) or 'none'}")
        with archive.open(f"{name if name in held else held[0]}.npy") as file:
            yield from _array_slices(file, size)


def _array_slices(file: IO[bytes], size: int) -> Iterator[tuple[int, Array]]:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = header(file)
    if not shape or dtype.kind not in "fiub":
        raise DataError(f"holds {dtype} of shape {shape}, not rows of numbers")
    if by_column and len(shape) > 1:
        raise DataError("is in Fortran order; save np.ascontiguousarray(...) of it")
    length = dtype.itemsize * prod(shape[1:])
    for start in range(0, shape[0], size):
        count = min(size, shape[0] - start)
        content = file.read(count * length)
        if len(content) != count * length:
            raise DataError(f"is truncated in row {start + len(content) // max(length, 1)}")
        yield start, np.frombuffer(content, dtype).reshape(count, *shape[1:])
