"""A training whose pictures and documents the helper process writes: the files are those of a training without one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from trainings import Heard, trained, write_spec

from dlcli import program
from dlcli.report import write_up
from dlcli.report.write_up import beside_training
from dlcli.runs import RunFolder
from dlcli.runtime import helper_process as module
from dlcli.runtime.helper_process import has_helper, submit


def fails_beside(_: RunFolder) -> None:
    """Fails as on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_beside() -> int:
    """Returns the number of the process."""
    return os.getpid()


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "affinity", lambda: [0, 1])
    monkeypatch.setattr(program, "owns_process", True)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])]))
    with beside_training():
        assert submit(is_beside).result() != os.getpid()
        yield


def without_names(run: RunFolder, path: Path) -> str:
    """Returns a document without what differs between two runs of one spec: names, paths, times and speed."""
    text = path.read_text(encoding="utf-8").replace(run.id, "ID").replace(str(run.path), "PATH")
    return "\n".join(
        line for line in text.splitlines() if "seconds" not in line and "ago" not in line and "Trained" not in line
    )


@pytest.mark.usefixtures("helper")
def test_the_files_are_those_of_a_training_without_a_helper_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write_spec(tmp_path, training="epochs: 3")
    beside = trained(spec, write_up=True)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_current", None)
        alone = trained(spec, write_up=True)
    assert beside.status().state == alone.status().state == "completed"
    files = [{path.name: path.read_bytes() for path in run.evaluation("test").iterdir()} for run in (beside, alone)]
    assert len(files[0]) > 8
    assert files[0] == files[1]
    assert beside.checks_path.read_bytes() == alone.checks_path.read_bytes()
    assert "simple_models" in beside.checks_path.read_text(encoding="utf-8"), "the model is weak: simple models were fitted"
    assert without_names(beside, beside.diagnosis_path) == without_names(alone, alone.diagnosis_path)
    assert beside.curves_path.stat().st_size == pytest.approx(alone.curves_path.stat().st_size, rel=0.05)
    reports = [without_names(run, run.report_path) for run in (beside, alone)]
    assert reports[0].count("<svg") == reports[1].count("<svg") > 3


@pytest.mark.usefixtures("helper")
def test_a_report_that_fails_there_leaves_a_complete_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(write_up.WRITERS, "report", fails_beside)
    reporter = Heard()
    run = trained(write_spec(tmp_path), reporter=reporter, write_up=True)
    assert run.status().state == "completed"
    assert run.metrics("test")
    (note,) = (line for line in reporter.lines if "the report could not be written" in line)
    assert "No space left" in note
    assert "in fails_beside" in run.log_path.read_text(encoding="utf-8"), "the log has the traceback"


def test_a_program_that_imports_dlcli_gets_no_helper_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "affinity", lambda: [0, 1])
    assert not program.owns_process
    with beside_training():
        assert not has_helper()
