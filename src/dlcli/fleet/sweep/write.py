"""What a sweep leaves in its folder: every trial in a table, the best spec, the page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlcli.errors import DlcliError
from dlcli.fleet.sweep.outcome import Outcome, outcome, write_best, write_trials
from dlcli.fleet.sweep.study import Search, resume_hint
from dlcli.program import command
from dlcli.runs.files import write_text
from dlcli.runs.sweeps import SweepFolder


@dataclass(frozen=True)
class Results:
    """The outcome, the page, and the best spec with its run where they exist; `notes` say what is missing, `go_on` how to
    resume the sweep where this machine can."""

    outcome: Outcome
    page: Path
    best: Path | None
    run: str
    notes: list[str]
    go_on: str

    def plain(self) -> dict[str, Any]:
        """Returns it as plain data."""
        best = str(self.best) if self.best else None
        return {**asdict(self.outcome), "best_spec": best, "best_run": self.run, "page": str(self.page), "notes": self.notes}


def write_results(folder: SweepFolder, search: Search) -> Results:
    """Writes the table, the best spec and the page from what the study holds now."""
    from dlcli.fleet.sweep.page import sweep_page

    result = outcome(folder, search)
    write_trials(folder, result)
    notes: list[str] = []
    run = ""
    try:
        run = write_best(folder, result)
    except DlcliError as error:
        notes.append(str(error))
    if not run:  # what an earlier call has written is no longer the best
        folder.best_path.unlink(missing_ok=True)
    write_text(folder.page_path, sweep_page(result, search, folder))
    foreign_trials = {
        row.number: row.worker for row in result.of_state("running") if row.worker and not folder.is_known(row.worker)
    }
    notes += [_foreign_trial(folder, number, worker) for number, worker in foreign_trials.items()]
    can_resume = len(result.of_state("running")) > len(foreign_trials) or len(result.trials) < result.planned
    best = folder.best_path if run else None
    return Results(result, folder.page_path, best, run, notes, resume_hint(folder) if can_resume else "")


def _foreign_trial(folder: SweepFolder, number: int, worker: str) -> str:
    """Returns that a trial is another machine's, which alone has its checkpoint."""
    machine = worker.rpartition("-")[0] or worker
    return (
        f"trial {number} is with {worker}, a process with another runs folder; if it has ended,"
        f" `{command()} sweep --resume {folder.id}` on {machine} resumes the trial"
    )
