"""The rules about what happens inside the network: the scale of its inputs, and two ways to answer one example."""

from __future__ import annotations

from math import sqrt

from dlcli.report.diagnosis import remedies as try_
from dlcli.report.diagnosis.evidence import Evidence
from dlcli.report.diagnosis.remedies import finding_of
from dlcli.report.diagnosis.skill import HARD, best_skill
from dlcli.runs import layout
from dlcli.runs.diagnosis import Finding, Remedy
from dlcli.spec.model.layers.regular import BatchNormalization
from dlcli.spec.model.layers.shape import Rescaling

TINY, HUGE = 0.01, 10.0
"""Deviation of the first layer's inputs below which, and their size above which, usual weights do not fit them."""
DISAGREE = 0.05
"""Score that is lost between the training's and the prediction's way to answer the same examples."""
SURE = 3.1
"""Standard errors from which on it is no chance (one-sided p-value 0.001)."""


def badly_scaled_inputs(seen: Evidence) -> Finding | None:
    """The first layer is given numbers far smaller or larger than its initial weights are made for."""
    scale = seen.checks.inputs
    if scale is None or scale.deviation is None or scale.size is None or not is_imperfect(seen):
        return None
    tiny, huge = scale.deviation < TINY, scale.size > HUGE
    if not (tiny or huge):
        return None
    number = f"a standard deviation of {scale.deviation:.2g}" if tiny else f"a root mean square of {scale.size:.3g}"
    evidence = [
        f"the inputs of the first layer with weights ({scale.layer}) have {number} on {scale.examples} training examples;"
        f" about 1 is usual ({layout.CHECKS})"
    ]
    if scale.largest is not None and scale.smallest is not None and huge:
        evidence.append(
            f"the largest column has a root mean square of {scale.largest:.3g}, the smallest {scale.smallest:.3g}"
            f" ({layout.CHECKS})"
        )
    return finding_of(seen, "badly scaled inputs", [*evidence, *_scaled_by(seen)], _scaling(seen))


def is_imperfect(seen: Evidence) -> bool:
    """Whether a run's result leaves room: a network that answers all but perfectly needs no other scale."""
    scored = max(seen.scored_skills.values(), default=-1.0)
    return min(best_skill(seen), scored if seen.scored_skills else best_skill(seen)) < HARD


def _rescaling(seen: Evidence) -> int | None:
    """Returns the place of a rescaling layer among the model's layers."""
    layers = seen.experiment.model.listed_layers
    return next((place for place, layer in enumerate(layers) if isinstance(layer, Rescaling)), None)


def _scaled_by(seen: Evidence) -> list[str]:
    normalize, place = seen.experiment.data.normalize, _rescaling(seen)
    if place is None:
        return [f"data.normalize is {normalize} ({layout.SPEC})"]
    return [
        f"data.normalize is {normalize}, and model.layers.{place} is a rescaling: the inputs are scaled twice ({layout.SPEC})"
    ]


def _scaling(seen: Evidence) -> list[Remedy]:
    normalize, place = seen.experiment.data.normalize, _rescaling(seen)
    if place is not None and normalize != "none":
        return [Remedy("scale the inputs only once, in the layer", "data.normalize=none")]
    image = seen.experiment.data.facts(seen.task).image
    wanted = "unit" if image and normalize != "unit" else "standard"
    return [Remedy("scale the inputs", f"data.normalize={wanted}")]


def modes_disagree(seen: Evidence) -> Finding | None:
    """The same training examples are answered well as in training and worse as in a prediction."""
    found = seen.checks.modes
    if found is None or found.training is None or found.inference is None:
        return None
    changed = found.worse + found.better
    sure = changed and (found.worse - found.better - 1) / sqrt(changed) > SURE
    if not sure or found.training - found.inference < DISAGREE:
        return None
    evidence = [
        f"the same {found.examples} training examples: {found.score} {found.training:.3f} with the statistics of each batch, as"
        f" in training, {found.inference:.3f} with the moving statistics, as in prediction ({layout.CHECKS})"
    ]
    steps, momentum = seen.steps_to_best, _momentum(seen)
    if steps:
        evidence.append(
            f"the moving averages of batch normalisation (momentum {momentum:g}) need about"
            f" {_needed(momentum)} steps, but the saved model had {steps} ({layout.HISTORY})"
        )
    return finding_of(seen, "training and prediction disagree", evidence, _remedies(seen, steps))


def _needed(momentum: float) -> int:
    """Returns the steps after which a moving average has left 1 % of its start."""
    from math import log

    return max(1, round(log(0.01) / log(momentum))) if 0 < momentum < 1 else 1


def _places(seen: Evidence) -> list[int]:
    layers = seen.experiment.model.listed_layers
    return [place for place, layer in enumerate(layers) if isinstance(layer, BatchNormalization)]


def _momentum(seen: Evidence) -> float:
    layers = seen.experiment.model.listed_layers
    known = [layer.momentum for layer in layers if isinstance(layer, BatchNormalization)]
    return max(known, default=0.99)  # that of a model's own normalisation, which is Keras's default


def _remedies(seen: Evidence, steps: int) -> list[Remedy]:
    """Averages that follow sooner, and more epochs."""
    found = []
    places, momentum = _places(seen), _momentum(seen)
    if places and momentum > 0.5 and steps:
        wanted = f"{max(0.5, round(1 - 10 / steps, 2)):g}"
        first, *others = (f"model.layers.{place}.momentum={wanted}" for place in places)
        if float(wanted) < momentum:
            found.append(Remedy("faster moving averages", first, tuple(others)))
    factor = min(20.0, max(2.0, _needed(momentum) / steps)) if steps else 3.0
    return found + try_.longer(seen, factor)
