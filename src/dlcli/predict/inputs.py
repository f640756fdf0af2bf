"""Named files -> batches of model inputs: images, rows of tables, texts, NumPy arrays; read as in training.

One batch is in memory at a time, and the next one while the model computes. Unreadable examples are reported and skipped.
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
from io import BufferedReader
from itertools import groupby
from math import prod
from typing import IO, Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ModelInputs
from dlcli.errors import DataError, UsageError
from dlcli.predict.batch import Batch, Skip
from dlcli.predict.texts import text_batches, text_files_of
from dlcli.runtime.columns import InputLayout
from dlcli.runtime.image_arrays import fit_arrays, fit_deep_arrays
from dlcli.runtime.image_reader import UnreadableImage, read_picture
from dlcli.runtime.images import incomplete_words, settings_of
from dlcli.runtime.inputs import Kind, TableColumns, array_inputs
from dlcli.runtime.padded_series import is_incomplete, is_not_finite, padded
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources.csv import Csv
from dlcli.spec.data.sources.csv_rows import file_columns, ignored_columns, read_rows, row_settings
from dlcli.spec.data.sources.file_tree import Tree, walk
from dlcli.spec.data.sources.image_types import EXTENSIONS, is_image_file
from dlcli.spec.data.sources.npz import Npz, as_inputs
from dlcli.spec.data.sources.table.contents import row_notes
from dlcli.spec.data.sources.table.files import ENDINGS as TABLES
from dlcli.spec.data.sources.table.reader import OpenTable, open_stream, open_table
from dlcli.spec.data.sources.text_folder import is_text_file
from dlcli.spec.data.sources.ts_file import read_series
from dlcli.spec.experiment import Experiment

_ENDINGS: dict[Kind, tuple[str, ...]] = {"images": EXTENSIONS, "columns": TABLES, "arrays": (".npz", ".npy", ".ts")}
_NUMPY = (".npz", ".npy")
STDIN = "-"


def matching_files(
    names: Sequence[str], kind: Kind, *, reads_series: bool = False, text_files: bool = False
) -> tuple[list[str], Tree]:
    """Returns the named files, those in named folders and those that match patterns, and the ignored files of the folders.

    Files of a folder are those that training would find below a class folder, sorted by their paths. `-` is not changed. A
    model of series also takes tables (`reads_series`). With `text_files` the files are texts (`.txt`), since the training was
    on a folder of them.

    Raises:
        UsageError: a name or a pattern matches no file, or the model does not take files of this kind.
    """
    files: list[str] = []
    ignored = Tree()
    for name in names:
        if name == STDIN:
            files.append(name)
            continue
        for path in [name] if os.path.lexists(name) else _matching(name):
            if os.path.isdir(path):
                tree = walk(path, is_text_file if text_files else _file_filter("columns" if reads_series else kind))
                files += tree.files
                tree.files = []
                ignored.add(tree)
            else:
                if not (reads_series and path.lower().endswith(TABLES)):
                    _refuse_other_kind(path, kind, text_files=text_files)
                files.append(path)
    return files, ignored


def _matching(pattern: str) -> list[str]:
    matches = sorted(glob.glob(pattern, recursive=True))
    if not matches:
        problem = "matches no file" if glob.has_magic(pattern) else "no such file or folder"
        raise UsageError(f"{pattern}: {problem}")
    return matches


def _file_filter(kind: Kind) -> Callable[[str], bool]:
    """Returns the test whether a file is of a kind: an image by its name or content, another file by its name."""
    return is_image_file if kind == "images" else lambda path: path.lower().endswith(_ENDINGS[kind])


def _refuse_other_kind(path: str, kind: Kind, *, text_files: bool) -> None:
    """Raises UsageError for a file whose name shows another kind; images may also be in NumPy files."""
    file_kind = next((name for name, endings in _ENDINGS.items() if path.lower().endswith(endings)), kind)
    if file_kind != kind and not (kind == "images" and file_kind == "arrays"):
        accepted = {
            "images": "images",
            "columns": "tables with the columns it was trained on (.csv, .parquet, ...)",
            "arrays": "NumPy files, or series in .ts files",
        }
        texts = "text files (.txt), and " if text_files else ""
        raise UsageError(f"{path}: this run's model takes {texts}{accepted[kind]}")


def batches(
    files: Iterable[str], model_inputs: ModelInputs, experiment: Experiment, *, size: int, skip: Skip
) -> Iterator[Batch]:
    """Yields all examples of files, `size` at a time; the name `-` is stdin: names of files, or rows of a table."""
    if model_inputs.kind == "columns":
        yield from _of_tables_and_texts(files, experiment, _layout(model_inputs), size, skip)
        return
    source = experiment.data.source
    name = source.features if isinstance(source, Npz) else "x"
    for is_array, group in groupby(_with_names_from_stdin(files), lambda path: path.lower().endswith(_NUMPY)):
        if is_array or model_inputs.kind == "arrays":
            for path in group:
                yield from _of_array(path, name, model_inputs, experiment.data.image, size, skip)
        else:
            yield from _of_images(group, _settings(experiment.data.image, model_inputs.shape), size, skip)


def _of_tables_and_texts(
    files: Iterable[str], experiment: Experiment, layout: InputLayout, size: int, skip: Skip
) -> Iterator[Batch]:
    source = text_files_of(experiment)
    for is_text, group in groupby(files, lambda path: source is not None and is_text_file(path)):
        if source is not None and is_text:
            yield from text_batches(group, source, layout, size, skip)
            continue
        for path in group:
            yield from _of_table(path, table_source(experiment), layout, size, skip)


def table_source(experiment: Experiment) -> Csv:
    """Returns what the cells of a table mean: as in the run's own table, or as by default where it was trained on none."""
    source = experiment.data.source
    return source if isinstance(source, Csv) else Csv(kind="csv", path="rows.csv", target="target")


def _layout(model_inputs: ModelInputs) -> InputLayout:
    assert model_inputs.layout is not None  # as those of every model of columns
    return model_inputs.layout


def notes_on_columns(table: OpenTable, source: Csv, columns: Iterable[str]) -> list[str]:
    """Returns notes on a table's columns: those that the reader makes, and those that the model does not take."""
    return [*table.notes, *ignored_columns(source, table.names, file_columns(source, columns).values())]


def _settings(image: ImageSettings, shape: tuple[int, ...]) -> ImageSettings:
    """Returns the run's image settings with the size and channels of the model's inputs."""
    return image.model_copy(update={"size": shape[:2], "channels": shape[2]})


def _with_names_from_stdin(files: Iterable[str]) -> Iterator[str]:
    for path in files:
        if path == STDIN:
            # Names of files need not be valid text, so bytes are read; a replacement of stdin may have no buffer of bytes.
            for line in getattr(sys.stdin, "buffer", sys.stdin):
                if line.strip():
                    yield os.fsdecode(line).rstrip("\r\n")
        else:
            yield path


def _of_images(paths: Iterable[str], image: ImageSettings, size: int, skip: Skip) -> Iterator[Batch]:
    """Yields full batches of images, decoded ahead in threads; at most two batches wait."""
    ids: list[str] = []
    images: list[Array] = []
    with ThreadPoolExecutor() as pool:
        for path, image_or_reason in _decode_ahead(pool, paths, image, 2 * size):
            if isinstance(image_or_reason, str):
                skip(path, image_or_reason)
                continue
            ids.append(path)
            images.append(image_or_reason)
            if len(ids) == size:
                yield Batch(ids, array_inputs(np.stack(images)))
                ids, images = [], []
    if ids:
        yield Batch(ids, array_inputs(np.stack(images)))


def _decode_ahead(pool: ThreadPoolExecutor, paths: Iterable[str], image: ImageSettings, most: int) -> Iterator[tuple[str, Any]]:
    """Yields each path with its image, or with the reason why it is unreadable, in order; `most` are decoded ahead."""
    waiting: deque[tuple[str, Future[Array | str]]] = deque()
    for path in paths:
        waiting.append((path, pool.submit(_image, path, image)))
        if len(waiting) == most:
            next_path, future = waiting.popleft()
            yield next_path, future.result()
    while waiting:
        next_path, future = waiting.popleft()
        yield next_path, future.result()


def _image(path: str, image: ImageSettings) -> Array | str:
    if not os.path.isfile(path):
        return _file_problem(path)
    try:
        picture = read_picture(path, settings_of(image))
    except UnreadableImage as error:
        return str(error)
    incomplete = incomplete_words(path) if picture.ends_grey else ""
    return incomplete.removeprefix(f"{path}: ") or picture.pixels


def _file_problem(path: str) -> str:
    return "not a file" if os.path.lexists(path) else "no such file"


def _of_table(path: str, source: Csv, inputs: InputLayout, size: int, skip: Skip) -> Iterator[Batch]:
    name = "stdin" if path == STDIN else path
    try:
        with _open_table(path, source, inputs.kinds, size) as table:
            yield from table_batches(table, source, inputs, size, skip, name_of=lambda number: f"{name}:{number}")
            if notes := [*notes_on_columns(table, source, inputs.kinds), *row_notes(table.counts)]:
                yield Batch([], TableColumns({}, {}), tuple(f"{name}: {note}" for note in notes))
    except DataError as error:
        skip(name, str(error))
    except OSError as error:
        skip(name, error.strerror or str(error))


def table_batches(
    table: OpenTable, source: Csv, inputs: InputLayout, size: int, skip: Skip, *, name_of: Callable[[int], str]
) -> Iterator[Batch]:
    """Yields the rows of an opened table, `size` at a time; unreadable rows are skipped.

    Args:
        table: the table.
        source: what the training's cells mean.
        inputs: the model's columns with their kinds, and its inputs.
        size: rows in a batch.
        skip: is called with the name of each skipped row, and the reason.
        name_of: returns the name of a row by its number, from 1 below the header.

    Raises:
        DataError: the table lacks columns.
    """
    for rows in read_rows(source, table, inputs.kinds, at_once=size):
        for number, fault in rows.faults.items():
            skip(name_of(number), fault)
        if rows.numbers:
            yield Batch([name_of(number) for number in rows.numbers], TableColumns(rows.columns, inputs.kinds, inputs))


@contextmanager
def _open_table(path: str, source: Csv, columns: Iterable[str], size: int) -> Iterator[OpenTable]:
    """Yields a table of a file or of stdin, read with the settings of the source."""
    settings = row_settings(source, columns)
    if path == STDIN:
        stdin: Any = sys.stdin.buffer
        yield open_stream(stdin if hasattr(stdin, "peek") else BufferedReader(stdin), settings, sample=size)
        return
    if not os.path.isfile(path):
        raise DataError(_file_problem(path))
    with open_table(path, settings) as table:
        yield table


def _of_array(path: str, name: str, model_inputs: ModelInputs, image: ImageSettings, size: int, skip: Skip) -> Iterator[Batch]:
    """Yields the examples of a NumPy file, read in slices, or those of a `.ts` file."""
    try:
        if path.lower().endswith(".ts"):
            yield from _of_ts(path, model_inputs, size, skip)
            return
        for start, raw in _slices(path, name, size):
            names = [f"{path}:{start + place}" for place in range(len(raw))]
            yield from array_batch(names, raw, model_inputs, image, skip)
    except DataError as error:
        skip(path, str(error))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        skip(path, getattr(error, "strerror", None) or str(error))
    except (MemoryError, OverflowError):
        skip(path, "is larger than the memory")


def _of_ts(path: str, model_inputs: ModelInputs, size: int, skip: Skip) -> Iterator[Batch]:
    """Yields the series of a `.ts` file; their labels are ignored."""
    series, _ = read_series(path)
    for start in range(0, len(series), size):
        batch = series[start : start + size]
        names = [f"{path}:{start + place}" for place in range(len(batch))]
        values = padded(batch, max(len(values) for values in batch))
        yield from array_batch(names, values, model_inputs, ImageSettings(), skip)


def array_batch(names: list[str], raw: Array, model_inputs: ModelInputs, image: ImageSettings, skip: Skip) -> Iterator[Batch]:
    """Yields a batch of an array's examples; those with NaN or infinite values are skipped.

    Args:
        names: the names of the examples.
        raw: the examples `(n, ...)`, as a file or a caller holds them.
        model_inputs: what the model takes.
        image: how images were read in the training.
        skip: is called with the name of each skipped example, and the reason.

    Raises:
        DataError: they have another shape or type than the model takes.
    """
    inputs = _as_model_inputs(raw, model_inputs, image)
    is_wrong = is_incomplete(inputs) if model_inputs.is_padded else is_not_finite(inputs)
    for place in np.flatnonzero(is_wrong):
        skip(names[place], "holds NaN or infinite values")
    if not is_wrong.all():
        yield Batch([names[place] for place in np.flatnonzero(~is_wrong)], array_inputs(inputs[~is_wrong]))


def _as_model_inputs(raw: Array, model_inputs: ModelInputs, image: ImageSettings) -> Array:
    """Returns examples in the form of the source.

    Raises:
        DataError: their shape or type is not that of the model's inputs.
    """
    if model_inputs.kind == "images" and image.is_deep and raw.ndim in (3, 4) and raw.shape[3:] in ((), (1,), (3,)):
        return fit_deep_arrays(raw, _settings(image, model_inputs.shape))
    inputs = as_inputs(raw)
    if model_inputs.kind == "images":
        if inputs.dtype != "uint8" or inputs.shape[3] not in (1, 3):
            raise DataError(f"holds {raw.dtype} of shape {raw.shape[1:]}; the model takes images of uint8, 0 to 255")
        inputs = fit_arrays(inputs, _settings(image, model_inputs.shape))
    elif inputs.dtype == "uint8":
        raise DataError(f"contains uint8 images of shape {raw.shape[1:]}; the model was trained on another numeric type")
    if model_inputs.is_padded and inputs.ndim == 3 and inputs.shape[2] == model_inputs.shape[1]:
        return padded(list(inputs), model_inputs.shape[0])
    if inputs.shape[1:] != model_inputs.shape:
        raise DataError(f"holds examples of shape {inputs.shape[1:]}; the model takes {model_inputs.shape}")
    return inputs


def _slices(path: str, name: str, size: int) -> Iterator[tuple[int, Array]]:
    """Yields an array of a NumPy file, `size` rows at a time, each with the position of its first row.

    Raises:
        DataError: there is no such array, or it has no rows of numbers.
    """
    if not os.path.isfile(path):
        raise DataError(_file_problem(path))
    if not path.lower().endswith(".npz"):
        with open(path, "rb") as file:
            yield from _array_slices(file, size)
        return
    with zipfile.ZipFile(path) as archive:
        names = [member.removesuffix(".npy") for member in archive.namelist()]
        if name not in names and len(names) != 1:
            raise DataError(f"has no array `{name}`; it holds {', '.join(names[:20]) or 'none'}")
        with archive.open(f"{name if name in names else names[0]}.npy") as file:
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
