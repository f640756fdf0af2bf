"""Draws the README's pictures anew from a real training: .venv/bin/python scripts/pictures.py"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from html import unescape
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SPEC = "configs/digits_cnn.yaml"


def main() -> None:
    """Trains the first spec, and keeps what the terminal shows and the confusion matrix."""
    from dlcli.cli import console as shown
    from dlcli.spec.load import load
    from dlcli.training.train import train

    screen = Console(record=True, width=128, file=io.StringIO(), color_system="truecolor", highlight=False)
    shown.results_console = lambda: screen
    display = shown.TrainingDisplay(quiet=False)
    display._console = screen
    with tempfile.TemporaryDirectory() as folder:
        run = train(load(ROOT / SPEC), Path(folder) / "runs", display)
        shown.show_result(run)
        picture = without_folder(screen.export_svg(title=f"dlcli train {SPEC}"), folder)
        # The fonts that rich names are fetched from a host; any monospaced font will do.
        picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
        (IMAGES / "terminal.svg").write_text(picture, encoding="utf-8")
        shutil.copyfile(run.evaluation("test") / "confusion_matrix.png", IMAGES / "confusion_matrix.png")


def without_folder(svg: str, folder: str) -> str:
    """Returns rich's SVG without a folder in its texts, each of which is as much narrower: rich states the width of a text."""

    def shortened(match: re.Match[str]) -> str:
        width, attributes, text = match.groups()
        short = text.replace(f"{folder}/", "")
        return f'textLength="{float(width) * len(unescape(short)) / max(1, len(unescape(text))):g}"{attributes}>{short}<'

    return re.sub(r'textLength="([\d.]+)"([^>]*)>([^<]*)<', shortened, svg)


if __name__ == "__main__":
    main()
