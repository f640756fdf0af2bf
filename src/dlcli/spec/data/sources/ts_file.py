"""Reading of `.ts` files, the text format of the UEA and UCR archives: a series with its label on each line.

A line holds the channels of a series, separated by `:`, and its label at the end; the values of a channel are separated by
`,`. A header of `@` lines names the labels. The format: github.com/sktime/sktime
`docs/source/api_reference/file_specifications/ts.rst`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcli.errors import DataError

if TYPE_CHECKING:
    from dlcli.arrays import Array

_LONGEST_HEADER = 1000
"""Lines before `@data`; archives have comments of a page."""
_LABELS, _NUMBERS = "@classlabel", ("@targetlabel", "@targetlabels")


@dataclass(frozen=True)
class TsHeader:
    """The lines before `@data`.

    Attributes:
        has_label: whether each line ends with a label.
        classes: the names of the classes; empty for numbers as targets.
        lines: the number of lines of the header.
    """

    has_label: bool
    classes: tuple[str, ...]
    lines: int


def read_header(path: str) -> TsHeader:
    """Returns the header of a `.ts` file.

    Raises:
        DataError: the file cannot be read, is no such file, or its series have times.
    """
    with _opened(path) as file:
        return _header(file, path)


def read_series(path: str) -> tuple[list[Array], list[str]]:
    """Returns the series of a file float32 `(steps, channels)`, and their labels as text; no labels if it has none.

    Raises:
        DataError: a line cannot be read, or its channels have different lengths.
    """
    series, labels = list["Array"](), list[str]()
    with _opened(path) as file:
        header = _header(file, path)
        for number, line in enumerate(file, start=header.lines + 1):
            if not line.strip() or line.startswith("#"):
                continue
            values, label = _series(line.strip(), header, f"{path}:{number}")
            if series and values.shape[1] != series[0].shape[1]:
                raise DataError(f"{path}:{number}: expected {series[0].shape[1]} channels, found {values.shape[1]}")
            series.append(values)
            labels += [label] if header.has_label else []
    if not series:
        raise DataError(f"{path}: has no series")
    return series, labels


def _opened(path: str) -> TextIOWrapper:
    if not Path(path).is_file():
        raise DataError(f"no file {path}")
    return open(path, encoding="utf-8", errors="replace")


def _header(file: Any, path: str) -> TsHeader:
    """Reads the lines up to `@data`."""
    has_label, classes = False, list[str]()
    for number, line in enumerate(islice(file, _LONGEST_HEADER), start=1):
        key, *values = line.split()[:1] + line.split()[1:] if line.strip() else [""]
        if key.lower() == "@data":
            return TsHeader(has_label, tuple(classes), number)
        is_true = bool(values) and values[0].lower() == "true"
        if key.lower() == "@timestamps" and is_true:
            raise DataError(f"{path}:{number}: series with times are not supported; their steps need equal distances")
        if key.lower() == _LABELS and is_true:
            has_label, classes = True, values[1:]
        elif key.lower() in _NUMBERS and is_true:
            has_label = True
    raise DataError(f"{path}: is no `.ts` file: it has no line `@data`")


def _series(line: str, header: TsHeader, where: str) -> tuple[Array, str]:
    """Returns the values `(steps, channels)` of a line and its label."""
    import numpy as np

    *channels, label = line.split(":") if header.has_label else [*line.split(":"), ""]
    if not channels:
        raise DataError(f"{where}: expected the channels of a series and its label, separated by `:`")
    try:
        columns = [np.array(list(_numbers(channel)), dtype="float32") for channel in channels]
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    lengths = sorted({len(column) for column in columns})
    if len(lengths) > 1:
        raise DataError(
            f"{where}: its channels have {lengths[0]} to {lengths[-1]} steps; all channels of a series need the same"
        )
    return np.stack(columns, axis=1), label.strip()


def _numbers(channel: str) -> Iterator[float]:
    """Yields the values of a channel; `?` and missing ones are NaN."""
    for cell in channel.split(","):
        yield float("nan") if cell.strip() in ("?", "") else float(cell)
