"""Blank images: they have a single colour once decoded, so nothing can be learned (`flat_images` in `data.json`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dlcli.errors import DamagedFile
from dlcli.report.diagnosis.evidence import Evidence
from dlcli.report.diagnosis.remedies import finding_of
from dlcli.runs import layout
from dlcli.runs.diagnosis import Finding, Remedy
from dlcli.visible import visible

SHARE = 0.05
"""Share of blank images from which on they are reported."""
MOST = 0.5
"""Share of blank images from which on they explain the scale of the network's inputs."""


class _FlatImages(BaseModel):
    """`flat_images` in `data.json`."""

    model_config = ConfigDict(strict=True)
    images: Annotated[int, Field(ge=0)] = 0
    of: Annotated[int, Field(ge=0)] = 0
    some: list[str] = []
    background: str = ""


def _flat_images(evidence: Evidence) -> _FlatImages:
    try:
        return _FlatImages.model_validate(evidence.data.get("flat_images") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, ("flat_images", *first["loc"])))
        raise DamagedFile(f"{evidence.run.data_path}: {place}: {first['msg']}") from None


def blank_images(evidence: Evidence) -> Finding | None:
    """Images have a single colour: empty files, or a background in the colour of the foreground."""
    flat = _flat_images(evidence)
    if flat.images < 2 or flat.images < SHARE * flat.of:
        return None
    names = "; ".join(visible(name) for name in flat.some[:2])
    lines = [f"{flat.images} of {flat.of} images have a single colour once decoded: {names} ({layout.DATA})"]
    if flat.background:
        return finding_of(evidence, "blank images", lines, [_with_background(flat.background)])
    return finding_of(evidence, "blank images", lines, [Remedy("open some of these images, and remove those that are blank")])


def _with_background(colour: str) -> Remedy:
    return Remedy(f"put transparent pixels on {colour}, so that the images are visible", f"data.image.background={colour}")


def are_mostly_blank(evidence: Evidence) -> bool:
    """Whether most images are blank, so that the network's inputs hardly vary."""
    flat = _flat_images(evidence)
    return flat.images > MOST * flat.of
