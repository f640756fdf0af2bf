"""Facts on leaks that a diagnosis needs from the data: examples in two splits, columns that reveal the target."""

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
from dlcli.runtime.windows import Windows
from dlcli.spec.data.sources import Examples

# Maximum number of examples of a split that are compared, evenly spaced: counts of a larger split are lower bounds.
MOST_EXAMPLES, MOST_FILES = 200_000, 20_000
# Maximum numbers of rows and columns in the search for columns that reveal the target.
MOST_ROWS, MOST_COLUMNS = 4000, 1000
NAMED = 10
_BINS = 50


def leak_facts(splits: Splits) -> dict[str, Any]:
    """Returns the entry `leaks` of `data.json`: facts without judgement; `report.diagnosis` judges them.

    Keys: `rows`, whether examples are rows of a table or of numbers (where equal examples may be a coincidence);
    `duplicates`, for validation and test: the number of `examples` that are identical to training examples, `of` how many
    compared, how many of them have the `same_label`, and up to 10 pairs of ids in `some`; `repeats`, the share of training
    examples that are identical to an earlier one. For examples that are not rows also `near_copies` and `stems`, for
    validation and test, and `same_look` and, unless targets are numbers, `contradictions`: examples that look the same, or
    are identical, with different labels (see `data.copies`). For rows also `distinct`, the largest share of different values
    in a column, and `columns`: their number `of`, and for each target the best single columns with their scores.
    This takes 0.03 to 0.1 s for 10,000 small examples; of large splits evenly spaced examples are compared.
    """
    train, is_rows = splits.train, splits.train.inputs.are_rows
    if isinstance(train.inputs, Windows):  # their source lets no row be in two splits, and series may repeat themselves
        return {"rows": True, "duplicates": {}, "repeats": 0.0, "distinct": 0.0, "columns": {"of": 0, "targets": {}}}
    training_keys = _TrainingKeys(train)
    others = {split: examples for split, examples in splits.distinct.items() if split != "train"}
    facts: dict[str, Any] = {
        "rows": is_rows,
        "duplicates": {split: training_keys.duplicates(examples) for split, examples in others.items()},
        "repeats": training_keys.repeats,
    }
    if not is_rows:
        alike, unlike_labels = near_copies(splits, others)
        facts |= {"near_copies": alike, "stems": shared_stems(splits, others), "same_look": unlike_labels}
        if splits.task.output.has_texts:
            by_split = {"train": train, **others}
            facts["contradictions"] = contradictions(splits, by_split, training_keys.equal(by_split))
    if is_rows:
        facts |= {"distinct": training_keys.distinct(), "columns": telling_columns(splits)}
    return facts


class _TrainingKeys:
    """The training examples by their keys: identical examples have equal keys, and few others do."""

    def __init__(self, train: Examples) -> None:
        self._train, self._places = train, _spaced(train)
        keys = train.inputs.keys(self._places)
        self._first_places = dict(zip(reversed(keys), reversed(self._places.tolist()), strict=True))
        self.repeats = 1 - len(self._first_places) / len(keys)

    def distinct(self) -> float:
        """Returns the largest share of different values in one of the first 100 columns, over the different rows."""
        places = np.array(list(self._first_places.values())[:MOST_ROWS])
        columns = (column for column in islice(self._train.inputs.table().values(), 100))
        return max((len(set(cells(column[places]))) / len(places) for column in columns), default=0.0)

    def duplicates(self, examples: Examples) -> dict[str, Any]:
        """Returns how many examples of another split are identical to training examples, with up to 10 pairs of ids."""
        places = _spaced(examples)
        keys = examples.inputs.keys(places)
        first = self._first_places
        pairs = [(place, first[key]) for place, key in zip(places.tolist(), keys, strict=True) if key in first]
        pairs = [pair for pair in pairs if self._is_same(examples, *pair) and not _is_flat(examples, pair[0])]
        same_label = sum(bool(np.array_equal(examples.targets[ours], self._train.targets[theirs])) for ours, theirs in pairs)
        id_pairs = [[examples.ids[ours], self._train.ids[theirs]] for ours, theirs in pairs[:NAMED]]
        return {"examples": len(pairs), "of": len(places), "same_label": same_label, "some": id_pairs}

    def equal(self, by_split: dict[str, Examples]) -> list[list[tuple[str, int]]]:
        """Returns groups of identical examples, each example given by its split and its place there."""
        by_key: dict[Any, list[tuple[str, int]]] = {}
        for split, examples in by_split.items():
            places = _spaced(examples)
            for key, place in zip(examples.inputs.keys(places), places.tolist(), strict=True):
                by_key.setdefault(key, []).append((split, place))
        groups: dict[tuple[Any, bytes], list[tuple[str, int]]] = {}
        for key, places_of_key in by_key.items():
            for split, place in places_of_key if len(places_of_key) > 1 else ():
                groups.setdefault((key, by_split[split].inputs.digest(place)), []).append((split, place))
        equal = [group for group in groups.values() if len(group) > 1]
        return [group for group in equal if not _is_flat(by_split[group[0][0]], group[0][1])]

    def _is_same(self, examples: Examples, ours: int, theirs: int) -> bool:
        """Whether examples with equal keys are identical."""
        return examples.inputs.digest(ours) == self._train.inputs.digest(theirs)


def _is_flat(examples: Examples, place: int) -> bool:
    """Whether an example is a single-colour image: these are equal without being copies, and are counted separately."""
    inputs = examples.inputs
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
    """Returns the number of columns and, for each target, up to 10 columns with the score of a prediction from each alone.

    A column's score is the better one of two simple rules, learned on one half of the training split (at most 4,000 rows)
    and measured on the other: the most frequent class, or the mean, of the rows with the same value (for many values, of
    one fiftieth of the rows); the class, or the value, of the row with the nearest number. The score is the share of the
    baseline's errors that the rule avoids, or the explained variance (R2): 1 is perfect, 0 no better than a constant guess.
    """
    train = splits.train
    places = np.random.default_rng(0).permutation(len(train))[:MOST_ROWS]
    table = train.inputs.table()
    columns = list(table)[:MOST_COLUMNS]
    half = len(places) // 2
    if half < 10:
        return {"of": len(columns), "targets": {}}
    kinds = train.inputs.column_kinds
    numeric = {name for name in columns if name not in kinds or kinds[name].is_numeric}
    rules = {name: _rules(table[name][places], half, is_numeric=name in numeric) for name in columns}
    scores_by_target = {}
    for target, values in _targets(splits, places):
        scores = [(name, round(_score(*rule, values, half), 4)) for name, rule in rules.items()]
        scores_by_target[target] = [list(pair) for pair in sorted(scores, key=lambda pair: -pair[1])[:NAMED]]
    return {"of": len(columns), "targets": scores_by_target}


def _targets(splits: Splits, places: Array) -> Sequence[tuple[str, Array]]:
    """Returns each target's name and values: class numbers as integers, else floats."""
    values, output = splits.train.targets[places], splits.task.output
    if not output.is_row:
        return []
    strata = output.strata(values)
    if strata is not None:
        return [("", strata.astype("int64"))]
    kind = "float64" if output.is_numeric else "int64"
    return [(name, column.astype(kind)) for name, column in zip(splits.classes, values.T, strict=True)]


def _rules(column: Array, half: int, *, is_numeric: bool) -> tuple[Array, Array | None]:
    """Returns the bin of each cell and, for numbers, the place of the nearest one."""
    if not is_numeric:
        return np.unique(column.astype(str), return_inverse=True)[1].reshape(-1), None
    return _binned(column, half), _nearest(column, half)


def _binned(column: Array, half: int) -> Array:
    """Returns the bin of each number, from 0: one per value where there are few, else one of 50 of equal size; one for gaps."""
    values = column.astype("float64")
    finite = values[:half][np.isfinite(values[:half])]
    edges = np.unique(finite)
    if len(edges) > _BINS:
        edges = np.unique(np.quantile(finite, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="left"), len(edges) + 1)


def _nearest(column: Array, half: int) -> Array:
    """Returns for each row of the second half the place of the nearest number in the first half."""
    values = np.nan_to_num(column.astype("float64"))
    order = np.argsort(values[:half], kind="stable")
    sorted_values, targets = values[order], values[half:]
    right = np.clip(np.searchsorted(sorted_values, targets), 1, half - 1)
    return np.asarray(order[np.where(targets - sorted_values[right - 1] <= sorted_values[right] - targets, right - 1, right)])


def _score(bins: Array, nearest: Array | None, values: Array, half: int) -> float:
    score, by_bins = (_class_score, _commonest) if values.dtype.kind == "i" else (_mean_score, _means)
    guesses = [by_bins(bins, values, half), *([values[nearest]] if nearest is not None else [])]
    return max(score(guess, values, half) for guess in guesses)


def _commonest(bins: Array, labels: Array, half: int) -> Array:
    """Returns for each row of the second half the most frequent class of its bin in the first half."""
    classes = int(labels.max()) + 1
    counts = np.bincount(bins[:half] * classes + labels[:half], minlength=(int(bins.max()) + 1) * classes).reshape(-1, classes)
    overall = np.bincount(labels[:half], minlength=classes).argmax()
    return np.asarray(np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), overall)[bins[half:]])


def _means(bins: Array, values: Array, half: int) -> Array:
    """Returns for each row of the second half the mean of its bin in the first half."""
    counts = np.bincount(bins[:half], minlength=int(bins.max()) + 1)
    sums = np.bincount(bins[:half], weights=values[:half], minlength=len(counts))
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), values[:half].mean())[bins[half:]])


def _class_score(guess: Array, labels: Array, half: int) -> float:
    """Returns the share of the errors of always predicting the most frequent class that a guess avoids."""
    errors = (labels[half:] != np.bincount(labels[:half]).argmax()).mean()
    return float(1 - (guess != labels[half:]).mean() / errors) if errors else 0.0


def _mean_score(guess: Array, values: Array, half: int) -> float:
    """Returns the share of the variance that a guess explains (R2)."""
    spread = ((values[half:] - values[:half].mean()) ** 2).mean()
    return float(1 - ((values[half:] - guess) ** 2).mean() / spread) if spread else 0.0
