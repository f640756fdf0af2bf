"""`init --from`: a shipped spec under another name, and on other data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from dlcli.cli.scaffold.plan import DataPlan, Pictures
from dlcli.cli.scaffold.questions import Options
from dlcli.errors import SpecError, UsageError
from dlcli.runs import layout
from dlcli.spec.edit import with_value
from dlcli.spec.load import load_text, to_flow
from dlcli.visible import visible


def copied(options: Options, plan: DataPlan | None) -> tuple[str, str]:
    """Returns the text of a shipped spec and its name: with the name, the data and the task of the options.

    Raises:
        UsageError: there is no such spec, or its model and training do not fit the data.
    """
    text, shipped_name = _shipped(str(options.shipped))
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", options.path.stem).strip("_.-") if options.path and plan else ""
    name = options.name or stem or shipped_name
    if plan is not None:
        text = _on_other_data(text, options, plan, name)
    if options.task is not None and plan is None:
        _refuse_task(text, options)
    text = re.sub(r"(?m)^name: .*$", lambda _: f"name: {to_flow(name)}", text, count=1)
    return text, name


def _shipped(name: str) -> tuple[str, str]:
    from dlcli.cli.shipped import shipped
    from dlcli.spec.messages import nearest

    specs = shipped()
    if name not in specs:
        near = nearest(name, specs)
        guess = f"did you mean `{near}`?" if near else f"there are {', '.join(specs)}"
        raise UsageError(f"no shipped spec is called `{name}`; {guess}")
    return specs[name].read_text(encoding="utf-8"), name


def _refuse_task(text: str, options: Options) -> None:
    """Raises UsageError where a spec on its own data is for another task than the one given."""
    task = yaml.safe_load(text)["task"]
    if options.task != task:
        raise UsageError(f"--task: {options.shipped} is for {task}; for {options.task}, also set --data")


def _on_other_data(text: str, options: Options, plan: DataPlan, name: str) -> str:
    """Returns the text with another source and a task that fits it, without the comments on its own data."""
    shipped: dict[str, Any] = yaml.safe_load(text)
    task = options.task or (shipped["task"] if shipped["task"] in plan.tasks else plan.tasks[0])
    source = dict(plan.source)
    if "path" in source:
        source["path"] = _relative(str(source["path"]), (options.path or Path(f"{name}.yaml")).parent)
    lines = text.splitlines(keepends=True)
    begin = next(index for index, line in enumerate(lines) if line.startswith("version:"))
    body = with_value("".join(lines[begin:]), ("task",), task)
    body = _with_source(body, shipped, source, plan.pictures)
    notes = [f"{name}: the shipped {options.shipped}, on {plan.label}.", *plan.notes]
    head = "".join(f"# {visible(note)}\n" for note in notes)
    _refuse_unfit(head + body, options, plan, shipped["task"], task)
    return head + body


def _with_source(body: str, shipped: dict[str, Any], source: dict[str, Any], pictures: Pictures | None) -> str:
    """Returns a spec's text with another source, without the settings for its own source."""
    body = with_value(body, ("data", "source"), to_flow(source))
    for key in ("split", "classes"):
        if key in shipped["data"]:
            body = re.sub(rf"(?m)^  {key}: \{{\}}\n", "", with_value(body, ("data", key), "{}"))
    sized = shipped["model"]["kind"] != "cnn" or "size" in shipped["data"].get("image", {})
    if pictures is None or pictures.shape is not None or sized:
        return body
    side = min(96, pictures.side or 96)
    return with_value(body, ("data", "image", "size"), f"[{side}, {side}]")


def _relative(path: str, base: Path) -> str:
    import os

    return path if Path(path).is_absolute() else Path(os.path.relpath(path, base)).as_posix()


def _refuse_unfit(text: str, options: Options, plan: DataPlan, old: str, new: str) -> None:
    try:
        load_text(text, options.path or Path(layout.SPEC))
    except SpecError as error:
        lines = [
            f"--from {options.shipped} does not fit {plan.label}:",
            *(f"  {fault.key}: {fault.message}" for fault in error.faults),
        ]
        if old != new:
            lines.append(f"  {options.shipped} is for {old}; {plan.label} is for {new} ({plan.why})")
        raise UsageError("\n".join([*lines, "  omit --from to get a spec that fits the data"])) from None
