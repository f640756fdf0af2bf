"""The process of one tracker: reads the run folder whenever it is notified, and again when the training has ended."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from dlcli.runs import RunFolder
from dlcli.runs.sweeps import without_password
from dlcli.runs.trackers import TrackerFile
from dlcli.spec.training.callbacks import MLflow, TrackerSpec, WandB


class Tracker(Protocol):
    """Another program that records a run."""

    def begin(self, stored_id: str) -> str:
        """Resumes its run of the id `stored_id`, or starts one if that is empty; returns its id."""

    def take_epochs(self, rows: list[dict[str, str]]) -> None:
        """Records rows of the history that it has not received yet."""

    def end(self, state: str) -> None:
        """Records the results, and how the run ended: completed, failed, interrupted or dead."""


class Link:
    """Keeps one tracker up to date with the run folder; what fails is tried again at the next notification."""

    def __init__(self, run: RunFolder, kind: str, tracker: Tracker) -> None:
        self._run, self._tracker = run, tracker
        self._kind, self._file = kind, TrackerFile.read(run, kind)
        self._has_started = self._trouble = False

    def look(self, *, ended: bool) -> None:
        """Sends the tracker what it has not received yet."""
        try:
            self._tell(ended=ended)
        except Exception as error:
            if ended:
                _log(f"did not accept the results: {_first_line(error)}", trouble=True)
            elif not self._trouble:
                _log(
                    f"cannot be reached: {_first_line(error)}; the training continues and tries again after every epoch",
                    trouble=True,
                )
            self._trouble = True
            return
        if self._trouble:
            _log("has received all missing results", trouble=False)
        self._trouble = False

    def _tell(self, *, ended: bool) -> None:
        if not self._has_started:
            self._keep(TrackerFile(self._tracker.begin(self._file.id), self._file.epochs))
            self._has_started = True
        rows = [row for row in self._run.history() if int(row["epoch"]) > self._file.epochs]
        if rows:
            self._tracker.take_epochs(rows)
            self._keep(TrackerFile(self._file.id, int(rows[-1]["epoch"])))
        if ended:
            state = self._run.shown_state
            self._tracker.end("dead" if state == "running" else state)

    def _keep(self, tracker_file: TrackerFile) -> None:
        if tracker_file != self._file:
            tracker_file.write(self._run, self._kind)
            self._file = tracker_file


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return without_password(lines[0] if lines else type(error).__name__)[:300]


def _log(text: str, *, trouble: bool) -> None:
    with suppress(OSError):  # a training that was killed does not read it
        print(json.dumps({"text": text, "trouble": trouble}), flush=True)


def tracker_of(run: RunFolder, spec: TrackerSpec) -> Tracker:
    """Returns what talks to the program that a spec names."""
    if isinstance(spec, MLflow):
        from dlcli.training.trackers.to_mlflow import ToMLflow

        return ToMLflow(run, spec)
    from dlcli.training.trackers.to_wandb import ToWandB

    assert isinstance(spec, WandB)
    return ToWandB(run, spec)


def main(arguments: list[str]) -> None:
    """Follows a run until the training closes the pipe: `RUN KIND [--offline]`."""
    for item in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(item, signal.SIG_IGN)  # a scheduler sends them to every process of the training
    os.nice(10)  # it waits for the training, not the training for it
    run, kind = RunFolder(Path(arguments[0])), arguments[1]
    specs: list[Any] = run.experiment().training.callbacks
    spec = next(item for item in specs if item.kind == kind).at(offline="--offline" in arguments)
    link = Link(run, kind, tracker_of(run, spec))
    link.look(ended=False)
    while os.read(0, 65536):
        link.look(ended=False)
    link.look(ended=True)


if __name__ == "__main__":
    main(sys.argv[1:])
