"""Tables of series -> the last window of each series, from which a run's model forecasts what follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from dlcli.errors import DataError, UsageError
from dlcli.predict.batch import Batch, Skip
from dlcli.spec.data.sources.series import Series
from dlcli.spec.data.sources.series_windows import last_windows
from dlcli.spec.data.sources.table.files import is_table
from dlcli.spec.experiment import Experiment


def reads_series(experiment: Experiment, path: str) -> bool:
    """Whether a file is a table of series for a run that was trained on such a table."""
    return isinstance(experiment.data.source, Series) and is_table(path)


def series_batches(
    files: Iterable[str], experiment: Experiment, data: Mapping[str, Any], *, size: int, skip: Skip
) -> Iterator[Batch]:
    """Yields the last window of each series of files, `size` at a time.

    A window ends with the last row that has all measured values. Rows behind it may have values of the columns that are known
    in advance. Series that are too short are skipped.

    Args:
        files: the tables.
        experiment: the run's experiment.
        data: the content of the run's `data.json`.
        size: the most windows of a batch.
        skip: is called with the name of each skipped series or file, and the reason.
    """
    source = experiment.data.source
    assert isinstance(source, Series)
    for path in files:
        try:
            last = last_windows(source.model_copy(update={"path": path}), data.get("entity_scales") or {})
        except DataError as error:
            skip(path, str(error).removeprefix(f"{path}: "))
            continue
        for name, reason in last.skipped.items():
            skip(name, reason)
        for start in range(0, len(last.ids), size):
            ids = last.ids[start : start + size]
            yield Batch(ids, last.windows.take(np.arange(start, start + len(ids))))
        yield Batch([], last.windows.take(np.zeros(0, "int64")), last.notes)


def refuse_mixed(files: Iterable[str], experiment: Experiment) -> bool:
    """Returns whether all files are tables of series.

    Raises:
        UsageError: some are, and others are arrays.
    """
    are_tables = {reads_series(experiment, path) for path in files}
    if len(are_tables) > 1:
        raise UsageError("name tables of series or NumPy files with windows, not both")
    return are_tables == {True}
