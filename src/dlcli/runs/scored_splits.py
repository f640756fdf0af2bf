"""The shown names of a run's scored splits, and notes on their scores.

Everything that shows a score (terminal, report, model card, leaderboards, comparisons, exports, trackers) takes its words
from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from dlcli.errors import DlcliError
from dlcli.runs.folder import RunFolder
from dlcli.runs.layout import OUT_OF_FOLD

SAME = "test (= validation)"
"""The name of a test split that is also the validation split."""
MARK = "*"
"""The mark of such a score in a table; `marked_note` explains it."""
_WITHOUT_UNIT = ("r2", "mcc", "kappa")
"""Metrics that are 0, up to rounding, for a guess."""
_CHOSE = "these examples selected the best epoch, so scores on new data may be lower"


def test_is_validation(run: RunFolder) -> bool:
    """Whether the run's test split is its validation split (`data.split.test: validation`)."""
    data = run.data()
    if "test_is_validation" in data:
        return data["test_is_validation"] is True
    counts = data.get("examples", {})
    if "test" not in counts or counts["test"] != counts.get("validation"):
        return False
    try:  # a run of an earlier version; reading a spec takes long, so it is read only where the splits have equal sizes
        return run.experiment().data.split.test == "validation"
    except DlcliError:
        return False


def split_title(run: RunFolder, split: str) -> str:
    """Returns the name of a split for display beside its scores."""
    return title_of(split, shared=split == "test" and test_is_validation(run))


def title_of(split: str, *, shared: bool) -> str:
    """Returns the shown name of a split; `shared`: whether one split is both the test split and the validation split."""
    if split == OUT_OF_FOLD:
        return "out-of-fold"
    return SAME if shared and split == "test" else split


def sizes_in_words(examples: Mapping[str, int], *, shared: bool) -> str:
    """Returns the number of examples of each split, such as `70 train, 30 test`."""
    return ", ".join(f"{count:,} {title_of(split, shared=shared)}" for split, count in examples.items())


def score_text(value: float, metric: str = "", *, sign: Literal["", "+"] = "", digits: int = 4) -> str:
    """Returns a score for lines and tables: with decimals, or with three significant digits if it is small.

    Scores of a regression are in the unit of the target and may be of any size; those of `metric` may have none. `sign` is `+`
    for a change.
    """
    if abs(value) >= 1000:
        return f"{value:{sign},.1f}"
    is_small = 0 < abs(value) < 0.001 and metric not in _WITHOUT_UNIT
    return f"{value:{sign}.3g}" if is_small else f"{value:{sign}.{digits}f}"


def split_note(run: RunFolder, split: str) -> str:
    """Returns a warning if the examples of a split selected the best epoch; else an empty text."""
    shared = split == "test" and test_is_validation(run)
    chose = _CHOSE if run.status().monitor.startswith("val_") else ""
    if shared:
        return f"the test split is the validation split{': ' if chose else ''}{chose}"
    return chose if split == "validation" else ""


def marked(run: RunFolder, split: str) -> bool:
    """Whether a table marks the scores of a split: test scores whose examples selected the best epoch."""
    return split == "test" and test_is_validation(run)


def marked_note(rows: Iterable[bool]) -> str:
    """Returns the line that explains the mark; empty if no row has it."""
    return f"{MARK} the test split is the validation split: {_CHOSE}" if any(rows) else ""
