"""The results of a training in its TensorBoard log, beside the curves that Keras's own callback has written there."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from dlcli.runs import RunFolder
from dlcli.runs.scored_splits import split_note, split_title
from dlcli.runtime.engine import tf
from dlcli.visible import visible


def write_results(run: RunFolder, split: str) -> None:
    """Adds the final scores of a split: a point in each metric's chart, at the best epoch; a table with intervals; pictures.

    Keras counts epochs from 0 there, and calls the chart of a metric `epoch_<metric>`.
    """
    epoch, scores = max(run.status().best_epoch - 1, 0), run.metrics(split)
    with tf.device("/CPU:0"):
        # Keras's own points of the other splits are in folders of their names.
        folder = split if split == "test" else f"{split}_best"
        writer = tf.summary.create_file_writer(str(run.tensorboard_path / folder))
        with writer.as_default(epoch):
            for name, entry in scores["metrics"].items():
                if entry["value"] is not None:
                    tf.summary.scalar(f"epoch_{name}", entry["value"])
            tf.summary.text("results", _table(run, split, scores))
            tf.summary.text("spec", _indented(run.spec_path.read_text(encoding="utf-8")))
            for path in sorted(run.evaluation(split).glob("*.png")):
                _write_picture(path)
        writer.close()


def _write_picture(path: Path) -> None:
    """Adds a PNG file as it is; `tf.summary.image` would decode and encode it, which takes 40 ms each."""
    from tensorboard.plugins.image.metadata import create_summary_metadata

    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # of the header chunk, which is the first
    metadata = create_summary_metadata(display_name=None, description=None)
    tf.summary.write(path.stem, [str(width).encode(), str(height).encode(), content], metadata=metadata)


def _table(run: RunFolder, split: str, scores: dict[str, Any]) -> str:
    """Returns the scores as a table in Markdown."""
    note = split_note(run, split)
    lines = [
        f"{visible(run.id)}, {split_title(run, split)}, {scores['examples']:,} examples{f': {note}' if note else ''}",
        "",
        "| metric | value | 95 % interval | baseline |",
        "|---|---|---|---|",
    ]
    for name, entry in scores["metrics"].items():
        low, high = entry.get("interval") or (None, None)
        interval = "" if low is None else f"{low:.4f} to {high:.4f}"
        lines.append(f"| {name} | {_shown(entry['value'])} | {interval} | {_shown(scores['baseline']['metrics'].get(name))} |")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _indented(text: str) -> str:
    """Returns a text as Markdown shows it unchanged."""
    return "\n".join(f"    {visible(line)}" for line in text.splitlines())
