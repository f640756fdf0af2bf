"""The rules that compare a run with a constant guess and with simple models, by tests instead of fixed thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from dlcli.arrays import Array
from dlcli.report.diagnosis import remedies as try_
from dlcli.report.diagnosis.evidence import Evidence
from dlcli.report.diagnosis.remedies import finding_of
from dlcli.report.diagnosis.shape import course
from dlcli.report.diagnosis.skill import FIT, best_skill
from dlcli.runs import layout
from dlcli.runs.checks import SimpleModel
from dlcli.runs.diagnosis import Finding, Remedy

CLEAR = 0.01
"""P-value below which a difference is taken for real, and `MAYBE` above which it may well be chance."""
MAYBE = 0.05
MUCH = 2.0
"""How many times the guess's error is worse than the guess, however few examples it rests on."""
GAIN = 0.02
"""Difference of scores that is worth a word, where it is real."""


def has_learned_nothing(seen: Evidence) -> bool:
    """Whether neither the training examples nor the scored ones are answered better than by a guess."""
    learned = best_skill(seen)
    return bool(np.isfinite(learned)) and learned < FIT and (seen.unrelated is None or seen.unrelated > MAYBE)


def simple_models_see(seen: Evidence) -> bool | None:
    """Whether some simple model's answers clearly have to do with the labels; None where none was fitted."""
    found = seen.checks.simple_models
    if found is None or not found.rows:
        return None
    return any(row.related is not None and row.related * len(found.rows) < CLEAR for row in found.rows)


def meaningless_labels(seen: Evidence) -> Finding | None:
    """The training examples are learned, and neither this model nor a simple one can answer others."""
    learned, scored = seen.skills(seen.rows[-1] if seen.rows else None), seen.scored_skills
    shared = [name for name in learned if name in scored and name != "loss"] or [name for name in learned if name in scored]
    if not shared or min(learned[name] for name in shared) < max(FIT, seen.chance):
        return None
    if max(scored[name] for name in scored if name != "loss" or shared == ["loss"]) > seen.chance:
        return None
    if (seen.unrelated is not None and seen.unrelated < CLEAR) or simple_models_see(seen):
        return None
    others = max((value for name, value in seen.skills(seen.best, "val_").items() if name in shared), default=0.0)
    if others > max(seen.chance, FIT):
        return None
    name = shared[0]
    evidence = [
        f"training {name} {seen.rows[-1][name]:.4g} in the last epoch ({layout.HISTORY})",
        f"{seen.scored} {name} {seen.metrics['metrics'][name]['value']:.4g}, no better than {seen.metrics['baseline']['name']}"
        f" ({seen.scored_file(layout.METRICS)})",
        *_simple_in_words(seen),
    ]
    texts = [
        Remedy("check some examples with their labels: were rows and labels read in the same order?"),
        Remedy("does the target depend on the inputs at all?"),
    ]
    return finding_of(seen, "shuffled or meaningless labels", evidence, texts)


def no_better(seen: Evidence) -> Finding | None:
    """Nothing was learned, and simple models learn nothing either."""
    if not seen.scored_skills or not has_learned_nothing(seen) or seen.unrelated is None or simple_models_see(seen):
        return None
    name = _main(seen)
    evidence = [
        f"{seen.scored} {name} {seen.metrics['metrics'][name]['value']:.4g}, no better than {seen.metrics['baseline']['name']}"
        f" ({seen.scored_file(layout.METRICS)})",
        f"the training skill is not better: {best_skill(seen):.2f}, where 0 is the guess and 1 is perfect ({layout.HISTORY})",
        *_simple_in_words(seen),
    ]
    texts = [Remedy("check some examples with their labels: does the target depend on the inputs at all?")]
    if simple_models_see(seen) is None:
        texts = [*try_.more_fit(seen), *texts]
    return finding_of(seen, "no better than a guess", evidence, texts)


@dataclass(frozen=True)
class _Beside:
    """The model's mean error beside that of a constant guess, in the guess's, and how likely it is no larger."""

    error: float
    probability: float


def worse_than_guess(seen: Evidence, *, explained: bool = False) -> Finding | None:
    """The scored examples are answered worse than by the same answer to all of them.

    `explained` tells whether another finding names the cause and what to try.
    """
    found = _beside_guess(seen)
    if found is None or found.error <= 1.02 or (found.probability > CLEAR and found.error < MUCH):
        return None
    guess = seen.metrics.get("baseline", {}).get("name") or "a constant"
    name = _main(seen)
    value = seen.metrics["metrics"].get(name, {}).get("value")
    score = f"{seen.scored} {name} {value:.4g}: " if value is not None else ""
    what = "mean squared error" if seen.output.is_numeric else "number of wrong predictions"
    evidence = [
        f"{score}the {what} on {len(seen.outcome or ())} {seen.scored} examples is {found.error:,.3g} times that of {guess!s}"
        f" ({seen.scored_file(layout.METRICS)}, {layout.PREDICTIONS})"
    ]
    remedies: list[Remedy] = []
    if seen.has_unscaled_targets:
        evidence.append(f"the targets have a root mean square of {seen.target_size:.3g} and are not scaled ({layout.DATA})")
        remedies.append(Remedy("scale the targets", "data.scale_targets=true"))
    elif not explained:
        way = course(seen)
        rising = len(seen.rows) > 1 and (way.jumps or way.last >= way.first)
        remedies = try_.with_rate(seen, seen.lower_rate, "a lower learning rate") if rising else try_.longer(seen)
    return finding_of(seen, "worse than a constant guess", evidence, remedies)


def _beside_guess(seen: Evidence) -> _Beside | None:
    outcome = seen.outcome
    if outcome is None or len(outcome) < 2:
        return None
    guess = _guessed(seen)
    if guess is None:
        return None
    own, other = (seen.output.errors(outcome.truth, predicted) for predicted in (outcome.predicted, guess))
    if not other.mean():
        return None
    gain = own - other
    spread = float(gain.std(ddof=1)) / sqrt(len(gain))
    probability = 1 - NormalDist().cdf(float(gain.mean()) / spread) if spread else float(gain.mean() <= 0)
    return _Beside(float(own.mean() / other.mean()), probability)


def _guessed(seen: Evidence) -> Array | None:
    """Returns the constant answer in the shape of the predictions: the commonest class, label by label, or the means."""
    outcome = seen.outcome
    assert outcome is not None
    if seen.output.is_numeric:
        means = seen.data.get("means")
        return np.array(means)[None] if means and len(means) == outcome.truth.shape[1] else None
    if seen.shares is None:
        return None
    return np.asarray(seen.shares.argmax() if seen.has_one_class else (seen.shares > 0.5)[None])


def better_simple_model(seen: Evidence) -> tuple[SimpleModel, str, float, float] | None:
    """Returns the simple model that clearly beats the run's, with the score's name, its value and the run's; else None."""
    found = seen.checks.simple_models
    if found is None:
        return None
    name = seen.output.score_name
    own = found.own.get(name)
    clear = [
        (row, value)
        for row in found.rows
        if (value := row.scores.get(name)) is not None
        and row.better is not None
        and row.better * len(found.rows) < CLEAR
        and own is not None
        and value - own > GAIN
    ]
    if not clear or own is None:
        return None
    best, value = max(clear, key=lambda pair: pair[1])
    return best, name, value, own


def _simple_in_words(seen: Evidence) -> list[str]:
    found = seen.checks.simple_models
    if found is None or not found.rows:
        return []
    name = seen.output.score_name
    scores = [(value, row.name) for row in found.rows if (value := row.scores.get(name)) is not None]
    if not scores:
        return []
    best, model = max(scores)
    return [
        f"simple models learn nothing either: the best of {len(scores)}, {model}, has {name} {best:.4g} on {found.examples}"
        f" {found.part} examples ({layout.CHECKS})"
    ]


def _main(seen: Evidence) -> str:
    """Returns the name of the score that is shown: the first that has a scale, else the loss."""
    return next(iter(seen.scored_skills), "loss")
