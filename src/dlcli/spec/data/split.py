"""The `data.split` section: how a source is split into training, validation and test examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.spec.base import Count, NotNegative, Spec
from dlcli.spec.data.name_pattern import NamePattern
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


class GroupSettings(Spec):
    """The groups of examples, such as all images of a patient: `column` or `name`."""

    column: str | None = Field(
        default=None,
        description=(
            "Column whose values are the groups: of a table; of `metadata.csv` in an image folder, or `folder`, the first"
            " folder below that of the class; an array of an npz file; a feature of a TFDS set. It is an input only if it is"
            " listed as one."
        ),
    )
    name: NamePattern | None = Field(
        default=None,
        description=(
            "Regular expression that is searched in the name of each file, without its extension; the group is what its first"
            " parenthesis matches, or the whole match. At most three repetitions, none of them nested."
        ),
    )


class TimeSettings(Spec):
    """A split by time: the latest examples are the test split, those before it the validation split."""

    column: str = Field(
        description="Column with the time of each example: dates or numbers. It is an input only if it is listed as one."
    )
    gap: NotNegative = Field(
        default=0.0,
        description=(
            "Time between two splits whose examples are in no split: in days for dates, in the column's own unit for numbers."
        ),
    )
    format: str = Field(default="auto", description="Format of the dates for `strptime`, such as `%d/%m/%Y`; `auto`: detected.")


def _from_name(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


Group = Annotated[GroupSettings, BeforeValidator(_from_name, json_schema_input_type=str | GroupSettings)]
Time = Annotated[TimeSettings, BeforeValidator(_from_name, json_schema_input_type=str | TimeSettings)]


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
    file: FilePath | None = Field(
        default=None, description="The `split.csv` of an earlier run, to repeat its split; `group` then only checks it."
    )
    group: Group | None = Field(
        default=None,
        description="Groups of examples that stay in one split; a name is that of a column.",
    )
    time: Time | None = Field(default=None, description="Split by time; a name is that of a column.")
    column: str | None = Field(
        default=None,
        description=(
            "Column that names the split of each example: train, validation or test, or a usual word for it. These splits are"
            " like those of a source. The column is an input only if it is listed as one."
        ),
    )
    method: Literal["random", "hash"] = Field(
        default="random",
        description=(
            "`hash`: the split of an example depends on the seed and on its file name, its row or its group alone, so that new"
            " examples move no other one to another split. The shares are approximate, and classes are not stratified."
        ),
    )
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

    @property
    def side_columns(self) -> tuple[str, ...]:
        """The columns of the source that decide the split."""
        columns = (self.group and self.group.column, self.time and self.time.column, self.column)
        return tuple(dict.fromkeys(column for column in columns if column))


WITH_FILE: dict[str, Any] = {
    "time": None,
    "column": None,
    "method": "random",
    "folds": None,
    "fold": None,
    "repeat": 1,
    "train_fraction": 1.0,
}
"""The fields that decide which examples a split has, at values under which `file` decides it alone."""
