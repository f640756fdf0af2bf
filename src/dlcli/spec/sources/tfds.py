"""Any prepared set of TensorFlow Datasets with supervised keys: images, rows or columns."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.sources.base import Examples, Facts, Opened, Request, SourceSpec, labels_of, row_ids

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_KNOWN = {
    "mnist": ((28, 28, 1), _DIGITS),
    "fashion_mnist": ((28, 28, 1), _CLOTHES),
    "cifar10": ((32, 32, 3), _THINGS),
}
"""Shapes and classes of the sets that courses start with, so that a spec can be checked before they are at hand."""


class Tfds(SourceSpec):
    """A set of TensorFlow Datasets: prepared data in `TFDS_DATA_DIR`, or downloaded once by TFDS."""

    kind: Literal["tfds"]
    name: str = Field(
        description="The set's name, with its configuration if any: `mnist`, `cifar10_corrupted/snow_1`.", min_length=1
    )
    version: str | None = Field(default=None, description="Version, exact or with stars: 3.0.1, 3.*.*")
    train: str = Field(default="train", description="TFDS's split expression for training: `train[:50%]`.")
    validation: str | None = Field(default=None, description="Split expression for validation; ours if not given.")
    test: str | None = Field(default="auto", description="Split expression for testing; `auto`: `test` where the set has it.")

    def facts(self, task: str) -> Facts:
        """Returns shape and classes, from the prepared set's own description or for well-known sets."""
        shape, classes = _KNOWN.get(self.name, (None, ()))
        described = _described(self._folder())
        if described:
            shape, classes = described[0] or shape, described[1] or classes
        tasks = ("classification", "binary") if classes else ()
        image = shape is not None and len(shape) == 3
        has_test = None if self.test == "auto" else self.test is not None
        if self.name in _KNOWN and self.test == "auto":
            has_test = True
        return Facts(shape, len(classes) or None, classes, tasks, self.validation is not None, has_test, image)

    def _folder(self) -> Path:
        return data_dir() / self.name

    def open(self, request: Request) -> Opened:
        """Returns the set's examples, read into memory.

        Raises:
            DataError: the set is not there and cannot be had, has no supervised keys, or holds text.
        """
        builder = self._prepared(request.offline)
        if not builder.info.supervised_keys:
            raise DataError(f"the TFDS set {self.name} has no supervised keys: dlcli cannot tell its inputs from its labels")
        splits = {"train": self.train, "validation": self.validation, "test": self._test_split(builder)}
        classes = _class_names(builder, request.task)
        parts: dict[str, Examples] = {}
        for part, expression in splits.items():
            if expression:
                parts[part], classes = self._examples(builder, part, expression, request, classes)
        return Opened(parts, classes or ("target",))

    def _test_split(self, builder: Any) -> str | None:
        if self.test != "auto":
            return self.test
        return "test" if "test" in builder.info.splits else None

    def _prepared(self, offline: bool) -> Any:
        """Returns the builder of the prepared set, preparing it first where it is not there and the network allows."""
        from dlcli.upstream import import_tfds

        tfds = import_tfds()
        name = f"{self.name}:{self.version}" if self.version else self.name
        try:
            builder = tfds.builder(name, data_dir=str(data_dir()))
        except Exception as error:
            raise DataError(self._unavailable(f"TFDS cannot load {name!r}: {_first_line(error)}")) from None
        if not builder.info.splits:
            if offline:
                raise DataError(self._unavailable("it is not prepared there, and --offline forbids a download"))
            try:
                builder.download_and_prepare()
            except Exception as error:
                raise DataError(self._unavailable(f"its download failed: {_first_line(error)}")) from None
        return builder

    def _unavailable(self, reason: str) -> str:
        return (
            f"the TFDS set {self.name} is not at hand: {reason}\n"
            f"  prepared data is looked for in {self._folder()} (TFDS_DATA_DIR, or TFDS's own folder where that is not set)\n"
            "  configs/digits_cnn.yaml trains on real images without any download"
        )

    def _examples(
        self, builder: Any, part: str, expression: str, request: Request, classes: tuple[str, ...]
    ) -> tuple[Examples, tuple[str, ...]]:
        try:
            inputs, labels = _load(builder, expression, request)
        except ValueError as error:
            raise DataError(f"TFDS split {expression!r} of {self.name}: {_first_line(error)}") from None
        values = labels if not classes else _named(labels, classes)
        targets, names = labels_of(values, request.task, classes or None)
        return Examples(inputs, targets, row_ids(part, len(targets))), names


def data_dir() -> Path:
    """Returns the folder of prepared TFDS sets: `TFDS_DATA_DIR`, or TFDS's own default."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets").expanduser()


def _described(folder: Path) -> tuple[tuple[int, ...] | None, tuple[str, ...]] | None:
    """Returns shape and classes of a prepared set from its `features.json`, without TFDS; None where it is not there."""
    files = sorted(folder.glob("*/features.json"))
    if not files:
        return None
    try:
        features = json.loads(files[-1].read_text())["featuresDict"]["features"]
        shape, classes = None, ()
        for name, feature in features.items():
            if "image" in feature:
                sides = [int(side) for side in feature["image"]["shape"].get("dimensions", [])]
                shape = tuple(sides) if len(sides) == 3 and all(side > 0 for side in sides) else None
            if "classLabel" in feature:
                names = files[-1].parent / f"{name}.labels.txt"
                classes = tuple(names.read_text().split("\n")[:-1]) if names.is_file() else ()
        return shape, classes
    except (KeyError, ValueError, TypeError, OSError):
        return None


def _class_names(builder: Any, task: str) -> tuple[str, ...]:
    label = builder.info.features[builder.info.supervised_keys[1]]
    return tuple(label.names) if task in ("classification", "binary") and hasattr(label, "names") else ()


def _named(labels: Array, classes: tuple[str, ...]) -> Array:
    import numpy as np

    return np.asarray(classes, dtype=object)[labels]


def _load(builder: Any, expression: str, request: Request) -> tuple[Any, Array]:
    """Returns the inputs and labels of one split expression, in the order of the files."""
    import numpy as np

    from dlcli.upstream import read_split

    inputs, labels = read_split(builder, expression)
    if isinstance(inputs, dict):
        return {name: _cells(values, name) for name, values in inputs.items()}, np.asarray(labels)
    if inputs and inputs[0].dtype == np.uint8 and inputs[0].ndim == 3:
        from dlcli.spec.sources.images import fit_arrays

        return fit_arrays(inputs, request.image), np.asarray(labels)
    if len(inputs) and np.asarray(inputs[0]).dtype.kind not in "fiub":
        raise DataError("the set's inputs are text; dlcli trains on images and tables")
    return np.asarray(inputs, dtype="float32"), np.asarray(labels)


def _cells(values: list[Any], name: str) -> Array:
    import numpy as np

    column = np.asarray(values)
    if column.ndim != 1:
        raise DataError(f"column `{name}` of the set is not a single value an example")
    if column.dtype.kind in "fiub":
        return column.astype("float32")
    return np.array([value.decode() if isinstance(value, bytes) else str(value) for value in values], dtype=object)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
