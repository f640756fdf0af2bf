"""The `data.split` section: how a source is split into training, validation and test examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.spec.base import Count, Spec
from dlcli.spec.paths import FilePath


def _part(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value in ("auto", "source", "validation") or (number and 0 <= value < 1):
        return float(value) if number else value
    raise PydanticCustomError("expected", "expected {what}", {"what": "a fraction from 0 to below 1, `auto` or `source`"})


PartShare = Annotated[
    float | str,
    PlainValidator(_part, json_schema_input_type=Annotated[float, Field(ge=0, lt=1)] | Literal["auto", "source", "validation"]),
]


class SplitSettings(Spec):
    """How a source is split into training, validation and test examples."""

    validation: PartShare = Field(
        default="auto",
        description="Fraction of the source's examples; 0: none. `source`: the split that the source has. `auto`: that"
        " split, or 0.1.",
    )
    test: PartShare = Field(
        default="auto",
        description=(
            "Fraction of the source's examples; 0: none. `source`: the split that the source has. `auto`: that split, or 0.2."
            " `validation`: the validation split is also the test split."
        ),
    )
    stratify: bool = Field(default=True, description="Whether every split has the classes in the same proportions.")
    file: FilePath | None = Field(default=None, description="The `split.csv` of an earlier run, to repeat its split.")
    folds: Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        description=(
            "Number of folds of a cross-validation. The test split is the fold `fold`; `validation` is a fraction of the other"
            " folds. Examples of a test split that the source has, or that `test` sets, are in no fold and no split."
        ),
    )
    fold: Count | None = Field(default=None, description="Number of the fold that is the test split, from 1 to `folds`.")
    repeat: Count = Field(
        default=1, description="Number of the repetition of the cross-validation: each divides the examples differently."
    )
    train_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description=(
            "Fraction of the training split to train on, for learning curves; the other splits stay the same. Of one seed,"
            " the examples of a smaller fraction are among those of a larger one."
        ),
    )


WITH_FILE: dict[str, Any] = {"folds": None, "fold": None, "repeat": 1, "train_fraction": 1.0}
"""The fields that decide which examples a split has, at values under which `file` decides it alone."""
