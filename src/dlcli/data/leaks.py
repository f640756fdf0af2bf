"""Facts that only the data has and a diagnosis needs: examples in two parts at once, columns that give the target away."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.copies import contradictions, near_copies, shared_stems
from dlcli.data.image_files import is_flat
from dlcli.data.splits import Splits
from dlcli.errors import DataError
from dlcli.runtime.inputs import cells
from dlcli.spec.data.sources import Examples

# Examples of one part that are looked at, evenly spaced: what is found in a larger part is a lower bound.
MOST_EXAMPLES, MOST_FILES = 200_000, 20_000
# Rows and columns that the search for a telling column looks at.
MOST_ROWS, MOST_COLUMNS = 4000, 1000
NAMED = 10
_BINS = 50


def leak_facts(splits: Splits) -> dict[str, Any]:
    """Returns what `data.json` keeps under `leaks`: facts, no judgement; `report.diagnosis` judges.

    Keys: `rows`, whether examples are rows of a table or of numbers (equal ones may be a coincidence there);
    `duplicates`, for validation and test: `examples` that are also training examples, to the bit, `of` those looked at,
    `same_label` of them, and pairs of ids in `some`; `repeats`, the share of training examples that equal an earlier one.
    Where they are not rows also `near_copies` and `stems`, for validation and test, and `same_look` and, unless targets are
    numbers, `contradictions`: examples that look the same, or are equal, with unlike labels (see `data.copies`).
    Where examples are rows also `distinct`, the largest share of different values in a column, and `columns`: their
    number `of`, and for each target the best single columns with their scores.
    Takes 0.03 to 0.1 s for 10,000 small examples; of large parts evenly spaced examples are looked at.
    """
    train, is_rows = splits.train, splits.train.inputs.are_rows
    known = _Known(train)
    others = {name: part for name, part in splits.distinct.items() if name != "train"}
    facts: dict[str, Any] = {
        "rows": is_rows,
        "duplicates": {name: known.duplicates(part) for name, part in others.items()},
        "repeats": known.repeats,
    }
    if not is_rows:
        alike, unlike_labels = near_copies(splits, others)
        facts |= {"near_copies": alike, "stems": shared_stems(splits, others), "same_look": unlike_labels}
        if not splits.task.output.is_numeric:
            parts = {"train": train, **others}
            facts["contradictions"] = contradictions(splits, parts, known.equal(parts))
    if is_rows:
        facts |= {"distinct": known.distinct(), "columns": telling_columns(splits)}
    return facts


class _Known:
    """The training examples by their keys: equal examples have equal keys; of those with equal keys few differ."""

    def __init__(self, train: Examples) -> None:
        self._train, self._places = train, _spaced(train)
        keys = train.inputs.keys(self._places)
        self._found = dict(zip(reversed(keys), reversed(self._places.tolist()), strict=True))
        self.repeats = 1 - len(self._found) / len(keys)

    def distinct(self) -> float:
        """Returns the largest share of different values that one of the first 100 columns has among different rows."""
        places = np.array(list(self._found.values())[:MOST_ROWS])
        columns = (column for column in islice(self._train.inputs.table().values(), 100))
        return max((len(set(cells(column[places]))) / len(places) for column in columns), default=0.0)

    def duplicates(self, part: Examples) -> dict[str, Any]:
        """Returns how many examples of another part are training examples, and some of them."""
        places = _spaced(part)
        keys = part.inputs.keys(places)
        pairs = [(place, self._found[key]) for place, key in zip(places.tolist(), keys, strict=True) if key in self._found]
        pairs = [(ours, theirs) for ours, theirs in pairs if self._is_same(part, ours, theirs) and not _is_flat(part, ours)]
        same = sum(bool(np.array_equal(part.targets[ours], self._train.targets[theirs])) for ours, theirs in pairs)
        some = [[part.ids[ours], self._train.ids[theirs]] for ours, theirs in pairs[:NAMED]]
        return {"examples": len(pairs), "of": len(places), "same_label": same, "some": some}

    def equal(self, parts: dict[str, Examples]) -> list[list[tuple[str, int]]]:
        """Returns the places, by part, of examples that are equal to the bit: of every kind that there is more than once."""
        by_key: dict[Any, list[tuple[str, int]]] = {}
        for name, part in parts.items():
            places = _spaced(part)
            for key, place in zip(part.inputs.keys(places), places.tolist(), strict=True):
                by_key.setdefault(key, []).append((name, place))
        groups: dict[tuple[Any, bytes], list[tuple[str, int]]] = {}
        for key, several in by_key.items():
            for name, place in several if len(several) > 1 else ():
                groups.setdefault((key, parts[name].inputs.digest(place)), []).append((name, place))
        equal = [group for group in groups.values() if len(group) > 1]
        return [group for group in equal if not _is_flat(parts[group[0][0]], group[0][1])]

    def _is_same(self, part: Examples, ours: int, theirs: int) -> bool:
        """Whether examples with equal keys are equal."""
        return part.inputs.digest(ours) == self._train.inputs.digest(theirs)


def _is_flat(part: Examples, place: int) -> bool:
    """Whether an example is an image of one colour: those are equal without being copies, and are counted by themselves."""
    inputs = part.inputs
    if len(inputs.shape or ()) != 3:
        return False
    try:
        return is_flat(inputs.read(np.array([place]))[0])
    except DataError:
        return False


def _spaced(examples: Examples) -> Array:
    most = MOST_FILES if examples.inputs.in_files else MOST_EXAMPLES
    if len(examples) <= most:
        return np.arange(len(examples))
    return np.linspace(0, len(examples) - 1, most).astype("int64")


def telling_columns(splits: Splits) -> dict[str, Any]:
    """Returns the number of columns and, for each target, up to 10 columns with the score that each reaches alone.

    A column's score is that of the simplest rules that use nothing else, learned on one half of the training split (at most
    4,000 rows) and measured on the other, the better of two: the commonest class, or the mean, of rows with the same value
    (of one fiftieth of the rows where there are many values); the class, or the value, of the row whose number is nearest.
    It is the share of the guesser's errors that the rule avoids, or of the variance explained (R2): 1 is perfect, 0 no
    better than a guess without inputs.
    """
    train = splits.train
    places = np.random.default_rng(0).permutation(len(train))[:MOST_ROWS]
    columns = dict(list(train.inputs.table().items())[:MOST_COLUMNS])
    half = len(places) // 2
    if half < 10:
        return {"of": len(columns), "targets": {}}
    rules = {name: (_binned(column[places], half), _nearest(column[places], half)) for name, column in columns.items()}
    found = {}
    for target, values in _targets(splits, places):
        scores = [(name, round(_score(*rule, values, half), 4)) for name, rule in rules.items()]
        found[target] = [list(one) for one in sorted(scores, key=lambda one: -one[1])[:NAMED]]
    return {"of": len(columns), "targets": found}


def _targets(splits: Splits, places: Array) -> Sequence[tuple[str, Array]]:
    """Returns each target's name and values: class numbers as integers, else floats."""
    values, output = splits.train.targets[places], splits.task.output
    strata = output.strata(values)
    if strata is not None:
        return [("", strata.astype("int64"))]
    kind = "float64" if output.is_numeric else "int64"
    return [(name, column.astype(kind)) for name, column in zip(splits.classes, values.T, strict=True)]


def _binned(column: Array, half: int) -> Array:
    """Returns the bin of each cell, from 0: its own value where there are few, else one of 50 of equal size; gaps are one."""
    if column.dtype.kind not in "fiub":
        return np.unique(column.astype(str), return_inverse=True)[1].reshape(-1)
    values = column.astype("float64")
    known = values[:half][np.isfinite(values[:half])]
    edges = np.unique(known)
    if len(edges) > _BINS:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="left"), len(edges) + 1)


def _nearest(column: Array, half: int) -> Array | None:
    """Returns the place in the first half whose number is nearest, for each row of the second; None for text."""
    if column.dtype.kind not in "fiub":
        return None
    values = np.nan_to_num(column.astype("float64"))
    order = np.argsort(values[:half], kind="stable")
    known, wanted = values[order], values[half:]
    right = np.clip(np.searchsorted(known, wanted), 1, half - 1)
    return np.asarray(order[np.where(wanted - known[right - 1] <= known[right] - wanted, right - 1, right)])


def _score(bins: Array, nearest: Array | None, values: Array, half: int) -> float:
    score, by_bins = (_class_score, _commonest) if values.dtype.kind == "i" else (_mean_score, _means)
    guesses = [by_bins(bins, values, half), *([values[nearest]] if nearest is not None else [])]
    return max(score(guess, values, half) for guess in guesses)


def _commonest(bins: Array, labels: Array, half: int) -> Array:
    """Returns the commonest class of each bin's rows in the first half, for the rows of the second."""
    classes = int(labels.max()) + 1
    counts = np.bincount(bins[:half] * classes + labels[:half], minlength=(int(bins.max()) + 1) * classes).reshape(-1, classes)
    overall = np.bincount(labels[:half], minlength=classes).argmax()
    return np.asarray(np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), overall)[bins[half:]])


def _means(bins: Array, values: Array, half: int) -> Array:
    """Returns the mean of each bin's rows in the first half, for the rows of the second."""
    counts = np.bincount(bins[:half], minlength=int(bins.max()) + 1)
    sums = np.bincount(bins[:half], weights=values[:half], minlength=len(counts))
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), values[:half].mean())[bins[half:]])


def _class_score(guess: Array, labels: Array, half: int) -> float:
    """Returns the share of the errors of always saying the commonest class that a guess avoids."""
    errors = (labels[half:] != np.bincount(labels[:half]).argmax()).mean()
    return float(1 - (guess != labels[half:]).mean() / errors) if errors else 0.0


def _mean_score(guess: Array, values: Array, half: int) -> float:
    """Returns the share of the variance that a guess explains: R2."""
    spread = ((values[half:] - values[:half].mean()) ** 2).mean()
    return float(1 - ((values[half:] - guess) ** 2).mean() / spread) if spread else 0.0
