"""What a sweep leaves in its folder: every trial in a table, the best spec, the page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlcli.errors import DlcliError
from dlcli.runs.files import write_text
from dlcli.runs.sweeps import SweepFolder
from dlcli.stages.sweep.outcome import Outcome, outcome, write_best, write_trials
from dlcli.stages.sweep.study import Search


@dataclass(frozen=True)
class Results:
    """The outcome, the page, and the best spec with its run where they are at hand; `notes` say what is not."""

    outcome: Outcome
    page: Path
    best: Path | None
    run: str
    notes: list[str]

    def plain(self) -> dict[str, Any]:
        """Returns it as plain data."""
        best = str(self.best) if self.best else None
        return {**asdict(self.outcome), "best_spec": best, "best_run": self.run, "page": str(self.page), "notes": self.notes}


def write_results(folder: SweepFolder, search: Search) -> Results:
    """Writes the table, the best spec and the page from what the study holds now."""
    from dlcli.stages.sweep.page import sweep_page

    found = outcome(folder, search)
    write_trials(folder, found)
    notes: list[str] = []
    run = ""
    try:
        run = write_best(folder, found)
    except DlcliError as error:
        notes.append(str(error))
    write_text(folder.page_path, sweep_page(found, search))
    return Results(found, folder.page_path, folder.best_path if run else None, run, notes)
