"""The commands about specs: check, list, schema, init."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dlcli.cli.options import Json, Overrides
from dlcli.program import command
from dlcli.spec.unions import TOPICS
from dlcli.tasks import TASKS
from dlcli.visible import visible

_OTHER_TOPICS = ("activations", "tasks", "specs")
_UNIONS = {topic: union for topic, union in TOPICS.items() if topic not in _OTHER_TOPICS}
"""What `list` can show of the spec's language, with the name of its union."""


def _complete_topic(incomplete: str) -> list[str]:
    return [topic for topic in (*_UNIONS, *_OTHER_TOPICS) if topic.startswith(incomplete)]


def _complete_shipped(incomplete: str) -> list[str]:
    from dlcli.cli.shipped import shipped

    return [name for name in shipped() if name.startswith(incomplete)]


def _complete_task(incomplete: str) -> list[str]:
    return [task for task in TASKS if task.startswith(incomplete)]


def check(
    specs: Annotated[list[Path], typer.Argument(metavar="SPEC...", help="Specs (YAML files), or folders of specs.")],
    overrides: Overrides = None,
    json_: Json = False,
) -> None:
    """Check specs without training and report every fault.

    TensorFlow is not loaded.
    """
    from dlcli.errors import SpecError

    files = [file for spec in specs for file in _spec_files(spec)]
    good, faults = _checked(files, overrides or ())
    wrong = len(files) - len(good)
    if json_:
        _print_json({"specs": good, "faults": [vars(fault) for fault in sorted(set(faults))]})
        raise typer.Exit(2 if faults else 0)
    for spec in good:
        print(visible(f"{spec['file']}: valid ({spec['task']}, {spec['model']})"))
        for note in spec["notes"]:
            print(visible(f"note: {note}"), file=sys.stderr)
    if faults:
        count = len(set(faults))
        if len(files) > 1:
            print(
                f"{wrong} of {len(files)} specs {'is' if wrong == 1 else 'are'} invalid, {_count(count, 'fault')}:",
                file=sys.stderr,
            )
        raise SpecError(faults)
    if len(files) > 1:
        print(f"all {len(files)} specs are valid")


def _checked(files: Sequence[Path], overrides: Sequence[str]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Returns what the good files say of themselves, and the faults of all others."""
    from dlcli.data.table_storage import table_plan
    from dlcli.errors import SpecError
    from dlcli.spec.load import load
    from dlcli.spec.rules.characters import notes_on_characters

    good: list[dict[str, Any]] = []
    faults: list[Any] = []
    for file in files:
        try:
            experiment = load(file, overrides, with_search=True).experiment
        except SpecError as error:
            faults += error.faults
        else:
            facts = {"file": str(file), "name": experiment.name, "task": experiment.task.name, "model": experiment.model.kind}
            classes = experiment.data.facts(experiment.task).classes
            plan = [line] if (line := table_plan(experiment.data)) else []
            notes = [*plan, *experiment.data.notes(experiment.task), *notes_on_characters(experiment, classes)]
            good.append(facts | {"notes": notes})
    return good, faults


def _spec_files(path: Path) -> list[Path]:
    """Returns the file itself, or every YAML file below a folder, sorted; hidden folders are ignored."""
    from dlcli.errors import UsageError

    if not path.is_dir():
        return [path]
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix in (".yaml", ".yml")
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not files:
        raise UsageError(f"{path}: there is no .yaml or .yml file in this folder")
    return files


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _print_json(data: Any) -> None:
    from dlcli.runs.files import json_text

    print(json_text(data))


def list_(
    topic: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="Topic: layers, losses, specs, ...  [default: list the topics]", autocompletion=_complete_topic
        ),
    ] = "",
    json_: Json = False,
) -> None:
    """List the kinds that a spec may use, and the shipped specs."""
    rows = _rows(topic)
    if json_:
        _print_json({"entries": [{"name": name, "meaning": text} for name, text in rows]})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in rows:
        table.add_row(name, text)
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def _rows(topic: str) -> list[tuple[str, str]]:
    """Returns (name, meaning) for everything of a topic; the topics themselves if none is named."""
    from dlcli.errors import UsageError

    if topic == "specs":
        from dlcli.cli.shipped import purpose, shipped

        return [(name, purpose(path)) for name, path in shipped().items()]
    from dlcli.spec.base import ACTIVATIONS, OneOf
    from dlcli.spec.messages import nearest
    from dlcli.spec.reference import kinds_with_meanings

    if topic == "tasks":
        return [(task.name, f"{task.meaning}: {task.activation} output, {task.loss}") for task in TASKS.values()]
    if topic == "activations":
        return list(ACTIVATIONS.items())
    if topic in _UNIONS:
        return kinds_with_meanings(OneOf.registry[_UNIONS[topic]])
    topics = (*_UNIONS, *_OTHER_TOPICS)
    if topic:
        near = nearest(topic, topics)
        raise UsageError(f"unknown topic `{topic}`; {f'did you mean `{near}`?' if near else ', '.join(topics)}")
    names = {name: ", ".join(OneOf.registry[union].kinds) for name, union in _UNIONS.items()}
    return [
        *names.items(),
        ("activations", ", ".join(ACTIVATIONS)),
        ("tasks", ", ".join(TASKS)),
        ("specs", "the shipped specs"),
    ]


def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference in Markdown instead.")] = False,
    write: Annotated[Path | None, typer.Option("--write", help="Write spec.md and schema.json to this folder.")] = None,
) -> None:
    """Print the JSON schema of a spec, for editors and other tools."""
    from dlcli.errors import UsageError
    from dlcli.spec.reference import reference, schema_text, write_reference

    if write is None:
        print(reference() if markdown else schema_text(), end="")
        return
    try:
        for path in write_reference(write):
            print(path)
    except OSError as error:
        raise UsageError(f"{write}: {error.strerror}") from None


def init(
    path: Annotated[Path | None, typer.Argument(metavar="FILE", help="File to write.  [default: NAME.yaml]")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A folder of images or texts, a table (.csv, .parquet, .xlsx, ...), an .npz or .ts file, or a set (digits)."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help=f"Task: {', '.join(TASKS)}.", autocompletion=_complete_task)] = None,
    model: Annotated[
        str | None, typer.Option(help="Model: transfer, cnn, mlp, sequence, or a backbone such as mobilenet_v2.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the spec and of the folder of its runs.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Column or array with the label; repeat the option for several columns.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Weights file for the backbone, in place of a download.")] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Shipped spec to copy (see dlcli list specs); --data, --target and --task adapt it to other data.",
            autocompletion=_complete_shipped,
        ),
    ] = None,
) -> None:
    """Write a spec for your data, or copy a shipped one.

    The data is inspected; in a terminal, init asks for what it cannot detect. It never overwrites a file.
    """
    from dlcli.cli.scaffold import Options, Questions, new_spec
    from dlcli.errors import UsageError

    terminal = sys.stdin.isatty()
    if data is None and from_ is None and not terminal:
        raise UsageError("set --data, e.g. --data digits, or run this in a terminal to be asked")
    options = Options(data, task, model, name, tuple(target or ()), path, from_, weights)
    path, text, notes = new_spec(options, Questions(_ask if terminal else None))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists; give another file name") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    for note in notes:
        print(visible(note), file=sys.stderr)
    print(path)
    steps = (f"{command()} {step} {shlex.quote(str(path))}" for step in ("check", "describe", "train"))
    print(visible(f"next: {' · '.join(steps)}"), file=sys.stderr)


def _ask(question: str, default: str) -> str:
    """Asks on stderr; stdout holds only the path (click's prompt writes a space there)."""
    from dlcli.errors import UsageError

    print(f"{question} [{default}]: ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise UsageError("\nno answer: no file was written")
    return line.strip() or default
