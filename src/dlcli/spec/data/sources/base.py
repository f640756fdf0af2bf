"""What every source of examples gives: facts before opening, examples after."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from dlcli.spec.base import Shape, Spec
from dlcli.spec.data.sources.row_ids import ids_at
from dlcli.spec.data.sources.row_storage import LargeTable, RowStorage
from dlcli.tasks import TASKS, OutputType, Task

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.column_kinds import ColumnKind
    from dlcli.runtime.inputs import Inputs


@dataclass(frozen=True)
class Facts:
    """The facts on a source that are known without opening it; None where it must be opened."""

    shape: Shape | None = None
    outputs: int | None = None
    classes: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    has_validation: bool | None = False
    has_test: bool | None = False
    image: bool = False
    has_labels: bool = True
    examples: int | None = None
    """Number of examples of all splits."""
    columns: bool = False
    """Whether each example is known to be a row of named columns; their number is known once the source is opened."""
    texts: bool = False
    """Whether some columns are texts."""

    @property
    def gives_rows(self) -> bool:
        """Whether each example is known to be a row of numbers or of named columns."""
        return self.columns or (not self.image and self.shape is not None and len(self.shape) == 1)

    def takes(self, task: Task) -> bool:
        """Tells whether its labels are those of a task.

        A task fits if it is among `tasks`, or if its output is of the type of one of theirs and reads labels in the same form;
        any task fits where `tasks` is empty, and a task that reads no labels.
        """
        outputs = [TASKS[name].output for name in self.tasks]
        return (
            not outputs
            or not task.output.reads_labels
            or any(isinstance(task.output, type(output)) and task.output.loss_form == output.loss_form for output in outputs)
        )


@dataclass(frozen=True)
class Examples:
    """Labelled examples, addressed by position.

    `targets` are class numbers int64 `(n,)`, labels 0 or 1 float32 `(n, labels)`, or numbers float32 `(n, targets)`. `ids`
    name each example for good: a row's number, a file's path below its folder. Targets of an output type that is not a row may
    have other axes; without labels they are `(n, 0)` until they are computed from the inputs (`OutputType.targets`).
    `side_columns` are those of `Request.side_columns` that the source's part has, `(n,)`: numbers, dates (datetime64), or
    objects, text or None. `groups` is the group of each example, text objects `(n,)`, where examples are split by groups.
    """

    inputs: Inputs
    targets: Array
    ids: Sequence[str]
    side_columns: Mapping[str, Array] = field(default_factory=dict)
    groups: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: Array) -> Examples:
        """Returns the examples at some places."""
        import numpy as np

        if len(places) == len(self) and np.array_equal(places, np.arange(len(self))):
            return self
        side_columns = {name: values[places] for name, values in self.side_columns.items()}
        groups = None if self.groups is None else self.groups[places]
        return Examples(self.inputs.take(places), self.targets[places], ids_at(self.ids, places), side_columns, groups)


@dataclass(frozen=True)
class Opened:
    """An opened source: its splits (`train` always, `validation` and `test` where it has them), and label names.

    `lines` say how it was read, `column_facts` how each column of a table is used. `part_notes` are the notes of one split's
    file, where a split is a separate file. `value_range` holds the values of deep images that became 0 and 255.
    """

    parts: dict[str, Examples]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())
    lines: tuple[str, ...] = field(default=())
    part_notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    column_facts: list[dict[str, Any]] = field(default_factory=list)
    value_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Request:
    """A request to a source: the task, the form of images, and the seed of generated data.

    `revision` is that of the run whose examples are read again (`RunFolder.revision`): earlier ones found and named them by
    other rules. `column_kinds` are the kinds of columns that this run recorded, which a kind that is added later
    does not change. `side_columns` are the names of columns that decide the split of an example; they are inputs only if the
    spec lists them. The source puts those that a part has into `Examples.side_columns`. `storage` decides whether a source
    that `stores_rows` reads a table into memory; None to do so always.
    """

    task: Task
    image: Any
    seed: int
    offline: bool = False
    revision: int = 2
    column_kinds: Mapping[str, ColumnKind] = field(default_factory=dict)
    side_columns: tuple[str, ...] = ()
    storage: RowStorage | None = None


ROW = "\0row"
"""The side column with the text of a whole row, which a table gives."""


class SourceSpec(Spec):
    """A source of examples. `facts` and `faults` never import NumPy or TensorFlow; `open` may.

    Attributes:
        has_files: whether each example is a file, and its id the file's path.
        has_rows: whether it gives the side column `ROW`.
        stores_rows: whether its rows can stay in a file on the disk (`Request.storage`).
        splits_itself: whether it alone decides the splits, so that `data.split` sets none.
    """

    kind: str
    has_files: ClassVar[bool] = False
    has_rows: ClassVar[bool] = False
    stores_rows: ClassVar[bool] = False
    splits_itself: ClassVar[bool] = False

    def facts(self, task: Task) -> Facts:
        """Returns what is known without opening it."""
        return Facts()

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields what is wrong with its files, as (field, message)."""
        yield from ()

    def notes(self) -> Iterator[str]:
        """Yields what is known of it without opening it and a user should know, such as folders that are not used."""
        yield from ()

    @property
    def targets(self) -> Sequence[str]:
        """The columns with labels, as far as they are known without opening it."""
        return ()

    @property
    def draws_parts(self) -> bool:
        """Whether it draws own validation or test examples, one by one, unless its fields `validation` and `test` are 0."""
        return False

    def side_columns(self) -> tuple[str, ...] | None:
        """Returns the columns that it can give as `Examples.side_columns`; None where they are unknown without opening it."""
        return ()

    def without_inputs(self, columns: tuple[str, ...]) -> Self:
        """Returns the source in which these columns are not inputs, unless the spec lists them as inputs."""
        return self

    def open(self, request: Request) -> Opened:
        """Returns its examples.

        Raises:
            DataError: the data cannot be read or does not fit the task.
        """
        raise NotImplementedError

    def resolved(self) -> SourceSpec:
        """Returns the source with the settings read from its files that other data must follow, as the run's spec records it.

        Raises:
            DataError: the files do not determine them.
        """
        return self

    def of_run(self) -> SourceSpec:
        """Returns the source of a run's spec; settings that an earlier version did not write have that version's values."""
        return self

    def stored_bytes(self) -> int | None:
        """Returns the bytes of its files on this machine, 0 if it needs none; None if they are unknown without opening it."""
        return None

    def large_table(self) -> LargeTable | None:
        """Returns what decides where its rows are kept, of a source that `stores_rows`; None if it is not known."""
        return None

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> SourceSpec | None:
        """Returns the source that reads other examples at a path, as its test split or, without one, as its training split.

        None where the source has no folder or file. `classes` are the names that labels there may have.
        """
        return None


class SeriesSource(SourceSpec):
    """A source of windows over series, whose values are forecast."""

    def output(self, quantiles: Sequence[float]) -> OutputType:
        """Returns the output type of its forecasts, with these quantiles or, without any, as points."""
        raise NotImplementedError


_Source = TypeVar("_Source", bound=SourceSpec)


def with_dropped(source: _Source, columns: Iterable[str], listed: Collection[str] = ()) -> _Source:
    """Returns a source with the fields `features` and `drop` that drops these columns, unless `features` lists the inputs.

    Columns that it is known not to have are not added.

    Args:
        source: the source.
        columns: the columns.
        listed: columns that other fields list as inputs, which are not dropped.
    """
    fields: Any = source
    header = source.side_columns()
    added = [name for name in columns if name not in {*fields.drop, *listed} and (header is None or name in header)]
    return source if fields.features != "all" else source.model_copy(update={"drop": [*fields.drop, *added]})


def file_bytes(paths: Iterable[str]) -> int | None:
    """Returns the size of files in bytes; None if one cannot be found."""
    try:
        return sum(os.stat(path).st_size for path in paths)
    except OSError:
        return None


def row_ids(part: str, count: int) -> list[str]:
    """Returns ids for examples that only have a position: `train/17`."""
    return [f"{part}/{index}" for index in range(count)]
