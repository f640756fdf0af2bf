"""`speed.json`: what limits the speed of each stage of a training, with the measurements."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from dlcli.runs.contents import Count, RunFile
from dlcli.runs.folder import RunFolder

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Bound = Literal["input-bound", "overhead-bound", "compute-bound"]


class StageSpeed(BaseModel):
    """The speed of the training steps of a stage; validation and scores are not part of it.

    Attributes:
        stage: the name of the stage.
        bound: what limits the speed.
        seconds: the measured time.
        steps: the steps in it, and `calls` the calls of the compiled training function.
        waiting: the share of the time in which the training waited for the next batch. On a GPU this is an upper limit, since
            the GPU computes earlier steps meanwhile.
        between: the share of the time between the calls: callbacks and progress, in Python.
        reading: CPU seconds for reading and decoding the files of one batch, measured alone; None without files.
        augmenting: CPU seconds for augmenting one batch, measured alone; None without augmentation on the CPU.
        text: the finding as a sentence.
        advice: settings that can make the training faster; empty if none is known.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", defer_build=True)

    stage: str
    bound: Bound
    seconds: Seconds
    steps: Count
    calls: Count
    waiting: Share
    between: Share
    reading: Seconds | None = None
    augmenting: Seconds | None = None
    text: str
    advice: list[str] = []


class SpeedFile(RunFile, RootModel[list[StageSpeed]]):
    """`speed.json`."""

    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)


def stage_speeds(run: RunFolder) -> list[StageSpeed]:
    """Returns the speed of each measured stage; empty for a run that was too short, or of an older version.

    Raises:
        DamagedFile: the file cannot be read, or has invalid content.
    """
    path = run.speed_path
    return SpeedFile.read(path).root if os.path.lexists(path) else []


def write_stage_speed(run: RunFolder, speed: StageSpeed) -> None:
    """Adds the speed of a stage to `speed.json`, in place of an earlier measurement of the same stage."""
    others = [other for other in stage_speeds(run) if other.stage != speed.stage]
    SpeedFile.of([item.model_dump() for item in (*others, speed)]).write(run.speed_path)
