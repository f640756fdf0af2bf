"""Stages in words: what one trains, and which blocks learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlcli.models.selection import Plan


@dataclass(frozen=True)
class BlockRow:
    """One block of the model in one stage: its parameters by whether they learn."""

    name: str
    trainable: int
    frozen: int


def words_of(train: Any) -> str:
    """Returns what a stage trains, in words."""
    if train == "head":
        return "the head"
    if train == "all":
        return "everything"
    way, wanted = next(iter(train.items()))
    if way == "from":
        return f"the head and the backbone from layer {wanted} on"
    return f"the head and the backbone's last {wanted} {way.replace('last', 'layers')}"


def plan_lines(plan: Plan) -> list[str]:
    """Returns the table of what learns: a line for every block that does, one for frozen blocks side by side."""
    stage = plan.stage
    norm = "" if stage.batch_norm == "freeze" or not stage.trains_backbone else "; BatchNorm is trained too"
    total = plan.trainable + plan.frozen
    lines = [f"stage {stage.name}: {words_of(stage.train)}; {plan.trainable:,} of {total:,} parameters are trainable{norm}"]
    rows = merged(plan.rows)
    width = max(len(row.name) for row in rows)
    lines.append(f"  {'block':<{width}}  {'trainable':>12}  {'frozen':>12}")
    return lines + [f"  {row.name:<{width}}  {row.trainable:>12,}  {row.frozen:>12,}" for row in rows]


def merged(rows: list[BlockRow]) -> list[BlockRow]:
    """Returns the rows with frozen blocks that stand side by side as one."""
    found: list[BlockRow] = []
    for row in rows:
        if found and not row.trainable and not found[-1].trainable:
            first = found[-1].name.split(" ... ")[0]
            found[-1] = BlockRow(f"{first} ... {row.name}", 0, found[-1].frozen + row.frozen)
        else:
            found.append(row)
    return found
