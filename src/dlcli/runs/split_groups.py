"""The column `group` of `split.csv`, or of the `groups.csv` of other data: the group of each example, where it is known."""

from __future__ import annotations

from pathlib import Path

from dlcli.runs.files import read_table

GROUP = "group"


def recorded_groups(path: Path) -> dict[str, str]:
    """Returns the group of each example by its id in such a file; empty if it has no groups, or there is no file.

    Raises:
        DamagedFile: the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            if GROUP not in file.readline(1000).strip().split(","):
                return {}
    except OSError:
        return {}
    return {row["id"]: row[GROUP] for row in read_table(path)}
