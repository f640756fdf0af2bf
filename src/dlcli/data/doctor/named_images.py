"""Issues that name images."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dlcli.data.doctor.image_facts import ImageFacts
from dlcli.data.doctor.issue import Issue, Severity

NAMED = 20
"""Maximum number of images that are named with their details."""


def share_of(places: Collection[int], facts: ImageFacts, singular: str, plural: str) -> str:
    """Returns how many of all images some are, with the verb: `3 of 397 images have`, `1 of 397 images has`."""
    return f"{len(places):,} of {len(facts):,} images {singular if len(places) == 1 else plural}"


def issue_of_images(
    facts: ImageFacts,
    details: Mapping[int, str],
    kind: str,
    severity: Severity,
    summary: str,
    advice: str,
    *,
    is_excluded: bool = False,
) -> Issue:
    """Returns the issue of some images.

    Args:
        facts: the facts about all images.
        details: what is to be said of each image, by its place.
        kind: the fixed name of the issue.
        severity: how much it matters.
        summary: what was found.
        advice: what to do.
        is_excluded: whether a quarantine list should contain the images.
    """
    names = tuple(sorted(facts.ids[place] for place in details))
    return Issue(
        kind=kind,
        severity=severity,
        summary=summary,
        advice=advice,
        evidence=tuple(f"{facts.ids[place]}: {detail}" for place, detail in list(details.items())[:NAMED]),
        examples=names,
        exclude=names if is_excluded else (),
    )
