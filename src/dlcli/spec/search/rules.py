"""What is wrong with a sweep before it starts: every choice and every bound is put into the spec, and that is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from itertools import islice
from typing import Any

from dlcli.program import command
from dlcli.spec.document import Path, dotted
from dlcli.spec.experiment import Experiment
from dlcli.spec.messages import alternatives
from dlcli.spec.rules.rules import monitors
from dlcli.spec.search.reading import Finding, read_space
from dlcli.spec.search.space import Choice, Number, Parameter, Repeat, Spliced, changed, combinations, drawn, inside, put
from dlcli.spec.support import words_against

Check = Callable[[dict[str, Any]], list[tuple[str, str]]]
"""Returns (key, message) for all that is wrong with a spec's data."""
OTHER_OBJECTIVES = ("parameters", "seconds")
"""What may be kept small beside a score."""
_MOST_PROBES = 2000
_MOST_POINTS = 10_000


def sweep_faults(data: dict[str, Any], experiment: Experiment, check: Check) -> list[Finding]:
    """Returns all that is wrong with the `sweep` section of a spec that is sound without it.

    Every option of every parameter is tried by itself on the spec as it is written, together with what it depends on. What
    only some combinations would make wrong is found when they are drawn.

    Args:
        data: the spec's data, as written.
        experiment: the same, checked.
        check: returns the faults of changed data.
    """
    assert experiment.sweep is not None
    faults = _objective_faults(experiment)
    if experiment.hardware.strategy == "multi_worker":
        several = f"use `{command()} train` for several workers"
        faults.append((("hardware", "strategy"), f"a trial runs in one process; {several}"))
    parameters, space_faults = read_space(data["sweep"]["space"])
    if space_faults:
        return [*faults, *space_faults]
    faults += _loss_faults(parameters, experiment)
    if experiment.sweep.sampler == "grid":
        faults += _grid_faults(parameters, experiment.sweep.trials)
    plain = {key: value for key, value in data.items() if key != "sweep"}
    return [*faults, *dict.fromkeys(_probed(plain, parameters, check))]


def objectives(experiment: Experiment) -> list[str]:
    """Returns the objectives of a sweep; the monitor where none is named."""
    assert experiment.sweep is not None
    return list(experiment.sweep.objective) or [experiment.training.monitor]


def _objective_faults(experiment: Experiment) -> list[Finding]:
    sweep, place = experiment.sweep, ("sweep", "objective")
    assert sweep is not None
    unsupported = words_against(experiment, "validation", "a sweep, which compares trials on the validation split,")
    if unsupported:
        return [(place, unsupported)]
    scores = [name for name in monitors(experiment) if name.startswith("val_")]
    if not scores:
        return [(place, "trials are compared on the validation split, but data.split.validation is 0")]
    names, faults = objectives(experiment), list[Finding]()
    for name in names:
        if name not in (*scores, *OTHER_OBJECTIVES):
            near = get_close_matches(name, scores, 1, cutoff=0.6)
            guess = f"did you mean `{near[0]}`?" if near else f"known: {', '.join((*scores, *OTHER_OBJECTIVES))}"
            faults.append((place, f"no score `{name}` of the validation split; {guess}"))
    if not faults and not any(name in scores for name in names):
        faults.append((place, f"{alternatives(names)} alone would select an untrained model: add a score, such as {scores[0]}"))
    if len(set(names)) < len(names):
        faults.append((place, "an objective is listed twice"))
    if len(names) > 1 and sweep.pruner not in ("auto", "none"):
        faults.append((("sweep", "pruner"), "pruning needs a single objective; use none"))
    if len(names) > 1 and sweep.sampler == "cma-es":
        faults.append((("sweep", "sampler"), "cma-es is for one objective; use tpe"))
    return faults


def _loss_faults(parameters: Sequence[Parameter], experiment: Experiment) -> list[Finding]:
    """Returns that a loss is searched for, or what holds it, by its own value."""
    loss: Path = ("training", "loss")
    if "val_loss" not in objectives(experiment):
        return []
    better = next((name for name in monitors(experiment) if name.startswith("val_") and name != "val_loss"), "a score")
    message = f"cannot be searched with objective val_loss: different losses are not comparable; use {better} as the objective"
    return [
        (parameter.place, message) for parameter in parameters if loss[: len(parameter.path)] == parameter.path[: len(loss)]
    ]


def _grid_faults(parameters: Sequence[Parameter], trials: int) -> list[Finding]:
    faults = []
    for parameter in parameters:
        if any(number.count is None for number in _numbers(parameter.tree)):
            faults.append((parameter.place, "a grid needs a `step` or a `choice`; this range is continuous"))
    points = 0 if faults else sum(1 for _ in islice(combinations(parameters), _MOST_POINTS + 1))
    if points > min(trials, _MOST_POINTS):
        count = f"more than {_MOST_POINTS:,}" if points > _MOST_POINTS else f"{points:,}"
        faults.append(
            (("sweep", "trials"), f"the grid has {count} points, but there are only {trials:,} trials; change one of them")
        )
    return faults


def _numbers(tree: Any) -> Iterator[Number]:
    if isinstance(tree, Number):
        yield tree
    elif isinstance(tree, Repeat):
        yield tree.count
        yield from _numbers(tree.item)
    else:
        parts = tree.values if isinstance(tree, Choice) else tree.values() if isinstance(tree, dict) else tree
        for part in parts if isinstance(tree, (Choice, dict, list)) else ():
            yield from _numbers(part)


class _Forced:
    """Draws forced options, else the first; records the options of each name."""

    def __init__(self, forced: Mapping[str, Any]) -> None:
        self._forced = forced
        self.options: dict[str, Sequence[Any]] = {}
        self.chosen_options: dict[str, Any] = {}

    def number(self, name: str, number: Number) -> float:
        return float(self._take(name, number.ends))

    def label(self, name: str, labels: Sequence[str]) -> str:
        return str(self._take(name, labels))

    def _take(self, name: str, options: Sequence[Any]) -> Any:
        self.options[name] = options
        self.chosen_options[name] = self._forced.get(name, options[0])
        return self.chosen_options[name]


def _probed(data: dict[str, Any], parameters: Sequence[Parameter], check: Check) -> Iterator[Finding]:
    """Yields the faults of every option, each probed once with the options that contain it."""
    waiting: list[dict[str, Any]] = [{}]
    queued: set[str] = set()
    for _ in range(_MOST_PROBES):
        if not waiting:
            return
        forced = waiting.pop(0)
        source = _Forced(forced)
        values = drawn(parameters, source)
        if forced:
            yield from _faults_of(data, parameters, values, source.chosen_options, list(forced)[-1], check)
        for name, options in source.options.items():
            if name not in queued:
                queued.add(name)
                waiting += [{**forced, name: option} for option in options]


def _faults_of(
    data: dict[str, Any],
    parameters: Sequence[Parameter],
    values: Mapping[Path, Any],
    chosen_options: Mapping[str, Any],
    name: str,
    check: Check,
) -> Iterator[Finding]:
    """Yields the faults of one option: of its parameter and those that it depends on, put into the spec."""
    names = _with_conditions(next(parameter for parameter in parameters if _belongs(name, parameter)), parameters)
    chosen = {
        parameter.path: values[parameter.path]
        for parameter in parameters
        if parameter.name in names and parameter.path in values
    }
    own = next(parameter for parameter in parameters if _belongs(name, parameter))
    copy = deepcopy(data)
    try:
        for path, value in changed(data, chosen).items():
            put(copy, _path(path), value)
    except LookupError as error:
        yield own.place, str(error.args[0])
        return
    for key, message in check(copy):
        place, is_exact = _origin(own, _path(key), chosen_options, spliced=isinstance(values.get(own.path), Spliced))
        yield place, message if is_exact else f"{key}: {message}" if key else message


def _belongs(name: str, parameter: Parameter) -> bool:
    return name == parameter.name or name.startswith((f"{parameter.name}.", f"{parameter.name}["))


def _with_conditions(parameter: Parameter, parameters: Sequence[Parameter]) -> set[str]:
    names = {parameter.name}
    for name, _ in parameter.when:
        names |= _with_conditions(next(other for other in parameters if other.name == name), parameters)
    return names


def _path(text: str) -> Path:
    return tuple(int(part) if part.isdecimal() else part for part in text.split(".")) if text else ()


def _origin(parameter: Parameter, key: Path, chosen_options: Mapping[str, Any], *, spliced: bool) -> tuple[Path, bool]:
    """Returns the place in the space that a fault's place of the spec comes from, and whether it covers all of its key."""
    depth, place = len(parameter.path), parameter.place
    if key[:depth] != parameter.path or spliced:
        return place, key == parameter.path[: len(key)] and dotted(key) == parameter.name
    tree, name, rest = parameter.tree, parameter.name, key[depth:]
    while True:
        if isinstance(tree, Choice):
            label = chosen_options[name]
            index = tree.labels.index(label)
            place, tree, name = (*place, "choice", index), tree.values[index], inside(tree, name, label)
        elif isinstance(tree, Repeat) and rest:
            place, tree, name, rest = (*place, "of"), tree.item, f"{name}.{rest[0]}", rest[1:]
        elif rest and isinstance(tree, dict) and rest[0] in tree:
            place, tree, name, rest = (*place, rest[0]), tree[str(rest[0])], f"{name}.{rest[0]}", rest[1:]
        elif rest and isinstance(tree, list) and not any(isinstance(part, Repeat) for part in tree):
            index = int(rest[0])
            place, tree, name, rest = (*place, index), tree[index], f"{name}.{index}", rest[1:]
        else:
            return (*place, *rest), len(rest) <= 1
