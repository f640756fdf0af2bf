"""The evidence of the rules: the numbers of a run's files on one scale."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite, log, sqrt
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DlcliError
from dlcli.report.diagnosis.relation import probability_of_no_relation
from dlcli.runs import RunFolder
from dlcli.runs.checks import ChecksFile, read_checks
from dlcli.runs.folder import Status
from dlcli.runs.layout import OUT_OF_FOLD, scored_file
from dlcli.score.outcome import Outcome, has_outcome, read_outcome
from dlcli.spec.experiment import Experiment
from dlcli.spec.training.schedules import ScheduleSpec
from dlcli.tasks import Classes, OutputType, Task

Row = dict[str, Any]

_ENTROPIES = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy")
_ERRORS = ("mse", "mae")
LARGE_TARGETS, SMALL_TARGETS = 10.0, 0.05
"""Sizes of targets above, and below, which a network with usual weights and learning rates needs long to reach them."""
_PERFECT = {"accuracy": 1.0, "auc": 1.0, "f1": 1.0, "r2": 1.0, "rmse": 0.0, "mse": 0.0, "mae": 0.0}


@dataclass(frozen=True)
class Evidence:
    """A run's files as numbers.

    A *skill* is a value on a scale where 0 is the guess without inputs and 1 is perfect; losses are in units of its loss.
    `scored` is the evaluated split, empty where there is none.
    """

    run: RunFolder
    experiment: Experiment
    status: Status
    rows: list[Row]
    data: dict[str, Any]
    stages: list[Row]
    scored: str
    metrics: dict[str, Any]
    outcome: Outcome | None
    checks: ChecksFile = field(default_factory=ChecksFile)

    @property
    def task(self) -> Task:
        """The task."""
        return self.experiment.task

    def scored_file(self, name: str) -> str:
        """Returns the path of a file of the scored split, relative to the run's folder."""
        return scored_file(self.scored, name)

    def examples(self, split: str) -> int:
        """Returns the number of examples of a split; 0 where it is not known."""
        return int(self.data.get("examples", {}).get(split, 0))

    @property
    def output(self) -> OutputType:
        """The type of the model's output."""
        return self.experiment.task.output

    @property
    def has_one_class(self) -> bool:
        """Whether each example has one class of several."""
        return isinstance(self.output, Classes)

    @property
    def is_balanced(self) -> bool:
        """Whether the training gave rare classes more weight or more examples than they have (`data.balance`)."""
        return self.experiment.data.balance.is_active

    @property
    def has_images(self) -> bool:
        """Whether the inputs were images: their size is in the resolved spec; of earlier versions' runs the source may know."""
        shape, settings = self.data.get("shape"), self.experiment.data
        if shape is not None and len(shape) != 3:
            return False
        return settings.image.size is not None or settings.facts(self.task).image

    @cached_property
    def shares(self) -> Array | None:
        """The share of each class, or of each label, among the training examples; None for a regression, or if not known."""
        counts = self.data.get("counts", {}).get("train", {})
        names, total = self.data.get("classes") or [], self.examples("train")
        if self.output.is_numeric or not total or not names or not all(name in counts for name in names):
            return None
        return np.array([counts[name] for name in names], dtype="float64") / total

    @cached_property
    def guess_loss(self) -> float | None:
        """The loss of the guess without inputs: shares of classes, or the mean; None where it is not known."""
        kind = self.experiment.training.loss.kind
        if kind in _ENTROPIES and self.shares is not None:
            return _entropy(self._counted_shares(self.shares), by_label=not self.has_one_class)
        if kind in _ERRORS and self.output.is_numeric:
            return self._guess_error(kind)
        return None

    def _counted_shares(self, shares: Array) -> Array:
        """Returns the shares of the classes that count in the loss, with a sum of 1."""
        ignored = getattr(self.experiment.training.loss, "ignore_class", None)
        if ignored is None or not 0 <= ignored < len(shares) or shares[ignored] == 1:
            return shares
        counted_shares = np.delete(shares, ignored)
        return np.asarray(counted_shares / counted_shares.sum())

    def _guess_error(self, kind: str) -> float | None:
        means = self.data.get("means")
        if self.outcome is None or not means or len(means) != self.outcome.truth.shape[1]:
            return None
        errors = self.outcome.truth.astype("float64") - np.array(means)
        return float((errors**2).mean() if kind == "mse" else np.abs(errors).mean())

    @cached_property
    def unit(self) -> float:
        """The unit of differences of losses: the guess's loss, or else that of the first epoch."""
        first = [value for row in self.rows[:1] for value in (row.get("loss"), row.get("val_loss")) if value is not None]
        return max(abs(self.guess_loss or float(max(first, default=1.0))), 1e-9)

    def losses(self, column: str) -> list[float]:
        """Returns a loss of every epoch, in units; empty where an epoch has none."""
        values = [row.get(column) for row in self.rows]
        return [value / self.unit for value in values if value is not None] if None not in values else []

    @cached_property
    def best(self) -> Row | None:
        """The row of the epoch whose model was saved; the last row where that is not known."""
        row = next((row for row in self.rows if row["epoch"] == self.status.best_epoch), None)
        return row or (self.rows[-1] if self.rows else None)

    def skills(self, row: Row | None, prefix: str = "") -> dict[str, float]:
        """Returns the skill by each measure of an epoch on the training split, or with `val_` on the validation split."""
        if row is None:
            return {}
        skills = {name: self._skill(name, row.get(f"{prefix}{name}")) for name in self.output.measures}
        loss = row.get(f"{prefix}loss")
        if self.guess_loss and loss is not None:
            skills["loss"] = 1 - loss / self.guess_loss
        return {name: value for name, value in skills.items() if value is not None}

    def training_skills(self, row: Row | None) -> dict[str, float]:
        """Returns the skill by each measure of an epoch on the training split; none if its examples were resampled."""
        return {} if self.experiment.data.balance.resamples else self.skills(row)

    @cached_property
    def scored_skills(self) -> dict[str, float]:
        """The skill by each measure on the evaluated split."""
        values = {name: entry["value"] for name, entry in self.metrics.get("metrics", {}).items()}
        return self.skills(values) if values else {}

    def _skill(self, name: str, value: float | None) -> float | None:
        guess, perfect = self._guess(name), _PERFECT[name]
        if value is None or guess is None or guess == perfect:
            return None
        return 1 - (value / guess) ** 2 if name == "rmse" else (value - guess) / (perfect - guess)

    def _guess(self, name: str) -> float | None:
        """Returns the score of the guess without inputs by a measure."""
        baseline: float | None = self.metrics.get("baseline", {}).get("metrics", {}).get(name)
        if name == "accuracy" and self.shares is not None and self.has_one_class:
            return float(self.shares.max())
        return {"auc": 0.5, "r2": 0.0}.get(name, baseline)

    @cached_property
    def chance(self) -> float:
        """Two standard errors of the accuracy's skill on the evaluated split, or of a squared correlation for values."""
        count = max(int(self.metrics.get("examples", 0)) or self.examples("validation"), 1)
        if self.output.is_numeric:
            return 2 / sqrt(count)
        guess = self._guess("accuracy")
        guess = 0.5 if guess is None else min(guess, 0.999)
        return 2 * sqrt(guess * (1 - guess) / count) / (1 - guess)

    @cached_property
    def unrelated(self) -> float | None:
        """The probability of predictions as good as those on the evaluated split if they are unrelated to the labels.

        None where predictions are not stored, or where there are too few.
        """
        if self.outcome is None or self.outcome.scores is None:
            return None
        return probability_of_no_relation(self.task, self.outcome.truth, self.outcome.scores)

    @cached_property
    def rate_ratio(self) -> float:
        """The run's highest learning rate as a multiple of its optimizer's default; 1 where it has none."""
        return 1.0 if self.rate is None else self.rate / self.usual_rate

    @property
    def lower_rate(self) -> float:
        """A tenth of the run's highest learning rate."""
        return (self.rate or self.usual_rate) / 10

    @property
    def steps_to_best(self) -> int:
        """The approximate number of training steps of the saved model, in whole epochs; 0 where it is not known."""
        count = self.examples("train")
        epoch = int(self.best["epoch"]) if self.best else 0
        return epoch * -(-count // max(1, self.experiment.data.examples_in_step(count)))

    @property
    def target_size(self) -> float:
        """The root mean square of the largest target on the evaluated split; 0 for classes."""
        if not self.output.is_numeric or self.outcome is None:
            return 0.0
        return float(np.sqrt((self.outcome.truth.astype("float64") ** 2).mean(axis=0)).max())

    @property
    def has_unscaled_targets(self) -> bool:
        """Whether a regression learns unscaled targets, far from the size of a network's initial outputs."""
        is_far = self.target_size > LARGE_TARGETS or 0 < self.target_size < SMALL_TARGETS
        return is_far and not self.experiment.data.scales_targets

    @property
    def usual_rate(self) -> float:
        """The default learning rate of the run's optimizer; for Adadelta that of its paper, since Keras's is far too low."""
        if getattr(self.experiment.training.optimizer, "kind", "") == "adadelta":
            return 1.0
        default = type(self.experiment.training.optimizer).model_fields["learning_rate"].default
        return float(default) if isinstance(default, (int, float)) else 1e-3

    @property
    def rate(self) -> float | None:
        """The highest learning rate of the run, to six digits: the history has float32, such as 0.0010000000475 for 0.001."""
        rates = [row["learning_rate"] for row in self.rows if row.get("learning_rate")]
        return float(f"{max(rates):.6g}") if rates else None

    @property
    def has_schedule(self) -> bool:
        """Whether the rate follows a schedule."""
        return isinstance(self.experiment.training.optimizer.learning_rate, ScheduleSpec)


def _entropy(shares: Array, *, by_label: bool) -> float:
    """Returns the cross-entropy of constantly predicting the shares: of classes in nats, of labels the mean over them."""
    distributions = [np.array([share, 1 - share]) for share in shares] if by_label else [shares]
    return float(
        sum(-sum(share * log(share) for share in distribution.tolist() if share > 0) for distribution in distributions)
    ) / len(distributions)


def read_evidence(run: RunFolder) -> Evidence:
    """Returns the contents of a run's files; missing or damaged predictions are omitted.

    Raises:
        DlcliError: the spec or the status cannot be read.
    """
    experiment, status = run.experiment(), run.status()
    scored = next((split for split in run.scored_splits() if split in ("test", OUT_OF_FOLD, "validation")), "")
    rows = [_numbers(row) for row in run.history()]
    metrics = run.metrics(scored) if scored else {}
    return Evidence(
        run, experiment, status, rows, run.data(), run.stages(), scored, metrics, _outcome(run, scored), read_checks(run)
    )


def _outcome(run: RunFolder, scored: str) -> Outcome | None:
    try:
        return read_outcome(run, scored) if scored and has_outcome(run, scored) else None
    except DlcliError:
        return None  # rules without predictions still apply


def _numbers(row: dict[str, str]) -> Row:
    """Returns a history row as numbers; an empty cell, or one that is not finite, becomes None."""
    numbers: Row = {"stage": row["stage"], "epoch": int(row["epoch"])}
    for name, cell in row.items():
        if name not in numbers:
            value = float(cell) if cell else None
            numbers[name] = value if value is not None and isfinite(value) else None
    return numbers
