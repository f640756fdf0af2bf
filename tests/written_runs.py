"""Run folders with everything that a report shows, written by dlcli's own writers and without a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.runs import RunFolder
from dlcli.runs.files import write_json, write_table
from dlcli.runtime.inputs import array_inputs
from dlcli.score.details import notable_examples
from dlcli.score.examples import write_examples
from dlcli.score.outcome import Outcome
from dlcli.score.record import Scores, write_calibration, write_curves, write_scores, write_tables
from dlcli.spec.data.sources import Examples
from dlcli.spec.load import load_text, to_yaml
from dlcli.tasks import TASKS

Array = np.ndarray[Any, Any]
SPEC = """name: {name}
task: {task}
seed: {seed}
data: {{source: {{kind: builtin, name: {source}}}}}
model: {model}
training: {{epochs: 3, metrics: [{metric}]}}
"""
CNN = "{kind: cnn, layers: [{kind: conv2d, filters: 2, kernel_size: 3}, flatten]}"


def written(
    runs: Path, outcome: Outcome, *, images: Array | None = None, name: str = "made", seed: int = 0, pictures: bool = False
) -> RunFolder:
    """Makes a finished run that was scored with an outcome; the PNG pictures beside the tables only if wanted."""
    task = outcome.task.name
    regression = outcome.task.output.is_numeric
    source = {"regression": "diabetes", "binary": "breast_cancer"}.get(task, "digits")
    words = {"task": task, "metric": "mae" if regression else "accuracy", "name": name, "seed": seed, "source": source}
    text = SPEC.format(model="{kind: mlp}" if images is None else CNN, **words)
    run = RunFolder.create(runs, name, spec=to_yaml(load_text(text, "spec.yaml").experiment), source=text)
    counts = {} if regression else dict.fromkeys(outcome.classes, 4)
    run.write_data(
        {
            "task": task,
            "classes": list(outcome.classes),
            "examples": {"train": 4 * len(outcome.classes), "test": len(outcome)},
            "counts": {"train": counts, "test": counts},
            "shape": [3] if images is None else list(images.shape[1:]),
            "fingerprint": "f" * 64,
            "notes": ["3 rows had no label and are left out"],
        }
    )
    run.write_environment(
        {"device": {"kind": "cpu", "name": "2 cores"}, "precision": "float32", "dlcli": "0.1.0", "python": "3"}
    )
    losses = (0.9, 0.6, 0.5)
    run.write_history(
        [{"stage": "train", "epoch": at, "loss": loss, "val_loss": loss + 0.1} for at, loss in enumerate(losses, 1)]
    )
    run.update_status(state="completed", epoch=3, epochs=3, best_epoch=3, best_value=0.6, monitor="val_loss")
    score(run, outcome, images=images, pictures=pictures)
    return run


def score(run: RunFolder, outcome: Outcome, *, images: Array | None, pictures: bool) -> None:
    """Writes `evaluation/<split>/`."""
    folder = run.made_evaluation(outcome.split)
    write_tables(folder, outcome)
    calibration = write_calibration(folder, outcome, None)
    chosen = write_curves(folder, outcome, None)
    inputs = np.zeros((len(outcome), 3)) if images is None else images
    examples = Examples(array_inputs(inputs), outcome.truth, outcome.ids)
    write_examples(folder, notable_examples(outcome), examples, images=images is not None)
    metric, value, low, high, guess = ("mae", 2.0, 1.5, 2.6, 5.0) if outcome.task.output.is_numeric else _accuracy(outcome)
    scores = Scores(outcome.split, len(outcome), {metric: value}, {metric: (low, high)}, {metric: guess}, "always the same")
    write_scores(folder, outcome, scores, calibration=calibration, thresholds=chosen)
    for picture in [] if pictures else folder.glob("*.png"):
        picture.unlink()


def _accuracy(outcome: Outcome) -> tuple[str, float, float, float, float]:
    value = float((outcome.predicted == outcome.truth).mean())
    return "accuracy", value, value - 0.05, value + 0.04, 1 / len(outcome.classes)


def guesses(classes: Sequence[str], *, each: int = 6, seed: int = 0, task: str = "classification", ids: str = "{}") -> Outcome:
    """Returns an outcome that is right more often than not, with confusions between neighbouring classes."""
    random, count = np.random.default_rng(seed), len(classes)
    truth = np.repeat(np.arange(count), each)
    logits = random.normal(0, 0.4, (len(truth), count))
    logits[np.arange(len(truth)), truth] += 2.0
    wrong = random.random(len(truth)) < 0.3
    logits[wrong, (truth[wrong] + 1) % count] += 3.0
    shares = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype("float32")
    output = TASKS[task].output
    scores = output.scores(shares[:, 1:]) if task == "binary" else shares
    return Outcome(TASKS[task], "test", [ids.format(number) for number in range(len(truth))], tuple(classes), truth, scores)


def pixels(count: int) -> Array:
    """Returns small grey images, uint8 `(count, 8, 8, 1)`."""
    return np.random.default_rng(1).integers(0, 255, (count, 8, 8, 1)).astype("uint8")


def image_run(runs: Path, classes: Sequence[str], **options: Any) -> RunFolder:
    """Makes a run on images of these classes."""
    outcome = guesses(classes, ids=options.pop("ids", "{}"))
    return written(runs, outcome, images=pixels(len(outcome)), **options)


def binary_run(runs: Path, **options: Any) -> RunFolder:
    """Makes a run on rows of a yes-or-no task."""
    return written(runs, guesses(("no", "yes"), each=40, task="binary"), **options)


def regression_run(runs: Path, **options: Any) -> RunFolder:
    """Makes a run that predicts two targets of 90 rows."""
    random = np.random.default_rng(0)
    truth = random.normal(50, 20, (90, 2)).astype("float32")
    guess = (truth + random.normal(1, 3, truth.shape)).astype("float32")
    outcome = Outcome(TASKS["regression"], "test", [str(number) for number in range(90)], ("price", "area"), truth, guess)
    return written(runs, outcome, **options)


def with_everything(run: RunFolder) -> RunFolder:
    """Adds what only some runs have: a diagnosis, stages, slices, an explanation, an export."""
    from PIL import Image

    remedy = {"text": "train longer", "set": "training.epochs=60"}
    write_json(run.path / "diagnosis.json", [{"name": "too short", "evidence": ["val_loss still falls"], "remedies": [remedy]}])
    proof = {"step": 1, "moved": 2, "still": 4, "zero_gradient": [], "tiny_step": []}
    blocks = [{"name": "stem", "trainable": 0, "frozen": 300}, {"name": "head", "trainable": 20, "frozen": 0}]
    stage = {"name": "head", "train": "head", "trainable": 20, "frozen": 300, "blocks": blocks, "proof": proof, "epochs": 3}
    run.write_stages([stage | {"monitor": "val_loss", "best_epoch": 3, "best_value": 0.6}])
    columns = ("column", "value", "examples", "metric", "score", "low", "high")
    write_table(run.evaluation("test") / "slices.csv", columns, [("site", "north", 20, "accuracy", 0.5, 0.3, 0.7)])
    folder = run.path / "explanations"
    folder.mkdir()
    Image.new("RGB", (20, 20), "red").save(folder / "heat.png")
    write_json(
        folder / "explanations.json", [{"file": "heat.png", "kind": "grad_cam", "title": "Where", "text": "It looks here."}]
    )
    export = run.path / "exports" / "onnx"
    export.mkdir(parents=True)
    found = {"metric": "accuracy", "original": 0.9, "export": 0.9, "examples": 60, "largest_difference": 1e-6}
    write_json(export / "export.json", {"format": "onnx", "quantize": None, "bytes": 123456, "agreement": found})
    return run
