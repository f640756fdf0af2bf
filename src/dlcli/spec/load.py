"""YAML file -> Experiment and back: all faults at once, each with its line; `--set`; the JSON schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path as FilePath
from typing import Any, cast

import yaml
from pydantic import ValidationError

from dlcli.errors import Fault, SpecError
from dlcli.spec.base import OneOf, Spec, dump, needs_fields
from dlcli.spec.document import MAX_BYTES, MAX_FAULTS, Document, Path, parse, parse_value
from dlcli.spec.experiment import Experiment, with_defaults
from dlcli.spec.messages import without_echoes
from dlcli.spec.override_paths import with_absolute_paths
from dlcli.spec.training.forms import messages_of
from dlcli.visible import visible


@dataclass(frozen=True)
class LoadedSpec:
    """A checked spec: the experiment with its defaults, the document it came from, and its overrides."""

    experiment: Experiment
    document: Document
    overrides: tuple[str, ...] = ()

    @property
    def source_text(self) -> str:
        """The file as given; its `--set` options follow as comments."""
        options = "".join(f"# --set {visible(override)}\n" for override in self.overrides)
        return self.document.text.rstrip("\n") + "\n" + (f"\n{options}" if options else "")


def load(path: str | FilePath, overrides: Sequence[str] = (), *, with_search: bool = False) -> LoadedSpec:
    """Returns the checked experiment of a file.

    Raises:
        SpecError: with every fault of the file and of the overrides.
    """
    return load_text(_read(path), path, overrides, with_search=with_search)


def load_text(text: str, path: str | FilePath, overrides: Sequence[str] = (), *, with_search: bool = False) -> LoadedSpec:
    """Returns the checked experiment of the text of a file, existing or not, at `path`.

    Relative paths of the text are relative to its folder, those of the overrides to the working folder.

    `with_search`: the space of its `sweep` is checked too, which takes a check for each of its bounds and choices.

    Raises:
        SpecError: with every fault of the text and of the overrides.
    """
    document = _overridden(parse(text, str(path)), overrides)
    folder = str(FilePath(path).parent)
    overrides = with_absolute_paths(document, overrides, folder, lambda base: _validated(document, base)[0], to_flow)
    experiment, faults = _validated(document, folder)
    if faults:
        raise SpecError([*faults, *_findings_of_the_sound_part(document, folder, faults)])
    assert experiment is not None
    experiment = with_defaults(experiment)
    faults = _findings(experiment, document)
    if with_search and not faults:
        faults = _sweep_findings(experiment, document, folder)
    if faults:
        raise SpecError(faults)
    return LoadedSpec(experiment, document, tuple(overrides))


def load_data(data: dict[str, Any], overrides: Sequence[str] = ()) -> LoadedSpec:
    """Returns the checked experiment of plain data; lines of faults are those of the data as YAML.

    Raises:
        SpecError: with every fault of the data and of the overrides.
    """
    return load_text(yaml.dump(data, Dumper=_Plain, sort_keys=False, allow_unicode=True), "spec", overrides)


def _read(path: str | FilePath) -> str:
    try:
        with FilePath(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SpecError([Fault(str(path), 1, 1, "", f"larger than {MAX_BYTES:,} bytes: not a spec")])
        return content.decode("utf-8-sig")
    except IsADirectoryError:
        reason = "is a folder, not a spec"
    except FileNotFoundError:
        reason = "no such file"
    except UnicodeDecodeError:
        reason = "not a text file in UTF-8"
    except OSError as error:
        reason = error.strerror or str(error)
    raise SpecError([Fault(str(path), 0, 0, "", reason)])


def _validated(document: Document, folder: str, *, recorded: bool = False) -> tuple[Experiment | None, list[Fault]]:
    """Returns the experiment, or its faults; `recorded`: it belongs to a run, perhaps of an earlier version."""
    try:
        return Experiment.model_validate(document.data, context={"folder": folder, "kept": recorded}), []
    except ValidationError as errors:
        details = errors.errors(include_url=False)
        messages = list(messages_of(details[:MAX_FAULTS], document.data, Experiment))
        faults = [document.fault(place, message) for place, message in without_echoes(messages)]
        more = len(details) - MAX_FAULTS
        return None, faults + _rest(document, f"{more:,} more") * (more > 0)


def _findings(experiment: Experiment, document: Document) -> list[Fault]:
    from dlcli.spec.rules.rules import findings

    listed = list(islice(findings(experiment), MAX_FAULTS + 1))
    faults = [document.fault(place, message) for place, message in listed[:MAX_FAULTS]]
    return faults + _rest(document, "more") * (len(listed) > MAX_FAULTS)


def _sweep_findings(experiment: Experiment, document: Document, folder: str) -> list[Fault]:
    """Returns the faults of the search that a valid spec defines."""
    if experiment.sweep is None:
        return []
    from dlcli.spec.search.rules import sweep_faults

    def check(data: dict[str, Any]) -> list[tuple[str, str]]:
        changed = Document(document.file, "", data)
        experiment, faults = _validated(changed, folder)
        faults = faults if experiment is None else _findings(with_defaults(experiment), changed)
        return [(fault.key, fault.message) for fault in faults]

    findings = sweep_faults(document.data, experiment, check)
    faults = [document.fault(place, message) for place, message in findings[:MAX_FAULTS]]
    return faults + _rest(document, "more") * (len(findings) > MAX_FAULTS)


def _rest(document: Document, count: str) -> list[Fault]:
    """Returns the remark that not all faults are reported; it is sorted first, where it is seen."""
    return [Fault(document.file, 0, 0, "", f"{count} faults are not shown")]


def _findings_of_the_sound_part(document: Document, folder: str, faults: list[Fault]) -> list[Fault]:
    """Returns what the rules find in the sections without faults, so that one check shows as much as it can.

    A finding counts only where nothing it may depend on is at fault: the task, the data, and its own section.
    """
    faulty = {fault.key.split(".")[0] for fault in faults}
    if faulty & {"task", "data", ""}:
        return []
    stand_ins: dict[str, Any] = {"model": {"kind": "mlp"}, "name": "name"}
    data = {key: value for key, value in document.data.items() if key not in faulty}
    data |= {key: value for key, value in stand_ins.items() if key in faulty}
    experiment, remaining = _validated(replace(document, data=data), folder)
    if experiment is None or remaining:
        return []
    listed = _findings(with_defaults(experiment), document)
    hidden = "data.image" if "model" in faulty else None  # a backbone may say which size its images have
    return [
        fault for fault in listed if fault.key.split(".")[0] not in faulty and not (hidden and fault.key.startswith(hidden))
    ]


def _overridden(document: Document, overrides: Sequence[str]) -> Document:
    """Returns the document with every `--set path=value` (or `path+=value`) applied, in order.

    Raises:
        SpecError: an override is not of this form, or its path leads through something that is no mapping or list.
    """
    options: dict[Path, str] = {}
    for override in overrides:
        option = f"--set {override}"
        name, separator, text = override.partition("=")
        appends = name.endswith("+")
        path: Path = tuple(int(part) if part.isdecimal() else part for part in name.removesuffix("+").split("."))
        if not separator or "" in path:
            raise SpecError([Fault(option, 0, 0, "", "expected PATH=VALUE, such as training.epochs=3")])
        try:
            value = parse_value(text)
        except SpecError as error:
            raise SpecError([Fault(option, 0, 0, fault.key, fault.message) for fault in error.faults]) from None
        options[_assign(document.data, path, value, appends, option)] = option
    return replace(document, options=options)


def _assign(data: Any, path: Path, value: Any, appends: bool, option: str) -> Path:
    """Puts a value into the data; a bare kind on the way becomes a mapping. Returns the place it was put at."""
    parent = data
    for index, part in enumerate(path[:-1]):
        child = _step(parent, part, option)
        if isinstance(child, str):
            child = {"kind": child}
        elif child is None:
            child = {}
        elif not isinstance(child, (dict, list)):
            raise SpecError([Fault(option, 0, 0, ".".join(map(str, path[: index + 1])), f"is {child}, which has no parts")])
        parent[part] = child
        parent = child
    last = path[-1]
    existing = _step(parent, last, option)
    if not appends:
        parent[last] = value
        return path
    if not isinstance(existing, (list, type(None))):
        raise SpecError([Fault(option, 0, 0, ".".join(map(str, path)), "is not a list: nothing can be appended")])
    parent[last] = [*(existing or []), value]
    return (*path, len(parent[last]) - 1)


def _step(parent: Any, part: str | int, option: str) -> Any:
    """Returns the entry of a mapping (None where there is none) or of a list."""
    if isinstance(parent, list):
        if isinstance(part, int) and part < len(parent):
            return parent[part]
        raise SpecError(
            [Fault(option, 0, 0, "", f"the list has {len(parent)} entries, counted from 0; `{part}` is none of them")]
        )
    return parent.get(part)


def to_yaml(spec: Spec) -> str:
    """Returns an experiment, or a section of one, as YAML with every default written out."""
    return yaml.dump(dump(spec), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def to_flow(value: Any) -> str:
    """Returns plain data as YAML in one line."""
    text = yaml.dump(value, Dumper=_Plain, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


class _Plain(yaml.SafeDumper):
    """Writes a value that occurs in two places twice, without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Dumper(_Plain):
    """Writes short lists in one line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        plain = all(not isinstance(item, (dict, list)) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain)


def json_schema() -> dict[str, Any]:
    """Returns the JSON schema of a spec, for editors and other tools."""
    schema = _schema_of(Experiment)
    definitions: dict[str, Any] = schema.pop("$defs", {})
    for union in list(OneOf.registry.values()):
        bare = [kind for kind, member in union.kinds.items() if not needs_fields(member)]
        choices: list[Any] = [{"enum": [*bare, *union.words]}] if bare or union.words else []
        for member in union.members:
            member_schema = _schema_of(member)
            definitions |= member_schema.pop("$defs", {})
            definitions[member.__name__] = member_schema
            choices.append({"$ref": f"#/$defs/{member.__name__}"})
        if union.items:
            choices.append({"type": "array", "items": {"$ref": f"#/$defs/{union.items}"}})
        if union.number:
            choices.append({"type": "number", "exclusiveMinimum": 0})
        definitions[union.name] = {"anyOf": choices}
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": dict(sorted(definitions.items()))}
    return cast("dict[str, Any]", _with_references(whole))


def _schema_of(member: type[Spec]) -> dict[str, Any]:
    return member.model_json_schema(ref_template="#/$defs/{model}")


def _with_references(schema: Any) -> Any:
    """Returns the schema with the place of every union made a reference to it."""
    if isinstance(schema, list):
        return [_with_references(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("union"), str):
        schema = {"$ref": f"#/$defs/{schema['union']}"} | {key: value for key, value in schema.items() if key != "union"}
    return {key: _with_references(value) for key, value in schema.items()}


def load_resolved(path: FilePath) -> Experiment:
    """Returns the experiment that a run keeps: valid by its fields; its files are not looked for.

    Raises:
        SpecError: the file was changed and is no longer a valid spec.
    """
    if not path.is_file():  # of what is no file nothing is read: a pipe would never end
        raise SpecError([Fault(str(path), 0, 0, "", "not a file" if path.exists() else "no such file")])
    document = parse(_read(path), str(path))
    experiment, faults = _validated(document, str(path.parent), recorded=True)
    if experiment is None:
        raise SpecError(faults)
    data = experiment.data.model_copy(update={"source": experiment.data.source.of_run()})
    return with_defaults(_with_what_was_always_so(experiment.model_copy(update={"data": data})))


def _with_what_was_always_so(experiment: Experiment) -> Experiment:
    """Returns a run's experiment with the value of each field that its dlcli did not have yet."""
    image = experiment.data.image
    if image.size is None or "value_range" in image.model_fields_set:
        return experiment
    data = experiment.data.model_copy(update={"image": image.model_copy(update={"value_range": "uint8"})})
    return experiment.model_copy(update={"data": data})
