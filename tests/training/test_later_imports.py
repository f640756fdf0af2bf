"""scikit-learn and matplotlib are imported while the device computes: over `sys.modules`, not a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import environment
from trainings import write_spec

PROGRAM = """
import sys, threading
import dlcli
from dlcli.runs.reporter import Reporter

END = ("matplotlib", "sklearn", "pandas")

class Watching(Reporter):
    def fit_started(self, epochs, steps):
        print("before:", *(name for name in END if name in sys.modules))

    def epoch_finished(self, report):
        if report.epoch == 1:
            (thread,) = [thread for thread in threading.enumerate() if thread.name == "later imports"]
            thread.join()
            from dlcli.training.later_imports import LATER
            print("missing:", *(name for name in LATER if name not in sys.modules))

run = dlcli.train(sys.argv[1], reporter=Watching())
print("drawn:", (run.folder.path / "report.html").is_file())
"""


def test_what_the_end_needs_is_imported_beside_the_first_epoch_and_not_before(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, training="epochs: 2")
    line = [sys.executable, "-c", PROGRAM, str(spec)]
    done = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["before:", "missing:", "drawn: True"], done.stderr
