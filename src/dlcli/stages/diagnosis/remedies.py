"""What to try, as changes of the run's own spec: each is a `--set` that the spec takes."""

from __future__ import annotations

from collections.abc import Iterable

from dlcli.errors import SpecError
from dlcli.spec.file import load_text
from dlcli.spec.models import Cnn, Mlp, Transfer
from dlcli.stages.diagnosis.evidence import Evidence
from dlcli.stages.diagnosis.finding import Remedy

_MOST = 4


def taken(evidence: Evidence, remedies: Iterable[Remedy]) -> tuple[Remedy, ...]:
    """Returns up to four remedies, without those whose change the run's spec does not take."""
    path = evidence.run.path / "spec.yaml"
    text = path.read_text(encoding="utf-8")
    before = _faults(text, str(path), ())
    kept = [one for one in remedies if not one.set or not _faults(text, str(path), (one.set,)) - before]
    return tuple(kept[:_MOST])


def _faults(text: str, path: str, overrides: tuple[str, ...]) -> set[str]:
    """Returns what is wrong with a spec; of a run that was moved, that may be its data's place."""
    try:
        load_text(text, path, overrides)
    except SpecError as error:
        return {fault.message for fault in error.faults}
    return set()


def longer(evidence: Evidence, factor: float = 3.0) -> list[Remedy]:
    """More epochs, of the last stage where there are stages."""
    stages = evidence.experiment.training.stages
    if stages:
        epochs = stages[-1].epochs or evidence.experiment.training.epochs
        path = f"training.stages.{len(stages) - 1}.epochs"
    else:
        epochs, path = evidence.experiment.training.epochs, "training.epochs"
    return [Remedy("train longer", f"{path}={max(round(epochs * factor), epochs + 10)}")]


def with_rate(evidence: Evidence, rate: float, words: str, stage: int | None = None) -> list[Remedy]:
    """Another learning rate: of the training, of a stage, or of every stage."""
    return _of_optimizers(evidence, words, f"learning_rate={rate:.1g}", stage)


def clipped(evidence: Evidence, stage: int | None = None) -> list[Remedy]:
    """Gradients cut to a length: of the training, of a stage, or of every stage."""
    return _of_optimizers(evidence, "cut gradients that are too long", "clipnorm=1.0", stage)


def _of_optimizers(evidence: Evidence, words: str, change: str, stage: int | None) -> list[Remedy]:
    stages = evidence.experiment.training.stages
    if not stages:
        return [Remedy(words, f"training.optimizer.{change}")]
    chosen = range(len(stages)) if stage is None else [stage]
    return [Remedy(f"{words} in stage {stages[place].name}", f"training.stages.{place}.optimizer.{change}") for place in chosen]


def stop_early(evidence: Evidence) -> list[Remedy]:
    """Stopping once the validation gets no better, where the run does not."""
    training = evidence.experiment.training
    if "validation" not in evidence.data.get("examples", {}):
        return [Remedy("watch a validation part", "data.split.validation=0.15")]
    if any(getattr(one, "kind", "") == "early_stopping" for one in training.callbacks):
        return []
    where = f"training.stages.{len(training.stages) - 1}.callbacks+" if training.stages else "training.callbacks+"
    return [Remedy("stop once the validation gets no better", f"{where}={{kind: early_stopping, patience: 8}}")]


def less_fit(evidence: Evidence) -> list[Remedy]:
    """What keeps a model from learning its examples by heart: dropout, penalties, augmentation, fewer units."""
    model = evidence.experiment.model
    found = stop_early(evidence)
    if evidence.experiment.data.facts(evidence.task).image and not evidence.experiment.data.augment:
        change = "data.augment+={kind: random_translation, height_factor: 0.1, width_factor: 0.1}"
        found.append(Remedy("vary the training images", change))
    if isinstance(model, Mlp) and model.units:
        if model.dropout < 0.3:
            found.append(Remedy("drop units at random", "model.dropout=0.4"))
        if model.kernel_regularizer is None:
            found.append(Remedy("punish large weights", "model.kernel_regularizer={kind: l2, l2: 1e-3}"))
        if max(model.units) > 8:
            found.append(Remedy("a smaller model", f"model.units={[max(4, units // 4) for units in model.units]}"))
    elif isinstance(model, Cnn):
        found.append(Remedy("drop units at random, before the output", "model.layers+={kind: dropout, rate: 0.5}"))
    elif isinstance(model, Transfer) and model.classifier is None:
        found.append(Remedy("drop features at random", "model.head+={kind: dropout, rate: 0.3}"))
    return found


def more_fit(evidence: Evidence) -> list[Remedy]:
    """What lets a model learn more: units, layers, less regularisation, features closer to the task."""
    model = evidence.experiment.model
    if isinstance(model, Mlp):
        found = [Remedy("a larger model", f"model.units={[max(32, 4 * units) for units in model.units] + [32]}")]
        if model.dropout:
            found.append(Remedy("no dropout", "model.dropout=0"))
        if model.kernel_regularizer is not None:
            found.append(Remedy("no penalty on weights", "model.kernel_regularizer=null"))
        return found
    if isinstance(model, Cnn):
        if model.blocks:
            wider = [2 * filters for filters in model.blocks.filters]
            return [Remedy("more filters", f"model.blocks.filters={wider}")]
        return [Remedy("one more hidden layer", "model.layers+={kind: dense, units: 64, activation: relu}")]
    assert isinstance(model, Transfer)
    last = len(evidence.experiment.training.stages)
    stage = "{name: more, train: {last: 20}, epochs: 10, optimizer: {kind: adam, learning_rate: 1e-5}}"
    found = [] if model.classifier else [Remedy("a larger head", "model.head+={kind: dense, units: 128, activation: relu}")]
    return found + ([Remedy("train the end of the backbone too", f"training.stages+={stage}")] if last else [])
