"""What is written for people at the end of a training never takes the training's results away."""

from __future__ import annotations

from pathlib import Path

import pytest
from trainings import Heard, trained, write_spec

from dlcli.report import write_up
from dlcli.runs import RunFolder


def test_a_report_that_fails_leaves_the_run_completed_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = write_up._writers()

    def broken(run: RunFolder) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(write_up, "_writers", lambda: honest | {"report": broken})
    heard = Heard()
    run = trained(write_spec(tmp_path, training="epochs: 1"), reporter=heard, write_up=True)
    assert run.status().state == "completed"
    assert (run.path / "model_card.md").exists()
    assert not (run.path / "report.html").exists()
    assert any("the report could not be written (division by zero)" in line for line in heard.lines)
    assert "ZeroDivisionError" in (run.path / "log.txt").read_text()
