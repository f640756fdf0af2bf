"""Presets: lists of augmentations that have a name. A spec that names one is the same as one that lists its augmentations."""

from difflib import get_close_matches
from typing import Any, Literal

from pydantic_core import PydanticCustomError

Preset = Literal["light", "standard", "heavy"]
_FLIP = {"kind": "random_flip", "mode": "horizontal"}
PRESETS: dict[str, list[dict[str, Any]]] = {
    "light": [_FLIP, {"kind": "random_translation", "height_factor": 0.06, "width_factor": 0.06}],
    "standard": [
        _FLIP,
        {
            "kind": "random_affine",
            "rotation_factor": 0.03,
            "height_factor": 0.08,
            "width_factor": 0.08,
            "scale": [0.85, 1.15],
        },
        {"kind": "random_color_jitter", "brightness_factor": 0.1, "contrast_factor": 0.2},
    ],
    "heavy": [
        _FLIP,
        {"kind": "random_affine", "height_factor": 0.1, "width_factor": 0.1, "scale": [0.7, 1.3]},
        {"kind": "rand_augment", "num_ops": 2, "factor": 0.6},
        {"kind": "random_erasing", "factor": 0.25, "scale": [0.02, 0.2]},
    ],
}
"""All sizes are fractions of those of the images, and every augmentation takes images in grey and in colour."""


def written_out(value: Any) -> Any:
    """Returns the augmentations of a preset for its name, and every other value as it is."""
    if not isinstance(value, str):
        return value
    if value in PRESETS:
        return [dict(entry) for entry in PRESETS[value]]
    near = get_close_matches(value, PRESETS, 1)
    guess = f" (did you mean `{near[0]}`?)" if near else ""
    raise PydanticCustomError("expected", "expected {what}", {"what": f"`light`, `standard`, `heavy`{guess}, or a list"})
