"""Experiment -> run: open the data, build, fit, keep the best epoch, score it. An interrupted run is resumed the same way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from dlcli.data.balance import balance_in_words, epoch_facts, refuse_missing_balance
from dlcli.data.open_run import open_recorded
from dlcli.data.resolve import prepared, resolved_for
from dlcli.data.splits import Splits, open_splits
from dlcli.data.texts import TextFacts, text_facts, text_lines, vocabularies_of
from dlcli.data.unfamiliar import gaps_of
from dlcli.errors import Interrupted, RunFailed
from dlcli.models.targets import change_facts, scale_in_words, target_scale
from dlcli.report.checks import Measurements, measure_network, write_checks
from dlcli.report.write_up import diagnose_failure, draw_curves, write_documents
from dlcli.runs import RunFolder
from dlcli.runs.environment import describe_environment, process_started, rounding_differences
from dlcli.runs.failures import recorded_failure
from dlcli.runs.folder import REVISION, now
from dlcli.runs.profile import StepRange
from dlcli.runs.reporter import Log, Reporter
from dlcli.runs.scored_splits import sizes_in_words
from dlcli.runtime.checkpoint import Snapshot
from dlcli.runtime.cluster import Cluster
from dlcli.runtime.device import Device, joined, use_devices
from dlcli.runtime.engine import new_session
from dlcli.runtime.helper_process import submit
from dlcli.score.evaluate import begin_evaluation
from dlcli.spec.data.sources.row_ids import recorded_names
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import LoadedSpec, to_yaml
from dlcli.spec.support import refuse_unsupported, words_against
from dlcli.training.checkpoints import keep_last_checkpoint
from dlcli.training.data_checks import check_data
from dlcli.training.fit import FitContext, fit
from dlcli.training.profile import refuse_unprofiled
from dlcli.training.trackers.notify import followed, refuse_missing_trackers, without_trackers


class Score(Protocol):
    """Scores the saved model of a run, and returns the measurements for its diagnosis, if `measured`."""

    def __call__(self, experiment: Experiment, splits: Splits, run: RunFolder, log: Log, *, measured: bool) -> Measurements:
        """Writes the scores into the run's folder."""


def train(
    loaded: LoadedSpec,
    runs: Path,
    reporter: Reporter,
    *,
    offline: bool = False,
    parent: str = "",
    batch: str = "",
    write_up: bool = True,
    cluster: Cluster | None = None,
    notes: Sequence[str] = (),
    profile: StepRange | None = None,
) -> RunFolder:
    """Trains an experiment in a new run folder and returns the run.

    `parent` is the id of the run that it continues, `batch` names the job of a batch that it is made for. `write_up`
    says whether diagnosis, model card and report are written at its end. Of a cluster's workers this is the chief. `notes`
    are the first lines of the run's log: what was noticed before there was a folder for it. `profile` names steps that are
    profiled.

    Raises:
        RunFailed: the training failed; the folder says why and keeps the best epoch so far.
        Interrupted: a signal stopped it; `dlcli train --resume` resumes it.
        DataError: the data is not fit to train on.
        UsageError: a tracker's package is not installed, the model cannot be trained by several workers, or it has no steps
            that can be profiled.
    """
    experiment = loaded.experiment
    refuse_missing_trackers(experiment)
    refuse_missing_balance(experiment)
    if profile is not None:
        refuse_unprofiled(experiment)
    join_workers(experiment, cluster)
    run = RunFolder.create(runs, experiment.name, spec=to_yaml(experiment), source=loaded.source_text, batch=batch)
    run.update_status(process_started=process_started(), parent=parent)
    log = run_logger(run, reporter)
    with run.hold():
        for note in notes:
            log(note)
        proceed(run, experiment, reporter, log, offline=offline, write_up=write_up, cluster=cluster, profile=profile)
    return run


def join_workers(experiment: Experiment, cluster: Cluster | None) -> None:
    """Waits for all workers of a training, before anything is written.

    Raises:
        UsageError: there are fewer devices than required, or the strategy or the kind of model does not fit the cluster.
    """
    if cluster is not None:
        refuse_unsupported(experiment, "several devices", "a training by several workers")
    joined(experiment.hardware, cluster)


def proceed(
    run: RunFolder,
    experiment: Experiment,
    reporter: Reporter,
    log: Log,
    *,
    begin: Snapshot | None = None,
    offline: bool = False,
    write_up: bool = True,
    cluster: Cluster | None = None,
    profile: StepRange | None = None,
    score: Score | None = None,
) -> None:
    """Trains a run's experiment to its end, from a checkpoint or from the beginning; the process must hold the run.

    Of several workers the chief alone scores it, with `score` in place of the usual scores of its test split.
    """
    with followed(run, reporter, log) as notifier:
        with _diagnosed_failure(run, write_up), recorded_failure(run) as request:
            new_session()
            device = use_devices(experiment.hardware, experiment.seed, cluster)
            log(f"device: {device}")
            first, environment = run.environment(), described(run, device)
            run.write_environment(environment)
            if first:
                _tell_rounding(first, environment["resumed"][-1], log)
            if begin is None and not run.split_path.exists():
                experiment, splits = _opened(run, experiment, device, log, offline=offline)
            else:
                splits = open_recorded(run, experiment, offline=offline)
            chief = cluster is None or cluster.is_chief
            notifier.begin(experiment if chief else without_trackers(experiment), offline=offline)
            decided = partial(_record_precision, run)
            context = FitContext(request, begin, offline, device.spread, profile, decided)
            fit(experiment, splits, run, notifier, log, context)
            if not chief:
                return
            measurements = (score or score_saved)(experiment, splits, run, log, measured=write_up)
            keep_last_checkpoint(run)
            run.update_status(state="completed", finished=now())
        if write_up:
            write_documents(run, log, lambda run: write_checks(experiment, splits, run, measurements))


@contextmanager
def _diagnosed_failure(run: RunFolder, write_up: bool) -> Iterator[None]:
    """Writes the diagnosis of a run that fails inside the block: the user needs to know why a loss diverged."""
    try:
        yield
    except Interrupted:
        raise
    except RunFailed:
        if write_up and run.path.is_dir():
            diagnose_failure(run)
        raise


def run_logger(run: RunFolder, reporter: Reporter) -> Log:
    """Returns a function that writes a line for the user and to the run's log."""

    def log(line: str) -> None:
        run.log(line)
        reporter.log(line)

    return log


def described(run: RunFolder, device: Device) -> dict[str, Any]:
    """Returns what `environment.json` holds: of a resumed run the first description, with the later ones in `resumed`.

    The run keeps the revision that it was started with.
    """
    first, current = run.environment(), describe_environment(device)
    return {"revision": REVISION} | current if not first else first | {"resumed": [*first.get("resumed", []), current]}


def _tell_rounding(first: dict[str, Any], current: dict[str, Any], log: Log) -> None:
    """Logs how the device of a resumed run differs from that at its start, and whether that changes its bits."""
    differing = rounding_differences(first, current)
    if differing:
        log(f"note: resumed with {', '.join(differing)}: the last bits will differ from an uninterrupted run")
    elif current["threads"]["intra_op"] != len(current["affinity"]):
        count, cores = current["threads"]["intra_op"], len(current["affinity"])
        log(f"threads: {count}, as at the start of the run ({cores} {'cores are' if cores > 1 else 'core is'} available now)")


def _opened(run: RunFolder, experiment: Experiment, device: Device, log: Log, *, offline: bool) -> tuple[Experiment, Splits]:
    """Opens the data for the first time: returns the resolved experiment and the splits, both recorded in the run folder."""
    experiment = prepared(experiment, offline=offline)
    splits = open_splits(experiment, offline=offline, pixels=run.pixels_path, log=log)
    _tell_data(splits, log)
    experiment = resolved_for(experiment, splits, device)
    scale = target_scale(experiment, splits)
    if scale is not None:
        log(scale_in_words(scale, splits.classes))
    splits = replace(splits, vocabularies=vocabularies_of(experiment, splits))
    texts = text_facts(experiment, splits)
    _tell_texts(run, experiment, texts, log)
    if line := balance_in_words(experiment, splits):
        log(line)
    run.write_spec(to_yaml(experiment))
    facts = {"leaks": check_data(run, experiment, splits, log), "gaps": gaps_of(splits.train.inputs)}
    facts |= {"texts": {name: of_column.as_json() for name, of_column in texts.items()}} if texts else {}
    facts |= change_facts(scale)
    run.write_data(splits.describe() | facts | epoch_facts(experiment, splits))
    run.write_split({name: recorded_names(examples.ids) for name, examples in splits.distinct.items()}, splits.groups())
    return experiment, splits


def _record_precision(run: RunFolder, experiment: Experiment) -> None:
    """Records the precision in the spec and the environment of a run where the model has decided it."""
    environment = run.environment()
    if environment["precision"] == "auto":
        run.write_spec(to_yaml(experiment))
        run.write_environment(environment | {"precision": experiment.hardware.precision})


def _tell_texts(run: RunFolder, experiment: Experiment, texts: Mapping[str, TextFacts], log: Log) -> None:
    """Logs what is known of each column of texts, and writes the vocabularies, if there are some."""
    for line in text_lines(experiment.data.text, texts):
        log(line)
    for of_column in texts.values():
        if not experiment.training.initial_weights:
            for line in experiment.model.lines_of_vocabulary(of_column.vocabulary):
                log(line)
    if any(of_column.vocabulary for of_column in texts.values()):
        run.write_vocabularies({name: of_column.vocabulary for name, of_column in texts.items()})


def _tell_data(splits: Splits, log: Log) -> None:
    counts = {name: len(examples) for name, examples in splits.by_name.items()}
    sizes = sizes_in_words(counts, shared=splits.test_is_validation)
    columns = len(splits.train.inputs.columns)
    shape = f"shape {splits.shape}" if splits.shape else f"{columns} column{'' if columns == 1 else 's'}"
    classes = f", {len(splits.classes)} classes" if splits.task.output.strata(splits.train.targets) is not None else ""
    log(f"data: {sizes}; {shape}{classes}")
    for line in splits.lines:
        log(line)
    for note in splits.notes:
        log(f"note: {note}")


def score_saved(experiment: Experiment, splits: Splits, run: RunFolder, log: Log, *, measured: bool) -> Measurements:
    """Scores the saved model, loaded from its file, on the test split; on the validation split where there is none.

    A kind of model that has no scores is not scored, which the log says. The helper process draws and writes while the network
    is measured for its diagnosis, if `measured`; the measurements are returned.
    """
    from dlcli.training.trackers.tensorboard import write_results

    unsupported = words_against(experiment, "evaluate", "the evaluation at the end of a training")
    if unsupported:
        log(f"note: {unsupported}")
        draw_curves(run)
        return {}
    curves = submit(draw_curves, run)
    evaluation = begin_evaluation(experiment, splits, run, splits.scored)
    measurements = measure_network(experiment, splits, run) if measured else {}
    evaluation.finish()
    curves.result()
    write_results(run, splits.scored)
    return measurements
