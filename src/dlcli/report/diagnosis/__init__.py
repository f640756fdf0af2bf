"""A run -> findings about it: only from the files of its folder, without TensorFlow."""

from __future__ import annotations

from dlcli.report.diagnosis.evidence import read_evidence
from dlcli.report.diagnosis.rules import FEW_SIMPLE, apply_rules
from dlcli.report.diagnosis.words import GOOD_FIT, in_words
from dlcli.runs import RunFolder
from dlcli.runs.diagnosis import Finding, Remedy, findings, write_findings

__all__ = ["FEW_SIMPLE", "GOOD_FIT", "Finding", "Remedy", "diagnose", "findings", "in_words", "write_diagnosis"]


def diagnose(run: RunFolder) -> list[Finding]:
    """Returns the findings about a run, causes first; empty where nothing stands out.

    Raises:
        DlcliError: one of its files cannot be read.
    """
    return apply_rules(read_evidence(run))


def write_diagnosis(run: RunFolder) -> list[Finding]:
    """Diagnoses a run, writes `diagnosis.json` and returns the findings."""
    return write_findings(run, diagnose(run))
