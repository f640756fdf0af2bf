"""`dlcli.load`, `dlcli.train`, `dlcli.finetune`, `dlcli.ensemble` and `dlcli.resume`: from a spec to a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcli.api.run import Run
from dlcli.errors import UsageError
from dlcli.runs.history import is_setting
from dlcli.runs.profile import StepRange
from dlcli.runs.reporter import EpochReport, Reporter
from dlcli.spec import load as spec_load
from dlcli.spec.load import LoadedSpec

if TYPE_CHECKING:
    from dlcli.runtime.cluster import Cluster
    from dlcli.training.resume import SchedulePolicy

Spec = str | PathLike[str] | Mapping[str, Any] | LoadedSpec
"""A YAML file, the same as plain data, or what `load` returns."""
Overrides = Sequence[str] | Mapping[str, Any]
"""Fields to override: `{"training.epochs": 3}`, or `["training.epochs=3"]` as on the command line."""
_logger = logging.getLogger("dlcli")


class LoggingReporter(Reporter):
    """A reporter that logs each line and each epoch at level INFO to the logger `dlcli`."""

    def log(self, line: str) -> None:
        """Logs a line."""
        _logger.info("%s", line)

    def epoch_finished(self, report: EpochReport) -> None:
        """Logs the values of an epoch."""
        values = "  ".join(f"{name} {value:.4g}" for name, value in report.row.items() if not is_setting(name))
        _logger.info("epoch %d/%d  %s%s", report.epoch, report.epochs, values, "  * best" if report.improved else "")


def load(spec: Spec, *, set: Overrides = ()) -> LoadedSpec:
    """Returns a checked spec; nothing is trained, and TensorFlow is not imported.

    Args:
        spec: a YAML file, or the same content as a dict, whose relative paths are relative to the working folder.
        set: fields to override.

    Raises:
        SpecError: with every fault of the spec and of the overrides.

    Example:
        >>> spec = dlcli.load("configs/digits_mlp.yaml", set={"training.epochs": 3})
        >>> spec.experiment.training.epochs
        3
    """
    if isinstance(spec, LoadedSpec):
        if set:
            raise UsageError("set: the spec is loaded already; pass `set` to dlcli.load")
        return spec
    if isinstance(spec, Mapping):
        return spec_load.load_data(_plain(spec), _as_options(set))
    return spec_load.load(fspath(spec), _as_options(set))


def train(
    spec: Spec,
    *,
    set: Overrides = (),
    runs: str | PathLike[str] = "runs",
    offline: bool = False,
    reporter: Reporter | None = None,
    cluster: Cluster | None = None,
    profile: str = "",
    folds: int | None = None,
    repeats: int = 1,
    data_fractions: Sequence[float] = (),
    seeds: Sequence[int] = (),
    jobs: int | None = None,
) -> Run:
    """Trains a spec in a new run folder and returns the run.

    With `folds` or `data_fractions`, several runs are trained, each in its own process, and the parent of them is returned:
    a program that is a script calls this below `if __name__ == "__main__":`.

    The seed, the precision policy and the session of Keras are set by the spec; the policy is restored at the end. Models that
    the program built before stay usable.

    Args:
        spec: a YAML file, the same content as a dict, or a loaded spec.
        set: fields to override.
        runs: the folder of the runs.
        offline: whether the network must not be accessed.
        reporter: receives the lines and epochs of the training; by default they are logged to the logger `dlcli`.
        cluster: the workers that train together, of which this process is the chief.
        profile: steps to profile as `"FIRST:LAST"`, counted from 1 over all epochs; the run folder contains the time of each
            layer and a profile for TensorBoard.
        folds: the number of folds of a cross-validation; the model of the returned run averages those of all folds.
        repeats: how often the examples are divided into folds.
        data_fractions: fractions of the training split to train on, for the curve of the scores over training examples.
        seeds: seeds for each fraction; the spec's own by default.
        jobs: the number of runs at once, of folds or fractions; decided by their size by default.

    Raises:
        SpecError: with every fault of the spec and of the overrides.
        UsageError: the arguments do not fit together.
        DataError: the data cannot be read, or cannot be trained on.
        RunFailed: the training could not end well; the folder says why and keeps the best epoch.
        Interrupted: a signal stopped it; `resume` continues it.

    Example:
        >>> run = dlcli.train("configs/digits_mlp.yaml", set={"training.epochs": 3})
        >>> run.metrics()["accuracy"]
    """
    loaded = load(spec, set=set)
    if folds is None and not data_fractions:
        if seeds or jobs is not None or repeats != 1:
            raise UsageError("repeats, seeds and jobs are for `folds` or `data_fractions`")
        return _trained(loaded, runs, reporter, offline=offline, cluster=cluster, profile=_steps(profile))
    if cluster is not None or profile or (folds is not None and (data_fractions or seeds)) or (data_fractions and repeats != 1):
        raise UsageError("folds has `repeats`, data_fractions has `seeds`; neither has the other, `cluster` or `profile`")
    from dlcli.fleet.parent import train_folds, train_fractions
    from dlcli.runs.batches import Settings

    settings, reporter = Settings(jobs=jobs, offline=offline), reporter or LoggingReporter()
    with _settings_restored():
        if folds is not None:
            parent = train_folds(loaded, Path(runs), reporter, folds=folds, repeats=repeats, settings=settings)
        else:
            fractions = list(data_fractions)
            parent = train_fractions(loaded, Path(runs), reporter, fractions=fractions, seeds=seeds, settings=settings)
    return Run(parent.path)


def finetune(
    source: Spec | Run,
    *,
    set: Overrides = (),
    train: str | Mapping[str, Any] | None = None,
    learning_rate: float | None = None,
    epochs: int | None = None,
    runs: str | PathLike[str] = "runs",
    offline: bool = False,
    reporter: Reporter | None = None,
    profile: str = "",
) -> Run:
    """Fine-tunes a model in stages and returns the new run.

    The stages of a spec train the head first, then layers of the backbone too. A completed run is trained in one more stage.

    Args:
        source: a spec, as for `train`, or a completed run.
        set: fields to override.
        train: of a run: what to train, `"all"` (the default), `"head"`, `{"last": 20}`, `{"blocks": 2}` or `{"from": layer}`.
        learning_rate: of a run: the learning rate; by default that of its last stage, or a hundredth of it if its backbone was
            frozen.
        epochs: of a run: the number of epochs; by default as in its last stage.
        runs: the folder of the runs.
        offline: whether the network must not be accessed.
        reporter: receives the lines and epochs of the training; by default they are logged to the logger `dlcli`.
        profile: steps to profile as `"FIRST:LAST"`, counted from 1 over all epochs; the run folder contains the time of each
            layer and a profile for TensorBoard.

    Raises:
        UsageError: the source has nothing that was trained before, or `train`, `learning_rate` or `epochs` are set for a spec.
        SpecError, DataError, RunFailed, Interrupted: as `dlcli.train` raises them.

    Example:
        >>> better = dlcli.finetune(run, train="head", epochs=2)
    """
    from dlcli.training.finetune import continued, with_stages

    if not isinstance(source, Run):
        if (train, learning_rate, epochs) != (None, None, None):
            raise UsageError("train, learning_rate and epochs need a run; a spec sets them in `training.stages`")
        return _trained(with_stages(load(source, set=set)), runs, reporter, offline=offline, profile=_steps(profile))
    notes: list[str] = []
    loaded = continued(
        source.folder,
        notes.append,
        train=_plain(train or "all"),
        learning_rate=learning_rate,
        epochs=epochs,
        overrides=_as_options(set),
        offline=offline,
    )
    return _trained(loaded, runs, reporter, offline=offline, parent=source.id, notes=notes, profile=_steps(profile))


def ensemble(
    members: Sequence[Run | str | PathLike[str]],
    *,
    weights: Sequence[float] | None = None,
    name: str = "",
    set: Overrides = (),
    runs: str | PathLike[str] = "runs",
    offline: bool = False,
    reporter: Reporter | None = None,
) -> Run:
    """Averages the models of runs and returns the new run, which predicts, is scored and is exported like any other.

    Args:
        members: two or more runs, or what names them, with the same task, classes, inputs and split.
        weights: the weight of each run in the mean; equal weights by default.
        name: the name of the ensemble; by default that of the runs with `-ensemble`.
        set: fields to override.
        runs: the folder of the runs.
        offline: whether the network must not be accessed.
        reporter: receives the lines of the log; by default they are logged to the logger `dlcli`.

    Raises:
        UsageError: the runs do not fit together, or one of them was trained on test examples of the first one.
        DataError: the data cannot be read, or a run was trained on other data.

    Example:
        >>> mean = dlcli.ensemble([first, second], weights=[2, 1])
        >>> mean.metrics()["accuracy"]
    """
    from dlcli.training.ensemble import combined

    folders = [(member if isinstance(member, Run) else Run(member, runs=runs)).folder for member in members]
    loaded = combined(folders, weights=weights, name=name, overrides=_as_options(set))
    return _trained(loaded, runs, reporter, offline=offline)


def resume(
    run: Run,
    *,
    set: Overrides = (),
    schedule: SchedulePolicy | None = None,
    offline: bool = False,
    reporter: Reporter | None = None,
    cluster: Cluster | None = None,
    profile: str = "",
) -> Run:
    """Resumes an interrupted run from its newest checkpoint, to the same bits as if it had never been interrupted.

    Args:
        run: the run; `set={"training.epochs": 30}` adds epochs to a completed one.
        set: more epochs, or fields that cannot change results.
        schedule: what the schedule of the learning rate does in added epochs: `"continue"`, `"stretch"` or `"rewarm"`.
        offline: whether the network must not be accessed.
        reporter: receives the lines and epochs of the training; by default they are logged to the logger `dlcli`.
        cluster: the workers that train together, of which this process is the chief.
        profile: steps to profile as `"FIRST:LAST"`, counted from 1 over all epochs; the run folder contains the time of each
            layer and a profile for TensorBoard.

    Raises:
        UsageError: another process writes the run, or something else is to change.
        RunFailed, Interrupted: as `dlcli.train` raises them.
    """
    reporter = reporter or LoggingReporter()
    if run.folder.status().children:
        if set or schedule is not None or cluster is not None or profile:
            raise UsageError(
                f"{run.id} consists of several runs, which are resumed as they are: omit set and the other options"
            )
        from dlcli.fleet.parent import resume_parent

        with _settings_restored():
            resume_parent(run.folder, reporter, offline=offline)
        return run
    with reporter.waiting("starting TensorFlow"):
        from dlcli.training.resume import resume as resume_folder

    with _settings_restored():
        resume_folder(
            run.folder,
            reporter,
            overrides=_as_options(set),
            schedule=schedule,
            offline=offline,
            cluster=cluster,
            profile=_steps(profile),
        )
    return run


def _steps(text: str) -> StepRange | None:
    return StepRange.parse(text) if text else None


def _trained(loaded: LoadedSpec, runs: str | PathLike[str], reporter: Reporter | None, **options: Any) -> Run:
    reporter = reporter or LoggingReporter()
    with reporter.waiting("starting TensorFlow"):
        from dlcli.training.train import train as train_folder

    with _settings_restored():
        folder = train_folder(loaded, Path(runs), reporter, **options)
    return Run(folder.path)


@contextmanager
def _settings_restored() -> Iterator[None]:
    """Restores Keras's precision policy at the end of the block: it would apply to the models that the caller builds next.

    TensorFlow's warnings on functions that it traces again are not shown inside the block: a training has a function each.
    """
    from dlcli.runtime.engine import keras, tf

    policy, logger = keras.config.dtype_policy(), tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        logger.setLevel(level)


def _as_options(overrides: Overrides) -> list[str]:
    """Returns overrides as the `--set` options that mean them."""
    if isinstance(overrides, Mapping):
        return [f"{key}={spec_load.to_flow(_plain(value))}" for key, value in overrides.items()]
    if isinstance(overrides, str):
        raise UsageError(f"set: expected a dict or a list of options, found the text {overrides!r}")
    return list(overrides)


def _plain(value: Any) -> Any:
    """Returns a value as YAML can hold it: mappings as dicts, sequences as lists, paths as text, NumPy's numbers as Python's.

    Raises:
        UsageError: YAML holds no such value.
    """
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, PathLike):
        return fspath(value)
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:  # a scalar of NumPy or TensorFlow; neither is imported
        value = value.item() if hasattr(value, "item") else value.numpy().item()
    if not isinstance(value, (str, bool, int, float, date, type(None))):
        raise UsageError(f"a spec holds numbers, texts, lists and dicts, not {type(value).__name__}: {value!r:.60}")
    return value
