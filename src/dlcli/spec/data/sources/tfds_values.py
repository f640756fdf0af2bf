"""Values of the features of a TFDS set: images, numbers, texts, and columns beside the inputs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dlcli.errors import DataError

if TYPE_CHECKING:
    from dlcli.arrays import Array


def converter(feature: Any, image: Any, where: str) -> Any:
    """Returns what resizes each of a feature's images to the requested size; None where they have it already."""
    from dlcli.runtime.image_arrays import fit_array

    shape = feature.shape
    if not is_image(feature):
        return None
    if None in shape[:2] and image.size is None:
        raise DataError(f"{where}: its images have different sizes; set one size: `data.image.size: [96, 96]`")
    fixed = image.size in (None, shape[:2]) and image.channels in (None, shape[2])
    return None if fixed and feature.np_dtype == "uint8" else partial(fit_array, image=image)


def is_image(feature: Any) -> bool:
    """Returns whether a feature is a decoded image."""
    return len(feature.shape) == 3 and feature.np_dtype in ("uint8", "uint16") and hasattr(feature, "decode_example")


def is_text(feature: Any) -> bool:
    """Returns whether a feature is a text."""
    return type(feature).__name__ == "Text"


def is_deep_image(feature: Any) -> bool:
    """Returns whether a feature is an image of 16 bits."""
    return is_image(feature) and feature.np_dtype == "uint16"


def as_array(examples: Any, where: str) -> Array:
    """Returns inputs as float32, or uint8 where they are images.

    Raises:
        DataError: they are lists of texts, or differ in shape.
    """
    import numpy as np

    if isinstance(examples, list) and len({np.shape(example) for example in examples}) > 1:
        raise DataError(f"{where}: its inputs differ in shape; dlcli needs one shape for all")
    inputs: Array = np.asarray(examples)
    if inputs.dtype.kind not in "fiub":
        raise DataError(f"{where}: its inputs are neither numbers nor single texts")
    if inputs.dtype == "uint8" and inputs.ndim == 4:
        return inputs
    numbers: Array = inputs.astype("float32")
    return numbers[:, None] if numbers.ndim == 1 else numbers


def column_values(values: Any, feature: Any, name: str, where: str) -> Array:
    """Returns one column of a set as float32, or as text where it is text or the number of a named category."""
    import numpy as np

    column = np.asarray(values)
    if column.ndim != 1:
        raise DataError(f"{where}: column `{name}` does not have a single value per example")
    names = getattr(feature, "names", None)
    if names:
        return np.array([names[value] if value >= 0 else "" for value in column.tolist()], dtype=object)
    if column.dtype.kind in "fiub":
        return column.astype("float32")
    texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in column.tolist()]
    return np.array(texts, dtype=object)


def text_values(values: Any, feature: Any, name: str, where: str) -> Array:
    """Returns a column of texts, "" for gaps.

    Raises:
        DataError: it has numbers.
    """
    import numpy as np

    from dlcli.runtime.column_kinds import CellForm
    from dlcli.spec.data.sources.column_kinds import TEXT
    from dlcli.spec.data.sources.table.cells import filled_text

    column = column_values(values, feature, name, where)
    if column.dtype != object:
        raise DataError(f"{where}: column `{name}` has numbers, not texts; take it out of `data.source.text`")
    return TEXT.read(np.array([filled_text(text) for text in column.tolist()], dtype=object), CellForm()).values


def side_values(values: Any, feature: Any, name: str, where: str) -> Array:
    """Returns a feature as `cells` does, but numbers in their own type."""
    import numpy as np

    column = np.asarray(values)
    is_number = column.ndim == 1 and column.dtype.kind in "fiub" and not getattr(feature, "names", None)
    return column if is_number else column_values(values, feature, name, where)
