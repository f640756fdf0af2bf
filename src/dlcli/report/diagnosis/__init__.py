"""A run -> what stands out in it, in words: from the files of its folder alone, without TensorFlow."""

from __future__ import annotations

from dlcli.report.diagnosis.evidence import read_evidence
from dlcli.report.diagnosis.finding import GOOD_FIT, Finding, Remedy, findings, in_words, keep
from dlcli.report.diagnosis.rules import FEW_SIMPLE, diagnosed
from dlcli.runs import Run

__all__ = ["FEW_SIMPLE", "GOOD_FIT", "Finding", "Remedy", "diagnose", "findings", "in_words", "write_diagnosis"]


def diagnose(run: Run) -> list[Finding]:
    """Returns what stands out in a run, causes first; nothing where nothing does.

    Raises:
        DlcliError: one of its files cannot be read.
    """
    return diagnosed(read_evidence(run))


def write_diagnosis(run: Run) -> list[Finding]:
    """Diagnoses a run, writes `diagnosis.json` and returns what stands out."""
    return keep(run, diagnose(run))
