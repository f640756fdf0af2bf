"""Reads `data.split.file`, the `split.csv` of an earlier run."""

from __future__ import annotations

from pathlib import Path

from dlcli.errors import DataError
from dlcli.runs.files import read_table
from dlcli.spec.data.sources.part_names import SPLITS


def read_split_file(path: Path) -> dict[str, str]:
    """Returns the name of each example's split by the example's id.

    Raises:
        DataError: the file cannot be read, lacks a column, or names an unknown split.
    """
    try:
        rows = read_table(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.split.file: cannot read {path}: {error}") from None
    if not rows or not {"id", "split"} <= set(rows[0]):
        raise DataError(f"data.split.file: {path} needs the columns `id` and `split`, and rows")
    unknown = next((row["split"] for row in rows if row["split"] not in SPLITS), None)
    if unknown is not None:
        raise DataError(f"data.split.file: {path} has the unknown split {unknown!r}; splits are {', '.join(SPLITS)}")
    return {row["id"]: row["split"] for row in rows}
