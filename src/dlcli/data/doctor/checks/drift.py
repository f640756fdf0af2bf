"""Drift: whether a classifier can tell the rows of a given split from training rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor import words
from dlcli.data.doctor.check import NOT_APPLICABLE, Progress, Subject, TableCheck
from dlcli.data.doctor.issue import Issue
from dlcli.data.doctor.rows import Rows
from dlcli.runtime.estimates import Estimate
from dlcli.spec.data.sources import Examples
from dlcli.upstream.sklearn import import_sklearn

APART = 0.55
"""Lower end of the interval of the area under the ROC curve from which on two splits differ; 0.5 is no difference."""
_MOST_ROWS = 5000
_FEWEST_ROWS = 30
_FOLDS = 5
_SHOWN = 5


class Drift(TableCheck):
    """Tells each given split from the training split by gradient boosting, out of fold, on at most 5,000 rows of each.

    Columns of texts are left out.
    """

    name = "drift between splits"

    def reason_against(self, subject: Subject) -> str:
        """Returns `NOT_APPLICABLE` for splits that dlcli draws: they differ by chance alone."""
        if not subject.has_rows or not subject.given_splits:
            return NOT_APPLICABLE
        kinds = subject.splits.train.inputs.column_kinds.values()
        if kinds and all(kind.is_text for kind in kinds):
            return "texts are not compared"
        smallest = min(map(len, (subject.splits.train, *subject.given_splits.values())))
        return "" if smallest >= _FEWEST_ROWS else f"a split has only {smallest} rows"

    def sample(self, subject: Subject) -> str:
        """Returns the size of the samples if a split has more rows."""
        largest = max(map(len, (subject.splits.train, *subject.given_splits.values())))
        return f"{_MOST_ROWS:,} rows of each split, drawn by the seed" if largest > _MOST_ROWS else ""

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields an issue for each split that differs."""
        for number, (split, examples) in enumerate(subject.given_splits.items()):
            progress("comparing splits", number, len(subject.given_splits))
            seed = subject.experiment.seed
            rows = Rows.of({"train": _sample(subject.splits.train, seed), split: _sample(examples, seed)})
            area = _area(rows)
            if area is None or area.interval is None or area.interval[0] < APART:
                continue
            columns = _telling(rows)
            low, high = area.interval
            yield Issue(
                kind="drift between splits",
                severity="warning",
                summary=f"the rows of the {split} split differ from training rows: a classifier tells them apart with an area"
                f" under the ROC curve of {area.value:.3f} ({low:.3f} to {high:.3f}; 0.5: no difference)",
                advice="find out how the splits were chosen; drop columns that say when or where a row was stored, or draw the"
                " splits from all rows",
                evidence=tuple(_line(rows, name, value, split) for name, value in columns),
                columns=tuple(name for name, _ in columns),
            )


def _sample(examples: Examples, seed: int) -> Examples:
    if len(examples) <= _MOST_ROWS:
        return examples
    return examples.take(np.sort(np.random.default_rng(seed).permutation(len(examples))[:_MOST_ROWS]))


def _compared(rows: Rows) -> list[str]:
    """Returns the columns that are compared: all but texts."""
    return [name for name in rows.columns if not rows.is_text(name)]


def numbers_of(rows: Rows) -> Array:
    """Returns the columns but texts as float64 `(n, columns)`: categories by their numbers, gaps as NaN."""
    columns = []
    for name in _compared(rows):
        values = rows.columns[name]
        column = values.astype("float64") if rows.is_numeric(name) else rows.codes(name).astype("float64")
        columns.append(np.where(rows.gaps(name), np.nan, column))
    return np.stack(columns, axis=1)


def _area(rows: Rows) -> Estimate | None:
    """Returns the area under the ROC curve of out-of-fold predictions of the split."""
    from dlcli.runtime.class_estimates import area_under_roc

    import_sklearn()
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    model = HistGradientBoostingClassifier(max_iter=50, min_samples_leaf=10, random_state=0)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = cross_val_predict(model, numbers_of(rows), rows.split, cv=folds, method="predict_proba")
    return area_under_roc(rows.split[:, None] == 1, shares[:, 1:])


def _telling(rows: Rows) -> list[tuple[str, float]]:
    """Returns the columns that differ most between the two splits, each with its distance from 0 to 1.

    The distance is the largest difference of the shares of rows up to a value (Kolmogorov and Smirnov), or half the sum of the
    differences of the shares of categories; a gap is a value.
    """
    distances = []
    for name in _compared(rows):
        codes = _ranks(rows.columns[name]) if rows.is_numeric(name) else rows.codes(name)
        counts = np.stack([np.bincount(codes[rows.split == part], minlength=codes.max() + 1) for part in (0, 1)])
        shares = counts / counts.sum(axis=1, keepdims=True)
        difference = shares[1] - shares[0]
        distance = np.abs(difference.cumsum()).max() if rows.is_numeric(name) else np.abs(difference).sum() / 2
        distances.append((name, float(distance)))
    largest = sorted(distances, key=lambda pair: -pair[1])[:_SHOWN]
    return [(name, distance) for name, distance in largest if distance >= largest[0][1] / 2]


def _ranks(values: Array) -> Array:
    """Returns the rank of each number among the different ones; a gap is the largest."""
    return np.unique(np.nan_to_num(values.astype("float64"), nan=np.inf), return_inverse=True)[1].reshape(-1)


def _line(rows: Rows, name: str, distance: float, split: str) -> str:
    values = []
    for number, part in enumerate(("train", split)):
        is_here = rows.split == number
        present = rows.columns[name][is_here & ~rows.gaps(name)]
        gaps = float(rows.gaps(name)[is_here].mean())
        missing = f", {words.share(gaps)} missing" if gaps else ""
        if not len(present):
            values.append(f"{part}: no value")
        elif rows.is_numeric(name):
            values.append(f"{part}: median {np.median(present.astype('float64')):.4g}{missing}")
        else:
            labels, counts = np.unique(present.astype(str), return_counts=True)
            values.append(
                f"{part}: {words.name(labels[counts.argmax()])} in {words.share(counts.max() / len(present))}{missing}"
            )
    return f"{words.name(name)} differs by {distance:.2f}: {'; '.join(values)}"
