"""The check of image files: what cannot be read, and what dlcli changes when it reads a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from os.path import basename

from dlcli.data.doctor.check import NOT_APPLICABLE, Check, Progress, Subject
from dlcli.data.doctor.image_facts import ImageFacts, has_images, image_facts
from dlcli.data.doctor.image_record import ImageRecord
from dlcli.data.doctor.issue import Issue, Severity
from dlcli.data.doctor.named_images import issue_of_images, share_of
from dlcli.runtime.image_reader import Picture
from dlcli.spec.data.sources.image_types import TYPES, extension_of

_MULTIPLE_PICTURES = "MPO"
"""Pillow's name of a JPEG file with several pictures."""


@dataclass(frozen=True)
class _Property:
    """A property of files that a user should know.

    Attributes:
        kind: the fixed name of the issue.
        severity: how much it matters.
        detail: returns what the property is in one file; empty if the file lacks it.
        text: the rest of the summary after the number of files and the verb.
        advice: what to do.
    """

    kind: str
    severity: Severity
    detail: Callable[[str, Picture], str]
    text: str
    advice: str


def _other_type(path: str, picture: Picture) -> str:
    extension = extension_of(basename(path))
    file_type = "JPEG" if picture.format == _MULTIPLE_PICTURES else picture.format
    return "" if not extension or extension in TYPES.get(file_type, (extension,)) else f"{file_type} data"


def _mode(modes: tuple[str, ...], _: str, picture: Picture) -> str:
    return picture.mode if picture.mode in modes else ""


_PROPERTIES = (
    _Property(
        "files of another type than their extension",
        "note",
        _other_type,
        "another type than the extension says; dlcli reads a file by its content",
        "rename them, since other programs may refuse them",
    ),
    _Property(
        "files with several frames",
        "warning",
        lambda _, picture: "several frames or pages" if picture.frames else "",
        "several frames or pages, as animations have; dlcli reads the first one only",
        "save the frames that matter as separate files",
    ),
    _Property(
        "CMYK images",
        "note",
        partial(_mode, ("CMYK",)),
        "colours for print (CMYK); dlcli converts them to RGB without their colour profile",
        "convert them with their profile if the colours matter",
    ),
    _Property(
        "unreadable EXIF orientation",
        "warning",
        lambda _, picture: picture.ignored,
        "an EXIF orientation that cannot be read; dlcli does not turn them",
        "look whether they are upright, and save them without EXIF data",
    ),
    _Property(
        "EXIF orientation",
        "note",
        lambda _, picture: f"orientation {picture.turn}" if picture.turn != 1 and not picture.ignored else "",
        "an EXIF orientation; dlcli turns them upright",
        "nothing needs to be done; other programs may show them lying",
    ),
    _Property(
        "transparent images",
        "note",
        lambda _, picture: "transparent pixels" if picture.see_through else "",
        "transparent pixels, which take the colour of data.image.background",
        "set data.image.background to a colour that the drawing does not have",
    ),
)


class ImageFileCheck(Check):
    """Image files that cannot be read, or that are changed when they are read."""

    name = "image files"

    def reason_against(self, subject: Subject) -> str:
        """Returns that the examples are no image files."""
        return "" if has_images(subject) and subject.splits.train.inputs.in_files else NOT_APPLICABLE

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields unreadable files by their fault, then the properties of readable ones."""
        facts = image_facts(subject, progress)
        yield from _unreadable(subject, facts)
        if facts.fault:
            advice = "convert the files to one kind, or set data.image.value_range"
            yield Issue(kind="images of different depth", severity="error", summary=facts.fault, advice=advice)
        for prop in _PROPERTIES:
            details = {
                place: detail
                for place, (path, record) in enumerate(zip(facts.paths, facts.records, strict=True))
                if (picture := record.picture) and (detail := prop.detail(path, picture))
            }
            if details:
                summary = f"{share_of(details, facts, 'has', 'have')} {prop.text}"
                yield issue_of_images(facts, details, prop.kind, prop.severity, summary, prop.advice)
        yield from _deep(facts)


def _unreadable(subject: Subject, facts: ImageFacts) -> Iterator[Issue]:
    """Yields the files that cannot be read: empty, truncated and damaged ones, and files that are no image."""
    faults = {name: text.partition(": ")[2] or text for name, text in subject.unreadable.items()}
    faults |= {facts.ids[place]: record.fault for place, record in enumerate(facts.records) if record.fault}
    by_kind: dict[str, dict[str, str]] = {}
    for name, text in faults.items():
        by_kind.setdefault(_fault_kind(text), {})[name] = text
    skips = subject.experiment.data.on_error == "skip"
    effect = "`data.on_error: skip` leaves them out of a training" if skips else "a training stops before its first step"
    for kind, named in by_kind.items():
        yield Issue(
            kind=kind,
            severity="warning" if skips else "error",
            summary=f"{len(named):,} {kind if len(named) != 1 else kind[:-1]}: {effect}",
            advice="replace or remove them" + ("" if skips else ", or set data.on_error: skip"),
            evidence=tuple(f"{name}: {text}" for name, text in list(named.items())[:20]),
            examples=tuple(sorted(named)),
            exclude=tuple(sorted(named)),
        )


def _fault_kind(text: str) -> str:
    lower = text.lower()
    if "empty file" in lower:
        return "empty files"
    if "truncated" in lower or "missing" in lower:
        return "truncated images"
    return "files that are no images" if "not an image" in lower else "damaged images"


def _deep(facts: ImageFacts) -> Iterator[Issue]:
    """Yields the files with more than 8 bits: a note if all have them, a warning if only some do."""
    deep = {place: f"Pillow mode {_picture(facts.records[place]).mode}" for place in facts.decoded if _is_deep(facts, place)}
    if not deep:
        return
    if len(deep) == len(facts.decoded):
        text = "more than 8 bits per value, whose smallest and largest value become 0 and 255"
        advice = "set data.image.value_range if other values should be black and white"
        severity: Severity = "note"
    else:
        text = "more than 8 bits per value, among others with 8; dlcli reads their upper 8 bits"
        advice, severity = "convert all files to one depth", "warning"
    summary = f"{share_of(deep, facts, 'has', 'have')} {text}"
    yield issue_of_images(facts, deep, "16-bit images", severity, summary, advice)


def _picture(record: ImageRecord) -> Picture:
    assert record.picture is not None
    return record.picture


def _is_deep(facts: ImageFacts, place: int) -> bool:
    picture = facts.records[place].picture
    return picture is not None and picture.deep
