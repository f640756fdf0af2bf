"""Examples worth looking at: those of the confusions, the most confident errors, the most uncertain, the largest errors."""

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
    """An example by its place in the part, and why it is shown; `label` and `predicted` as text."""

    kind: str
    place: int
    label: str
    predicted: str
    probability: float | None


def notable_examples(outcome: Outcome) -> list[NotableExample]:
    """Returns the examples that tell most about the errors, kind by kind, the worst of each first."""
    choose = entry_of(_CHOOSERS, outcome.task.output)
    return list(choose(outcome)) if choose is not None and outcome.scores is not None else []


def _of_classes(outcome: Outcome) -> Iterator[NotableExample]:
    """Yields examples of each confusion, the most confident errors, and the least certain predictions."""
    assert outcome.scores is not None
    shares, guess = outcome.scores, outcome.predicted
    sure = shares[np.arange(len(guess)), guess]
    wrong = np.flatnonzero(guess != outcome.truth)
    by_sureness = wrong[np.argsort(-sure[wrong], kind="stable")]
    two = np.partition(shares, -2, axis=1)[:, -2:]
    uncertain = np.argsort(two[:, 1] - two[:, 0], kind="stable")[:_EACH]
    chosen = [("confusion", _of_confusions(outcome.truth, guess, by_sureness)), ("confident_error", by_sureness[:_EACH])]
    for kind, places in [*chosen, ("uncertain", uncertain)]:
        for at in places:
            yield NotableExample(kind, int(at), outcome.classes[outcome.truth[at]], outcome.classes[guess[at]], float(sure[at]))


def _of_confusions(truth: Array, guess: Array, by_sureness: Array) -> Iterator[int]:
    """Yields examples of each pair of label and prediction, the largest pairs first, a few of each."""
    pairs: dict[tuple[int, int], list[int]] = {}
    for at in by_sureness.tolist():
        pairs.setdefault((int(truth[at]), int(guess[at])), []).append(at)
    left = _OF_ALL_CONFUSIONS
    for members in sorted(pairs.values(), key=len, reverse=True):
        some = members[: min(left, _OF_ONE_CONFUSION)]
        yield from some
        left -= len(some)


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


def write_examples(folder: Path, shown: list[NotableExample], examples: Examples, *, images: bool) -> None:
    """Writes `examples.csv` and, of images, a `thumbnails/` folder in the place of an earlier one."""
    names = _write_thumbnails(folder, {one.place for one in shown}, examples) if images else {}
    rows = (
        (
            one.kind,
            examples.ids[one.place],
            one.label,
            one.predicted,
            "" if one.probability is None else digits(one.probability),
            names.get(one.place, ""),
        )
        for one in shown
    )
    write_table(folder / layout.EXAMPLES, ("kind", "id", "label", "predicted", "probability", "thumbnail"), rows)


def _write_thumbnails(folder: Path, places: Iterable[int], examples: Examples) -> dict[int, str]:
    """Writes small JPEG pictures of some examples and returns the name of each; a file that cannot be read has none."""
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
        _put_in_place(temporary, folder / layout.THUMBNAILS)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return names


def _put_in_place(temporary: Path, folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _pixels(examples: Examples, place: int) -> Array:
    """Returns one image, uint8 `(height, width, channels)`."""
    return shown(examples.inputs.read(np.array([place]))[0])


def _thumbnail(pixels: Array) -> Image.Image:
    """Returns a picture whose longer side has 96 pixels; small ones are enlarged with their pixels left square.

    Of more than three channels the first three are shown, of two the first one.
    """
    picture = Image.fromarray(pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0])
    scale = _SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)
