"""The documents on a run: `report.html`, one page that loads nothing, and `model_card.md`."""
