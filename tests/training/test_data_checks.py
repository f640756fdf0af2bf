"""A training makes the fast checks of the data: a few lines in its log, a file in its folder, a section of its report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trainings import Heard, trained, write_spec

from dlcli.report.report import write_report
from dlcli.runs import RunFolder
from dlcli.runs.data_report import data_report, write_data_report

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, heard: Heard) -> RunFolder:
    """A run on 200 rows of two classes, 190 and 10, with a column that tells the class and one that repeats another."""
    folder = tmp_path_factory.mktemp("checked")
    x = np.random.default_rng(0).normal(size=(200, 3)).round(3)
    rows = [
        f"{a},{b},{c},{2 * a + 1},{'late' if n % 20 == 0 else 'early'},{'yes' if n % 20 == 0 else 'no'}"
        for n, (a, b, c) in enumerate(x.tolist())
    ]
    (folder / "table.csv").write_text("\n".join(["a,b,c,d,when,label", *rows]))
    spec = write_spec(folder, "{kind: csv, path: table.csv, target: label}", task="binary", training="epochs: 1")
    return trained(spec, reporter=heard)


def test_the_log_has_a_line_for_each_serious_issue_and_the_command_that_shows_all(run: RunFolder, heard: Heard) -> None:
    lines = [line for line in heard.lines if line.startswith("data: ")]
    assert lines[2].startswith("data: error: column that reveals the target: column 'when' alone predicts 100.0% of the target")
    assert lines[3].startswith("data: warning: class imbalance: the class 'no' has 19 times as many training examples")
    assert lines[4].startswith("data: warning: duplicate column: column 'd' has the same information as another column")
    assert lines[5].startswith("data: all checks: ")
    assert lines[5].endswith(f"data {run.spec_path}")
    assert len(lines) == 6


def test_the_issues_are_recorded_and_shown_in_the_report(run: RunFolder) -> None:
    issues = data_report(run).issues
    assert [issue.severity for issue in issues] == ["error", "warning", "warning"]
    assert issues[2].columns == ["d"]
    page = write_report(run).read_text(encoding="utf-8")
    assert "duplicate column" in page
    assert "These are the fast checks" in page


def test_long_lists_are_shortened_with_their_length(run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path)
    issue = data_report(run).issues[1].model_dump() | {"examples": [str(number) for number in range(5000)]}
    write_data_report(copy, [issue], [])
    (written,) = data_report(copy).issues
    assert (written.count, len(written.examples)) == (5000, 100)


def test_a_run_of_an_earlier_version_has_no_issues(tmp_path: Path) -> None:
    assert data_report(RunFolder(tmp_path)).issues == []
