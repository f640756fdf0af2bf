"""A run -> what stands out in it, in words: from the files of its folder alone, without TensorFlow."""

from __future__ import annotations

from dlcli.report.diagnosis.evidence import read_evidence
from dlcli.report.diagnosis.rules import FEW_SIMPLE, diagnosed
from dlcli.report.diagnosis.words import GOOD_FIT, in_words
from dlcli.runs import RunFolder
from dlcli.runs.diagnosis import Finding, Remedy, findings, keep_findings

__all__ = ["FEW_SIMPLE", "GOOD_FIT", "Finding", "Remedy", "diagnose", "findings", "in_words", "write_diagnosis"]


def diagnose(run: RunFolder) -> list[Finding]:
    """Returns what stands out in a run, causes first; nothing where nothing does.

    Raises:
        DlcliError: one of its files cannot be read.
    """
    return diagnosed(read_evidence(run))


def write_diagnosis(run: RunFolder) -> list[Finding]:
    """Diagnoses a run, writes `diagnosis.json` and returns what stands out."""
    return keep_findings(run, diagnose(run))
