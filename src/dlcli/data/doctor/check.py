"""The interface of a check: a check is one class in one file of `checks/`, and one entry of its list."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dlcli.data.doctor.issue import Issue
from dlcli.data.split import SplitExamples
from dlcli.spec.data.sources import Opened
from dlcli.spec.experiment import Experiment

Progress = Callable[[str, int, int], None]
"""Receives the name of a step of the work, how many examples are done, and how many there are."""


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
        measurements: what one check has measured and others use too, by name; empty at first.
    """

    experiment: Experiment
    opened: Opened
    splits: SplitExamples
    unreadable: dict[str, str]
    measurements: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


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

    @abstractmethod
    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields the issues of the data."""


NOT_APPLICABLE = "not applicable"
"""The reason of a check that has no meaning for the kind of data, which is not reported."""
