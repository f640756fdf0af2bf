"""The base of the output types, which define the predictions of a model and the form of its labels.

A task has one output type (`Task.output`). What is a fact or a function of the output is a method here; `score` and `predict`
look up what they draw and lay out in one table each by output type (`entry_of`). So a new task with an existing output type
needs no change there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from dlcli.errors import DamagedFile
from dlcli.tasks.heads import DenseHead, Head

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.inputs import Inputs
    from dlcli.tasks.columns import PredictionColumns, StoredPredictions

LossForm = Literal["classes", "yes_no", "values"]
"""The form of the labels and outputs of a loss: probabilities that sum to 1, one probability per decision, or values."""
Entry = TypeVar("Entry")
SMALLEST = 1e-7
"""Minimum distance of probabilities from 0 and 1 where their logarithm is taken."""


class OutputType(ABC):
    """The meaning of a model's output: `Classes`, `Labels` or `Values`.

    An output has three forms. The *model's output* `(n, units)` is the output of the network. *Scores* have a column for each
    name of `names` (a class, a label or a target): they are measured, stored and shown. *Predicted* is the decision that
    follows from the scores, in the form of the targets.

    An output type that is not a row (`is_row`) has other shapes, such as a class for each pixel or the input again. It says its
    `shape` and its `head`; it is trained and scored, but has no columns in tables, and commands that need a row refuse it.

    Attributes:
        head: the last layers of a network.
        is_row: whether the output of an example is a row with a number for each unit.
        reads_labels: whether targets are the labels of a source; else they are `targets` of the inputs.
        noun: the word for a name: class, label or target.
        nouns: the plural of `noun`.
        loss_form: the form of the losses that fit.
        is_numeric: whether targets are numbers with a unit, which may be scaled.
        reads_columns: whether the labels of a source have a column for each name.
        score_name: the name of the score `1 - mean(errors)`.
        measures: the metrics by which a diagnosis compares the model with a guess; those with a value of a perfect model.
        meaning: what the model's output is, as the end of a sentence; `{labels}` stands for the file with the names.
        needs_series: whether examples are windows over series, so that only a source of series has its labels.
        ranking_loop: the line of a program that loops over `label` and `score`, given the names as `labels` and the output of
            one example as `scores`.
    """

    head: ClassVar[Head] = DenseHead()
    is_row: ClassVar[bool] = True
    reads_labels: ClassVar[bool] = True
    noun: ClassVar[str]
    nouns: ClassVar[str]
    loss_form: ClassVar[LossForm]
    is_numeric: ClassVar[bool] = False
    reads_columns: ClassVar[bool] = False
    score_name: ClassVar[str] = "accuracy"
    measures: ClassVar[tuple[str, ...]] = ()
    meaning: ClassVar[str] = "the predicted values."
    needs_series: ClassVar[bool] = False
    ranking_loop: ClassVar[str] = "for label, score in zip(labels, scores):"

    @property
    def has_thresholds(self) -> bool:
        """Whether each decision is a yes or no, made by a threshold."""
        return self.loss_form == "yes_no"

    @property
    def has_scale(self) -> bool:
        """Whether each target has a mean and a deviation in the training split, by which it may be scaled."""
        return self.is_numeric and self.is_row

    @property
    def has_texts(self) -> bool:
        """Whether targets are classes or labels whose texts (`text`) are the same for equal targets only."""
        return not self.is_numeric and self.is_row

    def reason_against(self, feature: str) -> str:
        """Returns why an output of this type does not support a feature (`spec.support.Feature`); empty if it does."""
        needs_row = not self.is_row and feature in ("explain", "export", "baseline")
        return "the output for an example is not a row of numbers" if needs_row else ""

    def units(self, names: int) -> int:
        """Returns the width of the model's output for a number of classes, labels or targets."""
        return names

    def width(self, targets: Array, names: Sequence[str]) -> int:
        """Returns the width of the model's output for the targets of a training split."""
        return self.units(targets.shape[1] if self.is_row else len(names))

    def shape(self, units: int, example: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the model's output for one example.

        Args:
            units: the width of the output, as `units` and `width` return it.
            example: the shape of one input; `()` for named columns.
        """
        return (units,)

    def targets(self, inputs: Inputs) -> Array:
        """Returns the targets of examples where `reads_labels` is false: of a reconstruction the inputs."""
        raise NotImplementedError

    def scores(self, output: Array) -> Array:
        """Returns the scores for a model's output `(n, units)`."""
        return output

    def model_output(self, scores: Array) -> Array:
        """Returns the model's output `(n, units)` for scores: the inverse of `scores`."""
        return scores

    def read(self, labels: Array, names: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
        """Returns the targets of an output that is not a row, and the names of classes or labels, for the labels of a source.

        Those of rows are read by the source (`labels_of`).

        Args:
            labels: raw labels `(n, ...)`.
            names: the names that the training split fixed; None for the training split itself.

        Raises:
            DataError: the labels do not fit.
        """
        raise NotImplementedError

    @abstractmethod
    def decide(self, scores: Array) -> Array:
        """Returns the predictions, in the form of the targets."""

    @property
    def points_only(self) -> bool:
        """Whether every column of the scores is a prediction; else some are limits of intervals, which errors leave out."""
        return True

    def points(self, values: Array) -> Array:
        """Returns the columns of targets or scores that are predictions."""
        return values

    def naive(self, inputs: Inputs) -> tuple[str, Array] | None:
        """Returns the name and the scores of a guess from the inputs alone; None for the guess of `guess`."""
        return None

    @abstractmethod
    def errors(self, truth: Array, predicted: Array) -> Array:
        """Returns the error of each example, float64 `(n,)`, so that 1 minus the mean is the score `score_name`.

        Args:
            truth: the targets.
            predicted: the result of `decide`, or one prediction for all examples.
        """

    @abstractmethod
    def labels(self, targets: Array) -> Array:
        """Returns targets in the form of a loss: class numbers int32 `(n,)`, else float32 `(n, units)`.

        Of an output that is not a row: class numbers int32 `(n, ...)`, else float32 in the shape of the model's output.
        """

    @abstractmethod
    def guess(self, names: Sequence[str], data: Mapping[str, Any], examples: int) -> tuple[str, Array | None]:
        """Returns the name and the scores of a model without inputs: frequencies or means of the training split.

        Args:
            names: the classes, labels or targets.
            data: the content of `data.json`; without the means of the targets (of an older run) there is no guess.
            examples: the number of examples.
        """

    def counts(self, targets: Array, names: Sequence[str]) -> dict[str, int]:
        """Returns the number of examples of each class or label; empty for values."""
        return {}

    def strata(self, targets: Array) -> Array | None:
        """Returns the class number of each example, by which splits are stratified; None if examples have no single class."""
        return None

    def groups(self, targets: Array) -> Array | None:
        """Returns the group of each example whose frequency `data.balance` changes, int64 `(n,)`; None without groups."""
        return self.strata(targets)

    def text(self, target: Any, names: Sequence[str]) -> str:
        """Returns the text of one target."""
        return ", ".join(f"{value:.4g}" for value in target)

    def caption(self, scores: Array, names: Sequence[str], place: int) -> str:
        """Returns a caption for the scores `(names,)` of an example: the prediction, and the score of the explained name."""
        return f"{names[place]} {float(scores[place]):.4g}"

    def columns(self, truth: Array, scores: Array, names: Sequence[str]) -> dict[str, Array]:
        """Returns the columns of a table of predictions after the ids: text as objects, numbers as float32.

        Only for outputs that are rows: those of others are not stored.
        """
        labels = {f"label_{name}": truth[:, place].astype("float32") for place, name in enumerate(names)}
        return labels | {f"predicted_{name}": scores[:, place] for place, name in enumerate(names)}

    def read_columns(self, columns: PredictionColumns, names: Sequence[str]) -> StoredPredictions:
        """Returns what a table with the columns of `columns` holds.

        Raises:
            DamagedFile: the table has other columns or cells.
        """
        import numpy as np

        from dlcli.tasks.columns import StoredPredictions

        stored_names = tuple(name.removeprefix("label_") for name in columns.cells if name.startswith("label_"))
        if not stored_names:
            raise DamagedFile(f"{columns.path}: contains no predictions")
        truth, scores = (
            np.stack([columns.numbers(f"{word}_{name}") for name in stored_names], 1) for word in ("label", "predicted")
        )
        return StoredPredictions(stored_names, truth, scores)

    def simple_models(self, seed: int, *, texts: bool = False) -> Iterator[tuple[str, Any]]:
        """Yields scikit-learn's simple models that learn from the inputs, by name; none where no such model fits.

        Args:
            seed: the seed of models that draw random numbers.
            texts: whether the inputs are sparse rows of texts.
        """
        yield from ()

    def simple_scores(self, model: Any, inputs: Array, names: Sequence[str]) -> Array:
        """Returns the scores of a fitted simple model for inputs `(n, features)`."""
        from dlcli.tasks.simple_models import values

        return values(model, inputs)

    def fault_of_targets(self, targets: Array, task: str) -> str:
        """Returns the fault of numbers `(n, k)` as targets; empty if there is none."""
        return ""

    def fault_of_classes(self, classes: Sequence[str], present: int, task: str) -> str:
        """Returns why a training split cannot be learned; empty if it can.

        Args:
            classes: the names of its classes.
            present: the number of classes with examples.
            task: the name of the task.
        """
        return ""

    def fault_of_count(self, count: int | None, names: Sequence[str], task: str) -> tuple[tuple[str, ...], str] | None:
        """Returns the key of a spec and why a source with `count` classes, labels or targets does not fit; None if it does.

        Args:
            count: the number of classes, labels or targets; None if it is unknown before the source is opened.
            names: the names of its classes; empty if they are unknown before the source is opened.
            task: the name of the task.
        """
        return None


class Decisions(OutputType):
    """A row of probabilities of classes or labels; an output of another shape derives from `OutputType`."""

    measures: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Refuses a type that is not a row: its methods would be inherited from classes of whole examples."""
        super().__init_subclass__(**arguments)
        if not cls.is_row:
            raise TypeError(f"{cls.__name__}.is_row is False, so it must derive from OutputType, not from Decisions")

    @abstractmethod
    def members(self, truth: Array, scores: Array) -> tuple[Array, Array]:
        """Returns whether examples belong to each class or label, bool `(n, k)`, and the probabilities `(n, k)` of it."""

    def member_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Returns the names of the columns of `members`."""
        return tuple(names)

    def claims(self, truth: Array, scores: Array) -> tuple[Array, Array]:
        """Returns the probabilities to calibrate, float64 `(m,)`, and whether each predicted event occurred, bool `(m,)`."""
        members, probabilities = self.members(truth, scores)
        return probabilities.reshape(-1).astype("float64"), members.reshape(-1)

    def brier(self, truth: Array, scores: Array) -> float:
        """Returns the mean squared error of the probabilities (Brier 1950), from 0 to 1."""
        members, probabilities = self.members(truth, scores)
        return float(((probabilities.astype("float64") - members) ** 2).mean())

    def calibrated(self, scores: Array, temperature: float) -> Array:
        """Returns scores, float64, with their logits divided by the temperature; the predictions do not change."""
        import numpy as np
        from scipy.special import expit

        clipped = np.clip(scores.astype("float64"), SMALLEST, 1 - SMALLEST)
        return np.asarray(expit((np.log(clipped) - np.log1p(-clipped)) / temperature))

    def log_loss(self, truth: Array, scores: Array) -> float:
        """Returns the mean cross-entropy of the probabilities."""
        import numpy as np

        members, probabilities = self.members(truth, scores)
        shares = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
        return float(-np.where(members, np.log(shares), np.log1p(-shares)).mean())

    def caption(self, scores: Array, names: Sequence[str], place: int) -> str:
        """Returns the name with its probability."""
        return f"{names[place]} {scores[place]:.3f}"

    def unit_score(self, output: Any, place: int, *, is_probability: bool) -> Any:
        """Returns the score of the class or label at a place, for a tensor `(n, units)` of probabilities or of logits."""
        return output[:, place]


def entry_of(table: Mapping[type[OutputType], Entry], output: OutputType) -> Entry | None:
    """Returns the table's entry for an output type or its nearest base class with an entry; None if there is none.

    Of an output that is not a row, the entries of base classes that are rows do not count, and the other way round.
    """
    bases = (base for base in type(output).__mro__ if issubclass(base, OutputType) and base.is_row == output.is_row)
    return next((table[base] for base in bases if base in table), None)
