"""The YAML text of a new spec, with comments."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dlcli.cli.scaffold.models import Backbone
from dlcli.cli.scaffold.plan import DataPlan, Pictures
from dlcli.spec.load import to_flow
from dlcli.spec.model.backbones.applications import ROWS
from dlcli.tasks import TASKS
from dlcli.visible import visible

_LAYERS = """\
  layers:                      # see dlcli list layers; the output layer follows from the task
    - {kind: conv2d, filters: 32, kernel_size: 3, padding: same, activation: relu}
    - {kind: max_pooling2d, pool_size: 2}
    - {kind: conv2d, filters: 64, kernel_size: 3, padding: same, activation: relu}
    - {kind: max_pooling2d, pool_size: 2}
    - flatten
    - {kind: dropout, rate: 0.3}
    - {kind: dense, units: 64, activation: relu}
"""
_UNITS = """\
  units: [64, 32]              # units of each hidden layer; the output layer follows from the task
  activation: relu
  dropout: 0.0
"""
_NETWORK = """\
  layers: {network:<15}      # or another network by its name, or a list of layers: see dlcli schema --markdown
"""
_FIT = """\
  epochs: {epochs}
  optimizer: {{kind: adam, learning_rate: 1e-3}}    # others: dlcli list optimizers
  metrics: [{metrics}]
  callbacks:
    - {{kind: early_stopping, patience: {patience}}}  # stops when the validation loss no longer falls
"""
_STAGES = """\
  monitor: {monitor}
  metrics: [{metrics}]
{features}  stages:                      # first the head only; then the end of the backbone too, at a low rate
    - {{name: head, train: head, epochs: 60, optimizer: {{kind: adam, learning_rate: 3e-3}}}}
    - {{name: top, train: {{last: 20}}, epochs: 10, optimizer: {{kind: adam, learning_rate: 1e-5}}}}
  callbacks:
    - {{kind: early_stopping, patience: 10}}        # ends a stage when {monitor} no longer improves
"""
_MANY_FEATURES = 512
_HEAD = "  head: [{kind: dropout, rate: 0.2}]\n"
_COPIES = "  features: {augmented_copies: 4}    # stored features: of 4 augmented versions of each image\n"


def spec_text(plan: DataPlan, name: str, task: str, model: str, backbone: Backbone | None, path: Path) -> str:
    """Returns the text of a spec that is to be written to a path."""
    head = "".join(f"# {line}\n" for line in _head(plan, name, task, backbone, path))
    data = f"data:\n{source_text(plan, path.parent)}  batch_size: {16 if backbone else 32}\n"
    data += f"  text: {{split: {plan.sequences.split}}}\n" if plan.sequences and plan.sequences.split else ""
    data += _image_text(plan.pictures, model) + _augment_text(plan.pictures)
    return (
        f"{head}version: 1\nname: {to_flow(name)}\ntask: {task}{_task_remark(plan, task)}\n"
        f"seed: 0                        # seed of all random numbers\n{data}"
        f"model:\n  kind: {model}\n{_model_text(plan, model, backbone, path)}training:\n{_training_text(plan, model, task)}"
    )


def _head(plan: DataPlan, name: str, task: str, backbone: Backbone | None, path: Path) -> Iterator[str]:
    yield f"{name}: {TASKS[task].meaning} on {visible(plan.label)}."
    yield from (visible(note) for note in plan.notes)
    if backbone and not backbone.weights:
        yield from download_lines(plan, backbone, "dlcli")
    yield f"Check: dlcli check {path}     Train: dlcli train {path}"
    yield "Reference of all fields: dlcli schema --markdown"


def download_lines(plan: DataPlan, backbone: Backbone, program: str) -> list[str]:
    """Returns what a training downloads, and what to do without a network; `program` is how dlcli is called."""
    scratch = f"{program} init --data {shlex.quote(plan.label)} --model cnn"
    return [
        f"The first training downloads {backbone.download()} to ~/.keras/models.",
        f"Without a network: use --weights FILE, or train from scratch: {scratch}",
    ]


def source_text(plan: DataPlan, base: Path) -> str:
    """Returns the lines of the source; paths are written relative to the spec's folder."""
    source = {key: _placed(value, base) if key in ("path", "folder") else value for key, value in plan.source.items()}
    if not plan.remarks and len(to_flow(source)) < 100:
        return f"  source: {to_flow(source)}\n"
    return "  source:\n" + "".join(_field_lines(source, plan.remarks))


def _placed(path: str, base: Path) -> str:
    return path if Path(path).is_absolute() else Path(os.path.relpath(path, base)).as_posix()


def _field_lines(source: Mapping[str, Any], remarks: Mapping[str, str]) -> Iterator[str]:
    for key, value in source.items():
        if isinstance(value, list) and any(f"{key}.{item}" in remarks for item in value):
            yield f"    {key}:\n"
            yield from (_with_remark(f"      - {to_flow(item)}", remarks.get(f"{key}.{item}", "")) for item in value)
        else:
            yield _with_remark(f"    {key}: {to_flow(value)}", remarks.get(key, ""))


def _with_remark(line: str, remark: str) -> str:
    return f"{line:<30} # {visible(remark)}\n" if remark else f"{line}\n"


def _task_remark(plan: DataPlan, task: str) -> str:
    others = [word for word in plan.tasks if word != task]
    return f"{' ' * max(1, 25 - len(task))}# or {' or '.join(others)}" if others else ""


def _image_text(pictures: Pictures | None, model: str) -> str:
    """Returns the size of images, where neither the source nor the backbone determines it."""
    if pictures is None or pictures.shape is not None or model == "transfer":
        return ""
    side = min(96, pictures.side or 96)
    return f"  image: {{size: [{side}, {side}], channels: {1 if pictures.grey else 3}}}\n"


def _augment_text(pictures: Pictures | None) -> str:
    """Returns changes of images that leave their class: no mirrored letters, small moves only."""
    if pictures is None:
        return ""
    flip = "    - {kind: random_flip, mode: horizontal}\n" if pictures.flips and pictures.shape is None else ""
    shift = "    - {kind: random_translation, height_factor: 0.1, width_factor: 0.1}\n"
    if pictures.shape is not None:
        return "  # augment: [{kind: random_translation, height_factor: 0.1, width_factor: 0.1}]\n"
    remark = "" if flip else "    # not mirrored: class names are about sides, letters or digits"
    return f"  augment:                     # random changes during training{remark and ';'}{remark[5:]}\n{flip}{shift}"


def _model_text(plan: DataPlan, model: str, backbone: Backbone | None, path: Path) -> str:
    if plan.sequences is not None:
        return _NETWORK.format(network=plan.sequences.network)
    if backbone is None:
        return _LAYERS if model == "cnn" else _UNITS
    weights = to_flow(_placed(backbone.weights, path.parent)) if backbone.weights else ""
    head = _HEAD if ROWS[backbone.kind].features * (backbone.alpha or 1) > _MANY_FEATURES else ""
    return f"  backbone: {backbone.fields(weights)}    # others: dlcli list backbones\n{head}"


def _training_text(plan: DataPlan, model: str, task: str) -> str:
    metrics = ", ".join(TASKS[task].metrics)
    if model == "transfer":
        monitor = "val_accuracy" if "accuracy" in TASKS[task].metrics else "val_loss"
        varied = plan.pictures is None or plan.pictures.shape is None
        return _STAGES.format(monitor=monitor, metrics=metrics, features=_COPIES if varied else "")
    if plan.sequences and plan.sequences.network != "fcn":
        return _FIT.format(epochs=10, metrics=metrics, patience=2)
    rows = plan.source["kind"] in ("csv", "npz", "ts") and plan.pictures is None
    return _FIT.format(epochs=100 if rows else 20, metrics=metrics, patience=10 if rows else 5)
