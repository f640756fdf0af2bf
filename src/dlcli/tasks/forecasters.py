"""The simple forecasts that every model of series is compared with: they read the own past of the targets alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.windows import Windows
    from dlcli.tasks.forecasts import Forecasts

_PENALTIES = (1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3)
_CALIBRATED = 0.8
"""The part of the training examples by which a linear model is fitted; the errors of the others give its quantiles."""


class Forecaster(Protocol):
    """A simple model of windows."""

    def fit(self, train: Windows, targets: Array) -> None:
        """Fits the model to windows and their targets, float32 `(n, columns)`."""
        ...

    def predict(self, windows: Windows) -> Array:
        """Returns the forecasts, float32 `(n, columns)`."""
        ...


def forecasters(output: Forecasts, season: int) -> Iterator[tuple[str, Forecaster]]:
    """Yields the simple models by name; `season` is the number of steps of a season, 1 without one."""
    yield "persistence", SeasonalNaive(output, 1)
    if season > 1:
        yield "seasonal naive", SeasonalNaive(output, season)
    yield "ridge on the own past", RidgeOnChanges(output)


def of_blocks(points: Array, output: Forecasts, errors: Array) -> Array:
    """Returns points `(n, points)` as all columns: each quantile is the point plus that quantile of `errors` `(m, points)`."""
    import numpy as np

    columns = [points if block == 0.5 else points + np.quantile(errors, block, axis=0) for block in output.blocks]
    return np.concatenate(columns, axis=1).astype("float32")


@dataclass
class SeasonalNaive:
    """Repeats the last season; with a season of one step the last value. Where there is none, the last value stands for it."""

    output: Forecasts
    season: int
    errors: Array | None = None

    def fit(self, train: Windows, targets: Array) -> None:
        """Keeps the errors in the training split, whose quantiles are those of forecasts."""
        self.errors = self.output.points(targets) - self._points(train)

    def predict(self, windows: Windows) -> Array:
        """Returns the values of the last season."""
        assert self.errors is not None
        return of_blocks(self._points(windows), self.output, self.errors)

    def _points(self, windows: Windows) -> Array:
        import numpy as np

        past = windows.own_past(self.season)
        steps = np.arange(self.output.horizon) % self.season
        season = np.where(np.isnan(past), past[:, -1:], past)
        return season[:, steps].reshape(len(past), -1)


@dataclass
class RidgeOnChanges:
    """Ridge regression from the own past of each target to its next steps, both relative to its last value."""

    output: Forecasts

    def fit(self, train: Windows, targets: Array) -> None:
        """Fits a model for each target; the errors on the last part of the examples give the quantiles."""
        import numpy as np

        count = len(train)
        earlier = np.arange(count if self.output.points_only else max(2, int(_CALIBRATED * count)))
        self._fit(train.take(earlier), targets[earlier])
        later = np.arange(count)[len(earlier) :]
        later = later if len(later) else earlier
        self._errors = self.output.points(targets[later]) - self._points(train.take(later))
        if len(earlier) < count:
            self._fit(train, targets)

    def _fit(self, train: Windows, targets: Array) -> None:
        import numpy as np

        from dlcli.upstream.sklearn import import_sklearn

        import_sklearn()
        from sklearn.linear_model import RidgeCV

        past, steps = self._past(train), self.output.by_step(targets.astype("float64"))
        self._models = []
        for place in range(len(self.output.series)):
            own, last = past[..., place], past[:, -1:, place]
            model = RidgeCV(np.array(_PENALTIES))
            self._models.append(model.fit(own[:, :-1] - last if own.shape[1] > 1 else own, steps[..., place] - last))

    def predict(self, windows: Windows) -> Array:
        """Returns the forecasts."""
        return of_blocks(self._points(windows), self.output, self._errors)

    def _points(self, windows: Windows) -> Array:
        import numpy as np

        past = self._past(windows)
        steps = []
        for place, model in enumerate(self._models):
            own, last = past[..., place], past[:, -1:, place]
            changes = model.predict(own[:, :-1] - last if own.shape[1] > 1 else own)
            steps.append(changes.reshape(len(own), -1) + last)
        return np.stack(steps, axis=2).reshape(len(past), -1)

    @staticmethod
    def _past(windows: Windows) -> Array:
        return windows.own_past(windows.window).astype("float64")
