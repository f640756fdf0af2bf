"""The rules that compare a run with a constant guess and with simple models, by tests instead of fixed thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from dlcli.arrays import Array
from dlcli.program import command
from dlcli.report.diagnosis import remedies as try_
from dlcli.report.diagnosis.evidence import Evidence
from dlcli.report.diagnosis.remedies import finding_of
from dlcli.report.diagnosis.shape import loss_curve
from dlcli.report.diagnosis.skill import FIT, best_skill
from dlcli.runs import layout
from dlcli.runs.checks import SimpleModel
from dlcli.runs.diagnosis import Finding, Remedy

CLEAR = 0.01
"""P-value below which a difference is significant, and `MAYBE`, above which it may well be chance."""
MAYBE = 0.05
MUCH = 2.0
"""Ratio of the error to the guess's from which on a model is worse than the guess, however few the examples."""
GAIN = 0.02
"""The least significant difference of scores that is reported."""


def has_learned_nothing(evidence: Evidence) -> bool:
    """Whether the predictions for training and scored examples are no better than a guess."""
    learned = best_skill(evidence)
    return bool(np.isfinite(learned)) and learned < FIT and (evidence.unrelated is None or evidence.unrelated > MAYBE)


def simple_models_are_related(evidence: Evidence) -> bool | None:
    """Whether the predictions of a simple model are clearly related to the labels; None where none was fitted."""
    simple = evidence.checks.simple_models
    if simple is None or not simple.rows:
        return None
    return any(row.related is not None and row.related * len(simple.rows) < CLEAR for row in simple.rows)


def meaningless_labels(evidence: Evidence) -> Finding | None:
    """The training examples are learned, but neither this model nor a simple one predicts others."""
    learned = evidence.training_skills(evidence.rows[-1] if evidence.rows else None)
    scored = evidence.scored_skills
    shared = [name for name in learned if name in scored and name != "loss"] or [name for name in learned if name in scored]
    if not shared or min(learned[name] for name in shared) < max(FIT, evidence.chance):
        return None
    if max(scored[name] for name in scored if name != "loss" or shared == ["loss"]) > evidence.chance:
        return None
    if (evidence.unrelated is not None and evidence.unrelated < CLEAR) or simple_models_are_related(evidence):
        return None
    validation_skill = max(
        (value for name, value in evidence.skills(evidence.best, "val_").items() if name in shared), default=0.0
    )
    if validation_skill > max(evidence.chance, FIT):
        return None
    name = shared[0]
    lines = [
        f"training {name} {evidence.rows[-1][name]:.4g} in the last epoch ({layout.HISTORY})",
        _no_better_text(evidence, name),
        *_simple_models_text(evidence),
    ]
    texts = [
        Remedy("check some examples with their labels: were rows and labels read in the same order?"),
        Remedy("does the target depend on the inputs at all?"),
    ]
    return finding_of(evidence, "shuffled or meaningless labels", lines, texts)


def no_better(evidence: Evidence) -> Finding | None:
    """The model learned nothing, and simple models learn nothing either."""
    if (
        not evidence.scored_skills
        or not has_learned_nothing(evidence)
        or evidence.unrelated is None
        or simple_models_are_related(evidence)
    ):
        return None
    name = _main_score_name(evidence)
    lines = [
        _no_better_text(evidence, name),
        f"the training skill is not better: {best_skill(evidence):.2f}, where 0 is the guess and 1 is perfect"
        f" ({layout.HISTORY})",
        *_simple_models_text(evidence),
    ]
    texts = [Remedy("check some examples with their labels: does the target depend on the inputs at all?")]
    if simple_models_are_related(evidence) is None:
        texts = [*try_.reduce_underfitting(evidence), *texts]
    return finding_of(evidence, "no better than a guess", lines, texts)


def _no_better_text(evidence: Evidence, name: str) -> str:
    value, baseline = evidence.metrics["metrics"][name]["value"], evidence.metrics["baseline"]["name"]
    return f"{evidence.scored} {name} {value:.4g}, no better than {baseline} ({evidence.scored_file(layout.METRICS)})"


@dataclass(frozen=True)
class _GuessComparison:
    """The ratio of the model's mean error to a constant guess's, and the probability that it is no larger."""

    error: float
    probability: float


def worse_than_guess(evidence: Evidence, *, explained: bool = False) -> Finding | None:
    """The predictions for the scored examples are worse than a constant.

    `explained`: whether another finding names the cause and its remedies.
    """
    if evidence.is_balanced:  # it accepts more wrong predictions of the frequent class by design
        return None
    comparison = _compare_with_guess(evidence)
    if comparison is None or comparison.error <= 1.02 or (comparison.probability > CLEAR and comparison.error < MUCH):
        return None
    guess = evidence.metrics.get("baseline", {}).get("name") or "a constant"
    name = _main_score_name(evidence)
    value = evidence.metrics["metrics"].get(name, {}).get("value")
    score = f"{evidence.scored} {name} {value:.4g}: " if value is not None else ""
    error_name = "mean squared error" if evidence.output.is_numeric else "number of wrong predictions"
    lines = [
        f"{score}the {error_name} on {len(evidence.outcome or ())} {evidence.scored} examples is {comparison.error:,.3g} times"
        f" that of {guess!s} ({evidence.scored_file(layout.METRICS)}, {layout.PREDICTIONS})"
    ]
    remedies: list[Remedy] = []
    if evidence.has_unscaled_targets:
        lines.append(f"the targets have a root mean square of {evidence.target_size:.3g} and are not scaled ({layout.DATA})")
        remedies.append(Remedy("scale the targets", "data.scale_targets=true"))
    elif not explained:
        curve = loss_curve(evidence)
        rising = len(evidence.rows) > 1 and (curve.jumps or curve.last >= curve.first)
        remedies = (
            try_.change_learning_rate(evidence, evidence.lower_rate, "a lower learning rate")
            if rising
            else try_.train_longer(evidence)
        )
    return finding_of(evidence, "worse than a constant guess", lines, remedies)


def _compare_with_guess(evidence: Evidence) -> _GuessComparison | None:
    outcome = evidence.outcome
    if outcome is None or len(outcome) < 2:
        return None
    guess = _constant_answer(evidence)
    if guess is None:
        return None
    model_errors, guess_errors = (evidence.output.errors(outcome.truth, predicted) for predicted in (outcome.predicted, guess))
    if not guess_errors.mean():
        return None
    gain = model_errors - guess_errors
    spread = float(gain.std(ddof=1)) / sqrt(len(gain))
    probability = 1 - NormalDist().cdf(float(gain.mean()) / spread) if spread else float(gain.mean() <= 0)
    return _GuessComparison(float(model_errors.mean() / guess_errors.mean()), probability)


def _constant_answer(evidence: Evidence) -> Array | None:
    """Returns the constant prediction in the shape of the predictions: the most frequent class or labels, or the means."""
    outcome = evidence.outcome
    assert outcome is not None
    if evidence.output.is_numeric:
        means = evidence.data.get("means")
        return np.array(means)[None] if means and len(means) == outcome.truth.shape[1] else None
    if evidence.shares is None:
        return None
    return np.asarray(evidence.shares.argmax() if evidence.has_one_class else (evidence.shares > 0.5)[None])


def worse_than_persistence(evidence: Evidence) -> Finding | None:
    """The forecasts have a larger mean error than repeating the last value."""
    entry, baseline = evidence.metrics.get("metrics", {}), evidence.metrics.get("baseline", {})
    name = next((name for name in ("mae", "rmse", "mse", "mase") if entry.get(name, {}).get("value") is not None), "")
    naive = baseline.get("metrics", {}).get(name)
    if not evidence.output.needs_series or baseline.get("name") != "persistence" or not name or naive is None:
        return None
    value = entry[name]["value"]
    if value <= naive:
        return None
    lines = [
        f"{evidence.scored} {name} {value:.4g}: repeating the last value of each window has {naive:.4g}"
        f" ({evidence.scored_file(layout.METRICS)})"
    ]
    remedies = [
        Remedy("forecast the change from the last value", "data.normalize=window_last"),
        Remedy("a linear model of the past", "model={kind: mlp}"),
        *try_.reduce_overfitting(evidence),
    ]
    return finding_of(evidence, "worse than persistence", lines, remedies)


def better_simple_model(evidence: Evidence) -> tuple[SimpleModel, str, float, float] | None:
    """Returns the simple model that is clearly better than the run's, the score's name, its value and the run's; else None."""
    simple = evidence.checks.simple_models
    if simple is None or evidence.is_balanced:  # simple models are fitted to the natural frequencies, which accuracy prefers
        return None
    name = evidence.output.score_name
    own_score = simple.own.get(name)
    clear = [
        (row, value)
        for row in simple.rows
        if (value := row.scores.get(name)) is not None
        and row.better is not None
        and row.better * len(simple.rows) < CLEAR
        and own_score is not None
        and value - own_score > GAIN
    ]
    if not clear or own_score is None:
        return None
    best, value = max(clear, key=lambda pair: pair[1])
    return best, name, value, own_score


def as_good_as_linear(evidence: Evidence) -> Finding | None:
    """A linear model that has learned something is not clearly worse than the network: the advice is to start simple."""
    simple = evidence.checks.simple_models
    if simple is None or evidence.is_balanced or not simple_models_are_related(evidence):
        return None
    name = evidence.output.score_name
    own = simple.own.get(name)
    linear = [
        (value, row)
        for row in simple.rows
        if ("regression" in row.name or "linear" in row.name) and (value := row.scores.get(name)) is not None
    ]
    if own is None or not linear:
        return None
    value, row = max(linear, key=lambda pair: pair[0])
    is_clearly_worse = row.better is not None and 1 - row.better < MAYBE
    if value < own and (is_clearly_worse or own - value > GAIN):
        return None
    lines = [
        f"{row.name} has {name} {value:.3f} on {simple.examples} {simple.part} examples, this model {own:.3f}"
        f" ({layout.CHECKS}); it was trained on {simple.trained_on} examples"
    ]
    return finding_of(evidence, "a linear model is as good", lines, _simpler(evidence))


def _simpler(evidence: Evidence) -> list[Remedy]:
    texts = [
        Remedy(f"start simple: `{command()} baseline {evidence.run.spec_path}` fits linear models on all training examples")
    ]
    if evidence.experiment.model.reads_texts:
        texts.append(Remedy("a network on texts gains from vectors or an encoder that were trained on more text"))
    return [*texts, Remedy("more training examples: they help a network more than a linear model")]


def _simple_models_text(evidence: Evidence) -> list[str]:
    simple = evidence.checks.simple_models
    if simple is None or not simple.rows:
        return []
    name = evidence.output.score_name
    scores = [(value, row.name) for row in simple.rows if (value := row.scores.get(name)) is not None]
    if not scores:
        return []
    best, model = max(scores)
    return [
        f"simple models learn nothing either: the best of {len(scores)}, {model}, has {name} {best:.4g} on {simple.examples}"
        f" {simple.part} examples ({layout.CHECKS})"
    ]


def _main_score_name(evidence: Evidence) -> str:
    """Returns the name of the shown score: the first one with a skill, else the loss."""
    return next(iter(evidence.scored_skills), "loss")
