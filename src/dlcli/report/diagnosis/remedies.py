"""Remedies as changes of the run's spec: each is a `--set` that the spec accepts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlcli.errors import SpecError
from dlcli.report.diagnosis.evidence import Evidence
from dlcli.runs.diagnosis import Finding, Name, Remedy
from dlcli.spec.base import dump
from dlcli.spec.load import load_text
from dlcli.tasks import TwoClasses
from dlcli.visible import visible

_MOST = 4
SMALLEST_PHOTO = 32
"""The shorter side in pixels from which on a backbone that was trained on photos is suggested."""
LONGEST = 500
"""The most characters of one line of evidence, since names in it may have any length."""


def finding_of(evidence: Evidence, name: Name, lines: Iterable[str], remedies: Iterable[Remedy]) -> Finding:
    """Returns a finding with lines of bounded length, and the remedies that the run's spec accepts."""
    return Finding(name, tuple(text[:LONGEST] for text in lines), applicable(evidence, remedies))


def applicable(evidence: Evidence, remedies: Iterable[Remedy]) -> tuple[Remedy, ...]:
    """Returns up to four remedies, without those whose change the run's spec refuses or already has.

    None changes the spec of an ensemble, which is not trained: its runs have the settings.
    """
    if not evidence.experiment.model.is_trained:
        remedies = [remedy for remedy in remedies if not remedy.set]
    path = evidence.run.spec_path
    text = path.read_text(encoding="utf-8")
    current, faults = _read(text, str(path), ())
    applicable_remedies = []
    for remedy in remedies:
        changed, new_faults = _read(text, str(path), remedy.changes) if remedy.set else (None, set())
        if not new_faults - faults and not (changed is not None and changed == current):
            applicable_remedies.append(remedy)
    return tuple(applicable_remedies[:_MOST])


def _read(text: str, path: str, overrides: tuple[str, ...]) -> tuple[dict[str, Any] | None, set[str]]:
    """Returns a spec as plain data, None where it has faults, and the faults; in a moved run the data's path may be one."""
    try:
        return dump(load_text(text, path, overrides).experiment), set()
    except SpecError as error:
        return None, {fault.message for fault in error.faults}


def train_longer(evidence: Evidence, factor: float = 3.0) -> list[Remedy]:
    """Returns more epochs; with stages, those of the last stage."""
    stages = evidence.experiment.training.stages
    if stages:
        epochs = stages[-1].epochs or evidence.experiment.training.epochs
        path = f"training.stages.{len(stages) - 1}.epochs"
    else:
        epochs, path = evidence.experiment.training.epochs, "training.epochs"
    return [Remedy("train longer", f"{path}={max(round(epochs * factor), epochs + 10)}")]


def change_learning_rate(evidence: Evidence, rate: float, words: str, stage: int | None = None) -> list[Remedy]:
    """Returns another learning rate: of the training, of a stage, or of every stage."""
    return _of_optimizers(evidence, words, f"learning_rate={rate:.1g}", stage)


def clip_gradients(evidence: Evidence, stage: int | None = None) -> list[Remedy]:
    """Returns clipped gradients: of the training, of a stage, or of every stage."""
    return _of_optimizers(evidence, "clip gradients", "clipnorm=1.0", stage)


def _of_optimizers(evidence: Evidence, words: str, change: str, stage: int | None) -> list[Remedy]:
    stages = evidence.experiment.training.stages
    if not stages:
        return [Remedy(words, f"training.optimizer.{change}")]
    places = range(len(stages)) if stage is None else [stage]
    return [Remedy(f"{words} in stage {stages[place].name}", f"training.stages.{place}.optimizer.{change}") for place in places]


def reweight_classes(evidence: Evidence) -> list[Remedy]:
    """Returns remedies for rare classes: weights of classes, another loss that gives them more weight, or more examples."""
    remedies = []
    if not evidence.is_balanced:
        text = "weights of classes in the loss, and the epoch with the best macro F1"
        remedies.append(Remedy(text, "data.balance=class_weight", ("training.monitor=auto",)))
    if isinstance(evidence.output, TwoClasses) and evidence.shares is not None:
        weight = f"{min(max(1 - float(evidence.shares[1]), 0.05), 0.95):.2g}"
        loss = f"{{kind: binary_focal_crossentropy, apply_class_balancing: true, alpha: {weight}}}"
        name = evidence.data["classes"][1]
        remedies.append(
            Remedy(
                f"a loss with weight {weight} for class {visible(name[:60])!r} and the rest for the other class",
                f"training.loss={loss}",
            )
        )
    elif evidence.has_one_class and not evidence.output.has_thresholds:
        remedies.append(
            Remedy(
                "a loss that gives hard examples more weight", "training.loss={kind: categorical_focal_crossentropy, gamma: 5}"
            )
        )
    return [*remedies, Remedy("more examples of the rare classes")]


def reduce_overfitting(evidence: Evidence) -> list[Remedy]:
    """Returns remedies against overfitting: a backbone, augmentation, dropout, penalties."""
    experiment = evidence.experiment
    remedies = use_pretrained(evidence)
    if "validation" not in evidence.data.get("examples", {}):
        remedies.append(Remedy("use a validation split to select the best epoch", "data.split.validation=0.15"))
    if evidence.has_images and not experiment.data.augment:
        change = "data.augment+={kind: random_translation, height_factor: 0.1, width_factor: 0.1}"
        remedies.append(Remedy("augment the training images", change))
    return remedies + [Remedy(words, change) for words, change in experiment.model.against_overfitting()]


def use_pretrained(evidence: Evidence) -> list[Remedy]:
    """Returns a pretrained backbone, for a network on photos with random initial weights."""
    experiment = evidence.experiment
    shape = evidence.data.get("shape") or []
    begins_random = not experiment.model.has_backbone and not experiment.training.initial_weights
    if not begins_random or experiment.training.stages or len(shape) != 3 or shape[2] != 3 or min(shape[:2]) < SMALLEST_PHOTO:
        return []
    text = (
        "a pretrained network (2 MB of weights are downloaded once from Keras's server; offline, give"
        " their file in place of imagenet)"
    )
    model = "model={kind: transfer, backbone: {kind: mobilenet, alpha: 0.25, weights: imagenet}}"
    return [Remedy(text, model, ("data.image.size=null", "data.normalize=auto"))]


def reduce_underfitting(evidence: Evidence) -> list[Remedy]:
    """Returns remedies against underfitting: units, layers, less regularisation, features closer to the task."""
    experiment = evidence.experiment
    changes = experiment.model.against_underfitting(len(experiment.training.stages))
    return [*use_pretrained(evidence), *(Remedy(words, change) for words, change in changes)]
