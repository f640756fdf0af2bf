"""The reference of the language, written from the language itself: `docs/spec.md` and `docs/schema.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlcli.spec.base import OneOf, Spec, dump, kinds_of, meaning, needs_fields
from dlcli.spec.data.data import Data, ImageSettings, SplitSettings
from dlcli.spec.experiment import Experiment, Hardware, Resources, Training
from dlcli.spec.load import json_schema
from dlcli.spec.model.models import Blocks, Output
from dlcli.spec.search.sweep import Sweep
from dlcli.spec.training.stages import Features, Stage
from dlcli.tasks import TASKS

_INTRODUCTION = """\
# The spec

One YAML file says what a run is. This page is written by `dlcli schema --write docs` from the language itself; editors
complete and check a spec by [schema.json](schema.json) where its first line is
`# yaml-language-server: $schema=../docs/schema.json`.

- A kind that needs no settings may be written as its bare name: `optimizer: adam`, `- flatten`.
- Whole numbers are written whole (`epochs: 3`), and `true` and `false` are the only truth values (YAML 1.2).
- Paths are relative to the spec's folder, those of `--set` to the working folder. In a path, `${NAME}` and
  `${NAME:-default}` stand for environment variables.
- `--set training.epochs=3` changes a field from the command line; lists by index (`model.layers.0.filters=8`), `+=`
  appends.
"""
_SECTIONS: list[tuple[str, type[Spec]]] = [
    ("", Experiment),
    ("data", Data),
    ("data.split", SplitSettings),
    ("data.image", ImageSettings),
    ("output", Output),
    ("training", Training),
    ("training.stages", Stage),
    ("training.features", Features),
    ("hardware", Hardware),
    ("hardware.resources", Resources),
    ("sweep", Sweep),
]
UNION_TITLES = {
    "Source": "Sources",
    "Augmentation": "Augmentations",
    "Model": "Models",
    "Backbone": "Backbones",
    "Head": "Heads",
    "Layer": "Layers",
    "Activation": "Activations",
    "Regularizer": "Regularizers",
    "Initializer": "Initializers",
    "Constraint": "Constraints",
    "Loss": "Losses",
    "Optimizer": "Optimizers",
    "LearningRate": "Schedules",
    "Metric": "Metrics",
    "Callback": "Callbacks",
}
"""The unions by their title, in the order of a spec."""


def write_reference(folder: Path) -> list[Path]:
    """Writes `spec.md` and `schema.json` into a folder and returns their paths."""
    contents = {folder / "spec.md": reference(), folder / "schema.json": schema_text()}
    for path, text in contents.items():
        path.write_text(text, encoding="utf-8")
    return list(contents)


def schema_text() -> str:
    """Returns the JSON schema as it is shipped."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def reference() -> str:
    """Returns the reference in Markdown: every section, then every kind of every union."""
    definitions = json_schema()
    parts = [_INTRODUCTION, _contents(), _tasks()]
    parts += [_section(name, member, definitions) for name, member in _SECTIONS]
    parts += [_union(name, title, definitions) for name, title in UNION_TITLES.items()]
    return "\n".join(parts)


def _contents() -> str:
    links = [f"[{title}](#{title.lower()})" for title in UNION_TITLES.values()]
    return f"Kinds: {' · '.join(links)}\n"


def _tasks() -> str:
    rows = [
        (f"`{task.name}`", task.meaning, task.activation, f"`{task.loss}`", ", ".join(f"`{one}`" for one in task.metrics))
        for task in TASKS.values()
    ]
    return "## Tasks\n\n" + _table(("task", "predicts", "output", "loss", "metrics"), rows)


def _section(name: str, member: type[Spec], definitions: dict[str, Any]) -> str:
    title = f"## `{name}`" if name else "## The file"
    return f"{title}\n\n{_text(member)}\n\n{_fields(member, definitions)}"


def _union(name: str, title: str, definitions: dict[str, Any]) -> str:
    parts = [f"## {title}\n"]
    for member in OneOf.registry[name].members:
        kinds = kinds_of(member)
        parts.append(f"### {', '.join(f'`{kind}`' for kind in kinds)}\n\n{_text(member)}\n")
        parts += [f"- `{kind}`: {text}" for kind, text in member.meanings.items()]
        parts += [""] if member.meanings else []
        fields = _fields(member, definitions)
        parts += [fields] if fields else []
        if member.__name__ == "Cnn":
            parts.append(f"#### `blocks`\n\n{_text(Blocks)}\n\n{_fields(Blocks, definitions)}")
    return "\n".join(parts)


def _text(member: type[Spec]) -> str:
    lines = (member.__doc__ or "").splitlines()
    return "\n".join(line.strip() for line in lines).strip()


def _fields(member: type[Spec], definitions: dict[str, Any]) -> str:
    schema = definitions if member is Experiment else definitions["$defs"][member.__name__]
    rows = []
    for name, field in member.model_fields.items():
        if name != "kind":
            kind = _kind_of(schema["properties"][name]).replace("|", "\\|")
            default = "required" if field.is_required() else f"`{_shown(field.default)}`"
            rows.append((f"`{name}`", kind, default, (field.description or "").replace("|", "\\|")))
    return _table(("field", "type", "default", "meaning"), rows) if rows else ""


def _shown(default: Any) -> str:
    """Returns a default as the YAML that would say the same."""
    value = dump(default)
    if value is None:
        return "none"
    if isinstance(value, dict) and "kind" in value:
        bare = isinstance(default, Spec) and not needs_fields(type(default)) and not default.model_fields_set - {"kind"}
        return str(value["kind"]) if bare else json.dumps(value)
    if isinstance(default, Spec):
        return "{}"
    return value if isinstance(value, str) else json.dumps(value)


def _kind_of(schema: dict[str, Any]) -> str:
    """Returns the type that a JSON schema says, in words."""
    if "$ref" in schema:
        return _link(schema["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in schema:
        choices = [one for one in schema["anyOf"] if one.get("type") != "null"]
        pair = len(choices) == 2 and choices[1].get("maxItems") == 2 and choices[0] == choices[1]["items"]
        return f"{_kind_of(choices[0])}, or two in a list" if pair else " or ".join(map(_kind_of, choices))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{word}`" for word in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return f"list of {_kind_of(items) if items else 'two numbers'}"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true`, `false`"}
    return words.get(schema.get("type", ""), "mapping") + _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    found = [f"{word} {schema[key]:,}" for key, word in words.items() if key in schema]
    return f" {' '.join(found)}" if found else ""


def _link(name: str) -> str:
    if name in UNION_TITLES:
        title = UNION_TITLES[name]
        text = f"[{title[:-1] if title != 'Losses' else 'Loss'}](#{title.lower()})".lower()
        return f"number or {text}" if OneOf.registry[name].number else text
    section = next((place for place, member in _SECTIONS if member.__name__ == name), "")
    return f"[`{section}`](#{section.replace('.', '')})" if section else "mapping"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def kinds_with_meanings(union: OneOf) -> list[tuple[str, str]]:
    """Returns (kind, meaning) for every kind of a union."""
    return [(kind, meaning(kind, member)) for kind, member in union.kinds.items()]
