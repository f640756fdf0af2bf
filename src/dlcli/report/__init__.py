"""The documents on a run: `report.html`, one page that loads nothing, and `model_card.md`."""

from __future__ import annotations

from dlcli.report.card import write_model_card
from dlcli.report.report import write_comparison, write_report

__all__ = ["write_comparison", "write_model_card", "write_report"]
