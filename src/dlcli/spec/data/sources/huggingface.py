"""Folders that Hugging Face's `datasets` wrote by `save_to_disk`: images with a label, or columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.base import Count
from dlcli.spec.data.sizes import size_in_words
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, row_ids, with_dropped
from dlcli.spec.data.sources.labels import composed, labels_of
from dlcli.spec.data.sources.named_columns import lacking_columns, text_faults
from dlcli.spec.data.sources.parquet_files import NumberValues, TextCells, TextValues, side_array
from dlcli.spec.data.sources.part_names import part_of
from dlcli.spec.paths import FilePath
from dlcli.tasks import TASKS, Task, names_of
from dlcli.visible import listed

if TYPE_CHECKING:
    from dlcli.arrays import Array

_DICTIONARY, _INFO = "dataset_dict.json", "dataset_info.json"
_AT_ONCE = 256
_SHARE = 0.25
"""Share of the free memory that images may take."""


class Huggingface(SourceSpec):
    """A folder that Hugging Face's `datasets` wrote by `save_to_disk`; nothing is fetched.

    The inputs are the images of an `Image` column, or else columns: numbers, and strings, truth values and class labels as
    categories, except the strings that `text` lists. Splits of the folder (`train`, `validation`, `test`) are parts. The
    package `datasets` is an extra.
    """

    kind: Literal["huggingface"]
    path: FilePath = Field(description="Folder of a `Dataset`, or of a `DatasetDict` with its splits.")
    target: str | list[str] = Field(
        description="Column with the label; a list for multilabel, or for several targets of a regression."
    )
    features: Literal["all"] | list[str] = Field(
        default="all", description="Input columns; `all`: the column of images if there is one, else all except the target."
    )
    drop: list[str] = Field(default=[], description="Columns to exclude from `all`.")
    text: list[str] = Field(
        default=[], description="Columns of strings that are texts, which `model.kind: sequence` reads as tokens."
    )
    max_categories: Count = Field(
        default=200, description="Largest number of values of a category column; columns with more are refused."
    )

    @property
    def targets(self) -> list[str]:
        """The target columns."""
        return [self.target] if isinstance(self.target, str) else self.target

    def facts(self, task: Task) -> Facts:
        """Returns the classes and the splits, by the folder's own descriptions."""
        parts, types = self._parts(), self._types() or {}
        names = _class_names(types.get(self.targets[0])) if len(self.targets) == 1 else ()
        outputs = len(self.targets) if task.output.reads_columns else len(names) or None
        tasks = names_of(reads_columns=False) if names else names_of(reads_columns=True) if self.targets[1:] else tuple(TASKS)
        has = {part: part in parts for part in ("validation", "test")}
        image = bool(self._image(types))
        columns, texts = bool(types) and not image, bool(self.text) and not image
        return Facts(None, outputs, names, tasks, has["validation"], has["test"], image=image, columns=columns, texts=texts)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a folder that `datasets` did not write, missing columns, and columns that cannot be inputs."""
        types = self._types()
        if not Path(self.path).is_dir():
            yield "path", f"no folder {self.path}"
        elif types is None:
            yield "path", f"{self.path} is no folder of `save_to_disk`: it has no {_DICTIONARY} or {_INFO} of a split `train`"
        else:
            yield from self._column_faults(types)

    def _column_faults(self, types: dict[str, Any]) -> Iterator[tuple[str, str]]:
        named = {"target": self.targets, "drop": self.drop, "text": self.text}
        named |= {"features": self.features} if isinstance(self.features, list) else {}
        yield from lacking_columns("the dataset", list(types), named)
        features = self._features(types)
        images = [name for name in features if _kind(types.get(name)) == "Image"]
        others = [name for name in features if name in types and _kind(types[name]) not in ("Image", "ClassLabel", "Value")]
        if len(images) > 1:
            yield "features", f"the dataset has the columns of images {listed(images)}; name one of them"
        elif not images and others:
            yield "drop", f"column `{others[0]}` holds {_kind(types[others[0]])}, which is neither a number nor text"
        elif not features:
            yield "features", "there is no input column"
        yield from text_faults(self.text, types, features[:0] if images else features)
        for name in self.text:
            if name in types and not _is_string(types[name]):
                yield "text", f"column `{name}` does not hold strings"

    def _features(self, types: dict[str, Any]) -> list[str]:
        if isinstance(self.features, list):
            return self.features
        return [name for name in types if name not in {*self.targets, *self.drop}]

    def _image(self, types: dict[str, Any]) -> str:
        """Returns the column of images; empty if there is none."""
        return next((name for name in self._features(types) if _kind(types.get(name)) == "Image"), "")

    def _parts(self) -> dict[str, str]:
        """Returns the folder of each part; the folder itself for a single `Dataset`."""
        names = (_json(Path(self.path) / _DICTIONARY) or {}).get("splits")
        if not isinstance(names, list):
            return {"train": self.path}
        return {part: str(Path(self.path) / name) for name in map(str, names) if (part := _part(name))}

    def _types(self) -> dict[str, Any] | None:
        """Returns the description of each column of the training split; None where there is none."""
        train = self._parts().get("train")
        features = (_json(Path(train) / _INFO) or {}).get("features") if train else None
        return features if isinstance(features, dict) else None

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> Huggingface:
        """Returns the source of another folder, which may lack columns that are dropped."""
        types = self.model_copy(update={"path": path})._types() or {}
        return self.model_copy(update={"path": path, "drop": [name for name in self.drop if not types or name in types]})

    def side_columns(self) -> tuple[str, ...] | None:
        """Returns the columns of single values; None if the folder cannot be read, which `faults` reports."""
        types = self._types()
        return None if types is None else tuple(name for name in types if _kind(types[name]) in ("ClassLabel", "Value"))

    def without_inputs(self, columns: tuple[str, ...]) -> Huggingface:
        """Returns the source that drops these columns, unless `features` or `text` lists them."""
        return with_dropped(self, columns, self.text)

    def open(self, request: Request) -> Opened:
        """Returns the examples of every part, read into memory.

        Raises:
            DataError: the folder or an image cannot be read, a label is missing, or the images do not fit into memory.
        """
        from dlcli.upstream.huggingface import import_datasets

        for _, message in self.faults():
            raise DataError(message)
        datasets, types = import_datasets(), self._types() or {}
        classes: tuple[str, ...] | None = None
        parts: dict[str, Examples] = {}
        for part, folder in self._parts().items():
            try:
                dataset = datasets.load_from_disk(folder).with_format("arrow")
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DataError(f"{folder}: cannot be read: {str(error).splitlines()[0][:200]}") from None
            targets, classes = self._targets(dataset, types, request.task, classes, folder)
            inputs, names = self._inputs(dataset, types, request, folder), set(request.side_columns) & {*types}
            side_columns = {name: side_array(_arrow(dataset, name, _class_names(types[name]))) for name in names}
            parts[part] = Examples(inputs, targets, row_ids(part, len(targets)), side_columns)
        order = [part for part in ("train", "validation", "test") if part in parts]
        notes = tuple(self._open_notes(types, request.side_columns))
        return Opened({part: parts[part] for part in order}, classes or tuple(self.targets), notes)

    def _open_notes(self, types: dict[str, Any], side_columns: tuple[str, ...]) -> Iterator[str]:
        image = self._image(types)
        used = {*side_columns, *self.targets, *([image] if image else self._features(types))}
        if unused := [name for name in types if name not in used]:
            yield f"{'column' if len(unused) == 1 else 'columns'} not used: {listed(unused)}"
        splits = (_json(Path(self.path) / _DICTIONARY) or {}).get("splits") or []
        if others := [str(name) for name in splits if not _part(str(name))]:
            yield f"{'split' if len(others) == 1 else 'splits'} not used: {listed(others)}"

    def _targets(
        self, dataset: Any, types: dict[str, Any], task: Task, classes: tuple[str, ...] | None, where: str
    ) -> tuple[Array, tuple[str, ...]]:
        import numpy as np

        if not task.output.reads_labels:
            return labels_of(np.zeros(len(dataset)), task)
        columns = [_numpy(dataset, name) for name in self.targets]
        names = _class_names(types[self.targets[0]]) if len(columns) == 1 and not task.output.reads_columns else ()
        if not names:
            values = columns[0] if len(columns) == 1 and not task.output.reads_columns else np.stack(columns, axis=1)
            targets, labels = labels_of(values, task, classes, where)
            return targets, labels or tuple(self.targets)
        numbers = np.nan_to_num(columns[0].astype("float64"), nan=-1)
        if (numbers < 0).any():
            raise DataError(f"{where}: {int((numbers < 0).sum()):,} of {len(numbers):,} examples have no label")
        return numbers.astype("int64"), names

    def _inputs(self, dataset: Any, types: dict[str, Any], request: Request, where: str) -> Any:
        from dlcli.runtime.inputs import TableColumns, array_inputs
        from dlcli.spec.data.sources.column_kinds import kinds_of

        if image := self._image(types):
            return array_inputs(_images(dataset, image, request.image, where))
        columns = {name: self._column(dataset, name, types[name], where) for name in self._features(types)}
        return TableColumns(columns, kinds_of(columns, self.text))

    def _column(self, dataset: Any, name: str, feature: Any, where: str) -> Array:
        """Returns a column of numbers as float32, others as texts."""
        names = _class_names(feature)
        values: NumberValues | TextValues | TextCells
        if name in self.text:
            values = TextCells(len(dataset))
        elif names or _is_string(feature) or feature.get("dtype") == "bool":
            values = TextValues(len(dataset), self.max_categories)
        else:
            values = NumberValues(len(dataset))
        start = 0
        for batch in dataset.iter(batch_size=65_536):
            column = batch.column(name).combine_chunks()
            values.fill(start, _with_names(column, names) if names else column)
            start += len(column)
            if isinstance(values, TextValues) and values.is_full:
                raise DataError(
                    f"{where}: column `{name}` has more than {self.max_categories:,} different values, too many for a category;"
                    " list it in `data.source.drop`, or raise `data.source.max_categories`"
                )
        return values.objects() if isinstance(values, TextValues) else values.values


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _part(split: str) -> str:
    """Returns the part that a split's name means; empty if it means none."""
    part = part_of(split)
    return "" if part is None or part[1] else {"evaluation": "test"}.get(part[0], part[0])


def _kind(feature: Any) -> str:
    """Returns the type of a column: `Image`, `ClassLabel`, `Value`, or another."""
    return str(feature.get("_type", "nested values")) if isinstance(feature, dict) else "lists"


def _is_string(feature: Any) -> bool:
    return _kind(feature) == "Value" and feature.get("dtype") in ("string", "large_string")


def _class_names(feature: Any) -> tuple[str, ...]:
    names = feature.get("names") if _kind(feature) == "ClassLabel" else None
    return tuple(composed(str(name)) for name in names) if isinstance(names, list) else ()


def _with_names(column: Any, names: tuple[str, ...]) -> Any:
    """Returns the names of class numbers as an Arrow array; numbers without a name are gaps."""
    import pyarrow as pa

    return pa.array([names[value] if value is not None and value >= 0 else None for value in column.to_pylist()], pa.string())


def _arrow(dataset: Any, name: str, names: tuple[str, ...] = ()) -> Any:
    """Returns a column as an Arrow chunked array, with the names of its class numbers if it has any."""
    import pyarrow as pa

    column = dataset.select_columns([name])[:].column(name)
    return pa.chunked_array([_with_names(column, names)]) if names else column


def _numpy(dataset: Any, name: str) -> Array:
    """Returns a column as numbers or text objects."""
    import numpy as np

    values: Array = np.asarray(_arrow(dataset, name).to_numpy())
    return values.astype("float64") if values.dtype.kind == "b" else values


def _images(dataset: Any, name: str, image: Any, where: str) -> Array:
    """Returns the images of a column as uint8 `(n, height, width, channels)`, read by the rules of image files.

    Raises:
        DataError: an image cannot be read or has more than 8 bits, or they do not fit into memory.
    """
    import numpy as np

    from dlcli.runtime.free_memory import free_memory
    from dlcli.runtime.image_reader import UnreadableImage, read_picture
    from dlcli.runtime.images import settings_of

    shape = (len(dataset), *(image.size or (0, 0)), image.channels or 3)
    if prod(shape) > _SHARE * (free := free_memory()):
        raise DataError(
            f"{where}: {shape[0]:,} images of {'x'.join(map(str, shape[1:]))} take {size_in_words(prod(shape))} in memory;"
            f" {size_in_words(free)} are free, of which {size_in_words(_SHARE * free)} may be used; a smaller `data.image.size`"
            " takes less, and `kind: image_table` reads images from files"
        )
    settings = replace(settings_of(image), value_range=None)
    pixels, place = np.empty(shape, "uint8"), 0
    for batch in dataset.iter(batch_size=_AT_ONCE):
        for cell in batch.column(name).to_pylist():
            try:
                picture = read_picture(_content(cell), settings)
            except UnreadableImage as error:
                raise DataError(f"{where}: the image of example {place}: {error}") from None
            if picture.deep and image.value_range != "uint8":
                raise DataError(
                    f"{where}: the image of example {place} has more than 8 bits; with `data.image.value_range: uint8`"
                    " the upper 8 bits are used"
                )
            pixels[place] = picture.pixels
            place += 1
    return pixels


def _content(cell: dict[str, Any] | None) -> str | BytesIO:
    """Returns the bytes of an image, or the path of its file."""
    if cell and cell.get("bytes") is not None:
        return BytesIO(cell["bytes"])
    return str(cell["path"]) if cell and cell.get("path") else BytesIO()
