"""Numbers and facts of a run as sentences, for the report and the model card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dlcli.runs.numbers import short_number
from dlcli.runs.scored_splits import score_text
from dlcli.spec.model.base import ModelSpec
from dlcli.tasks import Task

_SHARES = ("accuracy", "balanced_accuracy", "top_")

_IN_SOURCE = re.compile(r"(train|validation|test)/(\d+)")


def example(id_: str) -> str:
    """Returns an example's id as a page shows it: numbers of a source are distinguished from the run's splits.

    A source numbers the examples of each of its files; the run may put examples of its training file into the test split.
    """
    numbered = _IN_SOURCE.fullmatch(id_)
    return f"no. {numbered[2]} of the source's {numbered[1]} examples" if numbered else id_


def number(value: float | None, metric: str = "") -> str:
    """Returns a number, or the score of a metric, as tables show it."""
    if value is None:
        return "–"
    return score_text(value, metric)


def short(value: float | None) -> str:
    """Returns a number with four figures, for places with many numbers."""
    if value is None:
        return "–"
    return short_number(value)


def is_share(metric: str) -> bool:
    """Whether a metric is a share of the examples that reads well in percent."""
    return metric.startswith(_SHARES)


def headline(metric: str, value: float | None) -> str:
    """Returns the page's largest number: a share in percent, everything else as it is."""
    if value is None:
        return "–"
    if is_share(metric):
        return f"{100 * value:.1f} %"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def between(low: float | None, high: float | None, metric: str = "") -> str:
    """Returns an interval as text; empty where there is none."""
    if low is None or high is None:
        return ""
    if metric and is_share(metric):
        return f"{100 * low:.1f} to {100 * high:.1f} %"
    show = number if not metric else lambda value: headline(metric, value)
    return f"{show(low)} to {show(high)}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Returns names as a list in a sentence; of many names the first ones."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def counted(count: int, singular: str, plural: str = "") -> str:
    """Returns a count with its noun."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def what_it_is(model: ModelSpec, task: Task, data: dict[str, Any]) -> str:
    """Returns a sentence on the purpose of a model.

    Args:
        model: the spec's model.
        task: the task.
        data: the contents of `data.json`.
    """
    return model.purpose(_does(task, list(data.get("classes") or ())), _inputs(data))


def _does(task: Task, classes: list[str]) -> str:
    output = task.output
    return task.action.format(
        count=counted(len(classes), output.noun, output.nouns) if classes else output.nouns,
        names=f": {listed(classes)}" if 0 < len(classes) <= 8 else "",
        listed=listed(classes) if classes else "numbers",
    )


def _inputs(data: dict[str, Any]) -> str:
    shape, columns = data.get("shape"), data.get("columns")
    if isinstance(columns, list) and columns:
        return counted(len(columns), "column")
    if not isinstance(shape, list) or not shape:
        return "a table" if columns else "its inputs"
    sides = [str(side) for side in shape]
    if len(shape) == 3:
        kind = {1: "grey ", 3: "colour "}.get(shape[2], "")
        return f"{kind}images of {sides[0]} × {sides[1]} pixels"
    if len(shape) == 4:
        return f"volumes of {' × '.join(sides[:3])} voxels"
    return counted(int(sides[0]), "number") if len(shape) == 1 and sides[0].isdecimal() else f"inputs of {' × '.join(sides)}"


def moment(text: str) -> str:
    """Returns a time as a readable text, in UTC; empty for a text that is not a time."""
    try:
        return f"{datetime.fromisoformat(text):%d %B %Y, %H:%M} UTC".lstrip("0")
    except ValueError:
        return ""


def duration(start: str, end: str) -> str:
    """Returns the time between two times as text; empty where one of them is not known."""
    try:
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (ValueError, TypeError):
        return ""
    if seconds < 0:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def size(count: int) -> str:
    """Returns a number of bytes in KB or MB."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} KB"
