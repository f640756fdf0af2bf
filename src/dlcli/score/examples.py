"""Notable examples: those of each confusion, the most confident errors, the least certain predictions, the largest errors."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.runs import layout
from dlcli.runs.files import write_table
from dlcli.runs.numbers import digits
from dlcli.runtime.images import shown
from dlcli.score.outcome import Outcome
from dlcli.spec.data.sources import Examples
from dlcli.tasks import Classes, OutputType, Values, entry_of

_EACH = 24
_OF_ONE_CONFUSION = 5
_OF_ALL_CONFUSIONS = 200
_SIDE = 96
"""The longer side of a thumbnail in pixels."""


@dataclass(frozen=True)
class NotableExample:
    """An example by its position in the split, and why it is shown (`kind`); `label` and `predicted` are texts."""

    kind: str
    place: int
    label: str
    predicted: str
    probability: float | None


def notable_examples(outcome: Outcome) -> list[NotableExample]:
    """Returns the examples that show the errors best, by kind, the worst of each kind first."""
    choose = entry_of(_CHOOSERS, outcome.task.output)
    return list(choose(outcome)) if choose is not None and outcome.scores is not None else []


def _of_classes(outcome: Outcome) -> Iterator[NotableExample]:
    """Yields examples of each confusion, the most confident errors, and the least certain predictions."""
    assert outcome.scores is not None
    shares, predicted = outcome.scores, outcome.predicted
    confidence = shares[np.arange(len(predicted)), predicted]
    errors = np.flatnonzero(predicted != outcome.truth)
    by_confidence = errors[np.argsort(-confidence[errors], kind="stable")]
    top_two = np.partition(shares, -2, axis=1)[:, -2:]
    uncertain = np.argsort(top_two[:, 1] - top_two[:, 0], kind="stable")[:_EACH]
    chosen_errors = [
        ("confusion", _of_confusions(outcome.truth, predicted, by_confidence)),
        ("confident_error", by_confidence[:_EACH]),
    ]
    for kind, places in [*chosen_errors, ("uncertain", uncertain)]:
        for at in places:
            yield NotableExample(
                kind, int(at), outcome.classes[outcome.truth[at]], outcome.classes[predicted[at]], float(confidence[at])
            )


def _of_confusions(truth: Array, predicted: Array, by_confidence: Array) -> Iterator[int]:
    """Yields examples of each pair of label and prediction, the largest pairs first, a few of each."""
    pairs: dict[tuple[int, int], list[int]] = {}
    for at in by_confidence.tolist():
        pairs.setdefault((int(truth[at]), int(predicted[at])), []).append(at)
    remaining = _OF_ALL_CONFUSIONS
    for members in sorted(pairs.values(), key=len, reverse=True):
        shown = members[: min(remaining, _OF_ONE_CONFUSION)]
        yield from shown
        remaining -= len(shown)


def _largest_errors(outcome: Outcome) -> Iterator[NotableExample]:
    assert outcome.scores is not None
    errors = np.abs(outcome.scores.astype("float64") - outcome.truth)
    spread = outcome.truth.astype("float64").std(axis=0)
    worst = (errors / np.where(spread > 0, spread, 1)).max(axis=1)
    for at in np.argsort(-worst, kind="stable")[:_EACH].tolist():
        yield NotableExample("largest_error", at, _listed(outcome.truth[at]), _listed(outcome.scores[at]), None)


_CHOOSERS: dict[type[OutputType], Callable[[Outcome], Iterator[NotableExample]]] = {
    Classes: _of_classes,
    Values: _largest_errors,
}


def _listed(values: Array) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def write_examples(folder: Path, notable: list[NotableExample], examples: Examples, *, images: bool) -> None:
    """Writes `examples.csv` and, of images, a `thumbnails/` folder in the place of an earlier one."""
    names = _write_thumbnails(folder, {example.place for example in notable}, examples) if images else {}
    rows = (
        (
            example.kind,
            examples.ids[example.place],
            example.label,
            example.predicted,
            "" if example.probability is None else digits(example.probability),
            names.get(example.place, ""),
        )
        for example in notable
    )
    write_table(folder / layout.EXAMPLES, ("kind", "id", "label", "predicted", "probability", "thumbnail"), rows)


def _write_thumbnails(folder: Path, places: Iterable[int], examples: Examples) -> dict[int, str]:
    """Writes small JPEG pictures of the examples and returns the name of each; a file that cannot be read has none."""
    temporary = folder / f".{layout.THUMBNAILS}.{secrets.token_hex(4)}.tmp"
    temporary.mkdir()
    names = {}
    try:
        for number, place in enumerate(sorted(places)):
            try:
                _thumbnail(_pixels(examples, place)).save(temporary / f"{number:03d}.jpg", quality=85)
            except DataError:
                continue
            names[place] = f"{layout.THUMBNAILS}/{number:03d}.jpg"
        _replace_folder(temporary, folder / layout.THUMBNAILS)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return names


def _replace_folder(temporary: Path, folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _pixels(examples: Examples, place: int) -> Array:
    """Returns one image, uint8 `(height, width, channels)`."""
    return shown(examples.inputs.read(np.array([place]))[0])


def _thumbnail(pixels: Array) -> Image.Image:
    """Returns a picture whose longer side has 96 pixels; small ones are enlarged without smoothing.

    Of more than three channels the first three are shown, of two the first.
    """
    picture = Image.fromarray(pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0])
    scale = _SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)
