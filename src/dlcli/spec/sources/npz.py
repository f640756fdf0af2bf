"""Arrays in a NumPy `.npz` file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.sources.base import Examples, Facts, FilePath, Opened, Request, SourceSpec, labels_of, row_ids

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_SUFFIXES = {"train": ("", "_train"), "validation": ("_validation", "_val"), "test": ("_test",)}


class Npz(SourceSpec):
    """Arrays in a NumPy `.npz` file: rows `(n, features)`, series `(n, steps, channels)`, images `(n, h, w[, c])` uint8.

    A three-dimensional uint8 array is read as grey images. Parts may be given as `<features>_test` and so on.
    """

    kind: Literal["npz"]
    path: FilePath = Field(description="The file.")
    features: str = Field(default="x", description="Name of the array of inputs.")
    target: str = Field(default="y", description="Name of the array of labels.")

    def facts(self, task: str) -> Facts:
        """Returns which parts the file has."""
        names = set(self._names() or ())
        parts = {part: any(self.features + suffix in names for suffix in suffixes) for part, suffixes in _SUFFIXES.items()}
        return Facts(has_validation=parts["validation"], has_test=parts["test"])

    def _names(self) -> list[str] | None:
        """Returns the names of the file's arrays; None where it is no npz."""
        if not Path(self.path).is_file():  # a device, such as /dev/zero, would never end
            return None
        try:
            with zipfile.ZipFile(self.path) as archive:
                return sorted(name.removesuffix(".npy") for name in archive.namelist())
        except (zipfile.BadZipFile, OSError):
            return None

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a missing file, one that is no npz, and arrays that it does not hold."""
        if not Path(self.path).is_file():
            yield "path", f"no file {self.path}"
            return
        names = self._names()
        if names is None:
            yield "path", f"{self.path} is not a NumPy .npz file"
            return
        for key, name in (("features", self.features), ("target", self.target)):
            if name not in names and f"{name}_train" not in names:
                yield key, f"the file holds no array `{name}`; it holds {', '.join(names[:20]) or 'none'}"

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> Npz:
        """Returns the same for another file."""
        return self.model_copy(update={"path": path})

    def open(self, request: Request) -> Opened:
        """Returns the arrays, each part from its own pair where the file has one."""
        import numpy as np

        parts: dict[str, Examples] = {}
        classes: tuple[str, ...] | None = None
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                for part, suffixes in _SUFFIXES.items():
                    suffix = next((one for one in suffixes if self.features + one in archive.files), None)
                    if suffix is not None:
                        parts[part], classes = self._part(archive, suffix, part, request, classes)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path}: {error}") from None
        if "train" not in parts:
            raise DataError(f"{self.path}: no array `{self.features}`")
        return Opened(parts, classes or ())

    def _part(
        self, archive: Any, suffix: str, part: str, request: Request, classes: tuple[str, ...] | None
    ) -> tuple[Examples, tuple[str, ...]]:
        features, target = self.features + suffix, self.target + suffix
        if target not in archive.files:
            raise DataError(f"{self.path} holds `{features}` but no `{target}`")
        raw, values = archive[features], archive[target]
        if not raw.ndim or not values.ndim or len(raw) != len(values):
            raise DataError(
                f"{self.path}: `{features}` has shape {raw.shape}, but `{target}` {values.shape}: one row an example"
            )
        inputs = self._inputs(raw, features, request)
        targets, names = labels_of(values, request.task, classes, self.path)
        return Examples(inputs, targets, row_ids(part, len(inputs))), names or self._target_names(targets)

    def _inputs(self, raw: Array, name: str, request: Request) -> Array:
        import numpy as np

        from dlcli.spec.sources.images import fit_arrays

        inputs = as_inputs(raw, f"{self.path}: `{name}`")
        if inputs.dtype == "uint8" and inputs.shape[3] in (1, 3):
            return fit_arrays(inputs, request.image)
        if inputs.dtype != "uint8" and not np.isfinite(inputs).all():
            count = int((~np.isfinite(inputs)).reshape(len(inputs), -1).any(axis=1).sum())
            raise DataError(f"{self.path}: {count} rows of `{name}` hold NaN or infinite values; a CSV table may have gaps")
        return inputs

    def _target_names(self, targets: Array) -> tuple[str, ...]:
        count = targets.shape[1]
        return (self.target,) if count == 1 else tuple(f"{self.target}_{index}" for index in range(count))


def as_inputs(array: Array, where: str = "inputs") -> Array:
    """Returns float32 or uint8 inputs; grey images get a channel axis.

    Raises:
        DataError: the array does not hold numbers.
    """
    if array.dtype.kind not in "fiub":
        raise DataError(f"{where}: {array.dtype} are not numbers")
    if array.dtype == "uint8" and array.ndim in (3, 4):
        return array[..., None] if array.ndim == 3 else array
    inputs = array.astype("float32")
    return inputs[:, None] if inputs.ndim == 1 else inputs
