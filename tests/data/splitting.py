"""Splits of specs for tests: `opened("{kind: csv, ...}", "{group: patient}")`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from dlcli.data.split import SplitExamples
from dlcli.data.splits import Splits, open_splits
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import load_text


def experiment_of(
    source: str, split: str, *, seed: int = 0, task: str = "classification", more: str = "", root: Path | None = None
) -> Experiment:
    """Returns the checked experiment of a spec with these settings as flow YAML; `more` are other settings of `data`."""
    data = f"{{source: {source}, split: {split}{more}}}"
    text = f"name: t\nseed: {seed}\ntask: {task}\ndata: {data}\nmodel: {{kind: mlp, units: [4]}}\n"
    return load_text(text, (root or Path()) / "spec.yaml", []).experiment


def opened(source: str, split: str, *, seed: int = 0, task: str = "classification", more: str = "") -> Splits:
    """Returns the splits of a spec with these settings."""
    return open_splits(experiment_of(source, split, seed=seed, task=task, more=more))


def ids(splits: SplitExamples, name: str) -> set[str]:
    """Returns the ids of a split."""
    return set(splits[name].ids)


def split_of(splits: SplitExamples) -> dict[str, str]:
    """Returns the split of each example by its id."""
    return {example: name for name, examples in splits.distinct.items() for example in examples.ids}


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Writes a CSV table, and returns a source of it with the target `label`, as flow YAML."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return f"{{kind: csv, path: {path}, target: label}}"
