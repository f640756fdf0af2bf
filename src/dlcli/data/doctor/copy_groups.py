"""Groups of copies: which image of a group is kept, and the issues that a group is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dlcli.data.doctor.image_facts import ImageFacts
from dlcli.data.doctor.issue import Issue, Severity

NAMED_GROUPS = 20
"""Maximum number of groups that are described."""
_NAMED_COPIES = 5
_MANY = 0.01
"""Share of the examples from which copies within a split are a warning, and near duplicates across splits an error."""
_KEPT_FIRST = ("test", "validation", "train")


@dataclass(frozen=True)
class CopyWords:
    """The words for a kind of copies.

    Attributes:
        kind: the plural: `near duplicates`.
        like: how an image is like another one, before that: `show the same picture as`.
        together: how the images of a group are alike: `that show the same picture`.
        surely_wrong: whether all of them are errors where they join splits or labels.
    """

    kind: str
    like: str
    together: str
    surely_wrong: bool


def connected(count: int, links: Iterable[Sequence[int]]) -> list[list[int]]:
    """Returns the groups of places, out of `count`, that links join directly or through others; each sorted."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.array([(link[0], other) for link in links for other in link[1:]], "int64").reshape(-1, 2)
    ones = np.ones(len(pairs), bool)
    _, numbers = connected_components(coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count)), directed=False)
    groups: dict[int, list[int]] = {}
    for place in np.unique(pairs).tolist():
        groups.setdefault(int(numbers[place]), []).append(place)
    return list(groups.values())


def kept(facts: ImageFacts, group: Sequence[int]) -> int:
    """Returns the image of a group that is kept: of the test split if there is one, then the largest, then the first.

    A test split that keeps its images has the same score before and after, but for what the training knew of them.
    """

    def rank(place: int) -> tuple[int, int, str]:
        height, width = facts.records[place].size
        return _KEPT_FIRST.index(facts.splits[place]), -height * width, facts.ids[place]

    return min(group, key=rank)


def copy_issues(
    facts: ImageFacts, groups: list[list[int]], words: CopyWords, change: Callable[[int, int], str] = lambda _, __: ""
) -> Iterator[Issue]:
    """Yields the issues of groups of copies: across splits, with different labels, and others.

    Args:
        facts: the facts about all images.
        groups: the places of the images of each group.
        words: the words for this kind of copies.
        change: returns how the second image differs from the first one, as text.
    """
    across = [group for group in groups if len({facts.splits[place] for place in group}) > 1]
    unlike = [group for group in groups if len({facts.labels[place] for place in group}) > 1]
    others = [group for group in groups if group not in across and group not in unlike]

    def issue(kind: str, severity: Severity, chosen: list[list[int]], summary: str, advice: str) -> Issue:
        kept_places = set() if chosen is unlike else {kept(facts, group) for group in chosen}
        excluded = [place for group in chosen for place in group if place not in kept_places]
        return Issue(
            kind=kind,
            severity=severity,
            summary=summary,
            advice=advice,
            evidence=tuple(_line(facts, group, change) for group in chosen[:NAMED_GROUPS]),
            examples=tuple(sorted(facts.ids[place] for group in chosen for place in group)),
            exclude=tuple(sorted(facts.ids[place] for place in excluded)),
        )

    if across:
        scored = _scored_in_training(facts, across)
        is_error = words.surely_wrong or _is_much(facts, across)
        yield issue(f"{words.kind} across splits", "error" if is_error else "warning", across, *_across_texts(words, scored))
    if unlike:
        severity: Severity = "error" if words.surely_wrong else "warning"
        yield issue(f"{words.kind} with conflicting labels", severity, unlike, *_unlike_texts(words, unlike))
    if others:
        copies = sum(len(group) - 1 for group in others)
        severity = "warning" if copies >= _MANY * len(facts) else "note"
        yield issue(words.kind, severity, others, *_other_texts(words, others, copies, len(facts)))


def _scored_in_training(facts: ImageFacts, groups: list[list[int]]) -> str:
    """Returns how many images of each other split have a copy in the training split, as text."""
    counts = {}
    for split in dict.fromkeys(facts.splits):
        joined = [group for group in groups if any(facts.splits[place] == "train" for place in group)]
        counts[split] = sum(facts.splits[place] == split for group in joined for place in group)
    totals = {split: facts.splits.count(split) for split in counts}
    parts = [f"{counts[split]:,} of {totals[split]:,} {split} images" for split in counts if split != "train" and counts[split]]
    return " and ".join(parts)


def _is_much(facts: ImageFacts, groups: list[list[int]]) -> bool:
    for split in {*facts.splits} - {"train"}:
        count = sum(facts.splits[place] == split for group in groups for place in group)
        if count >= _MANY * facts.splits.count(split):
            return True
    return False


def _across_texts(words: CopyWords, scored: str) -> tuple[str, str]:
    where = f"{scored} {words.like} a training image" if scored else f"validation images {words.like} test images"
    return (
        f"{where}, so the score of the split is too high",
        "exclude the copies; of each group the image of the test split stays, so that the test score is honest and comparable"
        " with earlier ones; or keep groups in one split by `data.split.group`",
    )


def _unlike_texts(words: CopyWords, groups: list[list[int]]) -> tuple[str, str]:
    count = sum(map(len, groups))
    return (
        f"{count:,} images {words.like} an image with another label",
        "correct the labels and keep one image of each group; the quarantine list has all of them, since which label is wrong"
        " is not known",
    )


def _other_texts(words: CopyWords, groups: list[list[int]], copies: int, total: int) -> tuple[str, str]:
    largest = max(map(len, groups))
    series = "; large groups are often frames of a video or a series, which `data.split.group` keeps in one split"
    noun, verb = ("group", "contains") if len(groups) == 1 else ("groups", "contain")
    return (
        f"{len(groups):,} {noun} of images {words.together} {verb} {copies:,} {'copy' if copies == 1 else 'copies'}"
        f" ({100 * copies / total:.2g} % of all images)",
        "exclude the copies: they give these images more weight, and a random split puts them on both sides"
        + (series if largest > _NAMED_COPIES else ""),
    )


def _line(facts: ImageFacts, group: list[int], change: Callable[[int, int], str]) -> str:
    best = kept(facts, group)
    others = [place for place in group if place != best]
    named = [f"{_name(facts, place)}{change(best, place)}" for place in others[:_NAMED_COPIES]]
    more = f" and {len(others) - _NAMED_COPIES} more" if len(others) > _NAMED_COPIES else ""
    return f"{_name(facts, best)}: {', '.join(named)}{more}"


def _name(facts: ImageFacts, place: int) -> str:
    label = f", {facts.labels[place]}" if facts.labels[place] else ""
    return f"{facts.ids[place]} ({facts.splits[place]}{label})"
