"""The training's side of trackers: starts a process for each, pokes it after every epoch, hears what it has to say."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from time import monotonic
from typing import Any

from dlcli.errors import DamagedFile, DlcliError, UsageError
from dlcli.runs import RunFolder
from dlcli.runs.reporter import EpochReport, Log, Reporter
from dlcli.runs.trackers import tracker_log
from dlcli.runtime.python import python_command, python_environment
from dlcli.spec.experiment import Experiment
from dlcli.spec.training.callbacks import TrackerSpec

PATIENCE = 60.0
"""Seconds that a tracker gets after the training to accept the results."""
PATIENCE_WITH_MODEL = 600.0
PATIENCE_IN_TROUBLE = 5.0
"""Seconds for a tracker that could not be reached before."""
PATIENCE_OF_A_STOP = 10.0
"""Seconds for a tracker of a training that did not complete: a scheduler that stopped it soon kills it."""

_SHORT = 3.0
"""Seconds of waiting that need no message."""


def trackers(experiment: Experiment) -> list[TrackerSpec]:
    """Returns the trackers of an experiment."""
    return [callback for callback in experiment.training.callbacks if isinstance(callback, TrackerSpec)]


def without_trackers(experiment: Experiment) -> Experiment:
    """Returns the experiment without its trackers, which cannot change what a training gives."""
    callbacks = [callback for callback in experiment.training.callbacks if not isinstance(callback, TrackerSpec)]
    return experiment.model_copy(update={"training": experiment.training.model_copy(update={"callbacks": callbacks})})


def refuse_missing_trackers(experiment: Experiment) -> None:
    """Raises UsageError where a tracker's package is not installed: that is reported before the first hour of training."""
    missing = [tracker.missing for tracker in trackers(experiment) if tracker.missing]
    if missing:
        raise UsageError("\n".join(missing))


class TrackerNotifier(Reporter):
    """Forwards the events of a stage, and notifies the trackers after every epoch. They read the rest from the run folder."""

    def __init__(self, reporter: Reporter, run: RunFolder, log: Log) -> None:
        self._reporter, self._run, self._log = reporter, run, log
        self._tracked: list[_Tracked] = []

    def begin(self, experiment: Experiment, *, offline: bool) -> None:
        """Starts a process for each tracker; data and spec are in the run folder."""
        for tracker in trackers(experiment):
            kind = str(getattr(tracker, "kind"))  # noqa: B009  (every member has it, the base has not)
            if tracker.at(offline=offline) is None:
                self._log(f"{kind}: this run is not logged, since --offline forbids network access")
                continue
            patience = PATIENCE_WITH_MODEL if tracker.model else PATIENCE
            try:
                self._tracked.append(_Tracked(self._run, kind, self._log, patience, offline=offline))
            except (OSError, DamagedFile) as error:  # no memory for another process, a link in its place
                self._log(f"{kind}: this run is not logged: {error}")

    def end(self) -> None:
        """Has every tracker record the results, and waits for that for a limited time."""
        for tracked in self._tracked:
            tracked.close()
        for tracked in self._tracked:
            tracked.wait(self._completed())

    def _completed(self) -> bool:
        with suppress(DlcliError):  # a folder that was removed must not hide why the run ended
            return self._run.status().state == "completed"
        return False

    def log(self, line: str) -> None:
        """Forwards a line."""
        self._reporter.log(line)

    def fit_started(self, epochs: int, steps: int) -> None:
        """Forwards the start of training."""
        self._reporter.fit_started(epochs, steps)

    def step_finished(self, epoch: int, step: int, examples: int) -> None:
        """Forwards the end of a step."""
        self._reporter.step_finished(epoch, step, examples)

    def epoch_finished(self, report: EpochReport) -> None:
        """Forwards the end of an epoch, whose row is in the history, and notifies the trackers."""
        for tracked in self._tracked:
            tracked.poke()
        self._reporter.epoch_finished(report)

    def fit_finished(self) -> None:
        """Forwards the end of training."""
        self._reporter.fit_finished()


@contextmanager
def followed(run: RunFolder, reporter: Reporter, log: Log) -> Iterator[TrackerNotifier]:
    """Yields a reporter that notifies trackers; they read how the block ended from the run's status."""
    notifier = TrackerNotifier(reporter, run, log)
    try:
        yield notifier
    finally:
        notifier.end()


class _Tracked:
    """The process of one tracker."""

    def __init__(self, run: RunFolder, kind: str, log: Log, patience: float, *, offline: bool) -> None:
        self._kind, self._log, self._patience, self._trouble = kind, log, patience, False
        run.trackers_path.mkdir(exist_ok=True)
        options = ["--offline"] if offline else []
        # A link in place of the log would redirect it elsewhere.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(tracker_log(run, kind), flags, 0o666), "ab") as log_file:
            self._process = subprocess.Popen(
                python_command("-m", "dlcli.training.trackers", str(run.path), kind, *options),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=python_environment(),
                start_new_session=True,  # Ctrl-C is for the training, which then reports how it ended
            )
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._hearing = Thread(target=self._hear, daemon=True)
        self._hearing.start()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with suppress(ValueError, KeyError):
                    message: dict[str, Any] = json.loads(line)
                    self._trouble = bool(message["trouble"])
                    self._tell(str(message["text"]))

    def poke(self) -> None:
        """Has it read the run folder; a pending notification is not repeated."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # its end has been reported, if it failed
            os.write(self._process.stdin.fileno(), b"\n")

    def close(self) -> None:
        """Notifies it that the run has ended."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def wait(self, completed: bool) -> None:
        """Waits until it has recorded the results; ends it where that takes too long."""
        try:
            in_time = self._ends_within(self._patience if completed else PATIENCE_OF_A_STOP)
        except KeyboardInterrupt:
            in_time = False
        if not in_time:
            self._process.kill()
            self._process.wait()
            self._tell("did not accept the results in time and may lack some of them")
        self._hearing.join(1)
        if self._process.returncode > 0:
            self._tell(f"ended with an error; its log is trackers/{self._kind}.log in the run folder")

    def _ends_within(self, seconds: float) -> bool:
        """Waits for its end; less long once it has reported trouble, also during the wait."""
        began, is_noted = monotonic(), False
        while self._process.poll() is None:
            waited = monotonic() - began
            if waited > (PATIENCE_IN_TROUBLE if self._trouble else seconds):
                return False
            if waited > _SHORT and not is_noted and not self._trouble:
                self._tell(f"is receiving the results, for at most {seconds:.0f} seconds")
                is_noted = True
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        return True

    def _tell(self, text: str) -> None:
        with suppress(OSError, DlcliError):
            self._log(f"{self._kind}: {text}")
