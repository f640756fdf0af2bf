"""`slurm/<number>_result.json` of a batch: the result of a SLURM task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dlcli.runs.contents import RunFile

ENDING = "_result.json"


class TaskResult(RunFile, BaseModel):
    """`slurm/<number>_result.json`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    code: Annotated[int, Field(ge=-64, le=255)]
    error: str = ""


def task_result_path(folder: Path, number: str) -> Path:
    """Returns the file of a task's result in the folder with submitit's files."""
    return folder / f"{number}{ENDING}"
