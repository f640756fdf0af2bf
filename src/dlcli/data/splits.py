"""Opens a source as training, validation and test examples, each in memory or read when needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from dlcli.data.exclude import read_exclusion
from dlcli.data.fingerprint import fingerprint
from dlcli.data.groups import refuse_shared_groups, with_recorded_groups
from dlcli.data.image_files import Survey, with_value_range
from dlcli.data.memory_limit import memory_limit
from dlcli.data.pixels import decoded_examples
from dlcli.data.size_plan import SizePlan, size_plan
from dlcli.data.source_examples import SourceExamples, open_examples, open_readable, refuse_unfit, with_targets
from dlcli.data.split import SplitExamples, drawn_splits, recorded_splits, with_train_fraction
from dlcli.data.split_file import read_split_file
from dlcli.data.split_notes import class_notes, note_of_ignored, split_notes
from dlcli.data.table_storage import TableStorage
from dlcli.errors import DataError
from dlcli.runs.folder import REVISION
from dlcli.runs.reporter import Log, unreported
from dlcli.runs.split_groups import recorded_groups
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.runtime.free_memory import MemoryShare
from dlcli.spec.data.data import Data, ImageSettings
from dlcli.spec.data.sources import Examples, Opened
from dlcli.spec.data.sources.column_kinds import unusual_kinds
from dlcli.spec.experiment import Experiment
from dlcli.spec.rules.characters import notes_on_characters
from dlcli.tasks import Task

MOST_NAMED = 100
"""Maximum number of unreadable files that are named."""


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
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The tokens of each column of texts by their numbers, once they are known."""
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
            **({"is_padded": True} if self.train.inputs.is_padded else {}),
            "columns": list(self.train.inputs.columns) or None,
            **({"column_kinds": kinds} if (kinds := unusual_kinds(self.train.inputs.column_kinds)) else {}),
            **({"shared_inputs": {name: list(columns) for name, columns in shared.items()}} if shared else {}),
            **({"entity_scales": dict(scales)} if (scales := self.train.inputs.entity_scales) else {}),
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
    side_columns: Sequence[str] = (),
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
        side_columns: columns that the examples of a recorded split keep as `Examples.side_columns`.
        pixels: the folder for `data.cache: disk`; None to decode the files each time, and to write the rows of a table into a
            temporary file.
        log: takes the plan for the memory, before the pixels of a file are read.

    Raises:
        DataError: the data cannot be read or is larger than `data.cache` allows, or a required split has no examples or
            classes.
    """
    if split is None:
        return _first_splits(experiment, offline=offline, column_kinds=column_kinds, pixels=pixels, log=log)
    opened = open_examples(
        experiment,
        offline=offline,
        split=split,
        revision=revision,
        column_kinds=column_kinds,
        side_columns=side_columns,
        # With `memory`, a table may still stay on the disk: a run that was trained on another machine is scored here.
        storage=TableStorage("auto" if experiment.data.cache == "memory" else experiment.data.cache, pixels),
    )
    refuse_unfit(opened, experiment)
    splits = recorded_splits(opened, split, experiment)
    splits = splits.changed(partial(with_recorded_groups, recorded=groups)) if groups else splits
    notes = note_of_ignored(splits, opened)
    source = SourceExamples(opened)
    return _in_memory(experiment, source, splits, notes, Survey(), pixels=pixels, first=False, side_columns=side_columns)


def _first_splits(
    experiment: Experiment,
    *,
    offline: bool,
    column_kinds: Mapping[str, ColumnKind] | None,
    pixels: Path | None,
    log: Log,
) -> Splits:
    """Opens the source for the first time and returns its splits by the spec: drawn, or those of `data.split.file`."""
    data = experiment.data
    file = Path(data.split.file) if data.split.file else None
    split = read_exclusion(data.exclude).of_split(read_split_file(file)) if file else None

    def report(opened: Opened) -> None:
        plan = _size_plan(opened.parts, data, pixels)
        if plan is not None:
            log(plan.line())

    storage = TableStorage(data.cache, pixels, log)
    source = open_readable(experiment, offline=offline, split=split, column_kinds=column_kinds, storage=storage, plan=report)
    if split is None:
        splits, ignored = drawn_splits(source.opened, experiment), []
    else:
        splits = recorded_splits(source.opened, split, experiment)
        groups = recorded_groups(file) if file and not data.split.group else {}
        splits = splits.changed(partial(with_recorded_groups, recorded=groups)) if groups else splits
        refuse_shared_groups(splits.distinct)
        splits = with_train_fraction(splits, experiment)
        ignored = note_of_ignored(splits, source.opened)
    notes = [*split_notes(splits, source.opened, experiment), *ignored]
    plan = _size_plan(splits.distinct, data, pixels)
    if data.cache == "memory" and plan is not None and plan.shape and not plan.fits:
        raise DataError(plan.refusal())
    survey = Survey()
    opened_splits = _in_memory(experiment, source, splits, notes, survey, pixels=pixels, first=True)
    survey.refuse_incomplete()
    late_notes = [*survey.notes(), *notes_on_characters(experiment, source.opened.classes)]
    return replace(opened_splits, notes=(*opened_splits.notes, *late_notes))


def _in_memory(
    experiment: Experiment,
    source: SourceExamples,
    splits: SplitExamples,
    notes: Sequence[str],
    survey: Survey,
    *,
    pixels: Path | None,
    first: bool,
    side_columns: Sequence[str] = (),
) -> Splits:
    """Returns the splits with their images decoded as `data.cache` says, and with the facts of the source.

    Of the columns beside the inputs only `side_columns` are kept.
    """
    data, task, opened = experiment.data, experiment.task, source.opened
    splits, image, image_notes = with_value_range(splits, data.image, opened.value_range, first=first)
    plan = _size_plan(splits.distinct, data, pixels)
    fits, memory = plan is None or plan.fits, MemoryShare(memory_limit(data.cache).share)
    decoded = partial(decoded_examples, survey=survey, memory=memory, cache=data.cache, pixels=pixels, fits=fits)

    def complete(examples: Examples) -> Examples:
        side = {name: values for name, values in examples.side_columns.items() if name in side_columns}
        return replace(with_targets(decoded(examples), task), side_columns=side)

    in_memory = splits.changed(complete)
    return Splits(
        in_memory.train,
        in_memory.validation,
        in_memory.test,
        in_memory.test_is_validation,
        unused=in_memory.unused,
        classes=opened.classes,
        task=task,
        notes=(*opened.notes, *class_notes(splits, opened, task), *image_notes, *notes),
        source_parts=frozenset(opened.parts),
        fingerprint=fingerprint(splits.by_name),  # of the undecoded splits, where images are always files
        skipped=source.skipped,
        excluded=source.excluded,
        image=image,
        lines=opened.lines,
        column_facts=tuple(opened.column_facts),
        flat_images=survey.flat_facts(),
    )


def _size_plan(parts: Mapping[str, Examples], data: Data, pixels: Path | None) -> SizePlan | None:
    return size_plan({part: examples.inputs for part, examples in parts.items()}, cache=data.cache, folder=pixels)
