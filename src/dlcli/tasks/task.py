"""A task: what is predicted, and the defaults that depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlcli.errors import UsageError
from dlcli.tasks.output import Entry, OutputType, entry_of

if TYPE_CHECKING:  # the names of the tasks are in the help, which needs no pydantic
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import core_schema

TASKS: dict[str, Task] = {}
"""All tasks by name, in the order of the documentation."""


@dataclass(frozen=True)
class Task:
    """The settings of one task. A spec names it: `task: regression`.

    Attributes:
        name: its name in a spec.
        meaning: what it predicts, in a few words.
        action: what its models do, as the end of "A network that ...": `{count}` stands for the number of names with their
            noun, `{names}` for a colon and the names (empty if there are too many), `{listed}` for the names.
        activation: the activation of the output layer.
        loss: the default loss.
        metrics: the default metrics.
        output: the type of its output.

    Example:
        >>> TASKS["binary"].units(2)
        1
        >>> str(TASKS["binary"])
        'binary'
    """

    name: str
    meaning: str
    action: str
    activation: str
    loss: str
    metrics: tuple[str, ...]
    output: OutputType = field(compare=False, repr=False)  # names are unique

    def __str__(self) -> str:
        return self.name

    def units(self, names: int) -> int:
        """Returns the width of the output layer for a number of classes, labels or targets."""
        return self.output.units(names)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(_task_of)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": list(TASKS), "type": "string"}


def register(task: Task) -> Task:
    """Registers a task, which specs may then name.

    Raises:
        ValueError: there is another task of this name.
    """
    if TASKS.setdefault(task.name, task) is not task:
        raise ValueError(f"there is a task {task.name!r} already")
    return task


def required_entry(table: Mapping[type[OutputType], Entry], task: Task, what: str) -> Entry:
    """Returns the entry of a table for a task's output type.

    Raises:
        UsageError: the table has no entry: `what`, such as "`dlcli predict`", does not support the task.
    """
    entry = entry_of(table, task.output)
    if entry is None:
        raise UsageError(f"{what} does not support `task: {task}`")
    return entry


def names_of(*, reads_columns: bool) -> tuple[str, ...]:
    """Returns the names of the tasks whose labels have one column per name, or whose examples have one class or no label."""
    outputs = {task.name: task.output for task in TASKS.values()}
    return tuple(
        name
        for name, output in outputs.items()
        if not output.reads_labels or (output.is_row and output.reads_columns == reads_columns and not output.needs_series)
    )


def _task_of(value: Any) -> Task:
    """Returns the task of a name.

    Raises:
        PydanticKnownError: there is no task of this name.
    """
    task = TASKS.get(value) if isinstance(value, str) else value
    if not isinstance(task, Task):
        from pydantic_core import PydanticKnownError

        *others, last = [repr(name) for name in TASKS]
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(others)} or {last}"})
    return task
