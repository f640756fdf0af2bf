"""`metadata.csv` in a folder of images: a table with the column `file_name` and others, as of Hugging Face's ImageFolder."""

from __future__ import annotations

from pathlib import Path

from dlcli.errors import DataError

METADATA = "metadata.csv"
FILE_NAME = "file_name"
"""The column with the path of an image below the folder."""


def metadata_columns(folder: Path) -> tuple[str, ...]:
    """Returns the columns beside `file_name`; none if there is no such file, or it cannot be read."""
    import csv  # not when a spec is checked

    try:
        with (folder / METADATA).open(encoding="utf-8-sig", newline="") as file:
            return tuple(name for name in next(csv.reader(file), []) if name and name != FILE_NAME)
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def read_metadata(folder: Path) -> dict[str, dict[str, str]]:
    """Returns the cells of each image by their columns, by the path of the image below the folder.

    Raises:
        DataError: the file cannot be read, or has no column `file_name` or no rows.
    """
    import csv

    path = folder / METADATA
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if FILE_NAME not in (rows[0] if rows else {}):
        raise DataError(f"{path}: needs a column file_name, and rows")
    return {row[FILE_NAME]: {name: cell or "" for name, cell in row.items() if name} for row in rows}
