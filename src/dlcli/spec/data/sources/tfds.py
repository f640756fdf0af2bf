"""Any prepared set of TensorFlow Datasets with supervised keys: images, rows or columns."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from dlcli.errors import DataError, Interrupted
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, row_ids
from dlcli.spec.data.sources.labels import composed, labels_of
from dlcli.spec.data.sources.named_columns import column_guess, lacking_columns
from dlcli.spec.data.sources.tfds_values import (
    as_array,
    column_values,
    converter,
    is_deep_image,
    is_text,
    side_values,
    text_values,
)
from dlcli.spec.paths import FilePath
from dlcli.tasks import Task, names_of

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.inputs import Inputs


@dataclass(frozen=True)
class Description:
    """The facts from a set's files, or `_KNOWN`, without TFDS; `shape` is None where images come in many sizes.

    `inputs` are the names of the inputs, as far as they are known; `is_text` says that there is one, a text.
    """

    shape: tuple[int, ...] | None
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    image: bool
    inputs: tuple[str, ...] = ()
    is_text: bool = False


_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FLOWERS = ("dandelion", "daisy", "tulips", "sunflowers", "roses")
_KNOWN = {
    "mnist": Description((28, 28, 1), _DIGITS, ("train", "test"), image=True),
    "fashion_mnist": Description((28, 28, 1), _CLOTHES, ("train", "test"), image=True),
    "cifar10": Description((32, 32, 3), _THINGS, ("train", "test"), image=True),
    "tf_flowers": Description(None, _FLOWERS, ("train",), image=True),
    "cats_vs_dogs": Description(None, ("cat", "dog"), ("train",), image=True),
    "imdb_reviews": Description(None, ("neg", "pos"), ("train", "test", "unsupervised"), False, ("text",), is_text=True),
}
"""The sets that courses start with, so that a spec can be checked before they are prepared."""


_FILES = ("dataset_info.json", "features.json")
"""Files of a prepared set, beside those of its examples."""


class Tfds(SourceSpec):
    """A dataset of TensorFlow Datasets: prepared data in `TFDS_DATA_DIR`, downloaded once by TFDS, or in another folder.

    A folder (`path`) holds the TFRecord files that a builder of TFDS wrote, with their `features.json` and
    `dataset_info.json`; the builder itself is not needed. Either `name` or `path` must be set.
    """

    kind: Literal["tfds"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$")] | None = Field(
        default=None,
        description="Name of the dataset, with its configuration if any: `mnist`, `cifar10_corrupted/snow_1`.",
    )
    path: FilePath | None = Field(
        default=None, description="Folder of a prepared dataset: that of one version, or the one with the folders of versions."
    )
    version: str | None = Field(
        default=None, description="Version, exact or with wildcards: 3.0.1, 3.*.*", pattern=r"^(\d+|\*)\.(\d+|\*)\.(\d+|\*)$"
    )
    train: str = Field(default="train", description="TFDS split expression for training: `train[:50%]`.")
    validation: str | None = Field(
        default=None, description="TFDS split expression for validation; if not set, dlcli splits the training examples."
    )
    test: str | None = Field(
        default="auto", description="TFDS split expression for testing; `auto`: `test` if the dataset has it."
    )

    text: list[str] = Field(
        default=[],
        description="Columns of texts, which `model.kind: sequence` reads as tokens, of a set whose inputs have names; a single"
        " input of texts is one without being listed.",
    )

    def facts(self, task: Task) -> Facts:
        """Returns shape and classes, from the prepared set's own description or for well-known sets."""
        description = self._description() or Description(None, (), (), image=False)
        is_known = self.test != "auto" or bool(description.splits)
        has_test = ("test" in description.splits if self.test == "auto" else self.test is not None) if is_known else None
        tasks = names_of(reads_columns=False) if description.classes else ()
        outputs, texts = len(description.classes) or None, description.is_text or bool(self.text)
        has_validation = self.validation is not None
        return Facts(
            description.shape,
            outputs,
            description.classes,
            tasks,
            has_validation,
            has_test,
            description.image,
            columns=texts,
            texts=texts,
        )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a missing folder, and splits that the set does not have, where its description is available."""
        faults = list(self._place_faults())
        yield from faults
        if faults:
            return
        description = self._description()
        if description is None:
            return
        for field in ("train", "validation", "test"):
            for name in re.findall(r"(?:^|\+)\s*([A-Za-z_]\w*)", getattr(self, field) or ""):
                if name not in (*description.splits, "all") and (field, name) != ("test", "auto"):
                    yield field, f"the set has no split `{name}`; it has {', '.join(description.splits)}"
        if description.inputs:
            yield from lacking_columns("the set", description.inputs, {"text": self.text})

    def side_columns(self) -> tuple[str, ...] | None:
        """Returns the features of the prepared set; None if it is not prepared, or its description cannot be read."""
        folder = self._folder()
        try:
            text = (folder / "features.json").read_text(encoding="utf-8") if folder else "{}"
            return tuple(json.loads(text)["featuresDict"]["features"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _place_faults(self) -> Iterator[tuple[str, str]]:
        if (self.name is None) == (self.path is None):
            yield (
                "name",
                "set either `name` or `path`, not both" if self.name else "set `name`, or `path` for a prepared folder",
            )
        elif self.path is not None and not Path(self.path).is_dir():
            yield "path", f"no folder {self.path}"
        elif self.path is not None and self._folder() is None:
            version = f" in version {self.version}" if self.version else ""
            yield "path", f"{self.path} holds no prepared TFDS set{version}: it has no dataset_info.json and features.json"

    @property
    def _set(self) -> str:
        """The name or folder of the set, for messages."""
        return str(self.path or self.name)

    @property
    def _place(self) -> Path:
        """The folder with the folders of the versions of the set."""
        return Path(self.path) if self.path is not None else data_dir() / str(self.name)

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> Tfds | None:
        """Returns the set in another folder; None for a set with a name."""
        return None if self.path is None else self.model_copy(update={"path": path})

    def _description(self) -> Description | None:
        folder = self._folder()
        return (_described(folder) if folder else None) or _KNOWN.get(self.name or "")

    def _folder(self) -> Path | None:
        """Returns the folder of the prepared set in its highest fitting version, if any."""
        if self.path is not None and all((Path(self.path) / name).is_file() for name in _FILES):
            return Path(self.path)
        versions = {folder.name: folder for folder in _version_folders(self._place)}
        fitting = [name for name in versions if self.version is None or _fits(name, self.version)]
        return versions[max(fitting, key=_numbers)] if fitting else None

    def open(self, request: Request) -> Opened:
        """Returns the set's examples, read into memory.

        Raises:
            DataError: the set is not there and cannot be downloaded, or has no supervised keys.
        """
        from dlcli.runtime.images import range_note

        builder = self._prepared(request.offline)
        keys = builder.info.supervised_keys
        if not keys or not isinstance(keys[1], str) or not isinstance(keys[0], (str, dict)):
            raise DataError(
                f"the TFDS set {self._set} has no supervised keys: dlcli cannot distinguish its inputs from its label"
            )
        value_range = self._value_range(builder, request)
        if value_range is not None:
            image = request.image.model_copy(update={"value_range": value_range})
            request = replace(request, image=image)
        splits = {"train": self.train, "validation": self.validation, "test": self._test_split(builder)}
        classes: tuple[str, ...] | None = None
        parts: dict[str, Examples] = {}
        for part, expression in splits.items():
            if expression:
                inputs, labels = self._read(builder, expression, request)
                targets, classes = self._targets(builder.info.features[keys[1]], labels, request.task, classes, expression)
                side_columns = self._side_values(builder, expression, request.side_columns)
                parts[part] = Examples(inputs, targets, row_ids(part, len(targets)), side_columns)
        notes = (range_note(*value_range),) if value_range else ()
        return Opened(parts, classes or (keys[1],), notes, value_range=value_range)

    def _side_values(self, builder: Any, expression: str, names: tuple[str, ...]) -> dict[str, Array]:
        """Returns the requested features of a split expression as `Examples.side_columns`.

        Raises:
            DataError: a feature has several values per example.
        """
        from dlcli.upstream.tfds import read_features

        names = tuple(name for name in names if name in builder.info.features)
        where = f"TFDS split {expression!r} of {self.name}"
        columns = read_features(builder, expression, names) if names else {}
        return {name: side_values(values, builder.info.features[name], name, where) for name, values in columns.items()}

    def _test_split(self, builder: Any) -> str | None:
        if self.test != "auto":
            return self.test
        return "test" if "test" in builder.info.splits else None

    def _prepared(self, offline: bool) -> Any:
        """Returns the builder of the prepared set, preparing it first where it is not there and the network allows."""
        from dlcli.upstream.tfds import import_tfds, prepare_tfds

        folder = self._folder()
        if folder is None and self.path is not None:
            raise DataError(next(message for _, message in self._place_faults()))
        if folder is None and offline:
            raise DataError(self._unavailable("it is not prepared there, and --offline forbids a download"))
        tfds = import_tfds()
        if folder is not None:
            # Not `tfds.builder`: that imports the code of every set there is, 1 s and 500 modules.
            return tfds.builder_from_directory(folder)
        name = f"{self.name}:{self.version}" if self.version else self.name
        try:
            return prepare_tfds(str(name), data_dir())
        except Interrupted:
            raise
        except Exception as error:
            folder = self._folder()
            if folder is not None:  # another process has prepared it meanwhile
                return tfds.builder_from_directory(folder)
            raise DataError(self._unavailable(f"downloading {name!r} failed: {_reason(error)}")) from None

    def _unavailable(self, reason: str) -> str:
        what = f"{self._set} in version {self.version}" if self.version else self._set
        others = ", ".join(sorted(folder.name for folder in _version_folders(self._place)))
        place = f"there: {others}" if others else "TFDS_DATA_DIR names another place"
        return (
            f"the TFDS set {what} is not available: {reason}\n"
            f"  prepared data is looked for in {self._place} ({place})\n"
            "  configs/digits_cnn.yaml trains on real images without any download"
        )

    def _value_range(self, builder: Any, request: Request) -> tuple[float, float] | None:
        """Returns the smallest and largest value of the training split's 16-bit images; None if they are not needed."""
        from dlcli.upstream.tfds import read_split

        key = builder.info.supervised_keys[0]
        is_requested = request.image.value_range == "auto" and request.revision > 1
        if isinstance(key, dict) or not is_requested or not is_deep_image(builder.info.features[key]):
            return None
        limits, _ = read_split(builder, self.train, lambda pixels: (float(pixels.min()), float(pixels.max())))
        low, high = min(low for low, _ in limits), max(high for _, high in limits)
        return low, max(high, low + 1)

    def _read(self, builder: Any, expression: str, request: Request) -> tuple[Inputs, Array]:
        """Returns the inputs and labels of one split expression, in the order of the files."""
        from dlcli.runtime.inputs import TableColumns, array_inputs
        from dlcli.spec.data.sources.column_kinds import TEXT, kinds_of
        from dlcli.upstream.tfds import read_split

        where = f"TFDS split {expression!r} of {self._set}"
        key = builder.info.supervised_keys[0]
        features = builder.info.features
        convert = None if isinstance(key, dict) else converter(features[key], request.image, where)
        try:
            inputs, labels = read_split(builder, expression, convert)
        except ValueError as error:
            raise DataError(f"{where}: {_first_line(error)}") from None
        if not isinstance(key, dict) and is_text(features[key]):
            return TableColumns({key: text_values(inputs, features[key], key, where)}, {key: TEXT}), labels
        if isinstance(key, dict):
            cells = {
                name: (text_values if name in self.text else column_values)(inputs[name], features[source], name, where)
                for name, source in key.items()
            }
            if lacking := [name for name in self.text if name not in cells]:
                raise DataError(f"data.source.text: {where} has no column `{lacking[0]}`; {column_guess(lacking[0], [*cells])}")
            return TableColumns(cells, kinds_of(cells, self.text)), labels
        return array_inputs(as_array(inputs, where)), labels

    def _targets(
        self, feature: Any, labels: Any, task: Task, classes: tuple[str, ...] | None, expression: str
    ) -> tuple[Array, tuple[str, ...]]:
        where = f"TFDS split {expression!r} of {self._set}"
        names = tuple(map(composed, getattr(feature, "names", None) or ()))
        if task.output.reads_columns or not names:
            return labels_of(labels, task, classes, where)
        if len(labels) and labels.min() < 0:
            raise DataError(f"{where}: {int((labels < 0).sum())} of {len(labels)} examples have no label")
        return labels.astype("int64"), names


def data_dir() -> Path:
    """Returns the folder of prepared TFDS sets: `TFDS_DATA_DIR`, or TFDS's own default."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets").expanduser()


def _version_folders(folder: Path) -> list[Path]:
    """Returns the folders of a set's prepared versions; those of its configuration where it has a single one."""
    folders = [file.parent for file in folder.glob("*/dataset_info.json") if re.fullmatch(r"\d+\.\d+\.\d+", file.parent.name)]
    if folders:
        return folders
    inner = [file.parent for file in folder.glob("*/*/dataset_info.json")]
    return inner if len({folder.parent for folder in inner}) == 1 else []


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _fits(version: str, pattern: str) -> bool:
    return all(expected in ("*", part) for part, expected in zip(version.split("."), pattern.split("."), strict=True))


def _described(folder: Path) -> Description | None:
    """Returns what a prepared set's own files say, without TFDS; None where they cannot be understood."""
    try:
        features = json.loads((folder / "features.json").read_text(encoding="utf-8"))["featuresDict"]["features"]
        info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
        splits = tuple(split["name"] for split in info.get("splits", []))
        items = info["supervisedKeys"]["tuple"]["items"]
        keys = [item.get("featureKey", "") for item in items]
        inputs = tuple(items[0]["dict"]["dict"]) if "dict" in items[0] else (keys[0],)
        image, label = features.get(keys[0], {}).get("image"), features.get(keys[1], {}).get("classLabel")
        sides = [int(side) for side in image["shape"].get("dimensions", [])] if image else []
        shape = tuple(sides) if len(sides) == 3 and all(side > 0 for side in sides) else None
        classes = _class_names(folder / f"{keys[1]}.labels.txt", label)
        return Description(shape, classes, splits, image is not None, inputs, "text" in features.get(keys[0], {}))
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, OSError):
        return None


def _class_names(file: Path, label: dict[str, Any] | None) -> tuple[str, ...]:
    if label is None:
        return ()
    if file.is_file():
        return tuple(composed(line) for line in file.read_text(encoding="utf-8").split("\n") if line)
    return tuple(str(number) for number in range(int(label.get("numClasses", 0))))


def _reason(error: Exception) -> str:
    """Returns why a download failed: the address without answer, or TFDS's first line and its guess."""
    url = getattr(getattr(error, "request", None), "url", None)
    if url:
        return f"no answer from {url}; is there a network?"
    guess = next((line.strip() for line in str(error).splitlines()[1:] if "did you mean" in line.lower()), "")
    return f"{_first_line(error)} {guess}".strip()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
