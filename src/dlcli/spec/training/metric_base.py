"""The base of the metrics, and the tables that belong to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dlcli.spec.base import Spec
from dlcli.tasks import Classes, Labels, OutputType, Task

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.estimates import Estimate


@dataclass(frozen=True)
class MetricTable:
    """A table that belongs to a metric, such as the weights of a confusion matrix: a CSV file beside the scores.

    Attributes:
        stem: name of the file without `.csv`: lower-case letters, digits and `_`; it begins with the metric's name.
        title: what the table is, as a heading in the report.
        note: a sentence that says how to read it.
        columns: the names of the columns; the first one names the rows.
        rows: a cell for each column; texts and numbers.
    """

    stem: str
    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]


class MetricSpec(Spec):
    """A metric. `higher_is_better` decides what counts as an improvement where it is monitored, `ends_at_one` says that 1 is
    then the score of perfect predictions; `outputs` are the types that it measures."""

    higher_is_better: ClassVar[bool] = True
    ends_at_one: ClassVar[bool] = False
    outputs: ClassVar[tuple[type[OutputType], ...]] = (Classes, Labels)

    @property
    def name(self) -> str:
        """The name of its column in the history and its entry in the scores."""
        return str(getattr(self, "kind"))  # noqa: B009  (every member has it, the base has not)

    def fits(self, task: Task) -> bool:
        """Tells whether the metric makes sense for the task."""
        return isinstance(task.output, self.outputs)

    def one_hot(self, task: Task) -> bool:
        """Tells whether following it while training needs one-hot labels."""
        return False

    def follow(self, task: Task, *, integer_labels: bool) -> Any:
        """Returns the Keras metric that follows it while training, or None where Keras has no equal."""
        return None

    def is_followed(self, task: Task) -> bool:
        """Tells, without importing Keras, whether `follow` returns a metric."""
        return type(self).follow is not MetricSpec.follow

    def score(self, truth: Array, scores: Array, task: Task) -> float:
        """Returns the metric over all predictions; NaN where it is not defined.

        Args:
            truth: int class numbers `(n,)`; 0/1 `(n, labels)`; floats `(n, targets)`.
            scores: probabilities `(n, classes)`, of both classes for binary, or `(n, labels)`; values `(n, targets)`.
            task: the task.
        """
        raise NotImplementedError

    def estimate(self, truth: Array, scores: Array, task: Task) -> Estimate:
        """Returns the score with its 95 % interval, and how much each example moves it; arguments as for `score`."""
        raise NotImplementedError

    def tables(self, truth: Array, scores: Array, classes: Sequence[str], task: Task) -> Sequence[MetricTable]:
        """Returns the metric's tables, which are stored as CSV files beside the scores and shown in the report.

        Args:
            truth: as for `score`.
            scores: as for `score`.
            classes: the names of the classes, labels or targets.
            task: the task.
        """
        return ()
