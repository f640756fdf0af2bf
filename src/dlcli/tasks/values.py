"""One or more numbers for each example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dlcli.tasks.output import LossForm, OutputType

if TYPE_CHECKING:
    from dlcli.arrays import Array


class Values(OutputType):
    """Numbers: targets and scores are float32 `(n, targets)`, in the targets' own units."""

    noun: ClassVar[str] = "target"
    nouns: ClassVar[str] = "targets"
    loss_form: ClassVar[LossForm] = "values"
    is_numeric: ClassVar[bool] = True
    reads_columns: ClassVar[bool] = True
    score_name: ClassVar[str] = "r2"
    measures: ClassVar[tuple[str, ...]] = ("r2", "rmse", "mse", "mae")

    def decide(self, scores: Array) -> Array:
        """Returns the values themselves."""
        return scores

    def errors(self, truth: Array, predicted: Array) -> Array:
        """Returns the squared error of each example, divided by the variance of each target and averaged over the targets."""
        import numpy as np

        values = truth.astype("float64")
        variance = values.var(axis=0)
        # A deviation below the precision of float32 is the rounding error of a constant.
        is_constant = variance <= (np.finfo("float32").eps * values.mean(axis=0)) ** 2
        return np.asarray(
            ((predicted - values) ** 2 / np.where(is_constant, 1.0, variance)).reshape(len(truth), -1).mean(axis=1)
        )

    def labels(self, targets: Array) -> Array:
        """Returns the targets, float32 `(n, targets)`."""
        return targets.astype("float32").reshape(len(targets), -1)

    def guess(self, names: Sequence[str], data: Mapping[str, Any], examples: int) -> tuple[str, Array | None]:
        """Returns the mean of each target in the training split; no guess where the run has no means."""
        import numpy as np

        means = data.get("means")
        if not means:
            return "none", None
        return "always the mean", np.tile(np.array(means, dtype="float32"), (examples, 1))

    def simple_models(self, seed: int, *, texts: bool = False) -> Iterator[tuple[str, Any]]:
        """Yields regressors."""
        from dlcli.tasks.simple_models import regressors, text_regressors

        yield from text_regressors() if texts else regressors(seed)
