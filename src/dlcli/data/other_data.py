"""Opens other data for a run's model, with the source settings of the run and its numbers of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.data.fingerprint import fingerprint
from dlcli.data.groups import grouped
from dlcli.data.inputs import recorded_kinds, recorded_shared
from dlcli.data.source_examples import open_source, with_targets
from dlcli.data.table_storage import TableStorage
from dlcli.errors import DataError, UsageError
from dlcli.runs import RunFolder
from dlcli.runs.layout import OTHER_DATA
from dlcli.spec.data.sources import Examples, Opened, Request
from dlcli.spec.data.sources.labels import composed
from dlcli.spec.data.split import GroupSettings
from dlcli.spec.experiment import Experiment


@dataclass(frozen=True)
class OtherData:
    """Examples of another folder or file; `name` is their folder below `evaluation/`, `notes` list what is not used."""

    name: str
    examples: Examples
    classes: tuple[str, ...]
    source: Any
    notes: tuple[str, ...] = ()


def open_other(
    experiment: Experiment, run: RunFolder, path: Path, *, offline: bool, side_columns: Sequence[str] = ()
) -> OtherData:
    """Returns the labelled examples at a path: its test split if it has one, else all examples.

    They have groups by the rule of the run's split; a note says so if the rule finds none.

    Args:
        experiment: the run's experiment.
        run: the run.
        path: the folder or file.
        offline: whether nothing may be fetched.
        side_columns: columns that the examples have as `Examples.side_columns`, as far as the source has them.

    Raises:
        UsageError: the run's source has no folder or file.
        DataError: the data at the path cannot be read, or has labels that the model does not know.
    """
    classes = tuple(run.data().get("classes") or ())
    source = experiment.data.source.elsewhere(str(path), classes)
    if source is None:
        raise UsageError(f"--data: a {experiment.data.source.kind} source has no folder or file that --data could replace")
    for _, message in source.faults():
        raise DataError(f"--data: {message}" if str(path) in message else f"--data: {path}: {message}")
    if not source.facts(experiment.task).takes(experiment.task):
        raise DataError(f"--data: {path}: its labels do not fit `task: {experiment.task}`")
    group = experiment.data.split.group
    columns = (*side_columns, *((group.column,) if group and group.column else ()))
    image, kinds = experiment.data.image, recorded_kinds(run)
    storage = TableStorage("auto" if experiment.data.cache == "memory" else experiment.data.cache, run.pixels_path)
    request = Request(
        experiment.task, image, experiment.seed, offline, column_kinds=kinds, side_columns=columns, storage=storage
    )
    opened = open_source(source, request)
    if "test" not in opened.parts and len(opened.parts) > 1:
        raise DataError(
            f"--data: {path} has the splits {' and '.join(opened.parts)} and no test split: name the folder of one split"
        )
    part = "test" if "test" in opened.parts else "train"
    examples = _numbered(opened.parts[part], opened, experiment, classes)
    if not len(examples):
        raise DataError(f"--data: {path} has no examples")
    examples = replace(examples, inputs=examples.inputs.sharing(recorded_shared(run)))
    examples, group_notes = _with_groups(examples, group, run)
    notes = (*opened.part_notes.get(part, opened.notes), *group_notes)
    slug = re.sub(r"[^a-z0-9]+", "-", path.resolve().stem.lower()).strip("-")[:40] or "data"
    return OtherData(f"{OTHER_DATA}{slug}-{fingerprint({part: examples})[:6]}", examples, classes, source, notes)


def _with_groups(examples: Examples, settings: GroupSettings | None, run: RunFolder) -> tuple[Examples, list[str]]:
    """Returns the examples with their groups, or without groups and with a note that says why."""
    reason = "the run's spec has no `data.split.group`, its groups are those of another run's split"
    if settings is None and not run.groups():
        return examples, []
    if settings is not None:
        try:
            return grouped(examples, settings), []
        except DataError as error:
            reason = str(error)
    return examples, [f"the groups of these examples are not known, so intervals treat them as independent: {reason}"]


def _numbered(examples: Examples, opened: Opened, experiment: Experiment, classes: tuple[str, ...]) -> Examples:
    """Returns the examples with their classes numbered as the run numbers them."""
    if not experiment.task.output.reads_labels:
        return with_targets(examples, experiment.task)
    if experiment.task.output.reads_columns:
        if examples.targets.shape[1] != len(classes):
            raise DataError(f"--data: {examples.targets.shape[1]} targets per example, the run has {len(classes)}")
        return examples
    places = {composed(name): place for place, name in enumerate(classes)}
    present_names = [opened.classes[number] for number in np.unique(examples.targets)]
    unknown = [name for name in present_names if composed(name) not in places]
    if unknown:
        raise DataError(f"--data: the run has no class {unknown[0]!r}; it has {', '.join(classes[:20])}")
    number = np.array([places.get(composed(name), -1) for name in opened.classes], dtype="int64")
    return replace(examples, targets=number[examples.targets])
