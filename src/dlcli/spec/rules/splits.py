"""Rules on `data.split`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path

from dlcli.spec.experiment import Experiment
from dlcli.visible import listed

Place = tuple[str | int, ...]
Finding = tuple[Place, str]


def _splits_leave_training(experiment: Experiment) -> Iterator[Finding]:
    split = experiment.data.split
    shares = [share for share in (split.validation, split.test) if isinstance(share, float)]
    if sum(shares) >= 1:
        yield ("data", "split"), f"validation and test add up to {sum(shares):g}, which leaves too few training examples"
    if split.validation == "validation":
        yield ("data", "split", "validation"), "expected a fraction from 0 to below 1, `auto` or `source`"
    if split.test == "validation" and split.validation == 0:
        yield ("data", "split", "test"), "there is no validation split to test on: `validation` is 0"
    if split.file is not None and not Path(split.file).is_file():
        yield ("data", "split", "file"), f"no file {split.file}"
    exclude = experiment.data.exclude
    if exclude is not None and not Path(exclude).is_file():
        yield ("data", "exclude"), f"no file {exclude}; `dlcli data SPEC --exclude FILE` writes one"


def _explicit_splits_fit(experiment: Experiment) -> Iterator[Finding]:
    facts, split = experiment.data.facts(experiment.task), experiment.data.split
    if (
        experiment.data.source.splits_itself or split.column is not None
    ):  # which names the splits of the source, once it is read
        return
    for part, setting, share in (
        ("validation", facts.has_validation, split.validation),
        ("test", facts.has_test, split.test),
    ):
        if setting and (isinstance(share, float) or share == "validation"):
            yield ("data", "split", part), f"the source has its own {part} split; remove this field, or set `auto`"
        if setting is False and share == "source" and not any(experiment.data.source.faults()):
            yield ("data", "split", part), f"the source has no {part} split"


def _folds_are_complete(experiment: Experiment) -> Iterator[Finding]:
    split = experiment.data.split
    if split.folds is None:
        if split.fold is not None:
            yield ("data", "split", "fold"), "set the number of folds too, such as `folds: 5`"
        if split.repeat != 1:
            yield ("data", "split", "repeat"), "has no effect without `folds`"
        return
    if split.fold is None:
        yield ("data", "split", "folds"), "set `fold` too: the number of the fold that is the test split"
    elif split.fold > split.folds:
        yield ("data", "split", "fold"), f"expected 1 to {split.folds}, the number of folds"
    if split.test == "validation":
        yield ("data", "split", "test"), "the test split is a fold; remove `test: validation` or `folds`"


def _series_split_themselves(experiment: Experiment) -> Iterator[Finding]:
    """Yields settings of the split of windows, which another split than that of their source would let overlap."""
    source, split = experiment.data.source, experiment.data.split
    if not source.splits_itself:
        return
    allowed = {"validation": ("auto", "source", 0.0), "test": ("auto", "source", 0.0), "method": ("random",), "repeat": (1,)}
    for name in ("validation", "test", "group", "time", "column", "method", "folds"):
        value = getattr(split, name)
        if value not in allowed.get(name, (None,)):
            yield (
                ("data", "split", name),
                f"a {source.kind} source splits its rows by time before windows are made: set `data.source.validation` and"
                " `data.source.test`",
            )


def _one_way_to_split(experiment: Experiment) -> Iterator[Finding]:
    """Yields settings that contradict each other."""
    if experiment.data.source.splits_itself:
        return
    split, facts = experiment.data.split, experiment.data.facts(experiment.task)
    used = {name for name in ("file", "column", "group", "time", "folds") if getattr(split, name) is not None}
    used |= {"method: hash"} if split.method == "hash" else set()
    for name, excluded in _EXCLUDED.items():
        for other in excluded if name in used else ():
            if other in used:
                yield ("data", "split", other.partition(":")[0]), f"cannot be combined with `{name}`"
    own = [part for part, has in (("validation", facts.has_validation), ("test", facts.has_test)) if has]
    owns = f"the source has its own {' and '.join(own)} split"
    remedy = ""
    if experiment.data.source.draws_parts:
        remedy = "; set `data.source.validation: 0` and `data.source.test: 0`"
    if split.column is not None and own:
        yield ("data", "split", "column"), f"{owns}{remedy}"
    if split.group is not None and remedy:
        yield ("data", "split", "group"), f"{owns}, drawn row by row{remedy}"
    if split.time is not None and len(own) == 2:
        yield ("data", "split", "time"), f"has no effect: {owns}{remedy}"
    if split.method == "hash" and len(own) == 2 and split.train_fraction == 1:
        yield ("data", "split", "method"), f"has no effect: {owns}{remedy}"


_EXCLUDED = {
    "file": ("column", "time", "method: hash", "folds"),
    "time": ("group", "folds", "method: hash"),
    "folds": ("method: hash",),
}


def _side_columns_exist(experiment: Experiment) -> Iterator[Finding]:
    """Yields columns that decide the split and that the source does not have, or that are the target."""
    split, source = experiment.data.split, experiment.data.source
    if source.splits_itself:
        return
    columns = source.side_columns()
    for key in ("group", "time", "column"):
        setting = getattr(split, key)
        column = setting if isinstance(setting, str) else setting and setting.column
        place: Place = ("data", "split", key) if isinstance(setting, str) else ("data", "split", key, "column")
        if not column:
            continue
        if column in source.targets:
            yield place, f"`{column}` is the target"
        elif columns == ():
            yield place, f"a {source.kind} source has no columns beside its inputs"
        elif columns is not None and column not in columns and not any(source.faults()):
            yield place, f"the source has no column `{column}`{_nearest(column, columns)}"


def _nearest(column: str, columns: tuple[str, ...]) -> str:
    near = get_close_matches(column, columns, 1)
    return f"; did you mean `{near[0]}`?" if near else f"; it has {listed(columns)}"


def _groups_have_one_definition(experiment: Experiment) -> Iterator[Finding]:
    group, source = experiment.data.split.group, experiment.data.source
    if group is None or source.splits_itself:
        return
    if (group.column is None) == (group.name is None):
        yield ("data", "split", "group"), "expected `column` or `name`"
    elif group.name is not None and not source.has_files:
        yield ("data", "split", "group", "name"), f"the examples of a {source.kind} source are not files; set `column`"


RULES: tuple[Callable[[Experiment], Iterator[Finding]], ...] = (
    _splits_leave_training,
    _series_split_themselves,
    _explicit_splits_fit,
    _folds_are_complete,
    _one_way_to_split,
    _side_columns_exist,
    _groups_have_one_definition,
)
