"""What `init` learned from the data: the source of the new spec, the tasks that fit, and remarks for the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pictures:
    """What images are like.

    Attributes:
        count: how many there are to train on; None where only opening the data would show it.
        side: the usual length of their shorter side, in pixels; None where it is not known.
        grey: whether all are grey.
        shape: height, width and channels where all have the same, and the source yields them in it.
        flips: whether a mirrored image may still be of its class.
    """

    count: int | None = None
    side: int | None = None
    grey: bool = False
    shape: tuple[int, ...] | None = None
    flips: bool = True


@dataclass(frozen=True)
class Sequences:
    """Texts or series, which `model.kind: sequence` reads.

    Attributes:
        network: the network that a spec begins with.
        split: `data.text.split`, if it is not the default.
    """

    network: str
    split: str = ""


@dataclass(frozen=True)
class DataPlan:
    """The plan for a new spec, by what the data shows.

    Attributes:
        label: the data as the user named it.
        source: the source of the spec; a `path` is absolute or relative to the working folder.
        remarks: why a field of the source, or an item of a list in it, is as it is: by `field` or `field.item`.
        tasks: the tasks that fit, the likely one first.
        doubt: why the likely task is not sure, with the option that sets it; "" where it is sure.
        why: what the likely task follows from, in a few words.
        notes: what was read and left out, for the terminal and the head of the spec.
        pictures: what its images are like; None for other data.
        stem: the default name of the spec, without the model.
        sequences: how its texts or series are read; None for other data.
    """

    label: str
    source: Mapping[str, Any]
    tasks: tuple[str, ...]
    stem: str
    doubt: str = ""
    why: str = ""
    notes: tuple[str, ...] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)
    pictures: Pictures | None = None
    sequences: Sequences | None = None
