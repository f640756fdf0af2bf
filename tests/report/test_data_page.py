"""The data doctor's page stays small whatever the data."""

from __future__ import annotations

from pathlib import Path

from dlcli.data.doctor.doctor import Examination
from dlcli.data.doctor.issue import Issue
from dlcli.report.data_page import MOST_EXAMPLES, write_data_page


def test_the_page_is_below_1_mb_for_a_million_affected_examples_and_counts_the_rest(tmp_path: Path) -> None:
    names = tuple(f"{'folder/' * 30}{number}.jpg" for number in range(1000)) + tuple(map(str, range(999_000)))
    issues = tuple(
        Issue(kind=f"kind {number}", severity="error", summary="s" * 5000, advice="a" * 5000, evidence=names, examples=names)
        for number in range(30)
    )
    counts = {"train": {f"class {number}": number for number in range(20_000)}}
    examination = Examination(issues=issues, notes=names[:5000], counts=counts, examples={"train": 10**6})
    write_data_page(examination, "large", "many", "dlcli data large.yaml --json", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 1_000_000
    assert f"at most {MOST_EXAMPLES} examples of an issue; {30 * (10**6 - MOST_EXAMPLES):,} are left out" in page
    assert "dlcli data large.yaml --json" in page
    assert "19,500 more classes" in page
