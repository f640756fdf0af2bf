"""A study -> trials: as many at once as there are places, each an ordinary run in a separate process."""

from __future__ import annotations

import importlib
import signal
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import Any

from dlcli.errors import DamagedFile, Interrupted, OutOfMemory, RunFailed, SpecError, TooLarge
from dlcli.fleet.batch.active import Active, Fleet, noted_signals
from dlcli.fleet.batch.verdict import Verdict, resumable, verdict
from dlcli.fleet.batch.worker import RESUMABLE, Order
from dlcli.fleet.sweep.limits import Limits
from dlcli.fleet.sweep.study import Search, pruner_of, resume_hint, sampler_of, with_resume_hint
from dlcli.fleet.sweep.trials import (
    REASON,
    RUN,
    SAME,
    STATE,
    SURPLUS,
    WORKER,
    PruningWatch,
    job_of,
    objective_values,
)
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Job
from dlcli.runs.hold import is_held
from dlcli.runs.sweeps import SweepFolder
from dlcli.spec.load import load_text

_TIME_OVER = "time limit of the sweep reached; it has a checkpoint"
_RETRIES = 1


class Watcher:
    """Receives the progress of a sweep; this class reports nothing."""

    def began(self, search: Search, job: Job, slot: str) -> None:
        """Receives a trial that starts or is resumed."""

    def ended(self, search: Search, job: Job, state: str, values: Sequence[float] | None, reason: str) -> None:
        """Receives a trial that has ended: completed, pruned, skipped or failed, or interrupted, to be resumed later."""


@dataclass
class _Trial:
    """A trial of this process: Optuna's, its job, what follows its epochs, its run once it exists; why it was pruned, and
    whether another process started it."""

    trial: Any
    job: Job
    watch: PruningWatch
    run: RunFolder | None = None
    looked: float = 0.0
    pruned: str = ""
    inherited: bool = False


@dataclass(frozen=True)
class Working:
    """How a process works on a sweep: its name, what runs its trials, whether it joins another, and stays offline."""

    name: str
    fleet: Fleet
    joins: bool = False
    offline: bool = False


def run_sweep(folder: SweepFolder, search: Search, working: Working, watcher: Watcher) -> None:
    """Runs the planned number of trials, starting with the unfinished trials of a killed process of this folder.

    Args:
        folder: the sweep's folder on this machine.
        search: its study.
        working: how this process works; its name is from `SweepFolder.working`.
        watcher: receives its progress.

    Raises:
        Interrupted: a signal stopped it; every trial that ran has a checkpoint.
        RunFailed: the study or the folder cannot be written any more, or no process can be started.
    """
    with noted_signals() as stop, with_resume_hint(folder):
        try:
            _Sweeping(folder, search, working, watcher, stop).to_the_end()
        except BaseException:  # the outcome of the trials can no longer be recorded, and this process would wait for them
            working.fleet.abort()
            raise
    if stop:
        raise Interrupted(f"stopped by {signal.Signals(stop[0]).name}; {resume_hint(folder)}")


def _import_results() -> None:
    """Imports what the results of a sweep need, 1 to 2 s, while the first trial starts."""
    for name in ("optuna.importance", "dlcli.fleet.sweep.page"):
        with suppress(Exception):  # it is raised where the module is needed
            importlib.import_module(name)


class _Sweeping:
    """A sweep while this process works on it."""

    def __init__(self, folder: SweepFolder, search: Search, working: Working, watcher: Watcher, stop: list[int]) -> None:
        self._folder, self._search, self._working, self._watcher, self._stop = folder, search, working, watcher, stop
        self._batch: Batch = folder.batch
        self._fleet, self._trials = working.fleet, dict[int, _Trial]()
        self._again: deque[_Trial] = deque()
        sweep = search.experiment.sweep
        assert sweep is not None
        self._sweep = sweep
        self._end = monotonic() + 60 * sweep.minutes if sweep.minutes else None
        search.study.pruner = pruner_of(search)

    def to_the_end(self) -> None:
        """Starts trials and waits for them until all have ended, or the sweep is stopped."""
        self._take_up()
        Thread(target=_import_results, name="imports of the results", daemon=True).start()
        more = True
        while self._trials or (more and not self._over):
            while more and self._fleet.has_room and not self._over:
                more = self._next()
            for active, code in self._fleet.wait():
                self._ended(active, code)
                more = True
            more = more or bool(self._again)
            for active in self._fleet.active:
                self._follow(active, self._trials[active.job.number])
            self._fleet.press(stop=bool(self._stop))

    @property
    def _over(self) -> bool:
        return bool(self._stop) or (self._end is not None and monotonic() > self._end)

    def _take_up(self) -> None:
        """Takes over the trials of processes of this folder that were killed or stopped: records those that have ended, and
        queues the others."""
        with self._folder.claiming_trials():
            for frozen in self._planned_trials():
                owner = frozen.user_attrs.get(WORKER, "")
                # A process that was killed just as it started a trial could not record its name.
                owner_ended = (
                    self._folder.is_known(owner) and not self._folder.works(owner) if owner else not self._working.joins
                )
                if frozen.state.name == "RUNNING" and owner_ended:
                    self._again.append(self._opened(frozen))

    def _opened(self, frozen: Any) -> _Trial:
        """Returns a trial of the study to resume, marked as this process's."""
        from dlcli.upstream.optuna import running_trial

        trial = running_trial(self._search.study, frozen)
        trial.set_user_attr(WORKER, self._working.name)
        return _Trial(trial, job_of(self._search, trial), PruningWatch(self._search, trial), inherited=True)

    def _planned_trials(self) -> list[Any]:
        return [trial for trial in self._search.study.get_trials(deepcopy=False) if not trial.user_attrs.get(SURPLUS)]

    def _next(self) -> bool:
        """Starts an unfinished trial or a new one; returns False where all have run, or none can start now."""
        for _ in range(len(self._again)):
            candidate = self._again.popleft()
            if is_held(self._batch.lock_path(candidate.job)):  # its process, started by a killed sweep, is ending
                self._again.append(candidate)
                continue
            return self._begin(candidate)
        if self._again:
            return False
        trials = self._search.plan.trials
        planned_trials = self._planned_trials()
        waiting = any(trial.state.name == "WAITING" for trial in planned_trials)
        if sum(trial.state.name != "WAITING" for trial in planned_trials) >= trials or (
            self._sweep.sampler == "grid" and not waiting
        ):
            return False
        return self._draw(trials)

    def _draw(self, trials: int) -> bool:
        study = self._search.study
        study.sampler = sampler_of(self._search, self._working.name if self._working.joins else "")
        trial = study.ask()
        trial.set_user_attr(WORKER, self._working.name)
        before = sum(other.number < trial.number for other in self._planned_trials())
        if before >= trials:  # another process has just started the last one
            trial.set_user_attr(SURPLUS, True)
            self._tell(trial, None, "fail")
            return False
        candidate = _Trial(trial, job_of(self._search, trial), PruningWatch(self._search, trial))
        return self._is_settled(candidate) or self._begin(candidate)

    def _is_settled(self, candidate: _Trial) -> bool:
        """Ends a trial that need not be trained: its values were tried already, or are no valid spec together."""
        twin = next((other for other in self._planned_trials() if self._is_twin(other, candidate.trial)), None)
        if twin is not None:
            candidate.trial.set_user_attr(SAME, twin.number)
            values = twin.values if twin.state.name == "COMPLETE" else None
            self._finish(candidate, "completed" if values else "skipped", values, f"the same values as trial {twin.number}")
            return True
        try:
            load_text(candidate.job.text, candidate.job.file, candidate.job.overrides)
        except SpecError as error:
            self._finish(candidate, "skipped", None, f"these values are invalid together: {error.faults[0]}")
            return True
        return False

    def _is_twin(self, other: Any, trial: Any) -> bool:
        return (
            other.number < trial.number
            and other.state.name in ("COMPLETE", "PRUNED", "RUNNING")
            and other.params == trial.params
        )

    def _begin(self, candidate: _Trial) -> bool:
        """Starts a trial's process, unless its run shows that it has ended; always returns True."""
        job, batch = candidate.job, self._batch
        run = batch.run_of(job)
        if run is not None and candidate.inherited and self._is_noted(candidate, run):
            return True
        candidate.inherited = False
        if run is not None and run.status().state not in RESUMABLE:
            batch.update(job, left=run.id)
            run = None
        slot = self._fleet.take()
        status = batch.update(job, state="running", attempts=batch.status(job).attempts + 1, reason="")
        order = Order(
            batch.path,
            job,
            status.extra,
            run.path if run is not None else None,
            self._working.offline,
            slot.variables,
            self._limits(job),
        )
        self._trials[job.number] = candidate
        self._fleet.begin(slot, order)
        self._watcher.began(self._search, job, slot.name)
        return True

    def _limits(self, job: Job) -> Limits | None:
        sweep = self._sweep
        if sweep.max_parameters is None and sweep.max_memory_gb is None and "parameters" not in self._search.objectives:
            return None
        return Limits(self._batch.size_path(job.number), sweep.max_parameters, sweep.max_memory_gb)

    def _is_noted(self, candidate: _Trial, run: RunFolder) -> bool:
        """Ends a trial whose run had ended when its sweep was killed."""
        try:
            status = resumable(run)
        except DamagedFile:
            return False
        if status is None or (status.state == "failed" and self._batch.status(candidate.job).state == "queued"):
            return False  # it has not ended, or is to be retried
        candidate.run = run
        self._settle(candidate, Verdict(status.state, status.reason), kind=RunFailed.__name__)
        return True

    def _ended(self, active: Active, code: int) -> None:
        """Notes how a trial's process has ended."""
        candidate = self._trials.pop(active.job.number)
        candidate.run = self._batch.run_of(candidate.job)
        decision = verdict(
            self._batch,
            candidate.job,
            code,
            candidate.run,
            stopping=bool(self._stop),
            why=active.why,
            retries=_RETRIES,
        )
        before = self._batch.status(candidate.job)
        extra, failures = decision.extra or before.extra, before.failures + decision.killed
        self._batch.update(candidate.job, state=decision.state, reason=decision.reason, extra=extra, failures=failures)
        if decision.again:
            self._again.append(candidate)
        elif decision.state == "interrupted":
            self._watcher.ended(self._search, candidate.job, "interrupted", None, "")
        else:
            self._settle(candidate, decision, kind=self._batch.result(candidate.job)[0])

    def _settle(self, candidate: _Trial, decision: Verdict, *, kind: str) -> None:
        """Tells the study how a trial has ended."""
        if decision.state == "completed" and candidate.run is not None:
            try:
                values = objective_values(self._search, self._batch, candidate.job, candidate.run)
            except (DamagedFile, KeyError, ValueError) as error:
                return self._finish(candidate, "failed", None, f"its run has no objective value: {error}")
            fault = "" if values else f"{', '.join(self._search.objectives)} is not a number in the best epoch"
            return self._finish(candidate, "completed" if values else "failed", values, fault)
        if kind == TooLarge.__name__:
            return self._finish(candidate, "skipped", None, decision.reason)
        if candidate.pruned:
            if candidate.run is not None:
                candidate.run.update_status(reason=candidate.pruned, error="")
            return self._finish(candidate, "pruned", None, candidate.pruned)
        # Optuna ignores failed trials; it must learn from those whose loss diverged.
        by_its_values = kind in (RunFailed.__name__, OutOfMemory.__name__)
        return self._finish(candidate, "failed", None, decision.reason, study_state="pruned" if by_its_values else "fail")

    def _finish(
        self, candidate: _Trial, state: str, values: Sequence[float] | None, reason: str, *, study_state: str = ""
    ) -> None:
        candidate.trial.set_user_attr(STATE, state)
        candidate.trial.set_user_attr(REASON, reason)
        if candidate.run is not None:
            candidate.trial.set_user_attr(RUN, candidate.run.id)
        self._tell(candidate.trial, values, study_state or {"completed": "complete", "failed": "fail"}.get(state, "pruned"))
        self._watcher.ended(self._search, candidate.job, state, values, reason)

    def _tell(self, trial: Any, values: Sequence[float] | None, state: str) -> None:
        from optuna.trial import TrialState

        self._search.study.tell(trial, values=values, state=TrialState[state.upper()])

    def _follow(self, active: Active, candidate: _Trial) -> None:
        """Tells the study of new epochs, and ends the run where the pruner says so or the time is over."""
        if active.stop_time or candidate.pruned:
            return
        if candidate.run is None and monotonic() - candidate.looked > 1:
            candidate.looked = monotonic()
            candidate.run = self._batch.run_of(candidate.job)
        elif candidate.run is not None:
            candidate.pruned = candidate.watch.verdict(candidate.run)
        if self._end is not None and monotonic() > self._end and not self._stop:
            candidate.pruned = candidate.pruned or _TIME_OVER
        active.why = candidate.pruned
