"""The text of a new spec for `init`: what the data tells is taken from it, the rest is asked or taken as usual."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from dlcli.errors import UsageError
from dlcli.spec.base import OneOf
from dlcli.spec.experiment import NAME_PATTERN
from dlcli.spec.file import load_text, to_flow
from dlcli.spec.sources.base import Facts
from dlcli.spec.tasks import TASKS

Ask = Callable[[str, str], str]
_LAYERS = """\
  layers:                      # kinds: dlcli list layers; the output layer is added from the task
    - {kind: conv2d, filters: 32, kernel_size: 3, padding: same, activation: relu}
    - {kind: max_pooling2d, pool_size: 2}
    - {kind: conv2d, filters: 64, kernel_size: 3, padding: same, activation: relu}
    - {kind: max_pooling2d, pool_size: 2}
    - flatten
    - {kind: dropout, rate: 0.3}
    - {kind: dense, units: 64, activation: relu}
"""
_UNITS = """\
  units: [64, 32]              # units of each hidden layer; the output layer is added from the task
  activation: relu
  dropout: 0.0
"""


@dataclass(frozen=True)
class Answers:
    """What a new spec is made of; None where it is not said."""

    data: str | None
    task: str | None
    model: str | None
    name: str | None
    target: tuple[str, ...]
    path: Path | None

    def completed(self, ask: Ask | None) -> Answers:
        """Returns the answers with the gaps filled: asked for, or as the data suggests."""

        def answer(given: str | None, question: str, default: str) -> str:
            return given if given is not None else ask(question, default) if ask else default

        data = answer(self.data, "Data (a set's name, a folder of images, a .csv or .npz file)", "digits")
        target = self.target
        if data.endswith(".csv") and not target:
            target = (answer(None, "Target column", _last_column(data)),)
        first = TASKS[self.task] if self.task in TASKS else TASKS["classification"]
        facts = _facts(data, target, first.name)
        task = answer(self.task, f"Task ({', '.join(facts.tasks or TASKS)})", _likely_task(facts))
        model = answer(self.model, "Model (mlp, cnn)", "cnn" if facts.image else "mlp")
        given = self.path.stem if self.path else f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', Path(data).stem)}_{model}"
        name = answer(self.name, "Name", given)
        return replace(self, data=data, task=task, model=model, name=name, target=target)


def written(answers: Answers) -> tuple[Path, str]:
    """Returns the file to write and its text, which `check` accepts.

    Raises:
        SpecError: the answers do not go together.
    """
    path = answers.path or Path(f"{answers.name}.yaml")
    text = _text(answers, path)
    load_text(text, path)
    return path, text


def copied(shipped_name: str, name: str | None) -> tuple[str, str]:
    """Returns the text of a shipped spec, under another name if one is given, and its name.

    Raises:
        UsageError: there is no such spec.
    """
    from dlcli.cli.shipped import shipped
    from dlcli.spec.words import nearest

    known = shipped()
    if shipped_name not in known:
        near = nearest(shipped_name, known)
        guess = f"did you mean `{near}`?" if near else f"there are {', '.join(known)}"
        raise UsageError(f"no shipped spec is called `{shipped_name}`; {guess}")
    text = known[shipped_name].read_text(encoding="utf-8")
    if name is not None:
        if not re.fullmatch(NAME_PATTERN, name):
            raise UsageError(f"--name: expected letters, digits, `_`, `-` and `.`, at most 100, found {name!r}")
        text = re.sub(r"(?m)^name: .*$", lambda _: f"name: {to_flow(name)}", text, count=1)
    return text, name or shipped_name


def _text(answers: Answers, path: Path) -> str:
    data, task, model = str(answers.data), str(answers.task), str(answers.model)
    facts = _facts(data, answers.target, task)
    source = to_flow(_source(data, answers.target, path.parent))
    size = "  image: {size: [96, 96], channels: 3}\n" if _kind(data) == "folder" else ""
    augment = "  # augment: [{kind: random_translation, height_factor: 0.1, width_factor: 0.1}]\n" if facts.image else ""
    metrics = ", ".join(TASKS[task].metrics) if task in TASKS else ""
    return f"""\
# {answers.name}: what it is for.
# Check: dlcli check {path}     Train: dlcli train {path}
# Everything a spec may say: dlcli schema --markdown
version: 1
name: {to_flow(answers.name)}
task: {task}
seed: 0                        # decides everything random
data:
  source: {source}
  batch_size: 32
{size}{augment}model:
  kind: {model}
{_LAYERS if model == "cnn" else _UNITS if model == "mlp" else ""}training:
  epochs: 20
  optimizer: {{kind: adam, learning_rate: 1e-3}}    # others: dlcli list optimizers
  metrics: [{metrics}]
  callbacks:
    - {{kind: early_stopping, patience: 5}}         # stops when the validation loss no longer falls
"""


def _kind(data: str) -> str:
    """Returns the kind of source that `data` names."""
    if data.endswith((".csv", ".npz")):
        return data[-3:]
    if os.sep in data or Path(data).is_dir():
        return "folder"
    kinds = OneOf.registry["Source"].kinds
    named = (kind for kind in ("builtin", "playground") if data in get_args(kinds[kind].model_fields["name"].annotation))
    return next(named, "tfds")


def _source(data: str, target: tuple[str, ...], base: Path) -> dict[str, Any]:
    """Returns the source as YAML has it; a path is written relative to the spec's folder."""
    kind = _kind(data)
    if kind in ("builtin", "playground", "tfds"):
        return {"kind": kind, "name": data}
    path = data if Path(data).is_absolute() else Path(os.path.relpath(data, base)).as_posix()
    column = {"target": target[0] if len(target) == 1 else list(target)} if kind == "csv" else {}
    return {"kind": kind, "path": path, **column}


def _facts(data: str, target: tuple[str, ...], task: str) -> Facts:
    try:
        source = OneOf.registry["Source"].validate(_source(data, target or ("",), Path()), {"folder": "."})
    except ValueError:
        raise UsageError(f"no data is called {data!r}: name a set, a folder of class folders, a .csv or a .npz file") from None
    facts: Facts = source.facts(task)
    return facts


def _likely_task(facts: Facts) -> str:
    if facts.outputs == 2 and "binary" in facts.tasks:
        return "binary"
    return facts.tasks[0] if facts.tasks else "classification"


def _last_column(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), ["target"])[-1]
    except (OSError, UnicodeDecodeError, csv.Error):
        return "target"
