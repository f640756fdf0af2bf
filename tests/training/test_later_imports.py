"""matplotlib is imported while the device computes, where it computes for long: over `sys.modules`, not a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import environment
from trainings import write_spec

from dlcli.report.write_up import import_simple_models
from dlcli.training import later_imports

PROGRAM = """
import sys, threading
import dlcli
from dlcli.runs.reporter import Reporter
from dlcli.training import later_imports

later_imports.LONG_CALL = 0
HEAVY = ("matplotlib", "sklearn", "pandas")

class Watching(Reporter):
    def fit_started(self, epochs, steps):
        print("before:", *(name for name in HEAVY if name in sys.modules))

    def epoch_finished(self, report):
        if report.epoch == 2:
            for thread in threading.enumerate():
                if thread.name == "later imports":
                    thread.join()
            print("beside:", *(name for name in HEAVY if name in sys.modules))
            print("missing:", *(name for name in later_imports.MODULES if name not in sys.modules))

run = dlcli.train(sys.argv[1], reporter=Watching())
print("texts:", *(name for name in ("keras_hub", "tensorflow_text") if name in sys.modules))
print("drawn:", (run.folder.path / "report.html").is_file())
"""


def test_what_pictures_need_is_imported_beside_the_steps_and_not_before(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, training="epochs: 2")
    line = [sys.executable, "-c", PROGRAM, str(spec)]
    done = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["before:", "beside: matplotlib", "missing:", "texts:", "drawn: True"], done.stderr


def test_a_helper_process_imports_scikit_learn_after_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[Any] = []
    monkeypatch.setattr(later_imports, "has_helper", lambda: True)
    monkeypatch.setattr(later_imports, "submit", submitted.append)
    callback = later_imports.LaterImports()
    for batch in range(3):
        callback.on_train_batch_begin(batch)
        callback.on_train_batch_end(batch)
    assert submitted == [import_simple_models]


def test_the_first_long_call_after_the_one_that_compiles_starts_the_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    monkeypatch.setattr(later_imports, "import_later_modules", lambda: started.append(1))
    ticks = iter([0, 9, 10, 10.01, 20, 20.2, 30, 30.2])  # calls of 9, 0.01, 0.2 and 0.2 seconds
    monkeypatch.setattr(later_imports, "perf_counter", lambda: next(ticks))
    callback = later_imports.LaterImports()
    counts = []
    for batch in range(4):
        callback.on_train_batch_begin(batch)
        callback.on_train_batch_end(batch)
        counts.append(len(started))
    assert counts == [0, 0, 1, 1]
