"""The doctor finds faults that were planted in real tables, and reports them by name; real tables alone are nearly clean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data.doctor import planting
from data.doctor.planting import FAULTS, Expected, Table
from dlcli.data.doctor.checks.label_errors import LabelErrors
from dlcli.data.doctor.doctor import Examination, examine, open_subject
from dlcli.spec.load import load

REPOSITORY = Path(__file__).parents[3]
PLANTINGS = 5


def _tables() -> list[str]:
    return ["iris", "breast_cancer", *(["titanic"] if os.environ.get("DLCLI_TEST_DATA") else [])]


def _table(name: str) -> Table:
    return planting.titanic(Path(os.environ["DLCLI_TEST_DATA"])) if name == "titanic" else planting.bundled(name)


def _is_reported(examination: Examination, expected: Expected) -> bool:
    return any(
        issue.kind == expected.kind
        and issue.severity != "note"
        and (not expected.column or expected.column in issue.columns)
        and expected.ids <= set(issue.examples)
        for issue in examination.issues
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_reported_by_name(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = _table("iris")
    expected = FAULTS[fault](table, 1)
    monkeypatch.setattr(LabelErrors, "reason_against", lambda *_: "it takes a while")
    subject = open_subject(load(planting.write(table, tmp_path)).experiment, offline=True)
    examination = examine(subject)
    assert _is_reported(examination, expected), [(issue.severity, issue.kind, issue.columns) for issue in examination.issues]


@pytest.mark.slow
def test_of_five_plantings_of_each_fault_at_least_95_percent_are_found(tmp_path: Path) -> None:
    missed, count = [], 0
    for fault, plant in FAULTS.items():
        for seed in range(PLANTINGS):
            name = _tables()[seed % len(_tables())]
            table = _table(name)
            expected = plant(table, seed)
            folder = tmp_path / f"{fault}{seed}"
            folder.mkdir()
            count += 1
            if not _is_reported(examine(open_subject(load(planting.write(table, folder)).experiment, offline=True)), expected):
                missed.append((fault, name, seed))
    assert len(missed) <= 0.05 * count, missed


@pytest.mark.parametrize("spec", ["digits_cnn", "iris_mlp", "breast_cancer_mlp", "csv_titanic"])
def test_real_data_has_no_error_and_at_most_two_warnings(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if spec == "csv_titanic":
        folder = os.environ.get("DLCLI_TEST_DATA")
        if not folder:
            pytest.skip("DLCLI_TEST_DATA is not set")
        monkeypatch.setenv("TITANIC_CSV", f"{folder}/tabular/titanic_train.csv")
    examination = examine(open_subject(load(REPOSITORY / "configs" / f"{spec}.yaml").experiment, offline=True))
    severities = examination.by_severity
    assert severities["error"] == 0
    assert severities["warning"] <= 2, [issue.summary for issue in examination.issues]
