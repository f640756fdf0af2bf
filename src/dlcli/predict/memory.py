"""Examples in memory -> batches that a run's model takes: a NumPy array, or the columns of a table; read as from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ModelInputs
from dlcli.errors import DataError
from dlcli.predict.batch import Batch, Skip
from dlcli.predict.inputs import array_batch, notes_on_columns, table_batches, table_source
from dlcli.runtime.columns import InputLayout
from dlcli.runtime.inputs import TableColumns
from dlcli.spec.data.sources.csv import Csv
from dlcli.spec.data.sources.table.cells import normalized
from dlcli.spec.data.sources.table.reader import table_in_memory
from dlcli.spec.data.sources.table.typed import cell_text
from dlcli.spec.experiment import Experiment

Columns = Mapping[str, Sequence[Any]]
"""The columns of a table by their names, all of one length."""


def memory_batches(
    examples: Array | Columns, model_inputs: ModelInputs, experiment: Experiment, *, size: int, skip: Skip
) -> Iterator[Batch]:
    """Yields examples, `size` at a time; each is named by its position, from 0.

    Raises:
        DataError: the model takes something else, or a table lacks columns or has columns of several lengths.
    """
    if isinstance(examples, Mapping):
        if model_inputs.layout is None:
            raise DataError(
                f"this run's model takes an array of examples of shape {model_inputs.shape}, not columns of a table"
            )
        yield from _of_columns(examples, model_inputs.layout, experiment, size, skip)
        return
    if model_inputs.columns is not None:
        raise DataError(f"this run's model takes the columns of a table: {', '.join(list(model_inputs.columns)[:20])}")
    if examples.ndim < 2 or examples.dtype.kind not in "fiub":
        raise DataError(
            f"expected an array of numbers with one example per row, found {examples.dtype} of shape {examples.shape}"
        )
    for start in range(0, len(examples), size):
        raw = np.ascontiguousarray(examples[start : start + size])
        names = [str(start + place) for place in range(len(raw))]
        yield from array_batch(names, raw, model_inputs, experiment.data.image, skip)


def _of_columns(examples: Columns, inputs: InputLayout, experiment: Experiment, size: int, skip: Skip) -> Iterator[Batch]:
    source = table_source(experiment)
    texts = {_name(name, source): [_text(value) for value in values] for name, values in examples.items()}
    lengths = {name: len(values) for name, values in texts.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"the columns have several lengths: {', '.join(f'{name} {length}' for name, length in lengths.items())}"
        )
    table = table_in_memory(texts)
    yield from table_batches(table, source, inputs, size, skip, name_of=lambda number: str(number - 1))
    if notes := notes_on_columns(table, source, inputs.kinds):
        yield Batch([], TableColumns({}, {}), tuple(notes))


def _name(name: Any, source: Csv) -> str:
    return normalized(str(name)) if source.revision > 1 else str(name)


def _text(value: Any) -> str:
    """Returns a value as the text of a cell; None and NaN are missing values."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(value) if isinstance(value, bool) else cell_text(value)
