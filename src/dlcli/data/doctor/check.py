"""The interface of a check: a check is one class in one file of `checks/`, and one entry of its list."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, ClassVar

from dlcli.arrays import Array
from dlcli.data.doctor.issue import Issue
from dlcli.data.doctor.rows import Rows
from dlcli.data.leaks import leak_facts
from dlcli.data.split import SplitExamples
from dlcli.data.splits import Splits
from dlcli.runs import RunFolder
from dlcli.spec.data.sources import Examples, Opened
from dlcli.spec.experiment import Experiment

Progress = Callable[[str, int, int], None]
"""Receives the name of a step of the work, how many examples are done, and how many there are."""


MOST_FAST_CELLS = 20_000_000
"""Cells of the largest table that the fast checks read, about a second; of a table on the disk, all checks."""


def no_progress(step: str, done: int, total: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The data that is checked. No network is needed, and no run.

    Attributes:
        experiment: the experiment of the spec, not resolved.
        opened: the source's examples as it defines its parts; image files are not decoded, and may be unreadable.
        splits: the examples of each split, as a training would draw them; without the unreadable image files.
        unreadable: what is wrong with each image file that cannot be read, by the id of its example.
        runs: the runs whose networks a check may use.
        opening_seconds: the seconds that it took to open the source.
        measurements: what one check, or the opening, has measured and checks use too, by name.
        notes: what the opening and the checks report on their own work.
    """

    experiment: Experiment
    opened: Opened
    splits: SplitExamples
    unreadable: dict[str, str]
    runs: tuple[RunFolder, ...] = ()
    opening_seconds: float = 0.0
    measurements: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    notes: list[str] = field(default_factory=list, repr=False, compare=False)

    @property
    def has_rows(self) -> bool:
        """Whether examples are rows of a table or of numbers."""
        return self.splits.train.inputs.are_rows

    @property
    def has_labels(self) -> bool:
        """Whether each example has a row of labels or values that the source defines."""
        output = self.experiment.task.output
        return output.is_row and output.reads_labels

    @property
    def has_classes(self) -> bool:
        """Whether each example has a single class."""
        output, targets = self.experiment.task.output, self.splits.train.targets
        return self.has_labels and output.strata(targets) is not None

    def class_numbers(self, examples: Examples) -> Array:
        """Returns the class number of each example, int64 `(n,)`; only where `has_classes`."""
        numbers = self.experiment.task.output.strata(examples.targets)
        assert numbers is not None
        return numbers

    @property
    def given_splits(self) -> dict[str, Examples]:
        """The splits other than the training split that the source or `data.split.file` defines, by name."""
        is_given = self.opened.parts.keys() if self.experiment.data.split.file is None else self.splits.distinct.keys()
        return {name: examples for name, examples in self.splits.distinct.items() if name != "train" and name in is_given}

    @property
    def columns(self) -> int:
        """The number of the columns of all rows; only where `has_rows`."""
        inputs = self.splits.train.inputs
        return len(inputs.columns) or prod(inputs.shape or ())

    @property
    def cells(self) -> int:
        """The number of the cells of all rows."""
        return sum(map(len, self.splits.distinct.values())) * self.columns

    @cached_property
    def rows(self) -> Rows:
        """The rows of all splits; only where `has_rows`.

        Raises:
            NotChecked: they stay on the disk, and need not fit into memory.
        """
        if self.splits.train.inputs.on_disk and self.cells > MOST_FAST_CELLS:
            raise NotChecked(
                f"the table has more than {MOST_FAST_CELLS:,} cells and stays on the disk; check some of its files,"
                " or set `data.cache: memory`"
            )
        return Rows.of(self.splits.distinct)

    @cached_property
    def leaks(self) -> dict[str, Any]:
        """The facts on leaks between the splits; see `leak_facts`."""
        by_name = {name: getattr(self.splits, name) for name in ("train", "validation", "test", "test_is_validation")}
        return leak_facts(Splits(**by_name, classes=self.opened.classes, task=self.experiment.task))


class NotChecked(Exception):
    """Raised by `Check.issues` where only the check itself shows that it cannot be made; reported like a reason against it."""


class Check(ABC):
    """A check of the data.

    Attributes:
        name: what it checks, as a plural or mass noun: `near duplicates`.
        is_fast: whether a training makes this check too, before its first epoch: it takes about a second at most.
    """

    name: ClassVar[str]
    is_fast: ClassVar[bool] = False

    def reason_against(self, subject: Subject) -> str:
        """Returns why the check does not apply to the data, such as a missing extra; empty if it does.

        A reason that a user can change (an extra to install, images that are too small) is reported as a note; a check that
        has no meaning for the kind of data (columns of images) returns `NOT_APPLICABLE`.
        """
        return ""

    def sample(self, subject: Subject) -> str:
        """Returns which sample of the data the check reads, for a note; empty if it reads all."""
        return ""

    @abstractmethod
    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields the issues of the data.

        Raises:
            NotChecked: the check cannot be made after all; the message is the reason.
        """


NOT_APPLICABLE = "not applicable"
"""The reason of a check that has no meaning for the kind of data, which is not reported."""


class TableCheck(Check):
    """A check of the rows of a table, or of arrays whose examples are rows of numbers."""

    def reason_against(self, subject: Subject) -> str:
        """Returns `NOT_APPLICABLE` for other examples."""
        return "" if subject.has_rows else NOT_APPLICABLE


def first_columns(subject: Subject, most: int) -> str:
    """Returns the sample of a check of tables that reads at most so many columns; empty if there are no more."""
    return f"the first {most:,} of {subject.columns:,} columns" if subject.columns > most else ""


class ClassCheck(Check):
    """A check of the classes of a task with one class for each example."""

    def reason_against(self, subject: Subject) -> str:
        """Returns `NOT_APPLICABLE` for other tasks."""
        return "" if subject.has_classes else NOT_APPLICABLE
