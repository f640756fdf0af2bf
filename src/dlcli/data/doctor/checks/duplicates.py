"""The check of images with equal pixels."""

from __future__ import annotations

from collections.abc import Iterator

from dlcli.data.doctor.check import NOT_APPLICABLE, Check, Progress, Subject
from dlcli.data.doctor.copies_of_images import equal_groups
from dlcli.data.doctor.copy_groups import CopyWords, copy_issues
from dlcli.data.doctor.image_facts import has_images, image_facts
from dlcli.data.doctor.issue import Issue

_WORDS = CopyWords("duplicates", "have the same pixels as", "with the same pixels", surely_wrong=True)


class Duplicates(Check):
    """Images whose decoded pixels are equal, also of files with different bytes; not images of a single colour."""

    name = "duplicates"

    def reason_against(self, subject: Subject) -> str:
        """Returns that the examples are no images."""
        return "" if has_images(subject) else NOT_APPLICABLE

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields duplicates across splits, with conflicting labels, and within a split."""
        facts = image_facts(subject, progress)
        yield from copy_issues(facts, equal_groups(facts), _WORDS)
