"""Contact sheets of the data: examples of each class, augmented variants of an example, and what each way of resizing does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.charts.contact_sheet import Row, contact_sheet
from dlcli.data.doctor.check import Subject
from dlcli.errors import UsageError
from dlcli.runtime.image_arrays import shown
from dlcli.runtime.images import ImageFiles, read_image
from dlcli.spec.data.sources import Examples
from dlcli.spec.experiment import Experiment
from dlcli.upstream.start import quiet_start

EXAMPLES, AUGMENTATIONS, RESIZING = "examples.png", "augmentations.png", "resizing.png"
FILES = (EXAMPLES, AUGMENTATIONS, RESIZING)
IN_ROW = 8
"""Maximum number of images in a row."""
MOST_CLASSES = 40
"""Maximum number of classes that are shown."""
POLICIES = ("stretch", "pad", "crop")
_SIZES_READ = 5000
"""Maximum number of files of which the size is read, evenly spaced."""


@dataclass(frozen=True)
class Preview:
    """The written sheets.

    Attributes:
        files: the paths.
        lines: what they show, and which could not be made, in sentences.
    """

    files: tuple[Path, ...]
    lines: tuple[str, ...]


def refuse_existing_previews(folder: Path) -> None:
    """Checks that sheets can be written into a folder.

    Raises:
        UsageError: the folder has one of them, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--preview: {folder} is a file; name a folder")
    existing = [folder / name for name in FILES if (folder / name).exists()]
    if existing:
        raise UsageError(f"--preview: {existing[0]} exists; name another folder, or remove it")


def write_previews(subject: Subject, folder: Path) -> Preview:
    """Writes the sheets into a folder, which is made.

    Raises:
        UsageError: the folder has one of them, or cannot be written.
        DataError: a file cannot be read.
    """
    refuse_existing_previews(folder)
    if subject.splits.train.inputs.kind != "images":
        return Preview((), ("the examples are no images: there is nothing to show",))
    lines, files = list[str](), list[Path]()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows, line in _sheets(subject):
            if rows:
                contact_sheet(rows, folder / name)
                files.append(folder / name)
            lines.append(f"{name}: {line}" if rows else line)
    except OSError as error:
        raise UsageError(f"--preview: {error.filename or folder}: {error.strerror}") from None
    return Preview(tuple(files), tuple(lines))


def _sheets(subject: Subject) -> Iterator[tuple[str, list[Row], str]]:
    """Yields the name of each sheet, its rows and what it shows; no rows and the reason if there is nothing to show."""
    examples = subject.splits.train
    rows, line = _example_rows(subject)
    yield EXAMPLES, rows, line
    if subject.experiment.data.augment:
        rows = _augmentation_rows(subject.experiment, examples)
        yield AUGMENTATIONS, rows, "variants of one example, by each augmentation of data.augment and by all"
    else:
        yield AUGMENTATIONS, [], "no augmentations: data.augment is empty"
    yield RESIZING, *_resizing_rows(subject)


def _example_rows(subject: Subject) -> tuple[list[Row], str]:
    """Returns a row of training examples for each class; one row with their targets where these are no classes."""
    output, classes, examples = subject.experiment.task.output, subject.opened.classes, subject.splits.train
    strata, rows = _class_numbers(subject), list[Row]()
    if strata is None:
        places = _spaced(np.arange(len(examples)), 4 * IN_ROW)
        captions = [output.text(examples.targets[place], classes) if output.is_row else "" for place in places]
        images = _read(examples, places)
        starts = range(0, len(places), IN_ROW)
        rows += [("", images[start : start + IN_ROW], captions[start : start + IN_ROW]) for start in starts]
        return rows, f"{len(places)} training examples"
    for number, name in enumerate(classes[:MOST_CLASSES]):
        members = np.flatnonzero(strata == number)
        places = _spaced(members, IN_ROW)
        captions = [examples.ids[place] for place in places]
        rows.append((f"{name}: {len(members):,} training examples", _read(examples, places) if len(places) else [], captions))
    more = f" ({MOST_CLASSES} of {len(classes)} classes)" if len(classes) > MOST_CLASSES else ""
    return rows, f"training examples of each class{more}"


def _class_numbers(subject: Subject) -> Array | None:
    """Returns the class number of each training example; None where examples have no single class."""
    output = subject.experiment.task.output
    return output.strata(subject.splits.train.targets) if output.is_row and output.reads_labels else None


def _read(examples: Examples, places: Array) -> list[Array]:
    """Returns images as a training gets them, uint8; of files with more than 8 bits the upper 8."""
    inputs = examples.inputs
    if isinstance(inputs, ImageFiles) and inputs.image.size is None:
        return [shown(read_image(inputs.paths[place], inputs.image)) for place in places]
    return [shown(image) for image in inputs.read(places)]


def _spaced(places: Array, most: int) -> Array:
    """Returns at most so many evenly spaced ones of some places."""
    if len(places) <= most:
        return places
    return np.asarray(places[np.linspace(0, len(places) - 1, most).round().astype("int64")])


def _augmentation_rows(experiment: Experiment, examples: Examples) -> list[Row]:
    """Returns the variants of the first training example by each augmentation of images alone, and by all together."""
    with quiet_start():
        from dlcli.data.augmented_variants import variants
        from dlcli.runtime.engine import tf

        tf.config.list_logical_devices()

    original, *changed = variants(experiment, examples, IN_ROW)
    captions = [_settings_of(item) for item in experiment.data.augment if item.inputs == "images"] + ["all together"]
    rows: list[Row] = [(f"{examples.ids[0]}, and its variants", [*original.images], ["original"])]
    rows += [(caption, [*item.images], [""] * IN_ROW) for caption, item in zip(captions, changed, strict=False)]
    return rows


def _settings_of(augmentation: Any) -> str:
    """Returns the kind of an augmentation and its settings, as in a spec."""
    settings = augmentation.model_dump(exclude={"kind"}, exclude_defaults=True)
    return f"{augmentation.kind}: {', '.join(f'{name}: {value}' for name, value in settings.items())}".removesuffix(": ")


def _resizing_rows(subject: Subject) -> tuple[list[Row], str]:
    """Returns a row for each way of resizing, with the share of pixels that are lost in each class."""
    examples = subject.splits.train
    files, size = examples.inputs, subject.experiment.data.image.size
    if not isinstance(files, ImageFiles) or size is None:
        return [], "no ways of resizing: the images are no files, or data.image.size is not set"
    places = _spaced(np.arange(len(files)), _SIZES_READ)
    sizes = np.array([files.upright_size(place) or (0, 0) for place in places], "float64")
    places, sizes = places[sizes.min(axis=1) > 0], sizes[sizes.min(axis=1) > 0]
    if not len(places) or (sizes == sizes[0]).all():
        return [], "no ways of resizing: all images have the same size"
    order = np.argsort(sizes[:, 1] / sizes[:, 0], kind="stable")
    chosen = _spaced(order, IN_ROW)
    chosen_paths = [files.paths[places[index]] for index in chosen]
    captions = [f"{sizes[index, 1]:.0f} x {sizes[index, 0]:.0f}" for index in chosen]
    rows: list[Row] = [("as stored, from the highest to the widest", _read_as(files, chosen_paths, size=None), captions)]
    for policy in POLICIES:
        images = _read_as(files, chosen_paths, resize=policy)
        text, by_image = _effect(policy, sizes, size)
        effect = text.format(_by_class(subject, places, by_image))
        used = ", as set by data.image.resize" if policy == files.image.resize else ""
        rows.append((f"{policy}{used}: {effect}", images, [f"{100 * by_image[index]:.0f} %" for index in chosen]))
    line = f"what each way of resizing to {size[1]} x {size[0]} does to {len(places):,} training images; {rows[-1][0]}"
    return rows, line


def _read_as(files: ImageFiles, paths: Sequence[str], **settings: Any) -> list[Array]:
    """Returns images uint8, read with other settings."""
    image = files.image.model_copy(update={"value_range": "uint8", **settings})
    return [read_image(path, image) for path in paths]


def _effect(policy: str, sizes: Array, size: tuple[int, int]) -> tuple[str, Array]:
    """Returns what a way of resizing costs, as text with a place for its amount, and the amount in each image.

    `crop` loses the pixels outside the largest centred window of the aspect ratio of `size`. `pad` loses none: the amount is
    the share of the black bars. `stretch` loses none, and the amount is by how much one side is stretched more than the other.
    """
    ratios = (sizes[:, 1] / sizes[:, 0]) / (size[1] / size[0])
    window = np.minimum(ratios, 1 / ratios)
    if policy == "crop":
        return "of the pixels, {} are lost", 1 - window
    if policy == "pad":
        return "no pixel is lost; black bars cover {}", 1 - window
    return "no pixel is lost; one side is stretched more than the other, by {}", 1 / window - 1


def _by_class(subject: Subject, places: Array, shares: Array) -> str:
    """Returns the mean of shares in each class as text; one mean where there are no classes or too many to be named."""
    classes, strata = subject.opened.classes, _class_numbers(subject)
    if strata is None or len(classes) > IN_ROW:
        return f"{100 * shares.mean():.1f} % on average"
    members = {name: strata[places] == number for number, name in enumerate(classes)}
    return ", ".join(f"{100 * shares[of].mean():.1f} % ({name})" for name, of in members.items() if of.any())
