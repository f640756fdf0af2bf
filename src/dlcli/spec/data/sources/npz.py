"""Arrays in a NumPy `.npz` file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PrivateAttr

from dlcli.errors import DataError
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, file_bytes, row_ids
from dlcli.spec.data.sources.labels import labels_of, no_labels
from dlcli.spec.data.sources.npz_names import named_like, nearest_pair, pairs_of, parts_of, stem_and_part
from dlcli.spec.data.sources.npz_values import (
    array_header,
    constant_columns,
    difference,
    example_shape,
    is_channels_first,
    rows_without_values,
)
from dlcli.spec.paths import FilePath
from dlcli.tasks import Task

if TYPE_CHECKING:
    from dlcli.arrays import Array


class Npz(SourceSpec):
    """Arrays in a NumPy `.npz` file: rows `(n, features)`, series `(n, steps, channels)`, images `(n, h, w[, c])` uint8.

    Series that end early are padded with NaN in all channels. A three-dimensional uint8 array is read as grey images. Other
    parts are arrays of the same name with another part's in it: `x_val` and `x_test` beside `x` or `x_train`, `test_images`
    beside `train_images`.
    """

    kind: Literal["npz"]
    path: FilePath = Field(description="Path of the file.")
    features: str = Field(
        default="x", description="Name of the array with the inputs; if there are several, of those of the training split."
    )
    target: str | None = Field(
        default="y",
        description="Name of the array with the labels; if there are several, of those of the training split. `null`: there are"
        " none, for a task without labels.",
    )
    _side_columns: tuple[str, ...] = PrivateAttr(default=())

    @property
    def targets(self) -> list[str]:
        """The array of the labels, if the spec names it."""
        return [] if self.target is None else [self.target]

    def facts(self, task: Task) -> Facts:
        """Returns the splits of the file, and the shape of an example by the header of the training split's array."""
        pairs = pairs_of(self._names() or [], self.features, self.target)
        header = array_header(self.path, pairs["train"][0]) if "train" in pairs else None
        shape, is_image = example_shape(header) if header else (None, False)
        return Facts(
            shape=shape,
            image=is_image,
            has_validation="validation" in pairs,
            has_test="test" in pairs,
            has_labels=self.target is not None,
            examples=self._examples(pairs),
        )

    def _examples(self, pairs: dict[str, tuple[str, ...]]) -> int | None:
        """Returns the number of examples of all splits, by the headers of their arrays."""
        headers = [array_header(self.path, names[0]) for names in pairs.values()]
        counts = [header.shape[0] for header in headers if header and header.shape]
        return sum(counts) if counts and len(counts) == len(headers) else None

    def stored_bytes(self) -> int | None:
        """Returns the size of the file."""
        return file_bytes([self.path])

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
        """Yields a missing file, a file that is no npz, arrays that are absent or unfit, and NaN."""
        faults = list(self._file_faults())
        yield from faults
        if not faults:
            yield from self._value_faults(self._names() or [])

    def _file_faults(self) -> Iterator[tuple[str, str]]:
        if not Path(self.path).is_file():
            yield "path", f"no file {self.path}"
            return
        names = self._names()
        if names is None:
            yield "path", f"{self.path} is not a NumPy .npz file"
            return
        for key, name in self._fields().items():
            arrays = parts_of(name, names)
            twice = next((f"{part}: {' and '.join(same)}" for part, same in arrays.items() if len(same) > 1), None)
            if "train" not in arrays:
                yield key, f"the file has no array `{name}`; it holds {', '.join(names[:20]) or 'none'}{nearest_pair(names)}"
            elif twice:
                yield key, f"the file contains two arrays for one split, {twice}; keep one of them"
        yield from self._header_faults(names)

    def _fields(self) -> dict[str, str]:
        """Returns the named arrays by their fields."""
        return {"features": self.features} | ({} if self.target is None else {"target": self.target})

    def _header_faults(self, names: list[str]) -> Iterator[tuple[str, str]]:
        """Yields arrays that do not fit each other or hold no values, by their headers alone."""
        for pair in pairs_of(names, self.features, self.target).values():
            headers = [array_header(self.path, name) for name in pair]
            for name, header in zip(pair, headers, strict=True):
                if header and header.dtype == "|O":
                    yield (
                        "path",
                        f"{self.path}: `{name}` contains Python objects, which are not read; save it as a numeric array",
                    )
            inputs, *labels = (header.shape if header else None for header in headers)
            if inputs and labels and labels[0] and inputs[0] != labels[0][0]:
                yield (
                    "path",
                    f"{self.path}: `{pair[0]}` has shape {inputs}, but `{pair[1]}` {labels[0]}; both need one row per example",
                )
        yield from self._part_faults(names)

    def _part_faults(self, names: list[str]) -> Iterator[tuple[str, str]]:
        """Yields inputs of other splits whose shape or type differs from the training split, by their headers."""
        features = {part: pair[0] for part, pair in pairs_of(names, self.features, self.target).items()}
        train = array_header(self.path, features["train"]) if "train" in features else None
        for name in (name for part, name in features.items() if part != "train"):
            header = array_header(self.path, name)
            reason = difference(train, header) if train and header else ""
            if reason:
                yield "path", f"{self.path}: `{features['train']}` {reason.replace('OTHER', f'`{name}`')}"

    def _value_faults(self, names: list[str]) -> Iterator[tuple[str, str]]:
        """Yields arrays with channels first, and those that hold NaN."""
        for features, *targets in pairs_of(names, self.features, self.target).values():
            header = array_header(self.path, features)
            if header and is_channels_first(header.shape[1:]):
                yield "path", f"{self.path}: {_channels_first(features, header.shape)}"
            if count := rows_without_values(self.path, features):
                yield "path", f"{self.path}: {_without_values(features, count)}; only CSV tables may have missing values"
            for target in targets:
                if count := rows_without_values(self.path, target):
                    yield "path", f"{self.path}: {_without_values(target, count)}; remove the examples without a label"

    def notes(self) -> Iterator[str]:
        """Yields the arrays that are not used, and targets that are all the same."""
        yield from self._unused()
        if self.target is not None:
            yield from self._constant_targets(self.target)

    def _constant_targets(self, name: str) -> Iterator[str]:
        names = self._names() or []
        target = next((pair[1] for pair in pairs_of(names, self.features, name).values()), name)
        for place, value in constant_columns(self.path, target).items():
            header = array_header(self.path, target)
            which = (
                f"column {place} of `{target}`" if header and len(header.shape) > 1 and header.shape[1] > 1 else f"`{target}`"
            )
            yield f"the target {which} is {value:g} in all rows, so there is nothing to predict"

    def _unused(self) -> Iterator[str]:
        """Yields the arrays that are not used."""
        names = self._names() or []
        pairs = pairs_of(names, self.features, self.target)
        targets = {} if self.target is None else parts_of(self.target, names)
        features = {part: same[0] for part, same in parts_of(self.features, names).items()}
        for part, name in features.items():
            if part not in pairs and self.target is not None:
                yield (
                    f"`{name}` has no labels ({named_like(self.target, name)}) and is not used; to predict on it:"
                    f" np.save('{name}.npy', np.load('{Path(self.path).name}')['{name}'])"
                )
        used = {name for pair in pairs.values() for name in pair} | set(features.values())
        used |= {name for column in self._side_columns for same in parts_of(column, names).values() for name in same}
        unused = [name for name in names if name not in used]
        if unused:
            labels = {name for same in targets.values() for name in same}
            alone = " (labels without inputs)" if set(unused) <= labels else ""
            yield f"the file's arrays {', '.join(f'`{name}`' for name in unused)} are not used{alone}"

    def side_columns(self) -> tuple[str, ...] | None:
        """Returns the names of the arrays."""
        names = self._names()
        return None if names is None else tuple(names)

    def without_inputs(self, columns: tuple[str, ...]) -> Npz:
        """Returns the source that does not report these arrays as unused."""
        source = self.model_copy()
        source._side_columns = columns
        return source

    def _side_values(self, archive: Any, part: str, examples: int, names: tuple[str, ...]) -> dict[str, Array]:
        """Returns the requested arrays that a part has, `(n,)`: `patient_test` beside `patient` or `patient_train`.

        Raises:
            DataError: an array does not have one value for each example.
        """
        import numpy as np

        values: dict[str, Array] = {}
        for name in names:
            same = parts_of(name, archive.files).get(part)
            if not same:
                continue
            array = np.asarray(archive[same[0]])
            if array.shape not in ((examples,), (examples, 1)):
                raise DataError(f"{self.path}: `{same[0]}` has shape {array.shape}; a column has shape ({examples},)")
            values[name] = array.reshape(-1)
        return values

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> Npz:
        """Returns the same for another file, which need not name a split: `x` in place of `x_train`."""
        other = self.model_copy(update={"path": path})
        names = other._names() or []
        fields = self._fields()
        plain = {key: stem_and_part(name)[0] for key, name in fields.items()}
        without_parts = not any(name in names for name in fields.values()) and all(name in names for name in plain.values())
        return other.model_copy(update=plain) if without_parts else other

    def open(self, request: Request) -> Opened:
        """Returns the arrays, each part from its own pair where the file has one.

        Raises:
            DataError: the file cannot be read, or its arrays do not fit each other or the task.
        """
        import numpy as np

        for _, message in self._file_faults():
            raise DataError(message)
        parts: dict[str, Examples] = {}
        classes: tuple[str, ...] | None = None
        notes = list(self._unused())
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                for part, names in pairs_of(archive.files, self.features, self.target).items():
                    examples, classes = self._part(archive, names, part, request, classes)
                    side_columns = self._side_values(archive, part, len(examples), request.side_columns)
                    parts[part] = replace(examples, side_columns=side_columns)
                    notes += (
                        hints(parts[part].inputs.read(np.arange(min(1000, len(parts[part])))), names[0])
                        if part == "train"
                        else ()
                    )
                    self._check_fit(parts["train"], parts[part], names)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path}: {error}") from None
        return Opened(with_padding(parts), classes or (), tuple(notes))

    def _part(
        self, archive: Any, names: tuple[str, ...], part: str, request: Request, classes: tuple[str, ...] | None
    ) -> tuple[Examples, tuple[str, ...]]:
        from dlcli.runtime.inputs import array_inputs

        features, raw, values = names[0], archive[names[0]], archive[names[-1]]
        if not raw.ndim or not values.ndim or len(raw) != len(values):
            shapes = f"`{features}` has shape {raw.shape}, but `{names[-1]}` {values.shape}"
            raise DataError(f"{self.path}: {shapes}; both need one row per example")
        inputs = array_inputs(self._inputs(raw, features, request))
        if self.target is None:
            return Examples(inputs, no_labels(len(inputs)), row_ids(part, len(inputs))), ()
        targets, labels = labels_of(values, request.task, classes, self.path)
        return Examples(inputs, targets, row_ids(part, len(inputs))), labels or self._target_names(targets)

    def _check_fit(self, train: Examples, other: Examples, names: tuple[str, ...]) -> None:
        """Refuses a split whose inputs or targets have another shape than the training split's.

        Raises:
            DataError: their shapes differ.
        """
        shape, targets = train.inputs.shape, train.targets.shape[1:]
        if other.inputs.shape != shape:
            size = "; `data.image.size` brings images to one size" if other.inputs.kind == "images" else ""
            raise DataError(
                f"{self.path}: examples of the training split have shape {shape}, those of `{names[0]}`"
                f" {other.inputs.shape}{size}"
            )
        if other.targets.shape[1:] != targets:
            raise DataError(
                f"{self.path}: `{names[1]}` has {other.targets.shape[1]} targets per example, but the training split has"
                f" {targets[0]}"
            )

    def _inputs(self, raw: Array, name: str, request: Request) -> Array:
        from dlcli.runtime.image_arrays import fit_arrays

        inputs = as_inputs(raw, f"{self.path}: `{name}`")
        if request.revision > 1 and is_channels_first(inputs.shape[1:]):
            raise DataError(f"{self.path}: {_channels_first(name, raw.shape)}")
        if inputs.dtype == "uint8" and inputs.shape[3] in (1, 3):
            return fit_arrays(inputs, request.image)
        if inputs.dtype != "uint8" and (count := int(_is_incomplete(inputs).sum())):
            raise DataError(f"{self.path}: {_without_values(name, count)}; only CSV tables may have missing values")
        return inputs

    def _target_names(self, targets: Array) -> tuple[str, ...]:
        count = targets.shape[1]
        return (str(self.target),) if count == 1 else tuple(f"{self.target}_{index}" for index in range(count))


def _channels_first(name: str, shape: tuple[int, ...]) -> str:
    return f"`{name}` has shape {shape} with the channels first; save it with the channels last: np.moveaxis({name}, 1, -1)"


def _is_incomplete(inputs: Array) -> Array:
    """Returns which examples hold NaN or infinite values; NaN in all channels at the end of a series is padding."""
    from dlcli.runtime.padded_series import is_incomplete, is_not_finite

    return is_incomplete(inputs) if inputs.ndim == 3 else is_not_finite(inputs)


def with_padding(parts: dict[str, Examples]) -> dict[str, Examples]:
    """Returns the splits with their inputs as series of different lengths, if one of them has padding."""
    import numpy as np

    from dlcli.runtime.inputs import Arrays
    from dlcli.runtime.padded_series import PaddedSeries

    values = {part: examples.inputs.values for part, examples in parts.items() if isinstance(examples.inputs, Arrays)}
    if not any(array.ndim == 3 and array.dtype == "float32" and np.isnan(array[:, -1]).any() for array in values.values()):
        return parts
    return {part: replace(examples, inputs=PaddedSeries(values[part])) for part, examples in parts.items()}


def _without_values(name: str, count: int) -> str:
    rows = f"1 row of `{name}` holds" if count == 1 else f"{count:,} rows of `{name}` hold"
    return f"{rows} NaN or infinite values"


def hints(inputs: Array, name: str) -> Iterator[str]:
    """Yields the line that saves arrays of pixels as images, which can be resized and augmented; 1,000 examples are enough."""
    import numpy as np

    shape = inputs.shape[1:]
    grey = len(shape) == 2 and min(shape) > 4 and shape[0] == shape[1]
    if inputs.dtype != "float32" or not (grey or (len(shape) == 3 and shape[2] in (1, 3))):
        return
    if np.isnan(inputs).any():  # series of different lengths
        return
    low, high, whole = float(inputs.min()), float(inputs.max()), bool((inputs == np.round(inputs)).all())
    if low < 0 or high <= 0 or (high > 1 and not whole):
        return
    scale = "255" if high <= 1 else f"(255 / {high:g})"
    pixels = f"{name}.astype('uint8')" if 100 < high <= 255 else f"np.round({name} * {scale}).astype('uint8')"
    what = f"as series of {shape[0]} steps" if grey else "as numbers"
    yield f"`{name}` is read {what}, not as {'grey ' if shape[-1] == 1 or grey else ''}images; for images, save {pixels}"


def as_inputs(array: Array, where: str = "inputs") -> Array:
    """Returns float32 or uint8 inputs; grey images get a channel axis.

    Raises:
        DataError: the array does not hold numbers.
    """
    if array.dtype.kind not in "fiub":
        raise DataError(f"{where}: {array.dtype} is not a numeric type")
    if array.dtype == "uint8" and array.ndim in (3, 4):
        return array[..., None] if array.ndim == 3 else array
    inputs = array.astype("float32")
    return inputs[:, None] if inputs.ndim == 1 else inputs
