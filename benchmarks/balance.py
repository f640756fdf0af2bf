"""Measures each kind of `data.balance` against none: python benchmarks/balance.py FOLDER [mammography|mnist] [KIND ...]

FOLDER gets the runs and a table. The data is read from the folders that DLCLI_TEST_DATA and TFDS_DATA_DIR name.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

SEEDS = range(5)
T_4 = 2.776
"""The 97.5 % point of Student's distribution with 4 degrees of freedom."""
RARE_SHARE, DIGIT = 0.02, 8
KINDS: dict[str, tuple[Any, str]] = {
    "none": ("none", "auto"),
    "none, monitor: val_macro_f1": ("none", "val_macro_f1"),
    "class_weight": ("class_weight", "auto"),
    "sqrt": ("sqrt", "auto"),
    "effective_number": ("effective_number", "auto"),
    "oversample": ("oversample", "auto"),
    "oversample, ratio: 0.25": ({"kind": "oversample", "ratio": 0.25}, "auto"),
    "undersample": ("undersample", "auto"),
    "undersample, ratio: 0.25": ({"kind": "undersample", "ratio": 0.25}, "auto"),
    "smote": ("smote", "auto"),
}
MEASURES = ("minority recall", "macro F1", "average precision", "accuracy")


def mammography(folder: Path) -> dict[str, Any]:
    """Returns the spec of a table of 11,183 rows, of which 260 are positive; each different row once."""
    source = Path(os.environ["DLCLI_TEST_DATA"]) / "tabular" / "mammography.csv"
    head, *rows = source.read_text(encoding="utf-8").splitlines()
    path = folder / "mammography.csv"
    path.write_text("\n".join([head, *dict.fromkeys(rows)]) + "\n", encoding="utf-8")
    return {
        "name": "mammography",
        "task": "binary",
        "data": {
            "source": {"kind": "csv", "path": str(path), "target": "class"},
            "split": {"validation": 0.2, "test": 0.3},
        },
        "model": {"kind": "mlp", "units": [32], "activation": "relu"},
        "training": {"epochs": 20, "metrics": ["accuracy", "auc", "macro_f1"]},
    }


def mnist(folder: Path) -> dict[str, Any]:
    """Returns the spec of 12,000 training and 10,000 test images of MNIST, 2 % of which are an 8."""
    import tensorflow_datasets as tfds

    arrays: dict[str, Any] = {}
    for split, count in (("train", 12_000), ("test", 10_000)):
        images, labels = tfds.as_numpy(tfds.load("mnist", split=split, batch_size=-1, as_supervised=True))
        rare = np.flatnonzero(labels == DIGIT)
        others = np.flatnonzero(labels != DIGIT)[: round(count * (1 - RARE_SHARE))]
        chosen = np.sort(np.concatenate([others, rare[: round(len(others) * RARE_SHARE / (1 - RARE_SHARE))]]))
        arrays |= {f"x_{split}": images[chosen], f"y_{split}": labels[chosen]}
    path = folder / "mnist.npz"
    np.savez(path, **arrays)
    return {
        "name": "mnist",
        "task": "classification",
        "data": {
            "source": {"kind": "npz", "path": str(path), "features": "x_train", "target": "y_train"},
            "split": {"validation": 0.2},
            "batch_size": 64,
        },
        "model": {"kind": "mlp", "units": [32], "activation": "relu"},
        "training": {"epochs": 8, "metrics": ["accuracy", "macro_f1"]},
    }


def scores(run: Any, rare: int) -> dict[str, float]:
    """Returns the measures of a run's test predictions; `rare` is the number of the rare class."""
    from sklearn.metrics import average_precision_score, f1_score

    from dlcli.score.outcome import read_outcome

    outcome = read_outcome(run, "test")
    truth, predicted = outcome.truth, outcome.predicted
    return {
        "minority recall": float((predicted[truth == rare] == rare).mean()),
        "macro F1": float(f1_score(truth, predicted, average="macro")),
        "average precision": float(average_precision_score(truth == rare, outcome.scores[:, rare])),
        "accuracy": float((predicted == truth).mean()),
    }


def measure(folder: Path, name: str, kinds: list[str]) -> None:
    """Trains every kind for every seed and writes the scores."""
    from dlcli.runs.reporter import Reporter
    from dlcli.spec.load import load_data
    from dlcli.training.train import train

    spec, rare = {"mammography": (mammography, 1), "mnist": (mnist, DIGIT)}[name]
    data = spec(folder)
    for kind in kinds:
        balance, monitor = KINDS[kind]
        for seed in SEEDS:
            data |= {"seed": seed}
            data["data"]["balance"], data["training"]["monitor"] = balance, monitor
            run = train(load_data(data), folder / "runs", Reporter(), write_up=False)
            entry = {"set": name, "kind": kind, "seed": seed} | scores(run, rare)
            print(json.dumps(entry), flush=True)
            with (folder / "scores.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


def table(folder: Path, name: str) -> str:
    """Returns the mean of each measure, and its paired difference from `none` with a 95 % interval over the seeds."""
    entries = [json.loads(line) for line in (folder / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    values: dict[str, dict[int, Any]] = {}
    for entry in entries:
        if entry["set"] == name:
            values.setdefault(entry["kind"], {})[entry["seed"]] = [entry[measure] for measure in MEASURES]
    lines = [f"| {name} | {' | '.join(MEASURES)} |", "| --- " * (len(MEASURES) + 1) + "|"]
    baseline = np.array([values["none"][seed] for seed in SEEDS])
    for kind, by_seed in values.items():
        found = np.array([by_seed[seed] for seed in SEEDS])
        gains = found - baseline
        half = T_4 * gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
        cells = [
            f"{mean:.3f}" + (f" ({gain:+.3f} ± {width:.3f})" if kind != "none" else "")
            for mean, gain, width in zip(found.mean(axis=0), gains.mean(axis=0), half, strict=True)
        ]
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures the kinds that the command line names, or all."""
    folder, name, *kinds = [Path(sys.argv[1]), *sys.argv[2:]]
    folder.mkdir(parents=True, exist_ok=True)
    possible = [kind for kind in KINDS if name == "mammography" or kind != "smote"]
    measure(folder, str(name), [str(kind) for kind in kinds] or possible)
    print(table(folder, str(name)))


if __name__ == "__main__":
    main()
