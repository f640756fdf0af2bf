"""Resumes an interrupted run where it stopped; trains a completed run for more epochs."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import replace
from typing import Any, Literal

from dlcli.data.balance import refuse_missing_balance
from dlcli.data.same_data import refuse_other_data
from dlcli.errors import UsageError
from dlcli.program import command
from dlcli.report.write_up import is_written, write_documents
from dlcli.runs import RunFolder
from dlcli.runs.checkpoints import save_checkpoint
from dlcli.runs.compare import flat
from dlcli.runs.environment import process_started
from dlcli.runs.folder import REVISION
from dlcli.runs.profile import StepRange
from dlcli.runs.reporter import Log, Reporter
from dlcli.runtime.checkpoint import Snapshot
from dlcli.runtime.cluster import Cluster
from dlcli.runtime.threads import pin_threads
from dlcli.spec.base import dump
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import load_text, to_flow, to_yaml
from dlcli.spec.training.schedules import ScheduleSpec
from dlcli.training.checkpoints import newest_snapshot, spec_digest
from dlcli.training.profile import refuse_unprofiled
from dlcli.training.recorder import recorded_rows
from dlcli.training.trackers.notify import refuse_missing_trackers, without_trackers
from dlcli.training.train import join_workers, proceed, run_logger

SchedulePolicy = Literal["continue", "stretch", "rewarm"]
WITHOUT_EFFECT = (
    "training.checkpoint_minutes",
    "training.features.disk_gb",
    "data.cache",
    "hardware.steps_per_execution",
    "hardware.resources",
)
"""Fields that cannot change what a training gives."""
PLACES = ("data.source.path", "data.source.validation", "data.source.test", "data.source.folder")
"""Where the data is: a run may find a copy of it elsewhere, whose fingerprint is compared."""
SPREADING = ("hardware.strategy", "hardware.devices", "hardware.device")
"""Fields that change its rounding, and the draws of dropout: a run must be able to move to another machine."""


def resume(
    run: RunFolder,
    reporter: Reporter,
    *,
    overrides: list[str],
    schedule: SchedulePolicy | None,
    offline: bool,
    cluster: Cluster | None = None,
    profile: StepRange | None = None,
) -> None:
    """Resumes a run from its newest complete checkpoint, to the same bits as without an interruption.

    Args:
        run: the run; another process must not be writing it.
        reporter: what shows the course of the training.
        overrides: `--set` options: more epochs, or what cannot change results.
        schedule: what the schedule of the learning rate does in added epochs; needed where there is one.
        offline: whether nothing may be fetched.
        cluster: the workers, if there are several; another number of them than before rounds otherwise.
        profile: steps that are profiled, counted from the start of the run.

    Raises:
        UsageError: another process writes the run, something else is to change, or the run needs a later dlcli.
        RunFailed: the training could not end well.
        Interrupted: a signal stopped it again.
    """
    pin_threads(run.environment())
    if profile is not None:
        refuse_unprofiled(_changed(run, run.experiment(), overrides))
    join_workers(_changed(run, run.experiment(), overrides), cluster)  # nothing is written before all workers are there
    with run.hold():
        log = run_logger(run, reporter)
        run.remove_half_written()
        before = run.experiment()
        _refuse_later_revision(run)
        changed = _changed(run, before, overrides)
        refuse_missing_trackers(changed)
        refuse_missing_balance(changed)
        added = _added_epochs(before, changed)
        if schedule and not added:
            raise UsageError("--schedule needs more epochs: --set training.epochs=30")
        if changed.data.source != before.data.source and run.split_path.exists():
            refuse_other_data(run, changed, offline=offline)
        status = run.status()
        if status.state == "completed" and not added:
            if changed.data.source != before.data.source:
                _write_spec(run, before.model_copy(update={"data": changed.data}), _begin_of(run, log))
            _finish(run, before, log)
            return
        begin = _begin_of(run, log)
        if added:
            changed, begin = _extended(run, before, changed, begin, schedule)
            log(f"extended by {added} {'epoch' if added == 1 else 'epochs'}, to {_epochs(changed)}")
        _mark_as_running(run)
        if changed != before:
            _write_spec(run, changed, begin)
        _tell(run, begin, log)
        proceed(run, changed, reporter, log, begin=begin, offline=offline, cluster=cluster, profile=profile)


def _refuse_later_revision(run: RunFolder) -> None:
    revision = run.revision()
    if revision > REVISION:
        raise UsageError(
            f"{run.id} was started by a later version of dlcli (revision {revision}; this version supports {REVISION}):"
            " resume it with that version"
        )


def _finish(run: RunFolder, experiment: Experiment, log: Log) -> None:
    """Writes what a complete run lacks because it was stopped at its very end, and logs that it is complete."""
    if not is_written(run):
        write_documents(run, log)
    if not experiment.model.is_trained:
        log(f"{run.id} is complete")
        return
    log(f"{run.id} is complete; to train longer, use --set training.epochs={_epochs(experiment) + 10}")


def _begin_of(run: RunFolder, log: Log) -> Snapshot | None:
    """Returns the newest complete checkpoint, if there is one.

    Raises:
        UsageError: the run's spec is not the checkpoint's.
    """
    begin = newest_snapshot(run, log)
    if begin is not None and spec_digest(run) not in begin.state["specs"]:
        raise UsageError(f"{run.spec_path} has changed since the checkpoint; a run can only be resumed with its own spec")
    return begin


def _mark_as_running(run: RunFolder) -> None:
    run.update_status(
        state="running",
        pid=os.getpid(),
        host=socket.gethostname(),
        process_started=process_started(),
        finished="",
        error="",
        reason="",
        resumed=run.status().resumed + 1,
    )


def _write_spec(run: RunFolder, experiment: Experiment, begin: Snapshot | None) -> None:
    """Replaces the run's spec; before that, the checkpoint is marked as valid for the new one too."""
    text = to_yaml(experiment)
    if begin is not None:
        specs = [spec_digest(run), hashlib.sha256(text.encode()).hexdigest()]
        save_checkpoint(run.checkpoints_path, replace(begin, state=begin.state | {"specs": specs}).write)
    run.write_spec(text)


def _tell(run: RunFolder, begin: Snapshot | None, log: Log) -> None:
    if begin is None:
        log(f"{run.id} has no complete checkpoint: it starts from the beginning")
        return
    epoch, step = begin.state["epoch"], begin.state["step"]
    log(f"resuming {run.id} in epoch {epoch + 1} after step {step}" if step else f"resuming {run.id} after epoch {epoch}")


def _changed(run: RunFolder, before: Experiment, overrides: list[str]) -> Experiment:
    """Returns the experiment with the overrides.

    Raises:
        UsageError: one of them would change results; all such are named with both values.
        SpecError: one is wrong.
    """
    if not overrides:
        return before
    changed = load_text(to_flow(dump(before)), run.spec_path, overrides).experiment
    changed = _of_last_stage(before, changed)
    old, new = flat(dump(without_trackers(before))), flat(dump(without_trackers(changed)))
    epochs = ("training.epochs", f"training.stages.{len(before.training.stages) - 1}.epochs")
    allowed = (*epochs, *WITHOUT_EFFECT, *SPREADING, *PLACES)
    differing = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key) and not key.startswith(allowed)]
    if differing:
        lines = "\n".join(f"  {key}: {old.get(key)} -> {new.get(key)}" for key in differing)
        raise UsageError(
            f"a resumed run may only get more epochs; other changes of its results are refused:\n{lines}\n"
            f"  `{command()} train` on the spec starts a new run, `{command()} finetune` starts one from this run's weights"
        )
    return changed


def _of_last_stage(before: Experiment, changed: Experiment) -> Experiment:
    """Returns the experiment with more epochs of the training as more of its only stage, which the resolved spec names."""
    training, stages = changed.training, changed.training.stages
    if len(stages) != 1 or training.epochs == before.training.epochs or stages[0] != before.training.stages[0]:
        return changed
    longer = stages[0].model_copy(update={"epochs": training.epochs})
    return changed.model_copy(update={"training": training.model_copy(update={"stages": [longer]})})


def _epochs(experiment: Experiment) -> int:
    return sum(stage.epochs or 0 for stage in experiment.stages)


def _added_epochs(before: Experiment, changed: Experiment) -> int:
    """Returns by how many epochs the training is to be longer.

    Raises:
        UsageError: it would be shorter, or it is open for which of several stages the epochs are.
    """
    added = _epochs(changed) - _epochs(before)
    if added < 0:
        raise UsageError(f"the run was started for {_epochs(before)} epochs; it can be extended, not shortened")
    if not added and changed.training.epochs != before.training.epochs:
        last = len(before.training.stages) - 1
        raise UsageError(f"each stage has its own epochs: --set training.stages.{last}.epochs=30 extends the last stage")
    if added and before.model.fitted_once:
        raise UsageError(f"a `{before.model.fitted_once}` head is fitted once; it has no epochs")
    return added


def _extended(
    run: RunFolder, before: Experiment, changed: Experiment, begin: Snapshot | None, schedule: SchedulePolicy | None
) -> tuple[Experiment, Snapshot]:
    """Returns the experiment with the schedule that the policy gives, and the state with a stop taken back.

    Raises:
        UsageError: there is no checkpoint; or a schedule is there and no policy, or the other way round.
    """
    if begin is None:
        raise UsageError(
            f"{run.id} has no complete checkpoint, so it cannot be extended; `{command()} finetune` continues with its model"
        )
    stage, longer = before.stages[-1], changed.stages[-1]
    assert stage.optimizer is not None
    rate = stage.optimizer.learning_rate
    if isinstance(rate, ScheduleSpec) != (schedule is not None):
        raise UsageError(_which_policy(rate))
    if schedule == "rewarm":
        training = changed.training.model_copy(update={"epochs": before.training.epochs, "stages": before.training.stages})
        as_before = changed.model_copy(update={"training": training})
        return _with_stage(run, as_before, _epochs(changed) - _epochs(before)), _with_new_time(run, begin)
    if schedule == "stretch":
        steps = _steps_an_epoch(run, before)
        optimizer = stage.optimizer.stretched(steps * (stage.epochs or 0), steps * (longer.epochs or 0))
        changed = _with_optimizer(changed, optimizer)
    return changed, _without_stop(_with_new_time(run, begin))


def _which_policy(rate: Any) -> str:
    if not isinstance(rate, ScheduleSpec):
        return "--schedule: the run has a constant learning rate; omit --schedule"
    return (
        f"the run has the schedule `{rate.kind}`; set what it does in the added epochs:"  # type: ignore[attr-defined]
        " --schedule continue (it continues as it was set; after its end, its last value is used),"
        " stretch (it is stretched to the new end) or rewarm (it starts again in a new stage)"
    )


def _steps_an_epoch(run: RunFolder, experiment: Experiment) -> int:
    data = run.data()
    examples = int(data.get("epoch_examples", data["examples"]["train"]))
    return -(-examples // experiment.data.examples_in_step(examples))


def _with_optimizer(experiment: Experiment, optimizer: Any) -> Experiment:
    """Returns the experiment with another optimizer in its last stage."""
    training = experiment.training
    stages = [*training.stages[:-1], training.stages[-1].model_copy(update={"optimizer": optimizer})] if training.stages else []
    update = {"stages": stages} if stages else {"optimizer": optimizer}
    return experiment.model_copy(update={"training": training.model_copy(update=update)})


def _with_stage(run: RunFolder, experiment: Experiment, epochs: int) -> Experiment:
    """Returns the experiment with an added stage, like the last one, that starts from its last weights."""
    stages = experiment.stages
    names = {stage.name for stage in stages}
    name = next(name for name in ("rewarm", *(f"rewarm{number}" for number in range(2, 1000))) if name not in names)
    optimizer = stages[-1].optimizer
    assert optimizer is not None
    again = optimizer.of_any_length().for_steps(epochs * _steps_an_epoch(run, experiment))
    more = stages[-1].model_copy(update={"name": name, "epochs": epochs, "start": "last", "optimizer": again})
    training = experiment.training.model_copy(update={"stages": [*stages, more]})
    return experiment.model_copy(update={"training": training})


def _with_new_time(run: RunFolder, begin: Snapshot) -> Snapshot:
    """Returns the state of a run whose time limit starts again."""
    record = begin.state["record"]
    seconds = sum(row["seconds"] for row in recorded_rows(run, record, begin.state["epoch"]))
    return replace(begin, state=begin.state | {"record": record | {"extended_at": seconds}})


def _without_stop(begin: Snapshot) -> Snapshot:
    """Returns the state of a run that had stopped, with the stop undone: patience and time start again."""
    if not begin.state["stopped"]:
        return begin
    initial = {"wait": 0, "stopped_epoch": 0, "stopped": False, "spent": 0.0}
    callbacks = [
        state | {name: value for name, value in initial.items() if name in state} for state in begin.state["callbacks"]
    ]
    return replace(begin, state=begin.state | {"stopped": False, "callbacks": callbacks})
