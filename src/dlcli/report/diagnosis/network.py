"""The rules about the inside of the network: the scale of its inputs, and training mode against inference mode."""

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
"""Deviation of the first layer's inputs below which, and size above which, usual initial weights do not fit them."""
DISAGREE = 0.05
"""Difference of scores between training mode and inference mode on the same examples."""
SURE = 3.1
"""Standard errors from which on a difference is not chance (one-sided p-value 0.001)."""


def badly_scaled_inputs(evidence: Evidence) -> Finding | None:
    """The inputs of the first layer are far smaller or larger than its initial weights assume."""
    scale = evidence.checks.inputs
    if scale is None or scale.deviation is None or scale.size is None or not is_imperfect(evidence):
        return None
    tiny, huge = scale.deviation < TINY, scale.size > HUGE
    if not (tiny or huge):
        return None
    size_text = f"a standard deviation of {scale.deviation:.2g}" if tiny else f"a root mean square of {scale.size:.3g}"
    lines = [
        f"the inputs of the first layer with weights ({scale.layer}) have {size_text} on {scale.examples} training examples;"
        f" about 1 is usual ({layout.CHECKS})"
    ]
    if scale.largest is not None and scale.smallest is not None and huge:
        lines.append(
            f"the largest column has a root mean square of {scale.largest:.3g}, the smallest {scale.smallest:.3g}"
            f" ({layout.CHECKS})"
        )
    return finding_of(evidence, "badly scaled inputs", [*lines, *_scaled_by(evidence)], _scaling(evidence))


def is_imperfect(evidence: Evidence) -> bool:
    """Whether a run's scores can improve: a nearly perfect network needs no other scale."""
    scored = max(evidence.scored_skills.values(), default=-1.0)
    return min(best_skill(evidence), scored if evidence.scored_skills else best_skill(evidence)) < HARD


def _rescaling(evidence: Evidence) -> int | None:
    """Returns the index of a rescaling layer among the model's layers."""
    layers = evidence.experiment.model.listed_layers
    return next((place for place, layer in enumerate(layers) if isinstance(layer, Rescaling)), None)


def _scaled_by(evidence: Evidence) -> list[str]:
    normalize, place = evidence.experiment.data.normalize, _rescaling(evidence)
    if place is None:
        return [f"data.normalize is {normalize} ({layout.SPEC})"]
    return [
        f"data.normalize is {normalize}, and model.layers.{place} is a rescaling: the inputs are scaled twice ({layout.SPEC})"
    ]


def _scaling(evidence: Evidence) -> list[Remedy]:
    normalize, place = evidence.experiment.data.normalize, _rescaling(evidence)
    if place is not None and normalize != "none":
        return [Remedy("scale the inputs only once, in the layer", "data.normalize=none")]
    normalize_to = "unit" if evidence.has_images and normalize != "unit" else "standard"
    return [Remedy("scale the inputs", f"data.normalize={normalize_to}")]


def modes_disagree(evidence: Evidence) -> Finding | None:
    """The same training examples are predicted well in training mode and worse in inference mode."""
    modes = evidence.checks.modes
    if modes is None or modes.training is None or modes.inference is None:
        return None
    changed = modes.worse + modes.better
    is_significant = changed and (modes.worse - modes.better - 1) / sqrt(changed) > SURE
    if not is_significant or modes.training - modes.inference < DISAGREE:
        return None
    lines = [
        f"the same {modes.examples} training examples: {modes.score} {modes.training:.3f} with the statistics of each batch, as"
        f" in training, {modes.inference:.3f} with the moving statistics, as in prediction ({layout.CHECKS})"
    ]
    steps, momentum = evidence.steps_to_best, _momentum(evidence)
    if steps:
        lines.append(
            f"the moving averages of batch normalisation (momentum {momentum:g}) need about"
            f" {_needed_steps(momentum)} steps, but the saved model had {steps} ({layout.HISTORY})"
        )
    return finding_of(evidence, "training and prediction disagree", lines, _remedies(evidence, steps))


def _needed_steps(momentum: float) -> int:
    """Returns the steps after which 1 % of a moving average's start remains."""
    from math import log

    return max(1, round(log(0.01) / log(momentum))) if 0 < momentum < 1 else 1


def _places(evidence: Evidence) -> list[int]:
    layers = evidence.experiment.model.listed_layers
    return [place for place, layer in enumerate(layers) if isinstance(layer, BatchNormalization)]


def _momentum(evidence: Evidence) -> float:
    layers = evidence.experiment.model.listed_layers
    momenta = [layer.momentum for layer in layers if isinstance(layer, BatchNormalization)]
    return max(momenta, default=0.99)  # that of a model's own normalisation, which is Keras's default


def _remedies(evidence: Evidence, steps: int) -> list[Remedy]:
    """Returns faster moving averages, and more epochs."""
    remedies = []
    places, momentum = _places(evidence), _momentum(evidence)
    if places and momentum > 0.5 and steps:
        lower_momentum = f"{max(0.5, round(1 - 10 / steps, 2)):g}"
        first_change, *other_changes = (f"model.layers.{place}.momentum={lower_momentum}" for place in places)
        if float(lower_momentum) < momentum:
            remedies.append(Remedy("faster moving averages", first_change, tuple(other_changes)))
    factor = min(20.0, max(2.0, _needed_steps(momentum) / steps)) if steps else 3.0
    return remedies + try_.train_longer(evidence, factor)
