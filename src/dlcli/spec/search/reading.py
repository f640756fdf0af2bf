"""The `sweep.space` of a spec -> parameters, and all that is wrong with how it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

from dlcli.spec.document import Path, dotted
from dlcli.spec.messages import nearest, shown
from dlcli.spec.search.space import Choice, Number, Parameter, Repeat

Finding = tuple[Path, str]
PLACE: Path = ("sweep", "space")
_KINDS = {
    "float": {"step", "when"},
    "log": {"when"},
    "int": {"step", "scale", "when"},
    "choice": {"when"},
    "count": {"of", "when"},
}
_OFFERED = "{float: [0, 0.5]}, {log: [1e-5, 1e-2]}, {int: [16, 256]}, {choice: [...]} or {count: [1, 4], of: ...}"
_FIXED = {
    "sweep": "it defines the search",
    "version": "it is the version of the format",
    "name": "it is the folder of the runs",
    "task": "scores of different tasks are not comparable",
    "seed": "a seed is not a setting; `dlcli batch --seeds` shows how much scores vary with it",
    "data.split": "scores on different validation splits are not comparable",
    "data.source": "scores on different data are not comparable",
    "data.exclude": "scores on different data are not comparable",
}
_MOST = 200


def read_space(space: dict[str, Any]) -> tuple[list[Parameter], list[Finding]]:
    """Returns the parameters in the order of the file, and every fault with its place."""
    parameters: list[Parameter] = []
    faults: list[Finding] = []
    for name, value in space.items():
        place = (*PLACE, name)
        path: Path = tuple(int(part) if part.isdecimal() else part for part in name.split("."))
        fixed = _fixed(name)
        if "" in path:
            faults.append((place, "expected a path, such as training.optimizer.learning_rate"))
        elif fixed:
            faults.append((place, f"cannot be searched: {fixed}"))
        reader = _Reader(faults)
        tree = reader.tree(value, place)
        if not reader.searches and not reader.faulty:
            faults.append((place, f"nothing to search in {shown(value)}; expected {_OFFERED}"))
        parameters.append(Parameter(path, tree, _when(value, place, parameters, faults), place))
    return parameters, faults


def _fixed(name: str) -> str:
    """Returns why a path cannot be searched, empty if it can: it is a fixed one, is inside of one, or holds one."""
    for field, why in _FIXED.items():
        if f"{name}.".startswith(f"{field}."):
            return why
        if field.startswith(f"{name}."):
            return f"it contains {field}, and {why}; search its other fields instead"
    return ""


class _Reader:
    """Reads one parameter's tree; `searches`: whether anything in it is drawn."""

    def __init__(self, faults: list[Finding]) -> None:
        self._faults = faults
        self.searches = self.faulty = False

    def tree(self, value: Any, place: Path) -> Any:
        if isinstance(value, list):
            return [self.tree(part, (*place, index)) for index, part in enumerate(value)]
        if not isinstance(value, dict):
            return value
        kinds = [key for key in _KINDS if key in value]
        if not kinds:
            return {key: self.tree(part, (*place, key)) for key, part in value.items()}
        self.searches = True
        if len(kinds) > 1:
            self._fault(place, f"`{kinds[0]}` and `{kinds[1]}` cannot be combined in one mapping")
            return None
        return self._drawing(kinds[0], value, place)

    def _drawing(self, kind: str, value: dict[str, Any], place: Path) -> Any:
        for key in value:
            if key != kind and key not in _KINDS[kind]:
                near = nearest(key, _KINDS[kind])
                listed = ", ".join(sorted(_KINDS[kind]))
                self._fault((*place, key), f"unknown key; {f'did you mean `{near}`?' if near else f'known here: {listed}'}")
        if "when" in value and len(place) > len(PLACE) + 1:
            self._fault(
                (*place, "when"), "`when` is only possible for a path of the space; fields of a choice depend on it already"
            )
        if kind == "choice":
            return self._choice(value["choice"], (*place, "choice"))
        if kind == "count":
            if "of" not in value:
                self._fault(place, "missing `of`: the search space of each entry of the list")
            count = self._number("int", {"int": value["count"]}, (*place, "count"), key="")
            if count is not None and (count.low < 0 or count.high > _MOST):
                self._fault((*place, "count"), f"expected two numbers from 0 to {_MOST}")
                return None
            return count and Repeat(count, self.tree(value.get("of"), (*place, "of")))
        return self._number(kind, value, place, key=kind)

    def _choice(self, options: Any, place: Path) -> Choice | None:
        if not isinstance(options, list) or len(options) < 2:
            self._fault(place, f"expected a list of at least two, found {shown(options)}")
            return None
        labels = _labels(options)
        for index, label in enumerate(labels):
            if label in labels[:index]:
                self._fault((*place, index), f"is listed twice: {label[:80]}")
                return None
        return Choice(tuple(labels), tuple(self.tree(option, (*place, index)) for index, option in enumerate(options)))

    def _number(self, distribution: str, value: dict[str, Any], place: Path, *, key: str) -> Number | None:
        bounds, whole = value[distribution], distribution == "int"
        inside = (*place, key) if key else place
        kind: Any = int if whole else (int, float)
        if (
            not isinstance(bounds, list)
            or len(bounds) != 2
            or not all(isinstance(bound, kind) and not isinstance(bound, bool) and isfinite(bound) for bound in bounds)
        ):
            what = "two integers" if whole else "two numbers"
            self._fault(inside, f"expected {what}, [lowest, highest], found {shown(bounds)}")
            return None
        low, high = bounds
        log = distribution == "log" or self._is_log(value, place)
        if low >= high:
            fault = "the bounds are equal: write the value into the spec" if low == high else "the lower bound must come first"
            self._fault(inside, f"{fault}; found [{low}, {high}]")
        elif log and low <= 0:
            self._fault(inside, f"bounds of a logarithmic scale must be above 0, found {low}")
        else:
            step = self._step(value, place, low, high, whole=whole)
            return Number(low, high, step or (1 if whole and not log else None), log, whole)
        return None

    def _is_log(self, value: dict[str, Any], place: Path) -> bool:
        scale = value.get("scale", "log" if "log" in value else "linear")
        if scale not in ("linear", "log"):
            self._fault((*place, "scale"), f"expected linear or log, found {shown(scale)}")
        if scale == "log" and "step" in value:
            self._fault((*place, "step"), "a logarithmic scale has no step")
        return bool(scale == "log")

    def _step(self, value: dict[str, Any], place: Path, low: float, high: float, *, whole: bool) -> float | None:
        step = value.get("step")
        if step is None:
            return None
        is_number = isinstance(step, int if whole else (int, float)) and not isinstance(step, bool) and isfinite(step)
        if not is_number or not 0 < step <= high - low:
            what = "an integer" if whole else "a number"
            self._fault((*place, "step"), f"expected {what} above 0 and at most {high - low:g}, found {shown(step)}")
            return None
        return float(step) if not whole else int(step)

    def _fault(self, place: Path, message: str) -> None:
        self.faulty = True
        self._faults.append((place, message))


def label_of(value: Any) -> str:
    """Returns how a choice is named by itself: a text as it is, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _labels(options: Sequence[Any]) -> list[str]:
    """Returns a label for every option: the kind where it is no other one's, else the whole value."""
    kinds = [str(option["kind"]) if isinstance(option, dict) and "kind" in option else label_of(option) for option in options]
    return [kind if kinds.count(kind) == 1 else label_of(option) for kind, option in zip(kinds, options, strict=True)]


def _when(value: Any, place: Path, before: list[Parameter], faults: list[Finding]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    when = value.get("when", {}) if isinstance(value, dict) else {}
    if not isinstance(when, dict):
        faults.append(((*place, "when"), f"expected a mapping of a path to its choice or choices, found {shown(when)}"))
        return ()
    conditions: list[tuple[str, tuple[str, ...]]] = []
    earlier = {item.name: item for item in before}
    for name, choices in when.items():
        labels = tuple(label_of(item) for item in (choices if isinstance(choices, list) else [choices]))
        message = _condition_fault(name, labels, earlier)
        if message:
            faults.append(((*place, "when", name), message))
        else:
            conditions.append((name, labels))
    return tuple(conditions)


def _condition_fault(name: str, labels: tuple[str, ...], earlier: dict[str, Parameter]) -> str:
    other = earlier.get(name)
    if other is None:
        near = nearest(name, earlier)
        guess = f"did you mean `{near}`?" if near else f"the parameters above are: {', '.join(earlier) or 'none'}"
        return f"there is no parameter with this path above; {guess}"
    if not isinstance(other.tree, Choice):
        return "" if other.tree is None else "a condition needs a parameter with `choice`"
    wrong = next((label for label in labels if label not in other.tree.labels), None)
    if wrong is None:
        return ""
    near = nearest(wrong, other.tree.labels)
    guess = f"did you mean `{near}`?" if near else f"known: {', '.join(other.tree.labels)}"
    return f"`{dotted((name,))}` has no choice `{wrong}`; {guess}"
