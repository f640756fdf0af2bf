"""`stages/<number>.npz` of a run: the predictions of each stage's best model for the validation split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlcli.errors import DamagedFile
from dlcli.runs.files import replacing
from dlcli.runs.folder import RunFolder
from dlcli.runs.layout import STAGE_ANSWERS
from dlcli.runtime.stored_arrays import UNREADABLE_ARRAYS, refuse_packed

if TYPE_CHECKING:
    from dlcli.arrays import Array


def write_stage_answers(run: RunFolder, stage: int, answers: Array) -> None:
    """Replaces the predictions of a stage; stages count from 0."""
    import numpy as np

    folder = run.path / STAGE_ANSWERS
    if folder.is_symlink():
        raise DamagedFile(f"{folder}: not a folder inside the run")
    folder.mkdir(exist_ok=True)
    with replacing(folder / f"{stage + 1}.npz") as temporary, open(temporary, "wb") as file:
        np.savez(file, answers=answers)


def read_stage_answers(run: RunFolder, stage: int) -> Array | None:
    """Returns the predictions of a stage; None if there are none or they cannot be read."""
    import numpy as np

    path = run.path / STAGE_ANSWERS / f"{stage + 1}.npz"
    if not path.is_file():  # a pipe would never end
        return None
    try:
        refuse_packed(path)
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays["answers"], dtype="float32")
    except UNREADABLE_ARRAYS:
        return None
