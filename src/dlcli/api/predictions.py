"""The predictions of a run for new examples, held in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.predict.answers import Answers


@dataclass(frozen=True, eq=False)
class Predictions(Sequence[dict[str, Any]]):
    """A sequence of predictions, each a dict as `dlcli predict --json` prints it.

    Of a classification it has `id`, `predicted` and `probability`; of several labels `id`, `labels` and `probabilities`; of a
    regression `id` and `values`.

    Attributes:
        skipped: what could not be predicted, with the reason, by the name of the example or the file.
        notes: remarks on the inputs, such as ignored columns or values that did not occur in training.

    Example:
        >>> predictions = run.predict("photos/")
        >>> predictions[0]["predicted"], predictions.scores.shape
    """

    _answers: Answers
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The names of the examples: the path of an image, `table.csv:3` for a row, the position of an example in memory."""
        return self._answers.ids

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, labels or targets: the columns of `scores`."""
        return self._answers.classes

    @property
    def scores(self) -> Array:
        """Probabilities or values, float32 `(n, len(classes))`."""
        return self._answers.scores

    def top(self, count: int) -> list[dict[str, Any]]:
        """Returns the predictions of a classification with the `count` most probable classes of each, as `top`."""
        from dlcli.predict.answers import layout_of

        return list(layout_of(self._answers.task).objects(self._answers, count))

    @cached_property
    def _dicts(self) -> list[dict[str, Any]]:
        return self.top(1)

    def __len__(self) -> int:
        return len(self._answers.ids)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._dicts[place]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._dicts)
