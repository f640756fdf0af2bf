"""Names of classes that may mean the same."""

from __future__ import annotations

from collections.abc import Iterator

from dlcli.data.doctor.check import ClassCheck, Progress, Subject
from dlcli.data.doctor.issue import Issue
from dlcli.spec.data.sources.labels import label_notes


class ClassNames(ClassCheck):
    """Finds classes whose names differ in capitals only, or write one value in two ways. A training notes them too."""

    name = "names of classes"

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields an issue for each way in which names are alike."""
        for note in label_notes(subject.opened.classes):
            yield Issue(
                kind="classes that may mean the same",
                severity="warning",
                summary=note,
                advice="write the label in one way, unless these are different classes",
            )
