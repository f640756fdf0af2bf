"""Descriptions of stages: what a stage trains, and which blocks are trainable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcli.models.selection import Plan


@dataclass(frozen=True)
class BlockRow:
    """One block of the model in one stage: the counts of its trainable and frozen parameters."""

    name: str
    trainable: int
    frozen: int


def words_of(train: Any) -> str:
    """Returns a description of what a stage trains."""
    if train == "head":
        return "the head"
    if train == "all":
        return "everything"
    selector, selection = next(iter(train.items()))
    if selector == "from":
        return f"the head and the backbone from layer {selection} on"
    return f"the head and the backbone's last {selection} {selector.replace('last', 'layers')}"


def plan_lines(plan: Plan) -> list[str]:
    """Returns the table of trainable blocks as lines: one line per trainable block, one per series of frozen blocks."""
    stage = plan.stage
    norm = "" if stage.batch_norm == "freeze" or not stage.trains_backbone else "; BatchNorm is trained too"
    total = plan.trainable + plan.frozen
    lines = [f"stage {stage.name}: {words_of(stage.train)}; {plan.trainable:,} of {total:,} parameters are trainable{norm}"]
    rows = merged(plan.rows)
    width = max(len(row.name) for row in rows)
    lines.append(f"  {'block':<{width}}  {'trainable':>12}  {'frozen':>12}")
    return lines + [f"  {row.name:<{width}}  {row.trainable:>12,}  {row.frozen:>12,}" for row in rows]


def merged(rows: list[BlockRow]) -> list[BlockRow]:
    """Returns the rows with neighbouring frozen blocks merged into one row."""
    merged_rows: list[BlockRow] = []
    for row in rows:
        if merged_rows and not row.trainable and not merged_rows[-1].trainable:
            first = merged_rows[-1].name.split(" ... ")[0]
            merged_rows[-1] = BlockRow(f"{first} ... {row.name}", 0, merged_rows[-1].frozen + row.frozen)
        else:
            merged_rows.append(row)
    return merged_rows
