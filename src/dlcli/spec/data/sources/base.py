"""What every source of examples gives: facts before opening, examples after."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar
from unicodedata import normalize

from dlcli.errors import DataError
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


def composed(text: str) -> str:
    """Returns a text with its accents composed (Unicode NFC): names that look alike are equal."""
    return normalize("NFC", text)


def labels_of(
    values: Array, task: Task, classes: tuple[str, ...] | None = None, where: str = ""
) -> tuple[Array, tuple[str, ...]]:
    """Returns targets and class names for raw labels.

    Args:
        values: raw labels: classes `(n,)`, or one-hot `(n, k)`; labels and numbers `(n, k)`.
        task: the task.
        classes: class names already fixed by the training split; None to take them from `values`.
        where: the file or set that errors name.

    Raises:
        DataError: a label is missing, not a number where one is needed, or unknown to `classes`.
    """
    prefix = f"{where}: " if where else ""
    if not task.output.reads_labels:
        return no_labels(len(values)), ()
    try:
        if not task.output.is_row:
            return task.output.read(values, classes)
        if task.output.reads_columns:
            return _numbers(values, task), classes or ()
        return _class_numbers(values, classes)
    except DataError as error:
        raise DataError(f"{prefix}{error}") from None


def no_labels(examples: int) -> Array:
    """Returns the targets of examples without labels, float32 `(n, 0)`."""
    import numpy as np

    return np.zeros((examples, 0), dtype="float32")


def _numbers(values: Array, task: Task) -> Array:
    """Returns float32 targets `(n, k)`."""
    import numpy as np

    try:
        numbers = np.asarray(values, dtype="float32").reshape(len(values), -1)
    except (TypeError, ValueError):
        raise DataError(f"task: {task} needs numeric labels, found {_not_a_number(values)!r}") from None
    wrong = ~np.isfinite(numbers).all(axis=1)
    if wrong.any():
        raise DataError(f"{_examples(wrong)} a label that is missing or infinite")
    if fault := task.output.fault_of_targets(numbers, task.name):
        raise DataError(fault)
    return numbers


def _class_numbers(values: Array, classes: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
    import numpy as np

    labels = _one_column(np.asarray(values))
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    missing = np.array([value is None for value in labels]) if labels.dtype == object else labels != labels
    if missing.any():
        raise DataError(f"{_examples(missing)} no label")
    distinct, numbers = np.unique(labels, return_inverse=True)
    if distinct.dtype.kind in "OU":
        distinct, merged = np.unique(
            [composed(label) if isinstance(label, str) else label for label in distinct], return_inverse=True
        )
        numbers = merged[numbers]
    if distinct.dtype.kind == "f" and len(distinct) > _MANY and (distinct % 1 != 0).any():
        raise DataError(
            f"{len(distinct)} different labels such as {distinct[distinct % 1 != 0][0]:g} are not classes; use `task:"
            " regression`"
        )
    names = tuple(class_name(value) for value in distinct.tolist())
    if classes is None:
        return numbers.astype("int64"), names
    position = {name: index for index, name in enumerate(classes)}
    unknown = [name for name in names if name not in position]
    if unknown:
        raise DataError(f"class {unknown[0]!r} is not among the training split's: {', '.join(classes[:20])}")
    return np.array([position[name] for name in names], dtype="int64")[numbers], classes


_MANY = 100
"""More different labels than this, with decimals, are measurements and not classes."""


def _one_column(labels: Array) -> Array:
    """Returns labels `(n,)`; one-hot rows become their positions."""
    rows = labels.reshape(len(labels), -1)
    if rows.shape[1] == 1:
        return rows[:, 0]
    if rows.dtype.kind in "fiub" and ((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all():
        positions: Array = rows.argmax(axis=1)
        return positions
    raise DataError(
        f"expected one label per example, found {rows.shape[1]} that are not one-hot; did you mean `task: multilabel`?"
    )


def _examples(wrong: Array) -> str:
    """Returns how many examples are wrong and the first of them."""
    count = int(wrong.sum())
    return f"{count} examples have" if count > 1 else f"example {int(wrong.argmax())} (counted from 0) has"


def _not_a_number(values: Array) -> Any:
    """Returns the first value that is not a number."""
    for value in values.reshape(-1).tolist():
        try:
            float(value)
        except (TypeError, ValueError):
            return value
    return None


def class_name(value: Any) -> str:
    """Returns the text of a class label; whole floats lose their `.0`."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def row_ids(part: str, count: int) -> list[str]:
    """Returns ids for examples that only have a position: `train/17`."""
    return [f"{part}/{index}" for index in range(count)]


_WORDS_OF_TRUTH = {"true": "1", "yes": "1", "false": "0", "no": "0"}


def label_notes(classes: Sequence[str]) -> list[str]:
    """Returns classes that may be meant as one: they differ in capitals only, or write one value in two ways."""
    by_case = _alike(classes, str.casefold)
    notes = [f"classes whose names differ only in case are different classes: {_in_words(by_case)}"] if by_case else []
    by_meaning = _alike({name.casefold(): name for name in classes}.values(), _meaning)
    if by_meaning:
        notes.append(f"labels that may mean the same are treated as different classes: {_in_words(by_meaning)}")
    return notes


def _meaning(name: str) -> str:
    """Returns a label's value where it is a word of truth or a whole number: `True` is 1, and so is 01."""
    name = _WORDS_OF_TRUTH.get(name.casefold(), name.casefold())
    return str(int(name)) if name.isdecimal() and len(name) < 20 else name


def _alike(names: Iterable[str], meaning: Callable[[str], str]) -> list[list[str]]:
    """Returns the groups of two or more names that mean the same."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[meaning(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _in_words(groups: Sequence[Sequence[str]]) -> str:
    return "; ".join(", ".join(map(repr, names)) for names in groups[:5])


def target_notes(targets: Array, names: Sequence[str]) -> list[str]:
    """Returns a note for each target, and each of several labels, that has one value in all training examples.

    Args:
        targets: float32 `(n, targets)`.
        names: their names.
    """
    constant = (targets == targets[0]).all(axis=0).nonzero()[0].tolist() if len(targets) > 1 else []
    values = {names[place] if place < len(names) else place: targets[0, place] for place in constant[:5]}
    remark = "in all training examples, so there is nothing to predict"
    return [f"the target `{name}` is {value:g} {remark}" for name, value in values.items()]
