"""Texts and series for `init`: folders of text files, columns of texts, and `.ts` files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from unicodedata import category

from dlcli.cli.scaffold.plan import DataPlan, Sequences
from dlcli.errors import DataError, UsageError
from dlcli.spec.data.sources.table.look import Column
from dlcli.spec.data.sources.text_folder import TextFolder
from dlcli.spec.data.sources.ts_file import read_header
from dlcli.tasks import TASKS

TEXTS, CHARACTERS, SERIES = Sequences("kim_cnn"), Sequences("kim_cnn", split="character"), Sequences("fcn")
_FEWEST_WORDS = 7
"""Words of a usual cell from which on a column holds texts to read, not names or codes."""
_FEWEST_LETTERS = 4
"""The same in scripts without spaces between words: Chinese names have two or three letters."""
_TRAIN = re.compile(r"(?i)train(?=\.ts$)")


def reads_as_text(column: Column) -> bool:
    """Whether a column holds texts to be read, not names or codes."""
    if column.kind not in ("text", "identifier"):  # different texts without spaces look like identifiers
        return False
    words, letters = (median(map(count, column.examples)) for count in (lambda value: len(value.split()), _unspaced))
    return words >= _FEWEST_WORDS or letters >= _FEWEST_LETTERS


def sequences_of(columns: Sequence[Column]) -> Sequences | None:
    """Returns how columns of texts are read; None without columns."""
    if not columns:
        return None
    values = [value for column in columns for value in column.examples]
    return CHARACTERS if median(map(_unspaced, values)) >= _FEWEST_LETTERS else TEXTS


def _unspaced(value: str) -> int:
    """Returns the number of letters of scripts without capitals and without spaces between words, such as Chinese."""
    return sum(category(letter) == "Lo" for letter in value) // max(1, len(value.split()))


def look_at_texts(path: str, task: str | None) -> DataPlan | None:
    """Returns the plan for a folder of text files, one for each text; None if it has none.

    Raises:
        UsageError: the task is not for classes of texts.
    """
    source = TextFolder.model_validate({"kind": "text_folder", "path": path}, context={"folder": "."})
    if next(source.faults(), None) is not None:
        return None
    facts = source.facts(TASKS["classification"])
    tasks, why = _of_classes(facts.classes)
    _refuse_task(task, tasks, path, why)
    return DataPlan(
        path, {"kind": "text_folder", "path": path}, tasks, Path(path).absolute().name, "", why, (f"{path}: {why}",),
        sequences=TEXTS,
    )  # fmt: skip


def look_at_ts(path: str, task: str | None) -> DataPlan:
    """Returns the plan for a `.ts` file; `NAME_TEST.ts` beside `NAME_TRAIN.ts` is its test split.

    Raises:
        UsageError: it cannot be read or has no labels, or the task does not fit.
    """
    try:
        header = read_header(path)
    except DataError as error:
        raise UsageError(str(error)) from None
    if not header.has_label:
        raise UsageError(f"{path}: its series have no labels, so there is nothing to predict")
    tasks, why = _of_classes(header.classes) if header.classes else (("regression",), "a number for each series")
    _refuse_task(task, tasks, path, why)
    test = _TRAIN.sub(lambda word: "TEST" if word.group().isupper() else "test", path)
    files = {"path": path} | ({"test": test} if test != path and Path(test).is_file() else {})
    stem = _TRAIN.sub("", Path(path).name).removesuffix(".ts").strip("_-. ") or Path(path).stem
    return DataPlan(path, {"kind": "ts", **files}, tasks, stem, "", why, (f"{path}: {why}",), sequences=SERIES)


def _of_classes(classes: Sequence[str]) -> tuple[tuple[str, ...], str]:
    listed = f"{len(classes)} classes: {', '.join(classes[:10])}{', ...' if len(classes) > 10 else ''}"
    return (("binary", "classification") if len(classes) == 2 else ("classification",)), listed


def _refuse_task(task: str | None, tasks: Sequence[str], path: str, why: str) -> None:
    if task is not None and task not in tasks:
        raise UsageError(f"--task: {task} does not fit {path} ({why}): {' or '.join(tasks)} does")
