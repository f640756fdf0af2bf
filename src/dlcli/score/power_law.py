"""A power law of the error over the number of training examples, and what it predicts for more of them.

`error = scale * examples ** -exponent`, as was found for many tasks and networks (Hestness et al. 2017, arXiv:1712.00409). Such
a law has no floor, which every real curve has (Viering and Loog 2021, arXiv:2103.10948), so it is used for twice the examples
and no further.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.estimates import NORMAL

FEWEST = 3
"""The fewest numbers of examples that a law is fitted to."""


@dataclass(frozen=True)
class PowerLaw:
    """A fitted law: `log(error) = intercept - exponent * log(examples)`, and the covariance of the two coefficients."""

    intercept: float
    exponent: float
    covariance: Array

    @property
    def exponent_interval(self) -> tuple[float, float]:
        """The 95 % interval of the exponent."""
        half = NORMAL * float(np.sqrt(self.covariance[1, 1]))
        return self.exponent - half, self.exponent + half

    @property
    def falls(self) -> bool:
        """Whether the error falls with more examples by more than the uncertainty."""
        return self.exponent_interval[0] > 0

    def error(self, examples: float) -> float:
        """Returns the predicted error."""
        return exp(self.intercept - self.exponent * log(examples))

    def interval(self, examples: float) -> tuple[float, float]:
        """Returns the 95 % interval of the predicted error, by the delta method on its logarithm."""
        row = np.array([1.0, -log(examples)])
        half = NORMAL * float(np.sqrt(row @ self.covariance @ row))
        error = self.error(examples)
        return error * exp(-half), error * exp(half)


def fitted_law(examples: Array, errors: Array, covariance: Array) -> PowerLaw:
    """Returns the law of errors above 0 by weighted least squares on their logarithms.

    The weights are the inverse variances; the covariance of the coefficients takes the whole covariance of the errors, since
    all are measured on the same test examples. Where the points lie further from the law than their variances explain, it is
    multiplied by the ratio (the mean squared residual in units of the variance).

    Args:
        examples: the numbers of training examples, float64 `(n,)`, n at least 3.
        errors: the errors, float64 `(n,)`.
        covariance: of the errors, float64 `(n, n)`.
    """
    of_logarithms = covariance / np.outer(errors, errors)
    variances = np.maximum(np.diag(of_logarithms), 1e-12)
    design = np.stack([np.ones(len(examples)), -np.log(examples)], axis=1)
    weighted = design.T / variances
    solve = np.linalg.inv(weighted @ design) @ weighted
    coefficients = solve @ np.log(errors)
    residuals = np.log(errors) - design @ coefficients
    excess = max(1.0, float((residuals**2 / variances).sum()) / (len(examples) - 2))
    spread = solve @ of_logarithms @ solve.T * excess
    return PowerLaw(float(coefficients[0]), float(coefficients[1]), spread)
