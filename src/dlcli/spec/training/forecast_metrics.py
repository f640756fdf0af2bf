"""The metrics of forecasts: errors relative to the naive forecast or to the values, and the coverage of intervals."""

from collections.abc import Sequence
from math import isnan, nan
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import Field

from dlcli.spec.base import Positive
from dlcli.spec.training.metric_base import MetricSpec, MetricTable
from dlcli.tasks import Forecasts, OutputType, Task

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.estimates import Estimate


class ForecastMetric(MetricSpec):
    """A metric that is a mean over the examples."""

    higher_is_better: ClassVar[bool] = False
    outputs: ClassVar[tuple[type[OutputType], ...]] = (Forecasts,)

    def score(self, truth: "Array", scores: "Array", task: Task) -> float:
        """Returns the mean over all forecasts; NaN where it is not defined."""
        return float(self.values(truth.astype("float64"), scores.astype("float64"), cast("Forecasts", task.output)).mean())

    def estimate(self, truth: "Array", scores: "Array", task: Task) -> "Estimate":
        """Returns the mean with its interval."""
        import numpy as np

        from dlcli.runtime import estimates

        values = self.values(truth.astype("float64"), scores.astype("float64"), cast("Forecasts", task.output))
        if not np.isfinite(values).all():
            return estimates.Estimate(nan, np.zeros(len(values)), None, "it is not defined", bounded=False)
        return estimates.of_values(values)

    def values(self, truth: "Array", scores: "Array", output: Forecasts) -> "Array":
        """Returns the value of each example, float64 `(n,)`."""
        raise NotImplementedError


class Mase(ForecastMetric):
    """Mean absolute error, divided by that of the seasonal naive forecast, one season ahead, in the training split.

    Below 1 is better than repeating the last season (Hyndman and Koehler 2006).
    """

    kind: Literal["mase"]
    scale: list[Positive] | None = Field(
        default=None,
        description="Mean absolute difference of each target to its value a season earlier; that of the training split if not"
        " set.",
    )

    def values(self, truth: "Array", scores: "Array", output: Forecasts) -> "Array":
        """Returns the scaled error of each example; NaN without a scale."""
        import numpy as np

        scale = np.array(self.scale or [nan] * len(output.series))
        errors = np.abs(output.by_step(scores) - output.by_step(truth)) / scale
        return np.asarray(errors.mean(axis=(1, 2)))


class Smape(ForecastMetric):
    """Symmetric mean absolute error in percent: 200 |error| / (|value| + |forecast|), from 0 to 200."""

    kind: Literal["smape"]

    def values(self, truth: "Array", scores: "Array", output: Forecasts) -> "Array":
        """Returns the error of each example in percent; a forecast of 0 for 0 has none."""
        import numpy as np

        actual, forecast = output.points(truth), output.points(scores)
        size = np.abs(actual) + np.abs(forecast)
        return np.asarray((200 * np.abs(forecast - actual) / np.where(size > 0, size, 1)).mean(axis=1))


class Coverage(ForecastMetric):
    """Fraction of the values between the lowest and the highest quantile: 0.8 is right for quantiles 0.1 and 0.9."""

    higher_is_better: ClassVar[bool] = True
    kind: Literal["coverage"]

    def estimate(self, truth: "Array", scores: "Array", task: Task) -> "Estimate":
        """Returns the fraction with its interval."""
        from dlcli.runtime import estimates

        plain = super().estimate(truth, scores, task)
        values = self.values(truth, scores, cast("Forecasts", task.output))
        return plain if isnan(plain.value) else estimates.of_shares(values)

    def values(self, truth: "Array", scores: "Array", output: Forecasts) -> "Array":
        """Returns the fraction of each example; NaN without quantiles on both sides of the median."""
        import numpy as np

        band = output.band(scores)
        if band is None:
            return np.full(len(truth), nan)
        actual = output.points(truth)
        return np.asarray(((band[0] <= actual) & (actual <= band[1])).mean(axis=1))


def errors_by_step(truth: "Array", scores: "Array", output: Forecasts) -> MetricTable:
    """Returns the mean absolute error and the mean error of forecasts by step, and the coverage where there are quantiles."""
    import numpy as np

    errors = output.by_step(scores.astype("float64")) - output.by_step(truth.astype("float64"))
    columns: dict[str, Array] = {}
    for place, name in enumerate(output.series):
        columns |= {f"mae {name}": np.abs(errors[..., place]).mean(axis=0), f"bias {name}": errors[..., place].mean(axis=0)}
    band = output.band(scores)
    if band is not None:
        actual = output.points(truth)
        inside = ((band[0] <= actual) & (actual <= band[1])).astype("float64")
        columns["coverage"] = output.by_step(inside).mean(axis=(0, 2))
    cells = [column.tolist() for column in columns.values()]
    rows: Sequence[Sequence[str | float]] = [[str(step), *row] for step, row in enumerate(zip(*cells, strict=True), 1)]
    note = "Mean absolute error and bias (forecast minus value) of each step ahead, in the unit of the target."
    return MetricTable("mae_by_step", "Errors by step", note, ("step", *columns), rows)
