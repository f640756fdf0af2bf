"""Opens a source as training, validation and test examples, each in memory or read when needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.data.exclude import read_exclusion
from dlcli.data.fingerprint import fingerprint
from dlcli.data.groups import refuse_shared_groups, with_groups, with_recorded_groups
from dlcli.data.image_files import Survey, with_value_range
from dlcli.data.pixels import stored_pixels
from dlcli.data.size_plan import SizePlan, size_plan
from dlcli.data.split import SplitExamples, drawn_splits, recorded_splits, with_train_fraction
from dlcli.data.split_column import with_parts_of_column
from dlcli.data.split_file import read_split_file
from dlcli.data.split_notes import split_notes
from dlcli.errors import DataError
from dlcli.runs.folder import REVISION
from dlcli.runs.reporter import Log
from dlcli.runs.split_groups import recorded_groups
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.runtime.free_memory import MemoryShare, free_memory
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.inputs import Images
from dlcli.runtime.pixel_cache import PixelCache
from dlcli.spec.data.data import Data, ImageSettings
from dlcli.spec.data.sources import Examples, Opened, Request, SourceSpec
from dlcli.spec.data.sources.base import ROW, composed, no_labels, target_notes
from dlcli.spec.data.sources.column_kinds import unusual_kinds
from dlcli.spec.data.sources.row_ids import names_in
from dlcli.spec.experiment import Experiment
from dlcli.spec.rules.characters import notes_on_characters
from dlcli.tasks import Task
from dlcli.visible import listed

MEMORY_SHARE = 0.25
"""Images up to this share of the free memory are decoded once; of a larger set, a training keeps as many as fit, and the
others are read from their files in each epoch."""
MEMORY_SHARE_SET = 0.75
"""The same share where the spec sets `data.cache: memory`."""
MOST_NAMED = 100
"""Maximum number of unreadable files that are named."""


def unreported(line: str) -> None:
    """Takes a line of a log that nobody reads."""


@dataclass(frozen=True, kw_only=True)
class Splits(SplitExamples):
    """The data of a run: the examples of each split, and facts about them.

    `source_parts` names the parts of the source; the other splits are drawn from its training part.
    """

    classes: tuple[str, ...]
    task: Task
    notes: tuple[str, ...] = ()
    source_parts: frozenset[str] = frozenset()
    fingerprint: str = ""
    skipped: tuple[str, ...] = ()
    """The path and the error of each file that was skipped."""
    excluded: int = 0
    """The number of examples that `data.exclude` names."""
    image: ImageSettings | None = None
    """The settings that image files were read with, without any `auto`; None without image files."""
    lines: tuple[str, ...] = ()
    """Log lines on how the source was read."""
    column_facts: tuple[dict[str, Any], ...] = ()
    """How each column of a table is used."""
    flat_images: dict[str, Any] = field(default_factory=dict)
    """Images of a single colour: see `Survey.flat_facts`."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one example; None for named columns."""
        return self.train.inputs.shape

    @property
    def is_image(self) -> bool:
        """Whether inputs are images."""
        return self.train.inputs.kind == "images"

    @property
    def outputs(self) -> int:
        """The width of the model's output."""
        return self.task.output.width(self.train.targets, self.classes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the model's output for one example."""
        return self.task.output.shape(self.outputs, self.shape or ())

    def sharing(self, shared: Mapping[str, tuple[str, ...]]) -> Splits:
        """Returns the splits for a model in which the given columns share inputs (`InputLayout.shared`)."""
        changed = self.changed(lambda examples: replace(examples, inputs=examples.inputs.sharing(shared)))
        return replace(self, train=changed.train, validation=changed.validation, test=changed.test)

    def groups(self) -> dict[str, str]:
        """Returns the group of each example by its id; empty where the examples are not split by groups."""
        groups: dict[str, str] = {}
        for examples in self.distinct.values():
            if examples.groups is not None:
                groups |= zip(examples.ids, examples.groups.tolist(), strict=True)
        return groups

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns the number of examples of each class or label in every split; only totals for regression."""
        return {name: self.task.output.counts(examples.targets, self.classes) for name, examples in self.by_name.items()}

    def target_facts(self) -> dict[str, list[float] | None]:
        """Returns mean and deviation of each target in the training split; None for targets that are classes."""
        if not self.task.output.has_scale:
            return {"means": None, "deviations": None}
        targets = self.train.targets.astype("float64")
        return {"means": targets.mean(axis=0).tolist(), "deviations": targets.std(axis=0).tolist()}

    def describe(self) -> dict[str, Any]:
        """Returns the content of `data.json`."""
        shared = self.train.inputs.layout.shared
        return {
            "task": self.task.name,
            "classes": list(self.classes),
            "examples": {name: len(examples) for name, examples in self.by_name.items()},
            "counts": self.counts(),
            **self.target_facts(),
            "shape": list(self.shape) if self.shape else None,
            "columns": list(self.train.inputs.columns) or None,
            **({"column_kinds": kinds} if (kinds := unusual_kinds(self.train.inputs.column_kinds)) else {}),
            **({"shared_inputs": {name: list(columns) for name, columns in shared.items()}} if shared else {}),
            "fingerprint": self.fingerprint,
            "notes": list(self.notes),
            **({"unused": dict(self.unused)} if self.unused else {}),
            "test_is_validation": self.test_is_validation,
            "lines": list(self.lines),
            "column_facts": list(self.column_facts),
            "flat_images": self.flat_images,
            "skipped": {"count": len(self.skipped), "files": list(self.skipped[:MOST_NAMED])},
            **({"excluded": self.excluded} if self.excluded else {}),
        }


def open_splits(
    experiment: Experiment,
    *,
    offline: bool = False,
    split: dict[str, str] | None = None,
    groups: Mapping[str, str] | None = None,
    revision: int = REVISION,
    column_kinds: Mapping[str, ColumnKind] | None = None,
    pixels: Path | None = None,
    log: Log = unreported,
) -> Splits:
    """Opens the source and returns its splits.

    Args:
        experiment: the experiment.
        offline: whether nothing may be downloaded.
        split: the split of each example as a run recorded it, by id; None to split by the spec.
        groups: the group of each example as a run recorded it, by id.
        revision: the revision of the run whose examples are opened again.
        column_kinds: the kinds of columns that this run recorded.
        pixels: the folder for `data.cache: disk`; None to decode the files each time.
        log: takes the plan for the memory, before the pixels of a file are read.

    Raises:
        DataError: the data cannot be read or is larger than `data.cache` allows, or a required split has no examples or
            classes.
    """
    data = experiment.data
    is_first = split is None
    if split is None and data.split.file:
        groups = recorded_groups(Path(data.split.file))
        split = read_exclusion(data.exclude).of_split(read_split_file(Path(data.split.file)))
    if is_first:
        source = open_readable(
            experiment, offline=offline, split=split, column_kinds=column_kinds, plan=partial(_report_plan, pixels, log)
        )
    else:
        source = SourceExamples(
            open_examples(experiment, offline=offline, split=split, revision=revision, column_kinds=column_kinds)
        )
        _refuse_unfit(source.opened, experiment)
    opened = source.opened
    splits = drawn_splits(opened, experiment) if split is None else recorded_splits(opened, split, experiment)
    if groups and not (is_first and data.split.group):
        splits = splits.changed(partial(with_recorded_groups, recorded=groups))
    if is_first and split is not None:
        refuse_shared_groups(splits.distinct)
        splits = with_train_fraction(splits, experiment)
    splits, image, image_notes = with_value_range(splits, data.image, opened.value_range, first=is_first)
    notes = [*opened.notes, *_notes(splits, opened, experiment.task), *image_notes]
    notes += split_notes(splits, opened, experiment) if is_first else []
    notes += _note_of_left_out(splits, opened) if split is not None else []
    survey, memory = Survey(), MemoryShare(MEMORY_SHARE)
    plan = _size_plan(splits.distinct, data, pixels)
    if is_first and data.cache == "memory" and plan is not None and plan.shape and not plan.fits:
        raise DataError(plan.refusal())
    decoded = partial(_decoded, survey=survey, memory=memory, cache=data.cache, pixels=pixels)
    in_memory = splits.changed(lambda examples: _in_memory(decoded(examples), experiment.task))
    if is_first:
        survey.refuse_incomplete()
        notes += [*survey.notes(), *notes_on_characters(experiment, opened.classes)]
    return Splits(
        in_memory.train,
        in_memory.validation,
        in_memory.test,
        in_memory.test_is_validation,
        unused=in_memory.unused,
        classes=opened.classes,
        task=experiment.task,
        notes=tuple(notes),
        source_parts=frozenset(opened.parts),
        fingerprint=fingerprint(splits.by_name),  # of the undecoded splits, where images are always files
        skipped=source.skipped,
        excluded=source.excluded,
        image=image,
        lines=opened.lines,
        column_facts=tuple(opened.column_facts),
        flat_images=survey.flat_facts(),
    )


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
    plan: Callable[[Opened, Data], None] | None = None,
) -> SourceExamples:
    """Returns the examples to split.

    Args:
        experiment: the experiment.
        offline: whether nothing may be downloaded.
        split: the split of each example by its id; None to split by the spec.
        column_kinds: the kinds of columns that a run recorded.
        plan: takes the opened source before the pixels of a file are read.

    Raises:
        DataError: the data cannot be read, has too many unreadable files, or does not fit the task.
    """
    data = experiment.data
    opened = open_examples(experiment, offline=offline, split=split, revision=REVISION, column_kinds=column_kinds)
    opened, excluded = read_exclusion(data.exclude).of_source(opened)
    if plan is not None:
        plan(opened, data)
    opened, faults = _readable(opened, data.on_error, data.skip_budget)
    opened = with_parts_and_groups(opened, experiment)
    _refuse_unfit(opened, experiment)
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
) -> Opened:
    """Returns the examples of the chosen classes; by the rules of revision 1 if only these find the examples of a split.

    Raises:
        DataError: the data cannot be read, or lacks one of the classes.
    """
    data = experiment.data
    side_columns = _side_columns(experiment) if split is None or data.split.file else ()
    request = Request(experiment.task, data.image, experiment.seed, offline, revision, column_kinds or {}, side_columns)
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


def _refuse_unfit(opened: Opened, experiment: Experiment) -> None:
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


def _note_of_left_out(splits: SplitExamples, opened: Opened) -> list[str]:
    used = sum(map(len, splits.distinct.values())) + sum(splits.unused.values())
    count = sum(map(len, opened.parts.values())) - used
    subject, verb = ("1 example", "is") if count == 1 else (f"{count:,} examples", "are")
    return [f"{subject} {verb} not in the split file and {verb} ignored"] if count else []


def _notes(splits: SplitExamples, opened: Opened, task: Task) -> list[str]:
    """Returns the notes for the user on the splits."""
    shared = [
        "the test split is the validation split (data.split.test): it selects the best epoch, so its score is not a test score"
    ]
    notes = shared if splits.test_is_validation else []
    strata = task.output.strata(splits.train.targets)
    if not task.output.is_row:
        return notes
    if strata is None:
        return [*notes, *target_notes(splits.train.targets, opened.classes)]
    present = np.bincount(strata, minlength=len(opened.classes))
    notes += [f"class {opened.classes[index]!r} has no training examples" for index in np.flatnonzero(present == 0)[:5]]
    if splits.test is not None:
        tested = np.bincount(splits.test.targets, minlength=len(opened.classes))
        missing_classes = [opened.classes[index] for index in np.flatnonzero((tested == 0) & (present > 0))]
        if missing_classes:
            subject = "1 class has" if len(missing_classes) == 1 else f"{len(missing_classes)} classes have"
            notes.append(f"{subject} too few examples for the test split: {listed(tuple(missing_classes))}")
    return notes


def fits_in_memory(size: int) -> bool:
    """Whether data of a size in bytes fits into the share of the free memory that data may take."""
    return size <= MEMORY_SHARE * free_memory()


def with_targets(examples: Examples, task: Task) -> Examples:
    """Returns the examples with their targets, of a task that computes them from the inputs; else the examples themselves."""
    return examples if task.output.reads_labels else replace(examples, targets=task.output.targets(examples.inputs))


def _in_memory(examples: Examples, task: Task) -> Examples:
    """Returns decoded examples with their targets, and without the columns that decided the split."""
    return replace(with_targets(examples, task), side_columns={})


def _report_plan(pixels: Path | None, log: Log, opened: Opened, data: Data) -> None:
    plan = _size_plan(opened.parts, data, pixels)
    if plan is not None:
        log(plan.line())


def _size_plan(parts: Mapping[str, Examples], data: Data, pixels: Path | None) -> SizePlan | None:
    cache = "none" if data.cache == "disk" and pixels is None else data.cache
    inputs = {part: examples.inputs for part, examples in parts.items()}
    return size_plan(inputs, cache=cache, share=_memory_share(data.cache), folder=pixels)


def _memory_share(cache: str) -> float:
    """Returns the share of the free memory that pixels may take."""
    return MEMORY_SHARE_SET if cache == "memory" else MEMORY_SHARE


def _decoded(examples: Examples, *, survey: Survey, memory: MemoryShare, cache: str, pixels: Path | None) -> Examples:
    """Returns the examples with image files decoded, if the pixels fit in memory; else with a cache for some of them."""
    inputs = examples.inputs
    if not isinstance(inputs, ImageFiles):
        if isinstance(inputs, Images):
            survey.look_at_arrays(inputs.values, examples.ids)
        return examples
    if cache == "disk" and pixels is not None:
        return replace(examples, inputs=replace(inputs, cache=stored_pixels(inputs, pixels, survey)))
    if cache in ("none", "disk") or inputs.memory_bytes > _memory_share(cache) * free_memory():
        survey.sample(inputs)
        kept = None if cache in ("none", "disk") else PixelCache(len(inputs), inputs.shape, inputs.dtype, memory)
        return replace(examples, inputs=replace(inputs, cache=kept))
    decoded = survey.decode(inputs)
    return replace(examples, inputs=replace(inputs, decoded=decoded) if inputs.image.is_deep else Images(decoded))
