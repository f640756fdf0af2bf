"""Labels of a source as targets: class numbers, labels or numbers, and notes on their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from dlcli.errors import DataError
from dlcli.tasks import Task

if TYPE_CHECKING:
    from dlcli.arrays import Array


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
