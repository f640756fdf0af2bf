"""The datasets that scikit-learn fetches: read from its data home, downloaded once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, file_bytes, row_ids
from dlcli.spec.data.sources.fetched import FetchedSource, most_bytes
from dlcli.spec.data.sources.labels import labels_of
from dlcli.spec.data.sources.sklearn_sets import IMAGES_OF_A_PERSON, PEOPLE, SETS, FetchedSet
from dlcli.spec.paths import FilePath
from dlcli.tasks import Task

if TYPE_CHECKING:
    from dlcli.arrays import Array

_OBJECT_BYTES = 16
"""The most bytes that an object takes in memory for each byte of its pickle."""
_SIDE = 64


class Sklearn(FetchedSource):
    """A dataset that scikit-learn fetches: read from its data home, downloaded once by its own function.

    california_housing: 20,640 districts; covtype: 581,012 patches of forest in 7 classes; kddcup99: 494,021 network connections
    (a tenth of the set, which scikit-learn takes by default too); olivetti_faces: 400 images of 64x64, 10 of each of 40 people.
    The cached files are pickles; only arrays are read from them.
    """

    kind: Literal["sklearn"]
    name: Literal["california_housing", "covtype", "kddcup99", "olivetti_faces"] = Field(
        description="Name of the dataset, as in `sklearn.datasets.fetch_<name>`."
    )
    features: Literal["all"] | list[str] = Field(default="all", description="Input columns; `all`: all except the target.")
    drop: list[str] = Field(default=[], description="Columns to exclude from `all`.")
    data_home: FilePath | None = Field(
        default=None,
        description="Folder of scikit-learn's data; if not set, that of the environment variable `SCIKIT_LEARN_DATA`, or"
        " `~/scikit_learn_data`.",
    )

    @property
    def _set(self) -> FetchedSet:
        return SETS[self.name]

    @property
    def targets(self) -> list[str]:
        """The name of the label."""
        return [self._set.target] if self._set.target else []

    def header(self) -> tuple[str, ...]:
        """Returns the columns of a table; none of images."""
        return (*self._set.columns, *self.targets)

    def facts(self, task: Task) -> Facts:
        """Returns the classes, and the shape of images."""
        classes, tasks = self._set.classes, (self._set.task,)
        outputs = len(classes) or (1 if self._set.task == "regression" else None)
        if not self._set.columns:
            return Facts((_SIDE, _SIDE, 1), outputs, classes, tasks, image=True, examples=PEOPLE * IMAGES_OF_A_PERSON)
        return Facts(None, outputs, classes, tasks, columns=True)

    def notes(self) -> Iterator[str]:
        """Yields that the set is not cached."""
        if not any((self.home / name).exists() for name in self._set.files):
            yield f"the set {self.name} is not in {self.home}; a training downloads it"

    def stored_bytes(self) -> int | None:
        """Returns the size of the cached files."""
        return file_bytes(str(self.home / name) for name in self._set.files)

    def open(self, request: Request) -> Opened:
        """Returns all examples as one part.

        Raises:
            DataError: the set is not cached and cannot be downloaded, or its files hold anything but its arrays.
        """
        arrays = self._arrays(offline=request.offline)
        where = str(self.home / self._set.files[0])
        if self.name == "olivetti_faces":
            return self._faces(arrays[0], request, where)
        rows = arrays[0]
        if self.name == "california_housing":
            rows, labels = _houses(_rows(rows, 1 + len(self._set.columns), where))
        else:
            labels = arrays[1]
        rows = _rows(rows, len(self._set.columns), where)
        if labels.shape != (len(rows),):
            raise DataError(f"{where}: {len(rows):,} rows, but labels of shape {labels.shape}")
        columns = {name: _column(rows[:, place]) for place, name in enumerate(self._set.columns)}
        columns |= dict.fromkeys(self.targets, _column(labels))
        return self.opened(columns, self._labels(_column(labels), request.task, where), request)

    def _arrays(self, *, offline: bool) -> list[Array]:
        """Returns the arrays of the cached files, which are downloaded if none of them is there."""
        from dlcli.upstream.joblib import read_array

        paths = [self.home / name for name in self._set.files]
        missing = [path for path in paths if not path.exists()]
        if missing and len(missing) < len(paths):  # scikit-learn would read the others, whatever they are
            raise DataError(f"{missing[0]} is missing beside the set's other file; delete that one too, to download the set")
        if missing and offline:
            raise self.unavailable("it is not cached there, and --offline forbids a download")
        if missing:
            self.download(f"fetch_{self.name}")
        most = most_bytes(_OBJECT_BYTES if self.name == "kddcup99" else 1)
        return [read_array(path, most) for path in paths]

    def _labels(self, labels: Array, task: Task, where: str) -> tuple[Array, tuple[str, ...]]:
        classes = self._set.classes
        if not classes or task.output.reads_columns or not task.output.reads_labels:
            targets, names = labels_of(labels, task, None, where)
            return targets, names or tuple(self.targets)
        if labels.dtype.kind not in "iuf" or labels.min(initial=1) < 1 or labels.max(initial=1) > len(classes):
            raise DataError(f"{where}: expected the classes 1 to {len(classes)}")
        return labels.astype("int64") - 1, classes

    def _faces(self, faces: Array, request: Request, where: str) -> Opened:
        """Returns the images, whose pixels the file has in columns, and the numbers of the people."""
        import numpy as np

        from dlcli.runtime.image_arrays import fit_arrays
        from dlcli.runtime.inputs import array_inputs

        if faces.dtype != "uint8" or faces.shape != (PEOPLE * IMAGES_OF_A_PERSON, _SIDE * _SIDE):
            raise DataError(f"{where}: expected 400 images of 64x64 in uint8, found {faces.dtype} of shape {faces.shape}")
        images = np.ascontiguousarray(faces.reshape(-1, _SIDE, _SIDE).transpose(0, 2, 1))[..., None]
        people, classes = np.repeat(np.arange(PEOPLE), IMAGES_OF_A_PERSON), self._set.classes
        inputs = array_inputs(fit_arrays(images, request.image))
        return Opened({"train": Examples(inputs, people, row_ids("train", len(people)))}, classes)


def _rows(rows: Array, columns: int, where: str) -> Array:
    """Returns the rows, checked.

    Raises:
        DataError: they have another number of columns.
    """
    if rows.ndim != 2 or rows.shape[1] != columns or not len(rows):
        raise DataError(f"{where}: expected rows of {columns} columns, found shape {rows.shape}")
    return rows


def _houses(rows: Array) -> tuple[Array, Array]:
    """Returns rooms, bedrooms and people for each household, and the value in 100,000 dollars, as scikit-learn does."""
    import numpy as np

    values, columns = rows[:, 0], np.array(rows[:, 1:])
    households = columns[:, 5].copy()
    columns[:, 2] /= households
    columns[:, 3] /= households
    columns[:, 5] = columns[:, 4] / households
    return columns, values / 100_000


def _column(values: Array) -> Array:
    """Returns numbers as they are, numbers among objects as float64, and bytes as text objects with None for gaps."""
    import numpy as np

    if values.dtype != object:
        return values
    if all(isinstance(value, (int, float)) for value in values.tolist()):
        return values.astype("float64")
    texts = [value.decode("latin-1") if isinstance(value, bytes) else value for value in values.tolist()]
    return np.array([None if value is None else str(value) for value in texts], dtype=object)
