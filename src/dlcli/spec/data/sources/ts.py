"""Series of the UEA and UCR archives, in `.ts` files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, file_bytes, row_ids
from dlcli.spec.data.sources.labels import labels_of
from dlcli.spec.data.sources.ts_file import TsHeader, read_header, read_series
from dlcli.spec.paths import FilePath
from dlcli.tasks import Task, names_of

if TYPE_CHECKING:
    from dlcli.arrays import Array


class Ts(SourceSpec):
    """Labelled series in `.ts` files, the format of the UEA and UCR archives, with one series on each line.

    Series of different lengths are padded to the longest one of all files. A missing value (`?`) is refused, except at the end
    of all channels, where the series ends.
    """

    kind: Literal["ts"]
    path: FilePath = Field(description="Path of the file with the training series.")
    validation: FilePath | None = Field(default=None, description="Path of the file with the validation series.")
    test: FilePath | None = Field(default=None, description="Path of the file with the test series.")

    def files(self) -> dict[str, str]:
        """Returns the path of each split's file."""
        paths = {"train": self.path, "validation": self.validation, "test": self.test}
        return {part: path for part, path in paths.items() if path is not None}

    def facts(self, task: Task) -> Facts:
        """Returns the classes and the splits of the files."""
        try:
            header = read_header(self.path)
        except DataError:  # `faults` reports it
            header = TsHeader(has_label=True, classes=(), lines=0)
        tasks = names_of(reads_columns=not header.classes) if header.has_label else ()
        return Facts(
            outputs=len(header.classes) or None,
            classes=header.classes,
            tasks=tasks,
            has_validation=self.validation is not None,
            has_test=self.test is not None,
            has_labels=header.has_label,
        )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields files that are missing or no `.ts` files, and those without labels beside one with labels."""
        headers = {}
        for part, path in self.files().items():
            try:
                headers[part] = read_header(path)
            except DataError as error:
                yield self._field(part), str(error)
        if len({header.has_label for header in headers.values()}) > 1:
            yield "path", "some files have labels and others have none"

    def stored_bytes(self) -> int | None:
        """Returns the size of the files."""
        return file_bytes(list(self.files().values()))

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> Ts:
        """Returns the same for another file."""
        return self.model_copy(update={"path": path, "validation": None, "test": None})

    def open(self, request: Request) -> Opened:
        """Returns the series of all files, padded to the longest one.

        Raises:
            DataError: a file cannot be read, or its series or labels do not fit.
        """
        from dlcli.runtime.inputs import Arrays
        from dlcli.runtime.padded_series import PaddedSeries, padded

        contents = {part: read_series(path) for part, path in self.files().items()}
        lengths = {len(values) for series, _ in contents.values() for values in series}
        classes = read_header(self.path).classes or None
        parts: dict[str, Examples] = {}
        for part, (series, labels) in contents.items():
            values = padded(series, max(lengths))
            self._refuse(part, values, contents["train"][0][0].shape[1])
            targets, names = labels_of(_labels(labels, len(series)), request.task, classes, self.files()[part])
            classes = names or classes
            inputs = PaddedSeries(values) if len(lengths) > 1 else Arrays(values)
            parts[part] = Examples(inputs, targets, row_ids(part, len(series)))
        outputs = parts["train"].targets.shape[1] if parts["train"].targets.ndim > 1 else 0
        targets_named = tuple(f"target_{place}" for place in range(outputs)) if outputs > 1 else ("target",)
        return Opened(parts, classes or (targets_named if request.task.output.is_numeric else ()))

    def _refuse(self, part: str, values: Array, channels: int) -> None:
        """Raises DataError for a split with other channels than the training split, or with missing values."""
        from dlcli.runtime.padded_series import is_incomplete

        path = self.files()[part]
        if values.shape[2] != channels:
            raise DataError(f"{path}: its series have {values.shape[2]} channels, those of {self.path} {channels}")
        if count := int(is_incomplete(values).sum()):
            raise DataError(f"{path}: {count:,} series {'have' if count > 1 else 'has'} missing values; fill them first")

    @staticmethod
    def _field(part: str) -> str:
        return "path" if part == "train" else part


def _labels(labels: list[str], count: int) -> Any:
    import numpy as np

    return np.array(labels if labels else [""] * count, dtype=object)
