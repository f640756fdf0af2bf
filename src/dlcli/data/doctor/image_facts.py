"""Facts about every image of a source, which the checks of images share: each image is decoded once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from dlcli.data.doctor.check import Progress, Subject
from dlcli.data.doctor.file_records import FILE_RECORDS, file_records
from dlcli.data.doctor.image_record import ImageRecord, record_of, whole_digest
from dlcli.data.image_files import with_value_range
from dlcli.errors import DataError
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.inputs import Inputs
from dlcli.spec.data.sources import Examples

_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """The facts about the images of all splits, in the order of the splits; one entry for each image.

    Attributes:
        ids: the ids of the examples.
        splits: the split of each.
        labels: the text of each label; empty for targets without texts.
        paths: the files; empty for images of an array.
        records: what is known of each image.
        fault: why the value range of the files cannot be determined; empty if it can.
        digest_of: returns the digest of the decoded pixels of the image at a place.
    """

    ids: list[str]
    splits: list[str]
    labels: list[str]
    paths: list[str]
    records: list[ImageRecord]
    fault: str
    digest_of: Callable[[int], bytes]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def decoded(self) -> list[int]:
        """The places of the images that could be decoded."""
        return [place for place, record in enumerate(self.records) if record.size != (0, 0)]


def has_images(subject: Subject) -> bool:
    """Whether the examples are images."""
    return subject.splits.train.inputs.kind == "images"


def image_facts(subject: Subject, progress: Progress) -> ImageFacts:
    """Returns the facts about the images, which are measured when they are first needed; about 4 kB are kept of each."""
    if "images" not in subject.measurements:
        subject.measurements["images"] = _measured(subject, progress)
    facts: ImageFacts = subject.measurements["images"]
    return facts


def _measured(subject: Subject, progress: Progress) -> ImageFacts:
    settings, fault = subject.experiment.data.image, ""
    splits = subject.splits
    try:
        splits, _, _ = with_value_range(splits, settings, subject.opened.value_range, first=True)
    except DataError as error:
        fault = str(error)
    examples = splits.distinct
    total, records = sum(map(len, examples.values())), list[ImageRecord]()
    for split_examples in examples.values():
        for record in _records(split_examples.inputs, subject):
            records.append(record)
            if len(records) % _BLOCK == 0 or len(records) == total:
                progress("reading images", len(records), total)
    output, classes = subject.experiment.task.output, subject.opened.classes
    places = [(of, place) for of in examples.values() for place in range(len(of))]
    return ImageFacts(
        ids=[of.ids[place] for of, place in places],
        splits=[split for split, of in examples.items() for _ in of.ids],
        labels=[output.text(of.targets[place], classes) if output.has_texts else "" for of, place in places],
        paths=[of.inputs.paths[place] if isinstance(of.inputs, ImageFiles) else "" for of, place in places],
        records=records,
        fault=fault,
        digest_of=lambda place: records[place].digest or _whole_digest(*places[place]),
    )


def _records(inputs: Inputs, subject: Subject) -> Iterator[ImageRecord]:
    """Yields what is known of each image, in order."""
    if isinstance(inputs, ImageFiles):
        yield from file_records(inputs, subject.notes.append, subject.measurements.get(FILE_RECORDS))
        return
    for start in range(0, len(inputs), _BLOCK):
        for pixels in inputs.read(np.arange(start, min(start + _BLOCK, len(inputs)))):
            yield record_of(None, pixels, is_whole=True)


def _whole_digest(examples: Examples, place: int) -> bytes:
    """Returns the digest of an image that was reduced while it was decoded, from all its pixels."""
    files = examples.inputs
    assert isinstance(files, ImageFiles)
    return whole_digest(files, place)
