"""A spec -> the jobs of its children: a run for each fold, or for each fraction of the training data and seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path

from dlcli.errors import SpecError, UsageError
from dlcli.runs.batches import Job
from dlcli.spec.experiment import Experiment, Training
from dlcli.spec.load import LoadedSpec, load_text
from dlcli.spec.support import refuse_unsupported

MOST = 1000
"""The most children of a run."""


def fold_jobs(loaded: LoadedSpec, folds: int, repeats: int) -> list[Job]:
    """Returns a job for each fold of each repetition of a cross-validation.

    Raises:
        SpecError: the spec divides its examples itself, or is trained by several processes.
        UsageError: its model has no scores, there are fewer than two folds, or too many runs.
    """
    if folds < 2 or repeats < 1:
        raise UsageError(f"--folds: expected at least 2, found {folds}" if folds < 2 else "--repeats: expected at least 1")
    _refuse(loaded, "--folds", ("folds", "fold", "repeat", "file", "train_fraction"))
    if loaded.experiment.data.split.test == "validation":
        raise _fault(loaded, ("data", "split", "test"), "the test split of each run is a fold; remove this field")
    numbers = [(repeat, fold) for repeat in range(1, repeats + 1) for fold in range(1, folds + 1)]
    own = [
        (f"fold {fold}" + (f" of repeat {repeat}" if repeats > 1 else ""), _fold_settings(folds, fold, repeat))
        for repeat, fold in numbers
    ]
    return _jobs(loaded, "folds", own, [loaded.experiment.seed])


def _fold_settings(folds: int, fold: int, repeat: int) -> list[str]:
    return [f"data.split.folds={folds}", f"data.split.fold={fold}", f"data.split.repeat={repeat}"]


def fraction_jobs(loaded: LoadedSpec, fractions: Sequence[float], seeds: Sequence[int]) -> list[Job]:
    """Returns a job for each fraction of the training data and each seed (the spec's own if none).

    Raises:
        SpecError: the spec sets a fraction itself, or is trained by several processes.
        UsageError: its model has no scores, a fraction is not in (0, 1], or there are too many runs.
    """
    wrong = next((fraction for fraction in fractions if not 0 < fraction <= 1), None)
    if wrong is not None or not fractions:
        raise UsageError(f"--data-fractions: expected fractions above 0 and up to 1, found {wrong if fractions else 'none'}")
    _refuse(loaded, "--data-fractions", ("train_fraction",))
    training = loaded.experiment.training
    own = [(f"fraction {fraction:g}", _fraction_settings(fraction, training)) for fraction in sorted(set(fractions))]
    return _jobs(loaded, "fractions", own, seeds or [loaded.experiment.seed])


def _fraction_settings(fraction: float, training: Training) -> list[str]:
    """Returns the settings of a fraction, with as many steps as a training on all examples has.

    With as many epochs, fewer examples would mean fewer steps, and the curve would show the effect of both.
    """
    counts = _epoch_counts(training)
    return [f"data.split.train_fraction={fraction!r}", *(f"{path}={ceil(count / fraction - 1e-9)}" for path, count in counts)]


def _epoch_counts(training: Training) -> Iterator[tuple[str, int]]:
    """Yields the path and the value of the settings that count epochs: of the training, its stages and all callbacks."""
    yield "training.epochs", training.epochs
    lists = [("training", training.callbacks)]
    for number, stage in enumerate(training.stages):
        path = f"training.stages.{number}"
        if stage.epochs is not None:
            yield f"{path}.epochs", stage.epochs
        lists.append((path, stage.callbacks or []))
    for path, callbacks in lists:
        for number, callback in enumerate(callbacks):
            for name in callback.epoch_counts:
                yield f"{path}.callbacks.{number}.{name}", getattr(callback, name)


def _refuse(loaded: LoadedSpec, option: str, fields: Sequence[str]) -> None:
    """Raises SpecError or UsageError for a spec whose runs cannot be children."""
    experiment = loaded.experiment
    refuse_unsupported(experiment, "evaluate", f"`{option}`")
    if not experiment.model.is_trained:
        raise _fault(loaded, ("model", "kind"), f"{option} trains models; an ensemble is not trained")
    if experiment.hardware.strategy == "multi_worker":
        raise _fault(loaded, ("hardware", "strategy"), f"{option} trains each run in one process")
    split = experiment.data.split
    for field in fields:
        if getattr(split, field) != type(split).model_fields[field].default:
            raise _fault(loaded, ("data", "split", field), f"{option} sets the examples of each run; remove this field")


def _fault(loaded: LoadedSpec, place: tuple[str | int, ...], message: str) -> SpecError:
    return SpecError([loaded.document.fault(place, message)])


def _jobs(loaded: LoadedSpec, what: str, own: Sequence[tuple[str, list[str]]], seeds: Sequence[int]) -> list[Job]:
    """Returns a job for each child and seed; the first one of each seed is checked."""
    if len(own) * len(seeds) > MOST:
        raise UsageError(f"--{what}: these are {len(own) * len(seeds):,} runs; the limit is {MOST:,}")
    name, document = f"{loaded.experiment.name}-{what}", loaded.document
    jobs: list[Job] = []
    for group, settings in own:
        for seed in seeds:
            changed = [] if seed == loaded.experiment.seed else [f"seed={seed}"]
            overrides = [*loaded.overrides, f"name={name}", *settings, *changed]
            file = str(Path(document.file).absolute())
            jobs.append(Job(len(jobs) + 1, name, group, file, document.text, overrides, seed))
    for job in jobs[: len(seeds)]:
        load_text(job.text, job.file, job.overrides)
    return jobs


def experiment_of(job: Job) -> Experiment:
    """Returns the experiment of a child."""
    return load_text(job.text, job.file, job.overrides).experiment


def too_small_classes(counts: Sequence[tuple[str, int]], folds: int) -> Iterator[str]:
    """Yields the classes with fewer examples than folds, as text."""
    for name, count in counts:
        if count < folds:
            yield f"class {name!r} has {count} {'example' if count == 1 else 'examples'}"
