"""The `data` section: where examples come from, how they are split, sized, normalised, batched and varied."""

from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.spec.base import Count, Pair, Spec
from dlcli.spec.data.augmentations import Augmentations
from dlcli.spec.data.balance import Balance, NoBalance
from dlcli.spec.data.sizes import memory_line
from dlcli.spec.data.sources import Source
from dlcli.spec.data.sources.base import Facts
from dlcli.spec.data.split import SplitSettings
from dlcli.spec.data.text import TextSettings
from dlcli.spec.paths import FilePath
from dlcli.tasks import Task


def _batch_size(value: Any) -> int | str:
    if value == "full" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value  # type: ignore[no-any-return]
    raise PydanticCustomError("expected", "expected {what}", {"what": "an integer from 1, or `full`"})


BatchSize = Annotated[int | str, PlainValidator(_batch_size, json_schema_input_type=Count | Literal["full"])]


def _value_range(value: Any) -> Any:
    if value in ("auto", "uint8"):
        return value
    numbers = isinstance(value, (list, tuple)) and len(value) == 2 and all(_is_number(limit) for limit in value)
    if numbers and value[0] < value[1]:
        return (float(value[0]), float(value[1]))
    raise PydanticCustomError("expected", "expected {what}", {"what": "`auto`, `uint8`, or two numbers, the smaller first"})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


ValueRange = Annotated[
    tuple[float, float] | str,
    PlainValidator(
        _value_range,
        json_schema_input_type=Annotated[list[float], Field(min_length=2, max_length=2)] | Literal["auto", "uint8"],
    ),
]

_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}
Level = Annotated[int, Field(ge=0, le=255)]


class ImageSettings(Spec):
    """Shape and value range of the images."""

    size: Pair | None = Field(default=None, description="Height and width in pixels; those of the source if not set.")
    channels: Literal[1, 3] | None = Field(default=None, description="1: grey, 3: colour; that of the source if not set.")
    resize: Literal["stretch", "pad", "crop"] = Field(
        default="stretch", description="`stretch` changes the aspect ratio; `pad` adds black bars; `crop` keeps the centre."
    )
    background: Literal["white", "black"] | Annotated[list[Level], Field(min_length=3, max_length=3)] = Field(
        default="white",
        description="The colour of transparent pixels: `white`, `black`, or red, green and blue such as [128, 128, 128].",
    )
    value_range: ValueRange = Field(
        default="auto",
        description=(
            "Values of image files with more than 8 bits that become 0 and 255; values between keep their decimals."
            " `auto`: the smallest and largest value of the training split where all its files have more than 8 bits,"
            " otherwise `uint8`: the upper 8 bits are used. Files with 8 bits are not changed."
        ),
    )
    decoded_mb: Annotated[float, Field(gt=0)] = Field(
        default=1000.0, description="Memory limit of one decoded image, in MB; larger image files are not read."
    )

    @property
    def is_deep(self) -> bool:
        """Whether pixels are float32, from a known range of values."""
        return isinstance(self.value_range, tuple)

    @property
    def background_colour(self) -> tuple[int, int, int]:
        """Red, green and blue of the background, 0 to 255."""
        if isinstance(self.background, str):
            return _COLOURS[self.background]
        red, green, blue = self.background
        return (red, green, blue)


Normalize = Literal["auto", "unit", "symmetric", "standard", "none", "backbone", "window_last", "window_standard"]


class Data(Spec):
    """The data: its source, its splits, and how examples are prepared."""

    source: Source = Field(description="Source of the examples.")
    split: SplitSettings = Field(default=SplitSettings(), description="Split into training, validation and test examples.")
    classes: Annotated[list[str], Field(min_length=2)] | None = Field(
        default=None, description="Classes to use, in this order; all classes of the source if not set."
    )
    exclude: FilePath | None = Field(
        default=None,
        description="CSV file whose column `id` names examples to leave out, as `dlcli data SPEC --exclude FILE` writes it.",
    )
    batch_size: BatchSize = Field(
        default=32, description="Number of examples per step; 1: stochastic gradient descent, `full`: batch gradient descent."
    )
    normalize: Normalize = Field(
        default="auto",
        description=(
            "Scaling inside the model: `unit` to [0, 1], `symmetric` to [-1, 1], `standard` to mean 0 and standard"
            " deviation 1 on"
            " the training split, `none`. `auto`: `unit` for images, `standard` otherwise; `backbone`, the backbone's own,"
            " in a transfer model. Of series, `window_last` subtracts the last value of each window, `window_standard` its mean"
            " and divides by its deviation, from inputs and targets alike; `auto` is `window_last` for them."
        ),
    )
    scale_targets: Literal["auto"] | bool = Field(
        default="auto",
        description=(
            "Whether a regression scales each target to mean 0 and standard deviation 1 on the training split. The scaling is"
            " undone inside the model: predictions are in the targets' units. `auto`: true for regression."
        ),
    )
    image: ImageSettings = Field(default=ImageSettings(), description="Shape and value range of the images.")
    text: TextSettings = Field(default=TextSettings(), description="How columns of texts become tokens.")
    augment: Augmentations = Field(
        default=[],
        description="Augmentations of training examples, in order; or a list by its name: `light`, `standard`, `heavy`.",
    )
    balance: Balance = Field(
        default=NoBalance(kind="none"),
        description=(
            "How training treats classes of different frequency; `none`: as they are. Validation and test splits are never"
            " changed."
        ),
    )
    on_error: Literal["stop", "skip"] = Field(
        default="stop",
        description=("For image files that cannot be read: `stop` before the first step, or `skip` them."),
    )
    skip_budget: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.01, description="Largest fraction of the images that `on_error: skip` may skip."
    )

    cache: Literal["auto", "memory", "disk", "none"] = Field(
        default="auto",
        description=(
            "Where the decoded pixels of image files are kept. `auto`: in memory if they take at most a quarter of the free"
            " memory; otherwise as many as fit, and the other files are decoded in each epoch. `memory`: all in memory; a"
            " training is refused if they do not fit. `disk`: all in a file in `runs/.pixels`, which trainings share. `none`:"
            " every file is decoded in each epoch. The rows of a `parquet` table are kept in memory if what a training makes of"
            " them fits (`auto`), or in such a file (`disk`). The results are the same."
        ),
    )

    @property
    def scales_targets(self) -> bool:
        """Whether targets are scaled. `auto` is resolved when a run starts; a run that still has it is older than the field."""
        return self.scale_targets is True

    def examples_in_step(self, examples: int) -> int:
        """Returns the examples in a step of the training where its part has so many; `full` is all of them."""
        return examples if self.batch_size == "full" else int(self.batch_size)

    def facts(self, task: Task) -> Facts:
        """Returns what is known of the source without opening it, of the chosen classes alone."""
        facts = self.source.facts(task)
        if self.classes is None:
            return facts
        return replace(facts, classes=tuple(self.classes), outputs=len(self.classes))

    def notes(self, task: Task) -> Iterator[str]:
        """Yields what is known of the data without opening it: the memory of large data, and the notes of its source."""
        facts = self.source.facts(task)
        shape = facts.shape
        if shape is not None and facts.image:
            shape = (*(self.image.size or shape[:2]), self.image.channels or shape[-1])
        line = memory_line(facts.examples, shape, images=facts.image) if shape is not None and facts.examples else ""
        yield from [line] if line else []
        yield from self.source.notes()
