"""Notable examples: those of each confusion, the most confident errors, the least certain predictions, the largest errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dlcli.arrays import Array
from dlcli.score.outcome import Outcome

_EACH = 24
_OF_ONE_CONFUSION = 5
_OF_ALL_CONFUSIONS = 200


@dataclass(frozen=True)
class NotableExample:
    """An example by its position in the split, and why it is shown (`kind`); `label` and `predicted` are texts."""

    kind: str
    place: int
    label: str
    predicted: str
    probability: float | None


def of_classes(outcome: Outcome) -> Iterator[NotableExample]:
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


def largest_errors(outcome: Outcome) -> Iterator[NotableExample]:
    """Yields the examples with the largest errors, in deviations of their targets."""
    assert outcome.scores is not None
    errors = np.abs(outcome.scores.astype("float64") - outcome.truth)
    spread = outcome.truth.astype("float64").std(axis=0)
    worst = (errors / np.where(spread > 0, spread, 1)).max(axis=1)
    for at in np.argsort(-worst, kind="stable")[:_EACH].tolist():
        yield NotableExample("largest_error", at, _listed(outcome.truth[at]), _listed(outcome.scores[at]), None)


def _listed(values: Array) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
