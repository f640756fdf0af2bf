"""The base of the output types: what a model says of one example, and what a label is.

A task has one of them (`Task.output`). What score, report, explain, predict and export do with a model's output is found by its
output type in one table each (`entry_of`), so a new task with a known output type needs no change there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

if TYPE_CHECKING:
    from dlcli.arrays import Array

LossForm = Literal["classes", "yes_no", "values"]
"""What a loss reads: probabilities that sum to 1 over the classes, one probability for each decision, or values."""
Entry = TypeVar("Entry")
SMALLEST = 1e-7
"""Probabilities are kept at least this far from 0 and 1 where their logarithm is taken."""


class OutputType(ABC):
    """What a model's output means: `Classes`, `Labels` or `Values`.

    Three forms of it are told apart. The *model's output* `(n, units)` is what the network gives. *Scores* are the same with a
    column for each name of `names` (a class, a label or a target): they are what is measured, stored and shown. *Predicted*
    is what the scores decide, in the form of the targets.

    Attributes:
        noun: what a name stands for.
        nouns: the same in the plural.
        loss_form: which losses fit.
        is_numeric: whether targets are numbers with a unit, which may be scaled.
        reads_columns: whether each name has a column of its own in the labels of a source.
        score_name: the score that is one less the mean of `errors`.
    """

    noun: ClassVar[str]
    nouns: ClassVar[str]
    loss_form: ClassVar[LossForm]
    is_numeric: ClassVar[bool] = False
    reads_columns: ClassVar[bool] = False
    score_name: ClassVar[str] = "accuracy"

    @property
    def has_thresholds(self) -> bool:
        """Whether each decision is a yes or no by a threshold."""
        return self.loss_form == "yes_no"

    def units(self, names: int) -> int:
        """Returns the width of the model's output for so many classes, labels or targets."""
        return names

    def width(self, targets: Array, names: Sequence[str]) -> int:
        """Returns the width of the model's output for these targets of a training part."""
        return self.units(targets.shape[1])

    def scores(self, output: Array) -> Array:
        """Returns the scores for a model's output `(n, units)`."""
        return output

    def model_output(self, scores: Array) -> Array:
        """Returns the model's output `(n, units)` for scores: the inverse of `scores`."""
        return scores

    @abstractmethod
    def decide(self, scores: Array) -> Array:
        """Returns what is predicted, in the form of the targets."""

    @abstractmethod
    def errors(self, truth: Array, predicted: Array) -> Array:
        """Returns the error of each example, float64 `(n,)`, so that one less the mean is the score `score_name`.

        Args:
            truth: the targets.
            predicted: as of `decide`, or one answer to all examples.
        """

    @abstractmethod
    def labels(self, targets: Array) -> Array:
        """Returns targets as a loss reads them: class numbers int32 `(n,)`, else float32 `(n, units)`."""

    @abstractmethod
    def guess(self, names: Sequence[str], data: Mapping[str, Any], examples: int) -> tuple[str, Array | None]:
        """Returns the name and the scores of a model without inputs: it gives the training part's frequencies or means.

        Args:
            names: the classes, labels or targets.
            data: what `data.json` holds; without the means of the targets (of an older run) there is no guess.
            examples: how many guesses are needed.
        """

    def counts(self, targets: Array, names: Sequence[str]) -> dict[str, int]:
        """Returns how many examples each class or label has; nothing for values."""
        return {}

    def strata(self, targets: Array) -> Array | None:
        """Returns the class number of each example, by which parts are stratified; None where examples have no class."""
        return None

    def text(self, target: Any, names: Sequence[str]) -> str:
        """Returns one target in words."""
        return ", ".join(f"{value:.4g}" for value in target)

    def fault_of_targets(self, targets: Array, task: str) -> str:
        """Returns what is wrong with numbers `(n, k)` as targets; empty if nothing."""
        return ""

    def fault_of_classes(self, classes: Sequence[str], present: int, task: str) -> str:
        """Returns why a training part cannot be learned; empty if it can.

        Args:
            classes: the names of its classes.
            present: how many classes have examples.
            task: the name of the task.
        """
        return ""

    def fault_of_count(self, count: int | None, names: Sequence[str], task: str) -> tuple[tuple[str, ...], str] | None:
        """Returns the key of a spec and why a source with so many classes, labels or targets does not fit; None if it does.

        Args:
            count: None where only opening the source can tell.
            names: the names of its classes, empty where only opening the source can tell.
            task: the name of the task.
        """
        return None


class Decisions(OutputType):
    """An output of probabilities, which decide for or against classes or labels."""

    @abstractmethod
    def members(self, truth: Array, scores: Array) -> tuple[Array, Array]:
        """Returns who belongs to each class or label, bool `(n, k)`, and the probabilities `(n, k)` of belonging to it."""

    def member_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Returns the names of the columns of `members`."""
        return tuple(names)

    def claims(self, truth: Array, scores: Array) -> tuple[Array, Array]:
        """Returns the probabilities whose calibration is measured, float64 `(m,)`, and whether each came true, bool `(m,)`."""
        members, probabilities = self.members(truth, scores)
        return probabilities.reshape(-1).astype("float64"), members.reshape(-1)

    def brier(self, truth: Array, scores: Array) -> float:
        """Returns the mean squared error of the probabilities (Brier 1950), from 0 to 1."""
        members, probabilities = self.members(truth, scores)
        return float(((probabilities.astype("float64") - members) ** 2).mean())

    def calibrated(self, scores: Array, temperature: float) -> Array:
        """Returns scores, float64, whose logits are divided by the temperature; what is predicted does not change."""
        import numpy as np
        from scipy.special import expit

        kept = np.clip(scores.astype("float64"), SMALLEST, 1 - SMALLEST)
        return np.asarray(expit((np.log(kept) - np.log1p(-kept)) / temperature))

    def log_loss(self, truth: Array, scores: Array) -> float:
        """Returns the mean cross-entropy of the probabilities."""
        import numpy as np

        members, probabilities = self.members(truth, scores)
        shares = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
        return float(-np.where(members, np.log(shares), np.log1p(-shares)).mean())

    def unit_score(self, output: Any, place: int, *, is_probability: bool) -> Any:
        """Returns the score of the class or label at a place, for a tensor `(n, units)` of probabilities or of logits."""
        return output[:, place]


def entry_of(table: Mapping[type[OutputType], Entry], output: OutputType) -> Entry | None:
    """Returns the entry of a table for an output type or the nearest type that it inherits from; None where there is none."""
    return next((table[base] for base in type(output).__mro__ if base in table), None)
