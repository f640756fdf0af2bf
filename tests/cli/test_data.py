"""`dlcli data` in a process of its own: what it prints, writes and returns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from conftest import Dlcli

SPEC = """name: sizes
task: binary
data: {source: {kind: csv, path: sizes.csv, target: label}}
model: {kind: mlp, units: [4]}
training: {epochs: 1}
"""
NAMED = "<b>\x1b[31mred"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table with a constant column of a hostile name, a slipped decimal point and a few gaps."""
    rows = [[f"{17 * n % 23}.5", f"{5 * n % 19}", "7", "yes" if n % 3 else "no"] for n in range(60)]
    rows[11][0], rows[20][1] = "2000", ""
    with (tmp_path / "sizes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["size", "age", NAMED, "label"], *rows])
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


def test_issues_are_printed_with_rows_columns_and_remedies(dlcli: Dlcli, folder: Path) -> None:
    done = dlcli("data", "spec.yaml")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "warning: constant column" in lines
    assert "warning: outlier" in lines
    assert "    'size' is 2000 in row 'train/11'; the median is 12" in lines
    assert "  examples: 'train/11'" in lines
    assert "  do: drop the column (data.source.drop)" in lines
    assert "note: missing values" in lines
    assert any(line.startswith("0 errors, 2 warnings, 1 note in 42 train, 6 validation, 12 test examples; ") for line in lines)


def test_strict_exits_with_1_for_a_warning_and_0_without(dlcli: Dlcli, folder: Path) -> None:
    assert dlcli("data", "spec.yaml", "--strict").returncode == 1
    (folder / "clean.yaml").write_text(SPEC.replace("target: label", "target: label, features: [age]"))
    done = dlcli("data", "clean.yaml", "--strict")
    assert done.returncode == 0, done.stdout


def test_json_has_every_example_and_no_other_output(dlcli: Dlcli, folder: Path) -> None:
    content = json.loads(dlcli("data", "spec.yaml", "--json").stdout)
    outlier = next(issue for issue in content["issues"] if issue["kind"] == "outlier")
    assert (outlier["examples"], outlier["columns"], outlier["exclude"]) == (["train/11"], ["size"], ["train/11"])
    assert content["severities"] == {"error": 0, "warning": 2, "note": 1}
    assert content["clean"] is False
    assert content["examples"] == {"train": 42, "validation": 6, "test": 12}


def test_the_page_escapes_names_and_loads_nothing(dlcli: Dlcli, folder: Path) -> None:
    done = dlcli("data", "spec.yaml", "--html", "page.html")
    assert done.returncode == 0, done.stderr
    assert "page: page.html" in done.stdout
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "\x1b" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert len(page) < 1_000_000
    (folder / "mine.html").write_text("my page")
    refused = dlcli("data", "spec.yaml", "--html", "mine.html")
    assert refused.returncode == 2
    assert "is not a report of dlcli; give another name with --html" in refused.stderr


def test_the_quarantine_list_is_written_once_and_used_by_a_spec(dlcli: Dlcli, folder: Path) -> None:
    done = dlcli("data", "spec.yaml", "--exclude", "bad.csv")
    assert done.stdout.splitlines()[-2:] == [
        "list: bad.csv (1 example); nothing is excluded until a spec names it:",
        "  data: {exclude: bad.csv}",
    ]
    with (folder / "bad.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["id"], row["part"], row["issue"], row["severity"]) == ("train/11", "train", "outlier", "warning")
    again = dlcli("data", "spec.yaml", "--exclude", "bad.csv")
    assert again.returncode == 2
    assert "bad.csv exists; give another name" in again.stderr
    used = dlcli("data", "spec.yaml", "--set", "data.exclude=bad.csv", "--exclude", "other.csv")
    assert "outlier" not in used.stdout
    assert "note: 1 example of bad.csv is excluded (data.exclude)" in used.stdout
    assert "no example to exclude: no list was written" in used.stdout
    assert not (folder / "other.csv").exists()


def test_a_source_that_cannot_be_opened_gives_one_message(dlcli: Dlcli, folder: Path) -> None:
    (folder / "sizes.csv").unlink()
    done = dlcli("data", "spec.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no file" in done.stderr
    assert "Traceback" not in done.stderr
