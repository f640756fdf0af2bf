"""Values of series at several steps ahead, as points or with quantiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dlcli.tasks.heads import DenseHead, Head, QuantileHead
from dlcli.tasks.values import Values

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.inputs import Inputs
    from dlcli.tasks.columns import PredictionColumns, StoredPredictions

MEDIAN = 0.5


class Forecasts(Values):
    """Forecasts: targets and scores are float32 `(n, columns)`, in the targets' own units.

    The first columns are the points, step by step: `OT+1`, `OT+2`. With quantiles the point is the median, and blocks of
    columns of the other quantiles follow: `OT+1@0.1`. Labels have the same columns, so that each output has its label.

    >>> output = Forecasts(horizon=2, targets=("OT",), quantiles=(0.1, 0.5, 0.9))
    >>> output.column_names()
    ('OT+1', 'OT+2', 'OT+1@0.1', 'OT+2@0.1', 'OT+1@0.9', 'OT+2@0.9')
    >>> output.blocks
    (0.5, 0.1, 0.9)

    Attributes:
        horizon: the number of steps that are forecast.
        series: the columns that are forecast.
        quantiles: the quantiles that are forecast, in rising order; empty for points.
    """

    needs_series: ClassVar[bool] = True

    def __init__(self, horizon: int = 1, targets: Sequence[str] = ("value",), quantiles: Sequence[float] = ()) -> None:
        self.horizon, self.series, self.quantiles = horizon, tuple(targets), tuple(quantiles)

    @property
    def head(self) -> Head:  # type: ignore[override]
        """A dense layer; with quantiles, one whose outputs are in their order."""
        return DenseHead() if self.points_only else QuantileHead(self.blocks)

    @property
    def blocks(self) -> tuple[float, ...]:
        """The quantile of each block of columns, the median first."""
        return (MEDIAN, *(quantile for quantile in self.quantiles if quantile != MEDIAN))

    @property
    def points_only(self) -> bool:
        """Whether all columns are points."""
        return len(self.blocks) == 1

    @property
    def width_of_points(self) -> int:
        """The number of columns that are points."""
        return self.horizon * len(self.series)

    def point_names(self) -> tuple[str, ...]:
        """Returns the names of the points, step by step."""
        return tuple(f"{name}+{step}" for step in range(1, self.horizon + 1) for name in self.series)

    def column_names(self) -> tuple[str, ...]:
        """Returns the names of all columns."""
        names = self.point_names()
        return tuple(name if block == MEDIAN else f"{name}@{block:g}" for block in self.blocks for name in names)

    def points(self, values: Array) -> Array:
        """Returns the columns that are points."""
        return values if self.points_only else values[:, : self.width_of_points]

    def by_step(self, values: Array) -> Array:
        """Returns points `(n, horizon, targets)`."""
        return self.points(values).reshape(len(values), -1, len(self.series))

    def band(self, scores: Array) -> tuple[Array, Array] | None:
        """Returns the lowest and the highest quantile of each point `(n, points)`; None without quantiles on both sides."""
        if self.points_only or not self.quantiles[0] < MEDIAN < self.quantiles[-1]:
            return None
        width = self.width_of_points
        low, high = (self.blocks.index(quantile) * width for quantile in (self.quantiles[0], self.quantiles[-1]))
        return scores[:, low : low + width], scores[:, high : high + width]

    def errors(self, truth: Array, predicted: Array) -> Array:
        """Returns the squared error of each example's points, divided by the variance of each column."""
        return super().errors(self.points(truth), self.points(predicted))

    def columns(self, truth: Array, scores: Array, names: Sequence[str]) -> dict[str, Array]:
        """Returns the labels of the points and all predictions."""
        points = self.points(truth)
        labels = {f"label_{name}": points[:, place].astype("float32") for place, name in enumerate(names[: points.shape[1]])}
        return labels | {f"predicted_{name}": scores[:, place] for place, name in enumerate(names)}

    def read_columns(self, columns: PredictionColumns, names: Sequence[str]) -> StoredPredictions:
        """Returns what a table with the columns of `columns` holds."""
        import numpy as np

        from dlcli.tasks.columns import StoredPredictions

        labels = [f"label_{name}" for name in self.point_names()]
        truth = np.tile(np.stack([columns.numbers(label) for label in labels], 1), (1, len(self.blocks)))
        stored_names = self.column_names()
        scores = np.stack([columns.numbers(f"predicted_{name}") for name in stored_names], 1)
        return StoredPredictions(stored_names, truth, scores)

    def naive(self, inputs: Inputs) -> tuple[str, Array] | None:
        """Returns persistence: the last value of each target, at all steps."""
        from dlcli.runtime.windows import Windows

        if not isinstance(inputs, Windows):
            return None
        import numpy as np

        return "persistence", np.tile(inputs.own_past(1)[:, 0], (1, self.horizon * len(self.blocks)))

    def simple_models(self, seed: int, *, texts: bool = False) -> Iterator[tuple[str, Any]]:
        """Yields nothing: `tasks.forecasters` has the simple models of windows."""
        yield from ()

    def simple_scores(self, model: Any, inputs: Any, names: Sequence[str]) -> Array:
        """Returns the forecasts of a fitted simple model for windows."""
        forecasts: Array = model.predict(inputs)
        return forecasts
