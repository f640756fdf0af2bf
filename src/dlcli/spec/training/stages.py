"""The stages of a training: what each trains, for how long, and how. Also how a frozen backbone's features are kept."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.spec.base import Count, NotNegative, Spec
from dlcli.spec.data.augmentations import StageAugmentations
from dlcli.spec.training.callbacks import Callback
from dlcli.spec.training.optimizers import Optimizer

_SELECTION_TYPES = {"last": int, "from": str, "blocks": int}
_SELECTION = "`head`, `all`, {last: n}, {blocks: n} or {from: layer}"


def _selection(value: Any) -> Any:
    """Returns what a stage trains, checked: `head`, `all`, or a mapping of one selection to its number or layer."""
    if value in ("head", "all") and isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1:
        kind, argument = next(iter(value.items()))
        several = isinstance(argument, list) and argument and kind in ("last", "blocks")
        if kind in _SELECTION_TYPES and all(
            _fits(item, _SELECTION_TYPES[kind]) for item in (argument if several else [argument])
        ):
            return value
    raise PydanticCustomError("expected", "expected {what}", {"what": f"{_SELECTION}; a list of numbers is a stage for each"})


def _fits(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and (value >= 1 if isinstance(value, int) else bool(value))


_NUMBERS: dict[str, Any] = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "array", "items": {"type": "integer"}}]}
_JSON_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"enum": ["head", "all"]},
        *(
            {"type": "object", "properties": {kind: shape}, "required": [kind], "additionalProperties": False}
            for kind, shape in (("last", _NUMBERS), ("blocks", _NUMBERS), ("from", {"type": "string"}))
        ),
    ]
}
Selection = Annotated[Any, PlainValidator(_selection), Field(json_schema_extra=_JSON_SCHEMA)]
"""What a stage trains. The head is always in it; `last`, `blocks` and `from` count the backbone's layers from its end."""


class Stage(Spec):
    """One training stage. Fields that are not set have the values of `training`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")] = Field(description="Name of the stage.")
    train: Selection = Field(
        description=(
            "What is trained: `head`; `all`; or the head and `{last: n}` layers, `{blocks: n}` blocks or all layers `{from:"
            " layer}` on of the backbone. A list of numbers is a stage for each: gradual unfreezing."
        )
    )
    epochs: Count | None = Field(default=None, description="Number of epochs; `training.epochs` if not set.")
    optimizer: Optimizer | None = Field(
        default=None, description="Optimizer of the stage; `training.optimizer` if not set. Its state is new."
    )
    callbacks: list[Callback] | None = Field(
        default=None, description="Callbacks of the stage; `training.callbacks` if not set."
    )
    augment: StageAugmentations = Field(
        default=None, description="Augmentations in the stage, or the name of a list of them; `data.augment` if not set."
    )
    batch_norm: Literal["auto", "freeze", "train"] = Field(
        default="auto",
        description=(
            "BatchNorm layers of the backbone: `freeze` keeps their weights and statistics constant; `train`: those that the"
            " stage selects are trained. `auto`: `freeze` if the weights come from an earlier training."
        ),
    )
    start: Literal["best", "last"] = Field(
        default="best",
        description="Initial weights of the stage: those of the best or of the last epoch of the previous stage.",
    )

    @property
    def trains_backbone(self) -> bool:
        """Whether anything but the head learns."""
        return bool(self.train != "head")


def _features(value: Any) -> Any:
    if isinstance(value, str) and value in ("auto", "off"):
        return {"once": value == "auto"}
    if isinstance(value, (dict, Features)):
        return value
    raise PydanticCustomError("expected", "expected {what}", {"what": "`auto`, `off` or a mapping"})


class Features(Spec):
    """Storage of the features of a frozen backbone. `auto` and `off` are short for `{once: true}` and `{once: false}`."""

    once: bool = Field(
        default=True,
        description="Whether features are computed once while the backbone is frozen and images are not augmented.",
    )
    augmented_copies: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0,
        description="Number of augmented versions of each image whose features are stored; 0: features are computed at"
        " every step.",
    )
    disk_gb: NotNegative = Field(
        default=4.0,
        description=(
            "Disk space in GB for the features of all runs in the runs folder; the least recently used are deleted. 0: features"
            " are stored only in memory."
        ),
    )


FeaturesField = Annotated[Features, BeforeValidator(_features, json_schema_input_type=Features | Literal["auto", "off"])]


def expanded(stage: Stage) -> list[Stage]:
    """Returns the stage itself, or one for each number where `train` lists several."""
    if not isinstance(stage.train, dict):
        return [stage]
    kind, argument = next(iter(stage.train.items()))
    if not isinstance(argument, list):
        return [stage]
    return [stage.model_copy(update={"name": f"{stage.name}_{count}", "train": {kind: count}}) for count in argument]
