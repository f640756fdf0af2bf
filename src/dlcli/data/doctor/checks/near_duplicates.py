"""The check of images that show the same picture: smaller, recompressed, mirrored, turned, cropped, brighter, captioned."""

from __future__ import annotations

from collections.abc import Iterator

from dlcli.data.doctor.check import NOT_APPLICABLE, Check, Progress, Subject
from dlcli.data.doctor.copies_of_images import NearPairs, equal_groups, near_pairs
from dlcli.data.doctor.copy_groups import CopyWords, connected, copy_issues
from dlcli.data.doctor.image_facts import ImageFacts, has_images, image_facts
from dlcli.data.doctor.image_hashes import ORIENTATIONS, can_hash
from dlcli.data.doctor.image_record import SMALLEST
from dlcli.data.doctor.issue import Issue
from dlcli.program import install_command

_WORDS = CopyWords("near duplicates", "show the same picture as", "that show the same picture", surely_wrong=False)


class NearDuplicates(Check):
    """Images that show the same picture, found by perceptual hashes and confirmed by their pixels."""

    name = "near duplicates"

    def reason_against(self, subject: Subject) -> str:
        """Returns that the examples are no images, or how the extra `data` is installed."""
        if not has_images(subject):
            return NOT_APPLICABLE
        return (
            "" if can_hash() else f"near duplicates are found by ImageHash, which is not installed: {install_command('data')}"
        )

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields near duplicates across splits, with conflicting labels, and within a split; then what was not compared."""
        facts = image_facts(subject, progress)
        pairs = near_pairs(facts, progress)
        yield from copy_issues(facts, _groups(facts, pairs), _WORDS, lambda first, second: _change(pairs, first, second))
        if note := _not_compared(pairs):
            yield Issue(kind="images not compared", severity="note", summary=note, advice="nothing needs to be done")


def _groups(facts: ImageFacts, pairs: NearPairs) -> list[list[int]]:
    """Returns the groups that near duplicates form, each with the duplicates of its images."""
    groups = connected(len(facts), [*pairs.orientations, *equal_groups(facts)]) if pairs.orientations else []
    near = {place for pair in pairs.orientations for place in pair}
    return [group for group in groups if near & {*group}]


def _change(pairs: NearPairs, first: int, second: int) -> str:
    """Returns the orientation of the second image relative to the first one as text; empty for the same one."""
    words = ORIENTATIONS[pairs.orientations.get((min(first, second), max(first, second)), 0)]
    return f" {words}" if words else ""


def _not_compared(pairs: NearPairs) -> str:
    if pairs.alike_by_nature:
        return (
            f"near duplicates cannot be told apart from other images: the {pairs.compared:,} images are alike by nature, as"
            " digits and X-rays are"
        )
    reasons = {f"with a side below {SMALLEST} pixels": pairs.tiny, "with nearly two values": pairs.two_valued}
    parts = [f"{count:,} {'image' if count == 1 else 'images'} {reason}" for reason, count in reasons.items() if count]
    are = "is" if sum(reasons.values()) == 1 else "are"
    return f"{' and '.join(parts)} {are} not compared with others: such images are alike by chance" if parts else ""
