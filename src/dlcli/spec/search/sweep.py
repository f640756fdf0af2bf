"""The search of a spec: how many trials, by which sampler, for which scores, over which space."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from dlcli.spec.base import Count, Positive, Spec


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Objective = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]


class Sweep(Spec):
    """Settings of `dlcli sweep`. Every other command ignores this section."""

    trials: Count = Field(default=20, description="Largest number of trials.")
    minutes: Positive | None = Field(
        default=None, description="Time limit for each process of the sweep; trials that are running then are stopped."
    )
    sampler: Literal["tpe", "random", "grid", "cma-es", "gp"] = Field(
        default="tpe",
        description=(
            "How values are sampled. `tpe` works for any space; `grid` tries all combinations; `cma-es` is for numbers;"
            " `gp`, for few, expensive trials, needs the package torch."
        ),
    )
    pruner: Literal["auto", "median", "hyperband", "none"] = Field(
        default="auto",
        description="How poor trials are stopped early; `auto`: `median`, or `none` for several objectives.",
    )
    objective: Objective = Field(
        default=[],
        description=(
            "Objective: score of the validation split in the best epoch, such as `val_accuracy`, or a list of scores;"
            " `parameters` and `seconds` may be added to one. `training.monitor` if not set."
        ),
    )
    jobs: Count = Field(default=1, description="Number of trials at once on CPUs; on GPUs, one per GPU.")
    max_parameters: Count | None = Field(
        default=None, description="Largest number of parameters; larger models are skipped before training."
    )
    max_memory_gb: Positive | None = Field(
        default=None,
        description="Memory limit of weights, gradients, optimizer state and activations of a batch, in GB; larger models"
        " are skipped.",
    )
    space: Annotated[dict[str, Any], Field(min_length=1)] = Field(
        description=(
            "Search space: the path of a field, then `{float: [0, 0.5]}`, `{log: [1e-5, 1e-2]}`, `{int: [16, 256]}`,"
            " `{choice: [...]}` of values or sections, or `{count: [1, 4], of: ...}` for a list; see docs/sweep.md."
        )
    )
