"""A table for `init`: which column is the target, which task it makes, and which columns a model cannot use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import Any

from dlcli.cli.scaffold.image_tables import ImageColumn, image_column, image_fields, pictures_of, separator_of
from dlcli.cli.scaffold.plan import DataPlan
from dlcli.cli.scaffold.questions import Questions, unknown
from dlcli.cli.scaffold.sequences import reads_as_text, sequences_of
from dlcli.errors import DataError, UsageError
from dlcli.spec.data.sources.csv import Csv
from dlcli.spec.data.sources.table.cells import canonical, decoration
from dlcli.spec.data.sources.table.dialect import SEPARATORS
from dlcli.spec.data.sources.table.facts import IMAGES, names_images, unit_of, with_unit
from dlcli.spec.data.sources.table.files import ENDINGS
from dlcli.spec.data.sources.table.look import Column, Look, count_values, look

_ROWS = 20_000
_MOST_LISTED = 40
_MOST_DROPPED = 10
"""Columns left out for one reason that are listed by name."""
_MOST_COUNTED = 100_000
"""Different values of a target that are counted."""
_AMOUNTS = 50
"""More distinct whole numbers than this are amounts, not classes."""
_MOST_CLASSES = 1000
"""Class names that are searched for words such as left and right."""
_CLASSES = 20
"""Whole numbers from 0 to less than this, each about as common, are classes."""
_LABEL_NAMES = ("target", "label", "class", "y", "outcome", "price", "output")
_NUMERIC = ("currency", "percent", "thousands", "typographic minus")
"""What decorates the numbers of a column that the source's `numeric` may name."""
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:([.' ])\d{3})(?:(?:\1\d{3})*,\d+|(?:\1\d{3})+)")
"""A number with marks of thousands other than commas: 1.234,50 or 1.234.567."""
_WHY_DROPPED = {
    "identifier": "identifies the rows",
    "constant": "has a single value",
    "empty": "has no values",
    "text": "contains mostly different texts",
    "date": "contains dates; `dates` converts them to numbers",
}


def stem_of(path: str) -> str:
    """Returns a table's name without its folder and endings."""
    name = re.split(r"[/\\]", path)[-1]
    ending = max((ending for ending in ENDINGS if name.lower().endswith(ending)), key=len, default="")
    return name[: len(name) - len(ending)] if ending else name.partition(".")[0]


def look_at_table(path: str, target: Sequence[str], task: str | None, questions: Questions) -> DataPlan:
    """Returns the plan for a table; asks for the target if none is given.

    Raises:
        UsageError: it cannot be read, has no such column, or the target fits no task, or not the one given.
    """
    try:
        beginning = look(path, rows=_ROWS)
        _refuse_lines(beginning)
        names = list(target) or [_target_choice(beginning, questions)]
        for name in names:
            if name not in beginning.names:
                raise UsageError("; ".join([f"--target: {unknown(name, beginning.names)}", *beginning.notes]))
        if len(set(names)) < len(names):
            raise UsageError("--target: a column is listed twice")
        counts = {name: _without_decimals(count_values(beginning, name, most=_MOST_COUNTED)) for name in names}
        images = image_column(beginning, names)
        separator = separator_of(counts[names[0]]) if images and len(names) == 1 else None
        labels = ("multilabel",), f"several labels in a cell, separated by {separator!r}", ""
        tasks, why, doubt = labels if separator else _tasks(beginning, names, counts)
        _refuse_task(task, tasks, names, why)
        source, remarks = _image_source(beginning, names, images, separator) if images else _source(beginning, names)
    except DataError as error:
        raise UsageError(f"{path}: {error}") from None
    dropped = _dropped(source.get("drop", ()), remarks)
    guess = (
        ()
        if beginning.encoding_is_sure
        else (f"the file is not UTF-8 and has no byte order mark: {beginning.encoding} is a guess",)
    )
    marks = [f"{mark!r} is {remarks[f'missing.{mark}']}" for mark in source.get("missing", ())]
    notes = (f"{path}: {beginning.describe()}", *guess, f"target {', '.join(names)}: {why}", *dropped, *marks, *beginning.notes)
    if images:
        notes = (*notes, f"the images are the files of the column {images.name}; other columns are not used")
    pictures = pictures_of(beginning, images, list(counts[names[0]])[:_MOST_CLASSES]) if images else None
    doubt = doubt if task is None else ""
    sequences = sequences_of([beginning.column(name) for name in source.get("text", ())])
    return DataPlan(path, source, tasks, stem_of(path), doubt, why, notes, remarks, pictures, sequences)


def _refuse_lines(beginning: Look) -> None:
    """Raises DataError for a table of one column whose cells are whole lines."""
    (name, *others) = beginning.names
    mark = next((mark for mark in (*SEPARATORS, ":") if mark in name), None)
    if mark is None or others:
        return
    if mark == ":":
        raise DataError(f"its lines have no separator except colons, such as {name[:60]!r}: write it with commas or semicolons")
    raise DataError(f"each of its lines is one cell, such as {name[:60]!r}: write it without quotes around whole lines")


def _without_decimals(values: Counter[str]) -> Counter[str]:
    """Returns values as classes are compared, so that 1.0 is 1."""
    merged: Counter[str] = Counter()
    for value, count in values.items():
        merged[canonical(value)] += count
    return merged


def _dropped(names: Sequence[str], remarks: dict[str, str]) -> list[str]:
    """Returns a line for each column that is left out; many columns with the same reason share a line."""
    by_reason: dict[str, list[str]] = {}
    for name in names:
        by_reason.setdefault(remarks[f"drop.{name}"], []).append(name)
    lines = []
    for reason, columns in by_reason.items():
        lines += [f"left out {name}: it {reason}" for name in columns[:_MOST_DROPPED]]
        if len(columns) > _MOST_DROPPED:
            lines.append(f"left out {len(columns) - _MOST_DROPPED:,} more columns for the same reason; the spec lists them")
    return lines


def _target_choice(beginning: Look, questions: Questions) -> str:
    """Returns the target column that the user names; it is never guessed."""
    likely = next((name for name in beginning.names if name.lower() in _LABEL_NAMES), beginning.names[-1])
    listed = [f"{column.name} ({_in_words(column)})" for column in beginning.columns]
    more = f", ... and {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
    words = "; ".join([f"{beginning.path} has {', '.join(listed[:_MOST_LISTED])}{more}", *beginning.notes])
    doubt = f"--target: name the column to predict; {words}"
    return questions.choice("--target", f"{words}\nTarget column", beginning.names, likely, doubt)


def _in_words(column: Column) -> str:
    count = f"{column.distinct:,} {'value' if column.distinct == 1 else 'values'}"
    return column.kind if column.kind in ("empty", "constant") else f"{column.kind}, {count}"


def _tasks(beginning: Look, names: Sequence[str], counts: dict[str, Counter[str]]) -> tuple[tuple[str, ...], str, str]:
    """Returns the tasks that targets fit, the likely one first; what follows from; why it is not sure, or ""."""
    for name in names:
        _refuse_unfit(beginning.column(name), counts[name])
    if len(names) > 1:
        return _tasks_of_several(beginning, names, counts)
    column, values = beginning.column(names[0]), counts[names[0]]
    count = _counted(values)
    if len(values) == 2:
        return ("binary", "classification"), f"two values, {_listed(values)}", ""
    if _groups(values):
        return ("regression",), f"{count} different numbers with thousands separators, such as {_listed(values)}", ""
    if column.decoration:
        return ("regression",), f"{count} different numbers written as {column.decoration}, such as {_listed(values)}", ""
    if not column.is_number and column.kind != "identifier":
        return ("classification",), f"{count} classes such as {_listed(values)}", ""
    if column.kind == "number" or len(values) > _AMOUNTS:
        return ("regression",), f"{count} different numbers", ""
    if _are_codes(values):
        return ("classification", "regression"), f"{count} whole numbers from 0, about equally common", ""
    doubt = (
        f"--task: the target {names[0]} has {count} different whole numbers ({_listed(values)}):"
        " use --task regression if they are amounts, --task classification if they are classes"
    )
    return ("regression", "classification"), f"{count} different whole numbers", doubt


def _refuse_unfit(column: Column, values: Counter[str]) -> None:
    """Raises UsageError for a column that is no target."""
    if len(values) < 2:
        what = f"the one value {next(iter(values))!r}" if values else "no values"
        raise UsageError(f"--target: {column.name} has {what}, so there is nothing to predict")
    if column.kind == "date":
        raise UsageError(
            f"--target: {column.name} contains dates such as {_listed(values)}; a target must be a class or a number"
        )
    if column.decoration and not _is_numeric(column):
        words = f"{column.name} contains numbers written as {column.decoration}, such as {_listed(values)}"
        raise UsageError(f"--target: {words}; write them as plain numbers")
    if not (column.is_number or column.decoration or _groups(values)) and (len(values) > 200 or column.kind == "text"):
        raise UsageError(
            f"--target: {column.name} has {_counted(values)} different texts such as {_listed(values)}, too many for classes"
        )


def _tasks_of_several(
    beginning: Look, names: Sequence[str], counts: dict[str, Counter[str]]
) -> tuple[tuple[str, ...], str, str]:
    words = [name for name in names if not beginning.column(name).is_number]
    if words:
        raise UsageError(f"--target: several targets must be numbers, but {words[0]} contains {_listed(counts[words[0]])}")
    if all(set(counts[name]) <= {"0", "1", "0.0", "1.0"} for name in names):
        return ("multilabel", "regression"), f"{len(names)} columns of 0 and 1", ""
    return ("regression",), f"{len(names)} columns of numbers", ""


def _are_codes(values: Counter[str]) -> bool:
    """Whether whole numbers are those of classes: 0, 1, 2, ..., none far rarer than the others."""
    numbers = sorted(float(value.replace(",", ".")) for value in values)
    return (
        len(numbers) <= _CLASSES and numbers == list(range(len(numbers))) and 5 * min(values.values()) >= max(values.values())
    )


def _counted(values: Counter[str]) -> str:
    """Returns the number of distinct values, as text."""
    return f"{len(values):,}" if len(values) <= _MOST_COUNTED else f"more than {_MOST_COUNTED:,}"


def _listed(values: Counter[str]) -> str:
    """Returns the commonest values as text."""
    most = [value for value, _ in values.most_common(3)]
    return ", ".join(value[:40] for value in most) + (", ..." if len(values) > 3 else "")


def _refuse_task(task: str | None, tasks: Sequence[str], names: Sequence[str], why: str) -> None:
    if task is not None and task not in tasks:
        shown = names[0] if len(names) == 1 else "the targets"
        raise UsageError(f"--task: {task} does not fit {shown} ({why}): {' or '.join(tasks)} does")


Fields = tuple[dict[str, Any], dict[str, str]]
"""Fields of a source, and why they are as they are."""


def _source(beginning: Look, targets: Sequence[str]) -> Fields:
    """Returns the source, and why its fields are as they are."""
    marks = _marks(beginning, targets)
    dropped = {
        column.name: reason
        for column in beginning.columns
        if column.name not in targets
        for reason in _unusable(beginning, column, marks)
    }
    columns = [name for name in beginning.names if name not in targets and name not in dropped]
    texts = [name for name in columns if reads_as_text(beginning.column(name))]
    if not columns:
        why = "; ".join(f"{name} {reason}" for name, reason in dropped.items()) or "there is no other column"
        raise UsageError(f"{beginning.path}: no usable input column is left: {why}")
    source: dict[str, Any] = {
        "kind": "csv",
        "path": beginning.path,
        "target": targets[0] if len(targets) == 1 else list(targets),
    }
    remarks: dict[str, str] = {}
    for fields, reasons in (
        _number_fields(beginning, dropped),
        _gap_fields(beginning, targets),
        ({"text": texts} if texts else {}, {}),
        ({"drop": list(dropped)} if dropped else {}, {f"drop.{name}": reason for name, reason in dropped.items()}),
        ({"missing": list(marks)} if marks else {}, {f"missing.{mark}": _says_gap(marks[mark]) for mark in marks}),
        _form_fields(beginning),
    ):
        source |= fields
        remarks |= reasons
    return source, remarks


def _image_source(beginning: Look, targets: Sequence[str], images: ImageColumn, separator: str | None) -> Fields:
    """Returns the source of a table of images, and why its fields are as they are."""
    fields, remarks = _gap_fields(beginning, targets) if separator is None else ({}, {})
    target = targets[0] if len(targets) == 1 else list(targets)
    source = {"kind": "image_table", "path": beginning.path, "target": target}
    return source | image_fields(beginning, images, separator) | fields, remarks


def _number_fields(beginning: Look, dropped: Container[str]) -> Fields:
    """Returns the fields by which texts are read as numbers."""
    fields: dict[str, Any] = {}
    remarks: dict[str, str] = {}
    groups = {mark for column in beginning.columns if (mark := _groups(column.examples))}
    if len(groups) == 1:
        fields["thousands"] = groups.pop()
        remarks["thousands"] = "between groups of three digits"
    decorated = [column.name for column in beginning.columns if _is_numeric(column) and column.name not in dropped]
    if decorated:
        fields["numeric"] = decorated
        remarks |= {f"numeric.{name}": _decorated(beginning.column(name)) for name in decorated}
    return fields, remarks


def _gap_fields(beginning: Look, targets: Sequence[str]) -> Fields:
    """Returns what becomes of rows without a target, where there are any."""
    gaps = sum(beginning.column(name).gaps for name in targets)
    if not gaps:
        return {}, {}
    return {"missing_target": "drop"}, {"missing_target": f"{gaps:,} of {beginning.rows:,} rows without a target"}


def _form_fields(beginning: Look) -> Fields:
    """Returns how the file is written, where it is not as most are."""
    written = {
        "separator": (beginning.dialect.separator, ","),
        "decimal": (beginning.dialect.decimal, "."),
        "header": (beginning.dialect.header, True),
        "encoding": (beginning.encoding, "utf-8"),
    }
    fields = {name: value for name, (value, usual) in written.items() if value not in (usual, "")}
    is_guess = not beginning.encoding_is_sure and "encoding" in fields
    return fields, {"encoding": "not UTF-8, and there is no byte order mark"} if is_guess else {}


def _groups(values: Iterable[str]) -> str:
    """Returns the mark between groups of three digits where numbers have both it and a decimal mark, or two of it."""
    marks = {match.group(1) for value in values if (match := _GROUPED.fullmatch(value))}
    return marks.pop() if len(marks) == 1 else ""


def _is_numeric(column: Column) -> bool:
    """Whether `numeric` can read a column's decorated texts as numbers."""
    return column.decoration in _NUMERIC


def _decorated(column: Column) -> str:
    examples = [value for value in column.examples if decoration(value)] or list(column.examples)
    return f"numbers written as {column.decoration}, such as {', '.join(examples[:2])}"


def _marks(beginning: Look, targets: Sequence[str]) -> dict[str, list[str]]:
    """Returns the marks of missing values in columns that are mostly numbers, such as `?`, with the columns."""
    marks: dict[str, list[str]] = {}
    for column in beginning.columns:
        if column.name not in targets and not column.decoration and len(column.non_numbers) <= 2:
            for mark in column.non_numbers:
                marks.setdefault(mark, []).append(column.name)
    return dict(sorted(marks.items()))


def _says_gap(columns: Sequence[str]) -> str:
    return f"read as a missing value in {', '.join(columns[:3])}{', ...' if len(columns) > 3 else ''}"


def _unusable(beginning: Look, column: Column, marks: Container[str]) -> list[str]:
    """Returns why a model cannot use a column, at most one reason."""
    if column.non_numbers and not column.decoration and all(mark in marks for mark in column.non_numbers):
        return []
    if column.decoration:
        return [] if _is_numeric(column) else [f"holds {_decorated(column)}"]
    if (
        column.kind == "constant" and len(count_values(beginning, column.name, most=1)) > 1
    ):  # below the rows that were looked at
        return []
    unit = unit_of(Counter(column.examples))
    if column.kind in ("text", "identifier") and unit:
        return [f"holds {with_unit(unit, column.examples[0])}"]
    if names_images(Counter(column.examples)):
        return [f"holds {IMAGES}"]
    if reads_as_text(column):
        return []
    if column.kind in _WHY_DROPPED:
        return [_WHY_DROPPED[column.kind]]
    if column.kind == "category":
        most = int(Csv.model_fields["max_categories"].default)
        if len(count_values(beginning, column.name, most=most)) > most:
            return [f"has more than {most} different values"]
    return []
