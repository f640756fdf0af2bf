"""Creates run folders without a training, for tests of list, show, compare and look-up."""

from __future__ import annotations

from pathlib import Path

from dlcli.runs import RunFolder
from dlcli.runs.files import write_json
from dlcli.runs.folder import State
from dlcli.spec.load import load_text, to_yaml

SPEC = """name: {name}
task: classification
seed: {seed}
data: {{source: {{kind: builtin, name: iris}}}}
model: {{kind: mlp, units: [8]}}
"""


def make_run(
    runs: Path, name: str = "iris", *, accuracy: float | None = 0.9, state: State = "completed", seed: int = 0, data: str = "f"
) -> RunFolder:
    """Creates a run with one finished epoch, scored unless `accuracy` is None."""
    text = SPEC.format(name=name, seed=seed)
    run = RunFolder.create(runs, name, spec=to_yaml(load_text(text, "spec.yaml").experiment), source=text)
    run.write_data({"examples": {"train": 105, "test": 30}, "fingerprint": data})
    run.write_environment({"device": {"kind": "cpu", "name": "2 cores"}, "precision": "float32"})
    run.write_history([{"stage": "train", "epoch": 1, "loss": 0.5, "val_loss": 1 - (accuracy or 0)}])
    run.update_status(state=state, epoch=1, epochs=3, best_epoch=1, best_value=1 - (accuracy or 0), monitor="val_loss")
    if accuracy is not None:
        scores = {"loss": {"value": 1 - accuracy}, "accuracy": {"value": accuracy}}
        baseline = {"name": "always 'setosa'", "metrics": {"accuracy": 1 / 3}}
        content = {"split": "test", "examples": 30, "metrics": scores, "baseline": baseline}
        write_json(run.made_evaluation("test") / "metrics.json", content)
    return run
