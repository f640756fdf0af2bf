"""The text of a new spec for `init`: the data decides where it can; the rest is asked for, or refused with its option."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from dlcli.cli.scaffold.copies import copied
from dlcli.cli.scaffold.models import chosen_model
from dlcli.cli.scaffold.plan import DataPlan
from dlcli.cli.scaffold.questions import Options, Questions, refuse_unknown
from dlcli.cli.scaffold.sets import look_at_data
from dlcli.cli.scaffold.spec_text import download_lines, spec_text
from dlcli.errors import UsageError
from dlcli.program import command
from dlcli.spec.experiment import NAME_PATTERN
from dlcli.spec.load import load_text
from dlcli.tasks import TASKS

__all__ = ["Options", "Questions", "new_spec"]


def new_spec(options: Options, questions: Questions) -> tuple[Path, str, list[str]]:
    """Returns the file to write, its text, which `check` accepts, and notes for the user.

    Raises:
        UsageError: something is neither given nor shown by the data, or options cannot be combined.
        SpecError: the answers cannot be combined.
    """
    _refuse_wrong(options)
    if options.shipped is not None:
        return _copy(options, questions)
    data = options.data
    if data is None:
        data = questions.text("Data (a set's name, a folder of images, a table or an .npz file)", "digits")
    plan = look_at_data(data, options, questions)
    question = f"Task, {plan.why}" if plan.why else "Task"
    task = options.task or questions.choice("--task", question, plan.tasks, plan.tasks[0], plan.doubt)
    model, backbone = chosen_model(plan, options, questions)
    usual = _plain(options.path.stem) if options.path else f"{_plain(plan.stem)}_{model}"
    name = options.name or questions.text("Name", usual)
    _refuse_name(name)
    path = options.path or Path(f"{name}.yaml")
    text = spec_text(plan, name, task, model, backbone, path)
    load_text(text, path)
    notes = [*plan.notes, *(download_lines(plan, backbone, command()) if backbone and not backbone.weights else [])]
    return path, text, notes


def _copy(options: Options, questions: Questions) -> tuple[Path, str, list[str]]:
    plan: DataPlan | None = None
    if options.data is not None:
        plan = look_at_data(options.data, options, questions)
        task = options.task
        if plan.doubt and task is None:
            task = questions.choice("--task", "Task", plan.tasks, plan.tasks[0], plan.doubt)
        options = replace(options, task=task)
    text, name = copied(options, plan)
    return options.path or Path(f"{name}.yaml"), text, list(plan.notes) if plan else []


def _refuse_wrong(options: Options) -> None:
    """Raises UsageError for options that no data could fit."""
    if options.task is not None:
        refuse_unknown("--task", options.task, tuple(TASKS))
    if options.data is not None and not options.data.strip():
        raise UsageError("--data: is empty; name a folder of images, a table, an .npz file, or a set such as digits")
    if options.name is not None:
        _refuse_name(options.name)
    if options.shipped is None:
        return
    for option, value in (("--model", options.model), ("--weights", options.weights)):
        if value is not None:
            raise UsageError(f"{option} cannot be combined with --from: the model is that of {options.shipped}")
    if options.target and options.data is None:
        raise UsageError(f"--target needs --data: without it, the data is that of {options.shipped}")


def _refuse_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(f"--name: expected letters, digits, `_`, `-` and `.`, at most 100, found {name!r}")


def _plain(text: str) -> str:
    """Returns a text as a name may have it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")[:80] or "data"
