"""The rules: each looks at a run's numbers and says what stands out, or nothing. docs/diagnosis.md explains every threshold."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from dlcli.report.diagnosis import remedies as try_
from dlcli.report.diagnosis.against_guess import (
    better_simple_model,
    has_learned_nothing,
    meaningless_labels,
    no_better,
    simple_models_see,
    worse_than_guess,
)
from dlcli.report.diagnosis.blank_images import are_mostly_blank, blank_images
from dlcli.report.diagnosis.evidence import Evidence, Row
from dlcli.report.diagnosis.leakage import contradicting_labels, leakage, read_leaks
from dlcli.report.diagnosis.network import badly_scaled_inputs, modes_disagree
from dlcli.report.diagnosis.remedies import finding_of
from dlcli.report.diagnosis.shape import STILL_FALLING, TAIL, Course, course
from dlcli.report.diagnosis.skill import HARD, POOR, SOME, best_skill, gap_in_words
from dlcli.runs import layout
from dlcli.runs.diagnosis import Finding, Name, Remedy

RATE = 10.0
"""How many times its optimizer's default a rate is to be suspected, or how many times below it."""
FAR = 30.0
"""How many times the default a rate is too high if the loss gets stuck."""
HARDLY = 0.1
"""Change of the training loss over all epochs, in guesses' losses, that is hardly one."""
RISE = 0.15
"""Rise of the validation loss above its best, in guesses' losses, while the training loss falls."""
PER_CLASS, NUMBERS = 20, 50
"""Training examples of a class, and examples of a regression, below which data are few."""
PHOTOS = 500
"""Photos of a class below which a network that begins with random weights is behind one that was trained on others."""
ROOM = 0.9
"""Upper end of the accuracy's interval below which there is room for such a network."""
WIDE = 0.35
"""Width of the accuracy's 95 % interval from which on the evaluated part is too small to tell."""
RARELY = 0.1
"""Share of the other classes' examples that are found, up to which they are as good as lost."""
ONE_CLASS = 0.98
"""Share of the predictions that one class has, where the labels have it less often."""


def rate_too_high(seen: Evidence) -> Finding | None:
    """The loss became infinite, stays above the guess's, jumps at a high rate, or a stage undid what the one before had."""
    way = course(seen)
    evidence = []
    if seen.status.state == "failed" and any(word in seen.status.error for word in (" became nan", " became inf")):
        evidence.append(f"{seen.status.error.splitlines()[0]} ({layout.STATUS})")
    high, learned, going_down = seen.rate_ratio >= RATE, best_skill(seen), way.steady or way.last < 0.9 * way.first
    # A single epoch cannot tell whether the loss falls.
    above = way.late > 1.02 and seen.guess_loss is not None and not seen.has_unscaled_targets and len(seen.rows) > 1
    if seen.rate_ratio >= 1 and above and learned < POOR and not going_down:
        evidence.append(
            f"training loss {way.late * seen.unit:.4g} in the later half of the epochs, above the {seen.unit:.4g} of a guess"
            f" without inputs ({layout.HISTORY})"
        )
    elif high and way.jumps:
        evidence.append(_jumps(way))
    elif seen.rate_ratio >= FAR and learned < HARD and way.still_falling < STILL_FALLING and len(seen.rows) > 1:
        evidence.append(f"training loss stays at {way.late * seen.unit:.4g} ({layout.HISTORY})")
    stage = _undone(seen) if not evidence else None
    if stage is not None:
        evidence.append(stage[1])
    if not evidence:
        return None
    if seen.rate is not None:
        evidence.append(_rate(seen))
    # Of a rate far above the usual half of the way back, by factors: the usual one may be too slow for the epochs there are.
    rate = seen.lower_rate if stage is not None or not high else sqrt((seen.rate or seen.usual_rate) * seen.usual_rate)
    place = None if stage is None else stage[0]
    found = try_.with_rate(seen, rate, "a lower learning rate", place)
    if seen.status.state == "failed":
        found += try_.clipped(seen, place)
    return finding_of(seen, "learning rate too high", evidence, found)


def _undone(seen: Evidence) -> tuple[int, str] | None:
    """Returns the stage whose best epoch is clearly worse than that of the stage before, and the words for it."""
    for place, stage in enumerate(seen.stages):
        mine = [row["val_loss"] for row in seen.rows if row["stage"] == stage["name"] and row.get("val_loss") is not None]
        before = [row["val_loss"] for row in _rows_before(seen, place) if row.get("val_loss") is not None]
        if place and mine and before and (min(mine) - min(before)) / seen.unit > RISE:
            words = f"stage {stage['name']}: best val_loss {min(mine):.4g}, {min(before):.4g} before it ({layout.HISTORY})"
            return place, words
    return None


def _rows_before(seen: Evidence, place: int) -> list[Row]:
    names = {stage["name"] for stage in seen.stages[:place]}
    return [row for row in seen.rows if row["stage"] in names]


def rate_too_low(seen: Evidence) -> Finding | None:
    """The loss falls all the time and hardly at all, at a rate far below the usual."""
    way = course(seen)
    still, learned = abs(way.first - way.last) < HARDLY, best_skill(seen)
    # A net may start with some skill; one that falls all the time and gets nowhere is still at its start.
    slow = (way.steady or still) if not learned >= POOR else (way.steady and still and learned < SOME)
    if len(seen.rows) < 2 or seen.rate_ratio > 1 / RATE or not slow:
        return None
    evidence = [
        f"training loss {way.first * seen.unit:.4g} to {way.last * seen.unit:.4g} in {len(seen.rows)} epochs"
        f" ({layout.HISTORY})",
        _rate(seen),
    ]
    rate = seen.usual_rate if seen.rate_ratio < 0.01 else (seen.rate or seen.usual_rate) * 10
    return finding_of(seen, "learning rate too low", evidence, try_.with_rate(seen, rate, "a higher learning rate"))


def class_collapse(seen: Evidence) -> Finding | None:
    """One class is said of nearly every example."""
    outcome = seen.outcome
    if outcome is None or not outcome.has_one_class or has_learned_nothing(seen):
        return None
    predicted, truth = outcome.predicted, outcome.truth
    if outcome.losses is not None:  # a class that the loss ignores is never predicted
        predicted, truth = (values[np.isfinite(outcome.losses)] for values in (predicted, truth))
    if len(truth) < 10:
        return None
    said = np.bincount(predicted, minlength=len(outcome.classes)) / len(truth)
    true = np.bincount(truth, minlength=len(outcome.classes)) / len(truth)
    most = int(said.argmax())
    others = round((1 - true[most]) * len(truth))
    right = int(((predicted == truth) & (truth != most)).sum())
    if said[most] < ONE_CLASS or said[most] - true[most] < 0.01 or others < 2 or right > RARELY * others:
        return None
    evidence = [
        f"{said[most]:.1%} of the predictions are {outcome.classes[most]!r}, but only {true[most]:.1%} of the examples; of the"
        f" {others} other examples, {right} are predicted correctly ({seen.scored_file(layout.PREDICTIONS)})"
    ]
    return finding_of(seen, "class collapse", evidence, try_.balanced(seen))


def data_too_few(seen: Evidence) -> Finding | None:
    """Few training examples, and a clear loss on others; or an evaluated part too small to tell anything."""
    evidence = []
    count = seen.examples("train")
    each = count / max(len(seen.data.get("classes") or []), 1) if seen.has_one_class else count
    photos = _few_photos(seen, each)
    few = each < (PER_CLASS if seen.has_one_class else NUMBERS)
    gap = gap_in_words(seen)
    if few and gap is not None:
        per = f", {each:.0f} per class" if seen.has_one_class else ""
        evidence += [f"{count} training examples{per} ({layout.DATA})", gap]
    interval = seen.metrics.get("metrics", {}).get("accuracy", {}).get("interval")
    if interval and None not in interval and seen.has_one_class and interval[1] - interval[0] > WIDE:
        evidence.append(
            f"the accuracy of {seen.metrics['examples']} {seen.scored} examples is between {interval[0]:.2f} and"
            f" {interval[1]:.2f} ({seen.scored_file(layout.METRICS)})"
        )
    if photos and not few:
        evidence.insert(0, photos)
    if not evidence:
        return None
    more = Remedy("collect more examples")
    return finding_of(seen, "data too few", evidence, [*(try_.pretrained(seen) if photos or few else []), more])


def _few_photos(seen: Evidence, each: float) -> str:
    """Returns the words for a network that begins with random weights on few photos, and is clearly not perfect by them."""
    entry = seen.metrics.get("metrics", {}).get("accuracy", {})
    interval, value = entry.get("interval"), entry.get("value")
    if each >= PHOTOS or not seen.has_one_class or not try_.pretrained(seen):
        return ""
    if value is None or not interval or interval[1] is None or interval[1] > ROOM:
        return ""
    return (
        f"{seen.examples('train')} training photos, {each:.0f} per class, for a network that starts from random weights:"
        f" {seen.scored} accuracy {value:.2f}, from {interval[0]:.2f} to {interval[1]:.2f}"
        f" ({layout.DATA}, {seen.scored_file(layout.METRICS)})"
    )


def overfitting(seen: Evidence) -> Finding | None:
    """Training examples are learned far better than others, or ever better while others are answered worse."""
    evidence = []
    gap = gap_in_words(seen)
    if gap is not None:
        evidence.append(gap)
    train, validation = seen.losses("loss"), seen.losses("val_loss")
    if len(validation) > 2 and len(train) == len(validation):
        lowest = int(np.argmin(validation))
        last = validation[-max(1, round(TAIL * len(validation))) :]  # one jump at the end is no rise
        if min(last) - validation[lowest] > RISE and train[-1] < train[lowest]:
            before, after = (value * seen.unit for value in (validation[lowest], min(last)))
            evidence.append(
                f"val_loss rose from {before:.4g} in epoch {lowest + 1} to {after:.4g} and more at the end, while the"
                f" training loss fell from {train[lowest] * seen.unit:.4g} to {train[-1] * seen.unit:.4g} ({layout.HISTORY})"
            )
    return finding_of(seen, "overfitting", evidence, try_.less_fit(seen)) if evidence else None


def too_short(seen: Evidence) -> Finding | None:
    """The loss was still falling when the epochs were over."""
    way = course(seen)
    done = seen.status.state == "completed" and not seen.status.reason and bool(seen.rows)
    if not done or way.still_falling < STILL_FALLING or best_skill(seen) > HARD:
        return None
    epochs = len(seen.rows)
    if epochs == 1:
        first = seen.rows[0]
        text = f"after one epoch, val_loss is {first['val_loss']:.4g} and the training loss was {first['loss']:.4g}"
    else:
        last = "the last epoch" if way.tail == 1 else f"the last {way.tail} of {epochs} epochs"
        text = f"{way.column} was still falling, by {way.still_falling:.0%} of the guess's loss in {last}"
    scaled = [Remedy("scale the targets", "data.scale_targets=true")] if seen.has_unscaled_targets else []
    return finding_of(seen, "too short", [f"{text} ({layout.HISTORY})"], [*scaled, *try_.longer(seen)])


def underfitting(seen: Evidence) -> Finding | None:
    """A simple model, or one column alone, answers clearly better; without any fitted, even training examples are not learned.

    What no simple model answers better is hard, and not for lack of size or epochs.
    """
    learned = best_skill(seen)
    if not seen.rows or not np.isfinite(learned):
        return None
    single = _single_column(seen)
    beaten = single is not None and single[1] > learned + 0.05 and learned < SOME
    better = better_simple_model(seen)
    if better is None and not beaten and (learned >= POOR or simple_models_see(seen) is not None):
        return None
    evidence = []
    if better is not None and seen.checks.simple_models is not None:
        row, name, value, own = better
        evidence.append(
            f"a simple model, {row.name}, has {name} {value:.3f} on {seen.checks.simple_models.examples}"
            f" {seen.checks.simple_models.part} examples, this model {own:.3f} ({layout.CHECKS})"
        )
    evidence += _learned_in_words(seen)
    if single is not None and single[1] > learned:
        evidence.append(f"column {single[0]!r} alone would reach {single[1]:.0%} ({layout.DATA})")
    longer = try_.longer(seen) if course(seen).still_falling > STILL_FALLING / 4 else []
    return finding_of(seen, "underfitting", evidence, [*try_.more_fit(seen), *longer])


def _learned_in_words(seen: Evidence) -> list[str]:
    skills = seen.skills(seen.best)
    if not skills:
        return []
    name = max(skills, key=lambda name: skills[name])
    return [
        f"training {name} {_value(seen.best or {}, name)}: {max(skills[name], 0):.0%} of the way from a guess without"
        f" inputs to perfect ({layout.HISTORY})"
    ]


def unstable(seen: Evidence) -> Finding | None:
    """The loss jumps up again and again."""
    way = course(seen)
    if not way.jumps:
        return None
    rate = (seen.rate or seen.usual_rate) / 5
    found = try_.with_rate(seen, rate, "a lower learning rate")
    size = seen.experiment.data.batch_size
    if isinstance(size, int) and size < 32:
        found.append(Remedy("larger batches", f"data.batch_size={size * 4}"))
    if not seen.has_schedule and not seen.experiment.training.stages:
        falling = f"{{kind: cosine_decay, initial_learning_rate: {seen.rate or seen.usual_rate:.1g}}}"
        found.append(Remedy("a decaying learning rate", f"training.optimizer.learning_rate={falling}"))
    return finding_of(seen, "unstable", [_jumps(way)], found)


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
    (too_short, (*_CAUSES, "worse than a constant guess", "overfitting", "data too few", "unstable")),
    (underfitting, (*_CAUSES, "worse than a constant guess", "class collapse", "too short", "overfitting", "unstable")),
)
"""Every rule with the findings that explain it: where one of those is found, it is not asked.

Blank images explain others only where most images are blank.
"""
_OF_THE_DATA: frozenset[Name] = frozenset(("leakage suspected", "contradicting labels", "blank images", "data too few"))
FEW_SIMPLE: frozenset[Name] = frozenset(
    ("shuffled or meaningless labels", "no better than a guess", "too short", "underfitting", "worse than a constant guess")
)
"""Findings that simple models confirm or refute."""


def diagnosed(seen: Evidence) -> list[Finding]:
    """Returns what stands out in a run, causes before what they cause."""
    found: list[Finding] = []
    for rule, explained_by in RULES:
        causes = {one.name for one in found if one.name != "blank images" or are_mostly_blank(seen)}
        if causes.intersection(explained_by):
            continue
        finding = rule(seen)
        if rule is worse_than_guess and any(one.name not in _OF_THE_DATA for one in found):
            finding = worse_than_guess(seen, explained=True)
        if finding is not None:
            found.append(finding)
    return found


def _single_column(seen: Evidence) -> tuple[str, float] | None:
    """Returns the column that alone predicts most of the only target, with its skill."""
    targets = read_leaks(seen).columns.targets
    if len(targets) != 1:
        return None
    best = next(iter(targets.values()))
    return best[0] if best else None


def _value(row: Row, name: str) -> str:
    return f"{row[name]:.4g}"


def _jumps(way: Course) -> str:
    return (
        f"{way.jumping} rose by more than {way.threshold:.0%} of the guess's loss in {way.jumps} of {way.steps} epochs"
        f" ({layout.HISTORY})"
    )


def _rate(seen: Evidence) -> str:
    kind = getattr(seen.experiment.training.optimizer, "kind", "")
    return f"learning rate {seen.rate:.3g}; the default of {kind} is {seen.usual_rate:.3g} ({layout.HISTORY})"
