"""Errors in the documents at the end of a training never affect its results."""

from __future__ import annotations

from pathlib import Path

import pytest
from trainings import Heard, trained, write_spec

from dlcli.report import write_up
from dlcli.runs import RunFolder


def test_an_error_in_the_report_is_reported_and_leaves_the_run_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run: RunFolder) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(write_up.WRITERS, "report", broken)
    reporter = Heard()
    run = trained(write_spec(tmp_path, training="epochs: 1"), reporter=reporter, write_up=True)
    assert run.status().state == "completed"
    assert (run.path / "model_card.md").exists()
    assert not (run.path / "report.html").exists()
    assert any("the report could not be written (division by zero)" in line for line in reporter.lines)
    assert "ZeroDivisionError" in (run.path / "log.txt").read_text()
