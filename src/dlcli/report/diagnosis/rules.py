"""The rules: each returns a finding about a run's numbers, or None. docs/diagnosis.md explains every threshold."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from dlcli.report.diagnosis import remedies as try_
from dlcli.report.diagnosis.against_guess import (
    as_good_as_linear,
    better_simple_model,
    has_learned_nothing,
    meaningless_labels,
    no_better,
    simple_models_are_related,
    worse_than_guess,
    worse_than_persistence,
)
from dlcli.report.diagnosis.blank_images import are_mostly_blank, blank_images
from dlcli.report.diagnosis.evidence import Evidence, Row
from dlcli.report.diagnosis.leakage import contradicting_labels, leakage, read_leaks
from dlcli.report.diagnosis.network import badly_scaled_inputs, modes_disagree
from dlcli.report.diagnosis.remedies import finding_of
from dlcli.report.diagnosis.shape import STILL_FALLING, TAIL, LossCurve, loss_curve
from dlcli.report.diagnosis.skill import HARD, POOR, SOME, best_skill, gap_text
from dlcli.runs import layout
from dlcli.runs.diagnosis import Finding, Name, Remedy

RATE = 10.0
"""Ratio of a learning rate to its optimizer's default, or its inverse, from which on the rate is suspicious."""
FAR = 30.0
"""Ratio to the default from which on a rate is too high if the loss stays constant."""
HARDLY = 0.1
"""Change of the training loss over all epochs, in units of the guess's loss, below which it is negligible."""
RISE = 0.15
"""Rise of the validation loss above its best, in units of the guess's loss, while the training loss falls."""
PER_CLASS, NUMBERS = 20, 50
"""Training examples of a class, and examples of a regression, below which data are few."""
PHOTOS = 500
"""Photos per class below which a network with random initial weights is worse than a pretrained one."""
ROOM = 0.9
"""Upper end of the accuracy's interval below which there is room for such a network."""
WIDE = 0.35
"""Width of the accuracy's 95 % interval from which on the evaluated split is too small."""
RARELY = 0.1
"""Recall of the other classes' examples below which the predictions have collapsed."""
ONE_CLASS = 0.98
"""Share of the predictions for one class, where it is less frequent among the labels."""


def rate_too_high(evidence: Evidence) -> Finding | None:
    """The loss became infinite, stays above the guess's, jumps at a high rate, or a stage undid the previous one."""
    lines = _signs_in_the_loss(evidence)
    stage = _undoing_stage(evidence) if not lines else None
    if stage is not None:
        lines.append(stage[1])
    if not lines:
        return None
    if evidence.rate is not None:
        lines.append(_rate(evidence))
    # The geometric mean of a rate far above the default and the default, which may be too slow for the epochs.
    rate = (
        evidence.lower_rate
        if stage is not None or evidence.rate_ratio < RATE
        else sqrt((evidence.rate or evidence.usual_rate) * evidence.usual_rate)
    )
    place = None if stage is None else stage[0]
    remedies = try_.change_learning_rate(evidence, rate, "a lower learning rate", place)
    if evidence.status.state == "failed":
        remedies += try_.clip_gradients(evidence, place)
    return finding_of(evidence, "learning rate too high", lines, remedies)


def _signs_in_the_loss(evidence: Evidence) -> list[str]:
    """Returns what the training loss shows of a rate that is too high; empty if it shows nothing."""
    curve = loss_curve(evidence)
    lines: list[str] = []
    if evidence.status.state == "failed" and any(word in evidence.status.error for word in (" became nan", " became inf")):
        lines.append(f"{evidence.status.error.splitlines()[0]} ({layout.STATUS})")
    learned, going_down = best_skill(evidence), curve.steady or curve.last < 0.9 * curve.first
    # A single epoch does not show whether the loss falls.
    above = (
        curve.late > 1.02
        and evidence.guess_loss is not None
        and not evidence.has_unscaled_targets
        and not evidence.is_balanced  # its probabilities are not those of the natural frequencies, which the guess has
        and len(evidence.rows) > 1
    )
    if evidence.rate_ratio >= 1 and above and learned < POOR and not going_down:
        lines.append(
            f"training loss {curve.late * evidence.unit:.4g} in the later half of the epochs, above the {evidence.unit:.4g} of"
            f" a guess without inputs ({layout.HISTORY})"
        )
    elif evidence.rate_ratio >= RATE and curve.jumps:
        lines.append(_jumps(curve))
    elif evidence.rate_ratio >= FAR and learned < HARD and curve.still_falling < STILL_FALLING and len(evidence.rows) > 1:
        lines.append(f"training loss stays at {curve.late * evidence.unit:.4g} ({layout.HISTORY})")
    return lines


def _undoing_stage(evidence: Evidence) -> tuple[int, str] | None:
    """Returns the stage whose best epoch is clearly worse than that of the previous stages, and the evidence."""
    for place, stage in enumerate(evidence.stages):
        stage_losses = [
            row["val_loss"] for row in evidence.rows if row["stage"] == stage["name"] and row.get("val_loss") is not None
        ]
        earlier_losses = [row["val_loss"] for row in _rows_before(evidence, place) if row.get("val_loss") is not None]
        if place and stage_losses and earlier_losses and (min(stage_losses) - min(earlier_losses)) / evidence.unit > RISE:
            losses = f"best val_loss {min(stage_losses):.4g}, {min(earlier_losses):.4g} before it"
            return place, f"stage {stage['name']}: {losses} ({layout.HISTORY})"
    return None


def _rows_before(evidence: Evidence, place: int) -> list[Row]:
    names = {stage["name"] for stage in evidence.stages[:place]}
    return [row for row in evidence.rows if row["stage"] in names]


def rate_too_low(evidence: Evidence) -> Finding | None:
    """The loss falls steadily but hardly at all, at a rate far below the default."""
    curve = loss_curve(evidence)
    still, learned = abs(curve.first - curve.last) < HARDLY, best_skill(evidence)
    # A network may start with some skill; if its loss falls steadily by very little, it is still at its start.
    slow = (curve.steady or still) if not learned >= POOR else (curve.steady and still and learned < SOME)
    if len(evidence.rows) < 2 or evidence.rate_ratio > 1 / RATE or not slow:
        return None
    lines = [
        f"training loss {curve.first * evidence.unit:.4g} to {curve.last * evidence.unit:.4g} in {len(evidence.rows)} epochs"
        f" ({layout.HISTORY})",
        _rate(evidence),
    ]
    rate = evidence.usual_rate if evidence.rate_ratio < 0.01 else (evidence.rate or evidence.usual_rate) * 10
    return finding_of(
        evidence, "learning rate too low", lines, try_.change_learning_rate(evidence, rate, "a higher learning rate")
    )


def class_collapse(evidence: Evidence) -> Finding | None:
    """One class is predicted for nearly every example."""
    outcome = evidence.outcome
    if outcome is None or not outcome.has_one_class or has_learned_nothing(evidence):
        return None
    predicted, truth = outcome.predicted, outcome.truth
    if outcome.losses is not None:  # a class that the loss ignores is never predicted
        predicted, truth = (values[np.isfinite(outcome.losses)] for values in (predicted, truth))
    if len(truth) < 10:
        return None
    predicted_shares = np.bincount(predicted, minlength=len(outcome.classes)) / len(truth)
    true_shares = np.bincount(truth, minlength=len(outcome.classes)) / len(truth)
    most = int(predicted_shares.argmax())
    others = round((1 - true_shares[most]) * len(truth))
    correct = int(((predicted == truth) & (truth != most)).sum())
    if (
        predicted_shares[most] < ONE_CLASS
        or predicted_shares[most] - true_shares[most] < 0.01
        or others < 2
        or correct > RARELY * others
    ):
        return None
    lines = [
        f"{predicted_shares[most]:.1%} of the predictions are {outcome.classes[most]!r}, but only {true_shares[most]:.1%} of"
        f" the examples; of the {others} other examples, {correct} are predicted correctly"
        f" ({evidence.scored_file(layout.PREDICTIONS)})"
    ]
    return finding_of(evidence, "class collapse", lines, try_.reweight_classes(evidence))


def data_too_few(evidence: Evidence) -> Finding | None:
    """Few training examples, and clearly lower skill on others; or an evaluated split that is too small."""
    lines = []
    count = evidence.examples("train")
    per_class = count / max(len(evidence.data.get("classes") or []), 1) if evidence.has_one_class else count
    photos = _few_photos(evidence, per_class)
    few = per_class < (PER_CLASS if evidence.has_one_class else NUMBERS)
    gap = gap_text(evidence)
    if few and gap is not None:
        suffix = f", {per_class:.0f} per class" if evidence.has_one_class else ""
        lines += [f"{count} training examples{suffix} ({layout.DATA})", gap]
    interval = evidence.metrics.get("metrics", {}).get("accuracy", {}).get("interval")
    if interval and None not in interval and evidence.has_one_class and interval[1] - interval[0] > WIDE:
        lines.append(
            f"the accuracy of {evidence.metrics['examples']} {evidence.scored} examples is between {interval[0]:.2f} and"
            f" {interval[1]:.2f} ({evidence.scored_file(layout.METRICS)})"
        )
    if photos and not few:
        lines.insert(0, photos)
    if not lines:
        return None
    more = Remedy("collect more examples")
    return finding_of(evidence, "data too few", lines, [*(try_.use_pretrained(evidence) if photos or few else []), more])


def _few_photos(evidence: Evidence, per_class: float) -> str:
    """Returns the evidence of an imperfect network that started from random weights on few photos; else an empty text."""
    entry = evidence.metrics.get("metrics", {}).get("accuracy", {})
    interval, value = entry.get("interval"), entry.get("value")
    if per_class >= PHOTOS or not evidence.has_one_class or not try_.use_pretrained(evidence):
        return ""
    if value is None or not interval or interval[1] is None or interval[1] > ROOM:
        return ""
    return (
        f"{evidence.examples('train')} training photos, {per_class:.0f} per class, for a network that starts from random"
        f" weights: {evidence.scored} accuracy {value:.2f}, from {interval[0]:.2f} to {interval[1]:.2f}"
        f" ({layout.DATA}, {evidence.scored_file(layout.METRICS)})"
    )


def overfitting(evidence: Evidence) -> Finding | None:
    """Training examples are learned far better than others, or their loss falls while the validation loss rises."""
    lines = []
    gap = gap_text(evidence)
    if gap is not None:
        lines.append(gap)
    train, validation = evidence.losses("loss"), evidence.losses("val_loss")
    if len(validation) > 2 and len(train) == len(validation):
        lowest = int(np.argmin(validation))
        last = validation[-max(1, round(TAIL * len(validation))) :]  # a single jump at the end is not a rise
        if min(last) - validation[lowest] > RISE and train[-1] < train[lowest]:
            lowest_loss, last_loss = (value * evidence.unit for value in (validation[lowest], min(last)))
            lines.append(
                f"val_loss rose from {lowest_loss:.4g} in epoch {lowest + 1} to {last_loss:.4g} and more at the end, while the"
                f" training loss fell from {train[lowest] * evidence.unit:.4g} to {train[-1] * evidence.unit:.4g}"
                f" ({layout.HISTORY})"
            )
    return finding_of(evidence, "overfitting", lines, try_.reduce_overfitting(evidence)) if lines else None


def too_short(evidence: Evidence) -> Finding | None:
    """The loss was still falling when the epochs were over."""
    curve = loss_curve(evidence)
    has_finished = evidence.status.state == "completed" and not evidence.status.reason and bool(evidence.rows)
    if not has_finished or curve.still_falling < STILL_FALLING or best_skill(evidence) > HARD:
        return None
    epochs = len(evidence.rows)
    if epochs == 1:
        first = evidence.rows[0]
        text = f"after one epoch, val_loss is {first['val_loss']:.4g} and the training loss was {first['loss']:.4g}"
    else:
        last = "the last epoch" if curve.tail == 1 else f"the last {curve.tail} of {epochs} epochs"
        text = f"{curve.column} was still falling, by {curve.still_falling:.0%} of the guess's loss in {last}"
    scaled = [Remedy("scale the targets", "data.scale_targets=true")] if evidence.has_unscaled_targets else []
    return finding_of(evidence, "too short", [f"{text} ({layout.HISTORY})"], [*scaled, *try_.train_longer(evidence)])


def underfitting(evidence: Evidence) -> Finding | None:
    """A simple model, or a single column, is clearly better; or, without simple models, the training examples are not learned.

    If no simple model is better, the task is hard, and neither size nor epochs are missing.
    """
    learned = best_skill(evidence)
    if not evidence.rows or not np.isfinite(learned):
        return None
    single_column = _single_column(evidence)
    is_beaten = single_column is not None and single_column[1] > learned + 0.05 and learned < SOME and not evidence.is_balanced
    better = better_simple_model(evidence)
    if better is None and not is_beaten and (learned >= POOR or simple_models_are_related(evidence) is not None):
        return None
    lines = []
    if better is not None and evidence.checks.simple_models is not None:
        row, name, value, own_score = better
        lines.append(
            f"a simple model, {row.name}, has {name} {value:.3f} on {evidence.checks.simple_models.examples}"
            f" {evidence.checks.simple_models.part} examples, this model {own_score:.3f} ({layout.CHECKS})"
        )
    lines += _learned_text(evidence)
    if single_column is not None and single_column[1] > learned:
        lines.append(f"column {single_column[0]!r} alone would reach {single_column[1]:.0%} ({layout.DATA})")
    longer = try_.train_longer(evidence) if loss_curve(evidence).still_falling > STILL_FALLING / 4 else []
    return finding_of(evidence, "underfitting", lines, [*try_.reduce_underfitting(evidence), *longer])


def _learned_text(evidence: Evidence) -> list[str]:
    skills = evidence.training_skills(evidence.best)
    if not skills:
        return []
    name = max(skills, key=lambda name: skills[name])
    return [
        f"training {name} {_value(evidence.best or {}, name)}: {max(skills[name], 0):.0%} of the way from a guess without"
        f" inputs to perfect ({layout.HISTORY})"
    ]


def unstable(evidence: Evidence) -> Finding | None:
    """The loss rises repeatedly by large steps."""
    curve = loss_curve(evidence)
    if not curve.jumps:
        return None
    rate = (evidence.rate or evidence.usual_rate) / 5
    remedies = try_.change_learning_rate(evidence, rate, "a lower learning rate")
    size = evidence.experiment.data.batch_size
    if isinstance(size, int) and size < 32:
        remedies.append(Remedy("larger batches", f"data.batch_size={size * 4}"))
    if not evidence.has_schedule and not evidence.experiment.training.stages:
        falling = f"{{kind: cosine_decay, initial_learning_rate: {evidence.rate or evidence.usual_rate:.1g}}}"
        remedies.append(Remedy("a decaying learning rate", f"training.optimizer.learning_rate={falling}"))
    return finding_of(evidence, "unstable", [_jumps(curve)], remedies)


_CAUSES: tuple[Name, ...] = (
    "blank images",
    "badly scaled inputs",
    "learning rate too high",
    "learning rate too low",
    "training and prediction disagree",
    "shuffled or meaningless labels",
    "no better than a guess",
)
RULES: tuple[tuple[Callable[[Evidence], Finding | None], tuple[Name, ...]], ...] = (
    (leakage, ()),
    (contradicting_labels, ()),
    (blank_images, ()),
    (badly_scaled_inputs, _CAUSES[:1]),
    (rate_too_high, _CAUSES[:2]),
    (rate_too_low, _CAUSES[:3]),
    (modes_disagree, _CAUSES[:4]),
    (meaningless_labels, _CAUSES[:5]),
    (no_better, _CAUSES[:6]),
    (class_collapse, _CAUSES),
    (data_too_few, _CAUSES),
    (unstable, (*_CAUSES[:3], "training and prediction disagree")),
    (overfitting, (*_CAUSES, "data too few")),
    (worse_than_guess, ("shuffled or meaningless labels",)),
    (worse_than_persistence, ()),
    (too_short, (*_CAUSES, "worse than a constant guess", "overfitting", "data too few", "unstable")),
    (underfitting, (*_CAUSES, "worse than a constant guess", "class collapse", "too short", "overfitting", "unstable")),
    (
        as_good_as_linear,
        (*_CAUSES, "leakage suspected", "worse than a constant guess", "class collapse", "too short", "underfitting"),
    ),
)
"""Every rule with the findings that explain it: after one of those, the rule is skipped.

Blank images explain others only where most images are blank.
"""
_OF_THE_DATA: frozenset[Name] = frozenset(("leakage suspected", "contradicting labels", "blank images", "data too few"))
FEW_SIMPLE: frozenset[Name] = frozenset(
    ("shuffled or meaningless labels", "no better than a guess", "too short", "underfitting", "worse than a constant guess")
)
"""Findings that simple models confirm or refute."""


def apply_rules(evidence: Evidence) -> list[Finding]:
    """Returns the findings about a run, causes before their effects."""
    findings: list[Finding] = []
    for rule, explained_by in RULES:
        causes = {
            finding_before.name
            for finding_before in findings
            if finding_before.name != "blank images" or are_mostly_blank(evidence)
        }
        if causes.intersection(explained_by):
            continue
        finding = rule(evidence)
        if rule is worse_than_guess and any(finding_before.name not in _OF_THE_DATA for finding_before in findings):
            finding = worse_than_guess(evidence, explained=True)
        if finding is not None:
            findings.append(finding)
    return findings


def _single_column(evidence: Evidence) -> tuple[str, float] | None:
    """Returns the single best column for the only target, with its skill."""
    targets = read_leaks(evidence).columns.targets
    if len(targets) != 1:
        return None
    best = next(iter(targets.values()))
    return best[0] if best else None


def _value(row: Row, name: str) -> str:
    return f"{row[name]:.4g}"


def _jumps(curve: LossCurve) -> str:
    return (
        f"{curve.jumping} rose by more than {curve.threshold:.0%} of the guess's loss in {curve.jumps} of {curve.steps} epochs"
        f" ({layout.HISTORY})"
    )


def _rate(evidence: Evidence) -> str:
    kind = getattr(evidence.experiment.training.optimizer, "kind", "")
    return f"learning rate {evidence.rate:.3g}; the default of {kind} is {evidence.usual_rate:.3g} ({layout.HISTORY})"
