"""The tables of `dlcli describe`."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.table import Table

from dlcli.cli.console import results_console
from dlcli.runs.scored_splits import sizes_in_words

if TYPE_CHECKING:
    from dlcli.models.describe import Description, LayerRow

_MANY_CLASSES = 30


def as_dict(description: Description) -> dict[str, Any]:
    """Returns a description as plain data."""
    return asdict(description) | {"total": description.trainable + description.frozen}


def show_description(description: Description) -> None:
    """Prints the layer table, the totals, the memory and the data."""
    console = results_console()
    table = Table(title=description.name, title_justify="left")
    table.add_column("layer")
    table.add_column("activation shape", justify="right")
    table.add_column("activation size", justify="right")
    table.add_column("parameters", justify="right")
    for is_layer, rows in groupby(description.rows, key=lambda row: row.is_layer):
        for row in merged_operations(list(rows)) if not is_layer else rows:
            table.add_row(f"{row.kind} {row.name}", shape_text(row.shape), f"{row.size:,}", f"{row.parameters:,}")
    console.print(table)
    total = description.trainable + description.frozen
    console.print(f"parameters: {total:,} in total, {description.trainable:,} trainable, {description.frozen:,} frozen")
    if description.multiply_adds is not None:
        console.print(f"multiply-adds: {description.multiply_adds:,} for one example, of convolutions and dense layers")
    console.print(
        f"memory: weights {memory_text(description.weights_bytes)};"
        f" activations of a batch of {description.batch_size:,}: {memory_text(description.activations_bytes)}"
    )
    console.print(f"scaling inside the model: {description.normalize}")
    _show_stages(description)
    _show_data(description)
    for note in description.notes:
        console.print(f"note: {note}", soft_wrap=True)


def merged_operations(rows: list[LayerRow]) -> list[LayerRow]:
    """Returns a row for several operations in succession: the masks of padding alone are dozens."""
    if len(rows) < 3:
        return rows
    last = rows[-1]
    name = f"{rows[0].name} ... {last.name}"
    return [replace(last, name=name, kind=f"{len(rows)} operations", size=sum(row.size for row in rows))]


def _show_stages(description: Description) -> None:
    if not description.stages:
        return
    table = Table(title="stages", title_justify="left")
    for name in ("stage", "learns", "optimizer", "learning rate"):
        table.add_column(name)
    for name in ("epochs", "trainable", "frozen"):
        table.add_column(name, justify="right")
    for stage in description.stages:
        counts = (str(stage.epochs), f"{stage.trainable:,}", f"{stage.frozen:,}")
        table.add_row(stage.name, stage.learns, stage.optimizer, _rate_text(stage.learning_rate), *counts)
    results_console().print(table)


def _rate_text(rate: Any) -> str:
    """Returns a rate, those of head and backbone, or a schedule's name."""
    if not isinstance(rate, dict):
        return f"{rate:g}"
    if rate["kind"] == "by_part":
        return f"backbone {_rate_text(rate['backbone'])}, head {_rate_text(rate['head'])}"
    return str(rate["kind"])


def shape_text(shape: tuple[int, ...]) -> str:
    """Returns a shape as the course writes it: (28,28,8), or 400 for a row."""
    return str(shape[0]) if len(shape) == 1 else f"({','.join(map(str, shape))})"


def memory_text(size: int) -> str:
    """Returns bytes in KiB, MiB or GiB."""
    value, unit = size / 1024, "KiB"
    for larger in ("MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:,.1f} {unit}"


def _show_data(description: Description) -> None:
    console, data = results_console(), description.data
    if data.get("examples"):
        console.print(f"examples: {sizes_in_words(data['examples'], shared=bool(data.get('test_is_validation')))}")
    for line in data.get("lines", []):
        console.print(line, soft_wrap=True)
    parts, classes = list(data.get("counts", {})), data.get("classes") or []
    counted = [part for part in parts if data["counts"][part]]
    if not counted:
        return
    table = Table("class", *counted, title="examples of each class", title_justify="left")
    for name in classes[:_MANY_CLASSES]:
        table.add_row(name, *(f"{data['counts'][part].get(name, 0):,}" for part in counted))
    if len(classes) > _MANY_CLASSES:
        table.add_row(f"... {len(classes) - _MANY_CLASSES} more", *("" for _ in counted))
    console.print(table)
