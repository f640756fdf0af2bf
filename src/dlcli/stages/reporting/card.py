"""Model card."""
from pathlib import Path
from dlcli.runs import Run
def write_model_card(run: Run) -> Path:
    """Writes."""
    return run.path
