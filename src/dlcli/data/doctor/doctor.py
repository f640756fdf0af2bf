"""Examines the data of a spec: opens its source without training, makes every check, and collects the issues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from dlcli.data.doctor.check import (
    MOST_FAST_CELLS,
    NOT_APPLICABLE,
    Check,
    NotChecked,
    Progress,
    Subject,
    TableCheck,
    no_progress,
)
from dlcli.data.doctor.checks import CHECKS
from dlcli.data.doctor.file_records import FILE_RECORDS, FileRecords, file_records
from dlcli.data.doctor.issue import SEVERITIES, Issue
from dlcli.data.exclude import read_exclusion
from dlcli.data.resolve import prepared
from dlcli.data.source_examples import open_examples, with_parts_and_groups
from dlcli.data.split import drawn_splits, recorded_splits
from dlcli.data.split_file import read_split_file
from dlcli.errors import DataError
from dlcli.runs import RunFolder
from dlcli.runs.folder import REVISION
from dlcli.runtime.images import ImageFiles, settings_of
from dlcli.spec.data.sources import Opened
from dlcli.spec.experiment import Experiment


@dataclass(frozen=True, kw_only=True)
class Examination:
    """The result of all checks of the data.

    Attributes:
        issues: the issues, the most important first.
        notes: why checks were not made, or on a sample only; what the source reports on itself; failed helper processes.
        examples: the number of examples of each split.
        counts: the number of examples of each class in each split; empty for regression.
        unreadable: the number of image files that cannot be read.
        parts: the part of the source of each example that an issue excludes, by its id.
        seconds: the seconds that each check took, by its name.
    """

    issues: tuple[Issue, ...]
    notes: tuple[str, ...] = ()
    examples: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    unreadable: int = 0
    parts: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def by_severity(self) -> dict[str, int]:
        """The number of issues of each severity."""
        return {severity: sum(issue.severity == severity for issue in self.issues) for severity in SEVERITIES}

    @property
    def is_clean(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(issue.severity == "note" for issue in self.issues)


def examine(subject: Subject, *, fast: bool = False, progress: Progress = no_progress) -> Examination:
    """Makes every check of data that is open; `fast` makes only the fast ones, which a training makes too."""
    issues, notes, seconds = list[Issue](), list[str](), dict[str, float]()
    for check in (check for check in CHECKS if check.is_fast or not fast):
        began = perf_counter()
        reason = check.reason_against(subject) or (_too_large(check, subject) if fast else "")
        if reason == NOT_APPLICABLE:
            continue
        try:
            issues += [] if reason else check.issues(subject, progress)
        except (NotChecked, DataError) as error:  # a file that changed meanwhile must not hide the issues of the other checks
            reason = str(error)
        if reason:
            notes.append(f"{check.name}: not checked: {reason}")
        elif sample := check.sample(subject):
            notes.append(f"{check.name}: only a sample was checked: {sample}")
        seconds[check.name] = perf_counter() - began
    splits, output = subject.splits.distinct, subject.experiment.task.output
    classes, summaries = subject.opened.classes, {issue.summary for issue in issues}
    counts = {name: output.counts(part.targets, classes) for name, part in splits.items()} if subject.has_labels else {}
    return Examination(
        issues=tuple(ordered(issues)),
        notes=(*(note for note in subject.opened.notes if note not in summaries), *subject.notes, *notes),
        examples={name: len(examples) for name, examples in splits.items()},
        counts={name: row for name, row in counts.items() if row},
        unreadable=len(subject.unreadable),
        parts=_parts_of({name for issue in issues for name in issue.exclude}, subject.opened),
        seconds={"opening the source": subject.opening_seconds} | seconds,
    )


def _too_large(check: Check, subject: Subject) -> str:
    """Returns why a fast check is left to `dlcli data`: a training must not wait for it, nor hold a large table twice."""
    if not isinstance(check, TableCheck) or subject.cells <= MOST_FAST_CELLS:
        return ""
    return f"the table has more than {MOST_FAST_CELLS:,} cells"


def _parts_of(ids: set[str], opened: Opened) -> dict[str, str]:
    if not ids:  # the ids of a large table need not be computed
        return {}
    return {name: part for part, examples in opened.parts.items() for name in examples.ids if name in ids}


def ordered(issues: Iterable[Issue]) -> list[Issue]:
    """Returns issues by importance: shared by several splits or with conflicting labels first, then by severity."""

    def importance(issue: Issue) -> tuple[bool, bool, int]:
        is_first = "across splits" in issue.kind or "conflicting" in issue.kind
        return issue.severity == "note", not is_first, SEVERITIES.index(issue.severity)

    return sorted(issues, key=importance)


def open_subject(
    experiment: Experiment,
    *,
    offline: bool = False,
    thorough: bool = True,
    progress: Progress = no_progress,
    runs: Sequence[RunFolder] = (),
) -> Subject:
    """Returns the data of an experiment as checks take it. Files that cannot be read are collected.

    Args:
        experiment: the experiment of a spec.
        offline: whether nothing may be downloaded.
        thorough: whether every image file is decoded to find those that cannot be read.
        progress: receives the state of the work.
        runs: the runs whose networks find label errors; a simple model does without any.

    Raises:
        DataError: the source cannot be opened, or has no readable example.
    """
    began = perf_counter()
    experiment = prepared(experiment, offline=offline)
    data = experiment.data
    exclusion = read_exclusion(data.exclude)
    split = exclusion.of_split(read_split_file(Path(data.split.file))) if data.split.file else None
    opened = open_examples(experiment, offline=offline, split=split, revision=REVISION)
    opened, _ = exclusion.of_source(opened)
    opened = with_parts_and_groups(opened, experiment)
    records, notes = FileRecords(), list[str]()
    readable, unreadable = _readable(opened, records if thorough else None, progress, notes.append)
    for part, examples in readable.parts.items():
        if not len(examples):
            raise DataError(f"the {part} split of the source has no {'readable ' if unreadable else ''}examples")
    if split is not None:
        split = {name: part for name, part in split.items() if name not in unreadable}
    splits = drawn_splits(readable, experiment) if split is None else recorded_splits(readable, split, experiment)
    return Subject(
        experiment=experiment,
        opened=opened,
        splits=splits,
        unreadable=unreadable,
        runs=tuple(runs),
        opening_seconds=perf_counter() - began,
        measurements={FILE_RECORDS: records},
        notes=notes,
    )


def _readable(
    opened: Opened, records: FileRecords | None, progress: Progress, note: Callable[[str], None]
) -> tuple[Opened, dict[str, str]]:
    """Returns the source without unreadable image files, and the error of each of those by its id.

    With `records` all files are decoded, and their records are added; `note` receives what users should know of that.
    """
    parts, faults = dict(opened.parts), dict[str, str]()
    for part, examples in opened.parts.items():
        files = examples.inputs
        if not isinstance(files, ImageFiles):
            continue
        unreadable = files.unreadable(thorough=False) if records is None else _undecodable(files, records, part, progress, note)
        faults |= {examples.ids[place]: error for place, error in unreadable.items()}
        readable = [place for place in range(len(examples)) if place not in unreadable]
        parts[part] = examples.take(np.array(readable, "int64"))
    return replace(opened, parts=parts), faults


def _undecodable(
    files: ImageFiles, records: FileRecords, part: str, progress: Progress, note: Callable[[str], None]
) -> dict[int, str]:
    """Decodes image files, adds their records, and returns the error of each unreadable file by its place."""
    settings, unreadable = settings_of(files.image), dict[int, str]()
    for place, (path, record) in enumerate(zip(files.paths, file_records(files, note), strict=True)):
        records[path, settings] = record
        if record.fault:
            unreadable[place] = f"{path}: {record.fault}"
        progress(f"reading {part} images", place + 1, len(files))
    return unreadable
