"""The rules: each looks at a run's numbers and says what stands out, or nothing. docs/diagnosis.md explains every threshold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dlcli.stages.diagnosis import remedies as try_
from dlcli.stages.diagnosis.evidence import Evidence, Row
from dlcli.stages.diagnosis.finding import Finding, Name, Remedy
from dlcli.stages.diagnosis.leakage import leakage, read_leaks
from dlcli.stages.diagnosis.shape import TAIL, Course, course

POOR = 0.35
"""Skill below which a model has learned little."""
SOME = 0.8
"""Skill below which a model may still be far from what the data give."""
FIT = 0.15
"""Skill on the training part from which labels that say nothing have been learned by heart."""
HARD = 0.95
"""Skill from which nothing is missing."""
RATE = 10.0
"""How many times its optimizer's default a rate is to be suspected, or how many times below it."""
FAR = 30.0
"""How many times the default a rate is too high if the loss gets stuck."""
HARDLY = 0.1
"""Change of the training loss over all epochs, in guesses' losses, that is hardly one."""
GAP = 0.2
"""Skill that is lost between training and validation, from which on a model is overfitted."""
RISE = 0.15
"""Rise of the validation loss above its best, in guesses' losses, while the training loss falls."""
STILL_FALLING = 0.04
"""Fall of the loss in the last fifth of the epochs, in guesses' losses, from which on more epochs promise much."""
PER_CLASS, NUMBERS = 20, 50
"""Training examples of a class, and examples of a regression, below which data are few."""
WIDE = 0.35
"""Width of the accuracy's 95 % interval from which on the evaluated part is too small to tell."""
LONGEST = 500
"""Characters of one line of evidence: names in it may be of any length."""
ONE_CLASS = 0.98
"""Share of the predictions that one class has, where the labels have it less often."""


def rate_too_high(seen: Evidence) -> Finding | None:
    """The loss became infinite, stays above the guess's, jumps at a high rate, or a stage undid what the one before had."""
    way = course(seen)
    evidence = []
    if seen.status.state == "failed" and any(word in seen.status.error for word in (" became nan", " became inf")):
        evidence.append(f"{seen.status.error.splitlines()[0]} (status.json)")
    high, learned, going_down = seen.rate_ratio >= RATE, _learned(seen), way.steady or way.last < 0.9 * way.first
    if seen.rate_ratio >= 1 and way.late > 1.02 and seen.guess_loss and learned < POOR and not going_down:
        evidence.append(
            f"training loss {way.late * seen.unit:.4g} in the later half of the epochs, above the {seen.unit:.4g} of a guess"
            " without inputs (history.csv)"
        )
    elif high and way.jumps:
        evidence.append(_jumps(way))
    elif seen.rate_ratio >= FAR and learned < HARD and way.still_falling < STILL_FALLING and len(seen.rows) > 1:
        evidence.append(f"training loss stays at {way.late * seen.unit:.4g} (history.csv)")
    stage = _undone(seen) if not evidence else None
    if stage is not None:
        evidence.append(stage[1])
    if not evidence:
        return None
    if seen.rate is not None:
        evidence.append(_rate(seen))
    rate = (seen.rate or seen.usual_rate) / 10
    rate = min(rate, seen.usual_rate) if high else rate
    words = "a lower learning rate"
    place = None if stage is None else stage[0]
    found = try_.with_rate(seen, rate, words, place) + try_.clipped(seen, place)
    return _finding(seen, "learning rate too high", evidence, found)


def _undone(seen: Evidence) -> tuple[int, str] | None:
    """Returns the stage whose best epoch is clearly worse than that of the stage before, and the words for it."""
    for place, stage in enumerate(seen.stages):
        mine = [row["val_loss"] for row in seen.rows if row["stage"] == stage["name"] and row.get("val_loss") is not None]
        before = [row["val_loss"] for row in _rows_before(seen, place) if row.get("val_loss") is not None]
        if place and mine and before and (min(mine) - min(before)) / seen.unit > RISE:
            words = f"stage {stage['name']}: best val_loss {min(mine):.4g}, {min(before):.4g} before it (history.csv)"
            return place, words
    return None


def _rows_before(seen: Evidence, place: int) -> list[Row]:
    names = {stage["name"] for stage in seen.stages[:place]}
    return [row for row in seen.rows if row["stage"] in names]


def rate_too_low(seen: Evidence) -> Finding | None:
    """The loss falls all the time and hardly at all, at a rate far below the usual."""
    way = course(seen)
    still, learned = abs(way.first - way.last) < HARDLY, _learned(seen)
    # A net may start with some skill; one that falls all the time and gets nowhere is still at its start.
    slow = (way.steady or still) if not learned >= POOR else (way.steady and still and learned < SOME)
    if len(seen.rows) < 2 or seen.rate_ratio > 1 / RATE or not slow:
        return None
    evidence = [
        f"training loss {way.first * seen.unit:.4g} to {way.last * seen.unit:.4g} in {len(seen.rows)} epochs (history.csv)",
        _rate(seen),
    ]
    rate = seen.usual_rate if seen.rate_ratio < 0.01 else (seen.rate or seen.usual_rate) * 10
    return _finding(seen, "learning rate too low", evidence, try_.with_rate(seen, rate, "a higher learning rate"))


def meaningless_labels(seen: Evidence) -> Finding | None:
    """The training examples are learned, and what was not trained on is answered no better than by a guess."""
    learned, scored = seen.skills(seen.rows[-1] if seen.rows else None), seen.scored_skills
    shared = [name for name in learned if name in scored and name != "loss"] or [name for name in learned if name in scored]
    if not shared:
        return None
    if min(learned[name] for name in shared) < max(FIT, seen.chance) or max(scored[name] for name in shared) > seen.chance:
        return None
    others = max((value for name, value in seen.skills(seen.best, "val_").items() if name in shared), default=0.0)
    if others > max(seen.chance, FIT):
        return None
    name = shared[0]
    evidence = [
        f"training {name} {_value(seen.rows[-1], name)} in the last epoch (history.csv)",
        f"{seen.scored} {name} {seen.metrics['metrics'][name]['value']:.4g}, as good as {seen.metrics['baseline']['name']}"
        f" (evaluation/{seen.scored}/metrics.json)",
    ]
    texts = [
        Remedy("look at some examples with their labels: were rows and labels read in the same order?"),
        Remedy("is there anything in the inputs that the target depends on?"),
    ]
    return _finding(seen, "shuffled or meaningless labels", evidence, texts)


def class_collapse(seen: Evidence) -> Finding | None:
    """One class is said of nearly every example."""
    outcome = seen.outcome
    if outcome is None or not outcome.has_one_class or len(outcome) < 10:
        return None
    said = np.bincount(outcome.predicted, minlength=len(outcome.classes)) / len(outcome)
    true = np.bincount(outcome.truth, minlength=len(outcome.classes)) / len(outcome)
    most = int(said.argmax())
    others = round((1 - true[most]) * len(outcome))
    if said[most] < ONE_CLASS or said[most] - true[most] < 0.01 or others < 2:
        return None
    evidence = [
        f"{said[most]:.1%} of the predictions are {outcome.classes[most]!r}, which {true[most]:.1%} of the examples are; of the"
        f" {others} others none or few are found (evaluation/{seen.scored}/predictions.csv)"
    ]
    metric = "mcc" if seen.task == "binary" else "balanced_accuracy"
    found = [Remedy("a score that a rare class counts in", f"training.metrics+={metric}")]
    if seen.task == "binary":
        loss = "{kind: binary_focal_crossentropy, apply_class_balancing: true, alpha: 0.9}"
        found.insert(
            0, Remedy("a loss in which the rare class weighs more (alpha: the second class's weight)", f"training.loss={loss}")
        )
    else:
        found.insert(0, Remedy("a loss that goes by hard examples", "training.loss=categorical_focal_crossentropy"))
    if seen.rate is not None and seen.rate_ratio > 1:
        found += try_.with_rate(seen, seen.usual_rate, "a lower learning rate")
    return _finding(seen, "class collapse", evidence, found)


def data_too_few(seen: Evidence) -> Finding | None:
    """Few training examples, and a clear loss on others; or an evaluated part too small to tell anything."""
    evidence = []
    count = seen.examples("train")
    each = count / max(len(seen.data.get("classes") or []), 1) if seen.task in ("classification", "binary") else count
    few = each < (PER_CLASS if seen.task in ("classification", "binary") else NUMBERS)
    gap = _gap(seen)
    if few and gap is not None:
        per = f", {each:.0f} of a class" if seen.task in ("classification", "binary") else ""
        evidence += [f"{count} training examples{per} (data.json)", gap]
    interval = seen.metrics.get("metrics", {}).get("accuracy", {}).get("interval")
    if interval and None not in interval and seen.task != "multilabel" and interval[1] - interval[0] > WIDE:
        evidence.append(
            f"the accuracy of {seen.metrics['examples']} {seen.scored} examples is somewhere from {interval[0]:.2f} to"
            f" {interval[1]:.2f} (evaluation/{seen.scored}/metrics.json)"
        )
    if not evidence:
        return None
    texts = [Remedy("more examples: the surest remedy")]
    if not few:
        return _finding(seen, "data too few", evidence, texts)
    return _finding(seen, "data too few", evidence, texts + try_.less_fit(seen))


def overfitting(seen: Evidence) -> Finding | None:
    """Training examples are learned far better than others, or ever better while others are answered worse."""
    evidence = []
    gap = _gap(seen)
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
                f" training loss fell from {train[lowest] * seen.unit:.4g} to {train[-1] * seen.unit:.4g} (history.csv)"
            )
    return _finding(seen, "overfitting", evidence, try_.less_fit(seen)) if evidence else None


def too_short(seen: Evidence) -> Finding | None:
    """The loss was still falling when the epochs were over."""
    way = course(seen)
    done = seen.status.state == "completed" and not seen.status.reason and bool(seen.rows)
    if not done or way.still_falling < STILL_FALLING or _learned(seen) > HARD:
        return None
    epochs = len(seen.rows)
    if epochs == 1:
        first = seen.rows[0]
        text = f"one epoch: val_loss {first['val_loss']:.4g} after it, training loss {first['loss']:.4g} over it"
    else:
        text = f"{way.column} fell by {way.still_falling:.0%} of the guess's loss in the last {way.tail} of {epochs} epochs"
    return _finding(seen, "too short", [f"{text} (history.csv)"], try_.longer(seen))


def underfitting(seen: Evidence) -> Finding | None:
    """Even the training examples are answered little better than by a guess, or worse than one column alone would."""
    learned = _learned(seen)
    if not seen.rows or not np.isfinite(learned):
        return None
    single = _single_column(seen)
    if learned >= POOR and not (single is not None and single[1] > learned + 0.05 and learned < SOME):
        return None
    skills = seen.skills(seen.best)
    name = max(skills, key=lambda one: skills[one])
    evidence = [
        f"training {name} {_value(seen.best or {}, name)}: {max(skills[name], 0):.0%} of the way from a guess without"
        " inputs to perfect (history.csv)"
    ]
    if single is not None and single[1] > learned:
        evidence.append(f"column {single[0]!r} alone would reach {single[1]:.0%} (data.json)")
    return _finding(seen, "underfitting", evidence, [*try_.more_fit(seen), *try_.longer(seen)])


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
    found += try_.clipped(seen)
    if not seen.has_schedule and not seen.experiment.training.stages:
        falling = f"{{kind: cosine_decay, initial_learning_rate: {seen.rate or seen.usual_rate:.1g}}}"
        found.append(Remedy("a rate that falls", f"training.optimizer.learning_rate={falling}"))
    return _finding(seen, "unstable", [_jumps(way)], found)


_CAUSES: tuple[Name, ...] = ("learning rate too high", "learning rate too low", "shuffled or meaningless labels")
RULES: tuple[tuple[Callable[[Evidence], Finding | None], tuple[Name, ...]], ...] = (
    (leakage, ()),
    (rate_too_high, ()),
    (rate_too_low, ("learning rate too high",)),
    (meaningless_labels, ("learning rate too high", "learning rate too low")),
    (class_collapse, _CAUSES),
    (data_too_few, _CAUSES),
    (unstable, ("learning rate too high",)),
    (overfitting, ("learning rate too high", "shuffled or meaningless labels", "data too few")),
    (too_short, (*_CAUSES, "overfitting", "data too few", "unstable")),
    (underfitting, (*_CAUSES, "class collapse", "too short", "overfitting", "unstable")),
)
"""Every rule with the findings that explain it: where one of those is found, it is not asked."""


def diagnosed(seen: Evidence) -> list[Finding]:
    """Returns what stands out in a run, causes before what they cause."""
    found: list[Finding] = []
    for rule, explained_by in RULES:
        if any(one.name in explained_by for one in found):
            continue
        finding = rule(seen)
        if finding is not None:
            found.append(finding)
    return found


def _finding(seen: Evidence, name: Name, evidence: list[str], remedies: list[Remedy]) -> Finding:
    return Finding(name, tuple(text[:LONGEST] for text in evidence), try_.taken(seen, remedies))


def _learned(seen: Evidence) -> float:
    """Returns the best skill on training or validation examples by any measure; NaN where none is known."""
    rows = [seen.best, seen.rows[-1] if seen.rows else None]
    values = [value for row in rows for prefix in ("", "val_") for value in seen.skills(row, prefix).values()]
    return max(values, default=float("nan"))


def _gap(seen: Evidence) -> str | None:
    """Returns the words for the skill that is lost between training examples and others, where it is much; else None.

    Of the kept epoch, by the first measure that both have; on the evaluated part, else the validation part.
    """
    if not seen.rows:
        return None
    learned = seen.skills(seen.best)
    scored = (seen.scored, seen.scored_skills, f"history.csv, evaluation/{seen.scored}/metrics.json")
    for where, other, files in (scored, ("validation", seen.skills(seen.best, "val_"), "history.csv")):
        shared = [name for name in learned if name in other]
        if where and shared:
            name = shared[0]
            lost = learned[name] - other[name]
            if lost < max(GAP, seen.chance) or learned[name] < POOR:
                return None
            return (
                f"{where} skill by {name} {other[name]:.2f}, training {learned[name]:.2f}, where 0 is a guess and 1 is perfect"
                f" ({files})"
            )
    return None


def _single_column(seen: Evidence) -> tuple[str, float] | None:
    """Returns the column that alone tells most of the only target, with its skill."""
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
        " (history.csv)"
    )


def _rate(seen: Evidence) -> str:
    kind = getattr(seen.experiment.training.optimizer, "kind", "")
    return f"learning rate {seen.rate:.3g}; {kind}'s usual one is {seen.usual_rate:.3g} (history.csv)"
