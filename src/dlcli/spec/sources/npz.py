"""Arrays in a NumPy `.npz` file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.sources.base import Examples, Facts, FilePath, Opened, Request, SourceSpec, labels_of, row_ids

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Npz(SourceSpec):
    """Arrays in a NumPy `.npz` file: rows `(n, features)`, series `(n, steps, channels)`, images `(n, h, w[, c])` uint8.

    A three-dimensional uint8 array is read as grey images. Parts may be given as `<features>_test` and so on.
    """

    kind: Literal["npz"]
    path: FilePath = Field(description="The file.")
    features: str = Field(default="x", description="Name of the array of inputs.")
    target: str = Field(default="y", description="Name of the array of labels.")

    def facts(self, task: str) -> Facts:
        """Returns nothing: the file is opened when the run starts."""
        return Facts(has_validation=None, has_test=None)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a missing file, one that is no npz, and arrays that it does not hold."""
        if not Path(self.path).is_file():
            yield "path", f"no file {self.path}"
            return
        try:
            with zipfile.ZipFile(self.path) as archive:
                names = sorted(name.removesuffix(".npy") for name in archive.namelist())
        except (zipfile.BadZipFile, OSError):
            yield "path", f"{self.path} is not a NumPy .npz file"
            return
        for key, name in (("features", self.features), ("target", self.target)):
            if name not in names and f"{name}_train" not in names:
                yield key, f"the file holds no array `{name}`; it holds {', '.join(names) or 'none'}"

    def open(self, request: Request) -> Opened:
        """Returns the arrays, each part from its own pair where the file has one."""
        import numpy as np

        try:
            with np.load(self.path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path}: {error}") from None
        parts: dict[str, Examples] = {}
        classes: tuple[str, ...] | None = None
        for part, suffixes in {"train": ("", "_train"), "validation": ("_validation", "_val"), "test": ("_test",)}.items():
            suffix = next((one for one in suffixes if self.features + one in arrays), None)
            if suffix is not None:
                parts[part], classes = self._part(arrays, suffix, part, request, classes)
        return Opened(parts, classes or ())

    def _part(
        self, arrays: dict[str, Array], suffix: str, part: str, request: Request, classes: tuple[str, ...] | None
    ) -> tuple[Examples, tuple[str, ...]]:
        if self.target + suffix not in arrays:
            raise DataError(f"{self.path} holds `{self.features}{suffix}` but no `{self.target}{suffix}`")
        inputs, values = as_inputs(arrays[self.features + suffix]), arrays[self.target + suffix]
        if len(inputs) != len(values):
            raise DataError(f"{self.path}: {len(inputs)} inputs but {len(values)} labels")
        targets, names = labels_of(values, request.task, classes)
        if not names:
            names = (
                tuple(f"{self.target}_{index}" for index in range(targets.shape[1])) if targets.shape[1] > 1 else (self.target,)
            )
        return Examples(inputs, targets, row_ids(part, len(inputs))), names


def as_inputs(array: Array) -> Array:
    """Returns float32 or uint8 inputs; grey images get a channel axis.

    Raises:
        DataError: the array does not hold numbers.
    """
    if array.dtype.kind not in "fiub":
        raise DataError(f"inputs of type {array.dtype} are not numbers")
    if array.dtype == "uint8":
        return array[..., None] if array.ndim == 3 else array if array.ndim == 4 else array.astype("float32")
    inputs = array.astype("float32")
    return inputs[:, None] if inputs.ndim == 1 else inputs
