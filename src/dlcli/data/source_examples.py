"""The examples of a source that are divided into splits: of the chosen classes, readable, and not excluded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dlcli.data.exclude import read_exclusion
from dlcli.data.groups import with_groups
from dlcli.data.split_column import with_parts_of_column
from dlcli.data.table_storage import TableStorage
from dlcli.errors import DataError
from dlcli.runs.folder import REVISION
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.spec.data.sources import Examples, Opened, Request, SourceSpec
from dlcli.spec.data.sources.base import ROW
from dlcli.spec.data.sources.labels import composed, no_labels
from dlcli.spec.data.sources.row_ids import names_in
from dlcli.spec.experiment import Experiment
from dlcli.tasks import Task
from dlcli.visible import listed


@dataclass(frozen=True)
class SourceExamples:
    """The examples of a source that are divided into splits.

    Attributes:
        opened: the readable examples that are not excluded.
        skipped: the path and the error of each image file that was skipped.
        excluded: the number of examples that `data.exclude` leaves out.
    """

    opened: Opened
    skipped: tuple[str, ...] = ()
    excluded: int = 0


def open_readable(
    experiment: Experiment,
    *,
    offline: bool,
    split: dict[str, str] | None = None,
    column_kinds: Mapping[str, ColumnKind] | None = None,
    storage: TableStorage | None = None,
    plan: Callable[[Opened], None] | None = None,
) -> SourceExamples:
    """Returns the examples to split.

    Args:
        experiment: the experiment.
        offline: whether nothing may be downloaded.
        split: the split of each example by its id; None to split by the spec.
        column_kinds: the kinds of columns that a run recorded.
        storage: where the rows of large tables are kept; None to keep them as `data.cache` says, without a folder.
        plan: takes the opened source before the pixels of a file are read.

    Raises:
        DataError: the data cannot be read, has too many unreadable files, or does not fit the task.
    """
    data = experiment.data
    opened = open_examples(
        experiment, offline=offline, split=split, revision=REVISION, column_kinds=column_kinds, storage=storage
    )
    opened, excluded = read_exclusion(data.exclude).of_source(opened)
    if plan is not None:
        plan(opened)
    opened, faults = _readable(opened, data.on_error, data.skip_budget)
    opened = with_parts_and_groups(opened, experiment)
    refuse_unfit(opened, experiment)
    return SourceExamples(opened, tuple(faults), excluded)


def with_parts_and_groups(opened: Opened, experiment: Experiment) -> Opened:
    """Returns the opened source with the parts of `data.split.column` and the groups of `data.split.group`, if set.

    Raises:
        DataError: an example has no part or no group.
    """
    split = experiment.data.split
    opened = with_parts_of_column(opened, split.column) if split.column else opened
    return with_groups(opened, split.group) if split.group else opened


def open_examples(
    experiment: Experiment,
    *,
    offline: bool,
    split: dict[str, str] | None,
    revision: int,
    column_kinds: Mapping[str, ColumnKind] | None = None,
    side_columns: Sequence[str] = (),
    storage: TableStorage | None = None,
) -> Opened:
    """Returns the examples of the chosen classes; by the rules of revision 1 if only these find the examples of a split.

    `side_columns` are asked for beside those that the split needs.

    Raises:
        DataError: the data cannot be read, or lacks one of the classes.
    """
    data = experiment.data
    of_split = _side_columns(experiment) if split is None or data.split.file else ()
    side_columns = tuple(dict.fromkeys((*of_split, *side_columns)))
    storage = storage or TableStorage(data.cache)
    request = Request(
        experiment.task, data.image, experiment.seed, offline, revision, column_kinds or {}, side_columns, storage
    )
    opened = open_source(data.source, request)
    if split is not None and revision > 1 and not _names_all(split, opened):
        first_revision = open_source(data.source, replace(request, revision=1))
        opened = first_revision if _names_all(split, first_revision) else opened
    return _of_classes(opened, tuple(data.classes)) if data.classes else opened


def _side_columns(experiment: Experiment) -> tuple[str, ...]:
    """Returns the side columns that the split needs."""
    split, source = experiment.data.split, experiment.data.source
    return (*split.side_columns, *((ROW,) if split.method == "hash" and source.has_rows and split.group is None else ()))


def open_source(source: SourceSpec, request: Request) -> Opened:
    """Returns the opened source; without labels for a task that does not read them (`OutputType.reads_labels`).

    Raises:
        DataError: the source cannot be read, or needs more memory than there is.
    """
    try:
        opened = source.open(request)
        return opened if request.task.output.reads_labels else _without_labels(opened)
    except MemoryError:
        place = getattr(source, "path", "") or "data.source"
        raise DataError(f"{place}: there is too little memory to read it: it is too large, or damaged") from None


def _without_labels(opened: Opened) -> Opened:
    parts = {part: replace(examples, targets=no_labels(len(examples))) for part, examples in opened.parts.items()}
    return replace(opened, parts=parts, classes=())


def _names_all(split: dict[str, str], opened: Opened) -> bool:
    return split.keys() <= {name for examples in opened.parts.values() for name in names_in(examples.ids, split)}


def _readable(opened: Opened, on_error: str, budget: float) -> tuple[Opened, list[str]]:
    """Returns the source without unreadable image files, and the path and error of each of those.

    Raises:
        DataError: there are unreadable files, and they must not be skipped or are more than the budget.
    """
    parts, faults, total = dict(opened.parts), list[str](), 0
    for part, examples in opened.parts.items():
        if not examples.inputs.in_files:
            continue
        total += len(examples)
        unreadable = examples.inputs.unreadable(thorough=on_error == "skip")
        faults += unreadable.values()
        readable = [place for place in range(len(examples)) if place not in unreadable]
        parts[part] = examples.take(np.array(readable, "int64"))
    if not faults:
        return opened, []
    listed_faults = "; ".join(faults[:10]) + (f"; and {len(faults) - 10} more" if len(faults) > 10 else "")
    count = f"{len(faults)} of {total:,} images cannot be read"
    if on_error == "stop":
        raise DataError(f"{count}: {listed_faults}; repair or remove them, or set data.on_error: skip")
    if len(faults) > budget * total:
        raise DataError(f"{count}, more than the fraction {budget:g} that data.skip_budget allows: {listed_faults}")
    note = f"{count} and are skipped: {listed_faults}"
    return replace(opened, parts=parts, notes=(*opened.notes, note)), faults


def _of_classes(opened: Opened, classes: tuple[str, ...]) -> Opened:
    """Returns the examples of the chosen classes, numbered in the order of `classes`.

    Raises:
        DataError: the source lacks one of the classes.
    """
    places = {composed(name): place for place, name in enumerate(opened.classes)}
    unknown = [name for name in classes if composed(name) not in places]
    if unknown:
        raise DataError(f"data.classes: the source has no class {unknown[0]!r}; it has {listed(opened.classes)}")
    number = np.full(len(opened.classes), -1)
    number[[places[composed(name)] for name in classes]] = np.arange(len(classes))
    classes = tuple(opened.classes[places[composed(name)]] for name in classes)
    parts = {part: examples.take(np.flatnonzero(number[examples.targets] >= 0)) for part, examples in opened.parts.items()}
    numbered = {part: replace(examples, targets=number[examples.targets]) for part, examples in parts.items()}
    return replace(opened, parts=numbered, classes=classes)


def refuse_unfit(opened: Opened, experiment: Experiment) -> None:
    """Raises DataError for examples that the experiment cannot be trained on."""
    for part, examples in opened.parts.items():
        if not len(examples):
            raise DataError(f"the {part} split of the source has no examples")
    strata = experiment.task.output.strata(opened.parts["train"].targets)
    if strata is not None and (
        fault := experiment.task.output.fault_of_classes(opened.classes, len(np.unique(strata)), experiment.task.name)
    ):
        raise DataError(fault)
    is_logarithmic = experiment.task.output.reads_labels and experiment.training.loss.kind == "msle"
    if is_logarithmic and min(examples.targets.min() for examples in opened.parts.values()) < 0:
        raise DataError(
            "loss: msle takes a logarithm and needs targets at or above 0; use `loss: huber` for targets of both signs"
        )


def with_targets(examples: Examples, task: Task) -> Examples:
    """Returns the examples with their targets, of a task that computes them from the inputs; else the examples themselves."""
    return examples if task.output.reads_labels else replace(examples, targets=task.output.targets(examples.inputs))
