"""Files of texts, and texts in memory -> batches of a model's inputs, read as in training."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dlcli.data.inputs import recorded_kinds
from dlcli.errors import DataError
from dlcli.predict.batch import Batch, Skip
from dlcli.runs import RunFolder
from dlcli.runtime.columns import InputLayout
from dlcli.runtime.inputs import TableColumns
from dlcli.spec.data.sources.csv import Csv
from dlcli.spec.data.sources.text_folder import TextFolder, numbered_lines, read_text
from dlcli.spec.experiment import Experiment

_LONGEST_NAME = 1000
"""Characters of a text that may be the name of a file."""


def text_files_of(experiment: Experiment) -> TextFolder | None:
    """Returns the source that says how text files are read; None for a run that was not trained on a folder of texts."""
    source = experiment.data.source
    return source if isinstance(source, TextFolder) else None


def only_text_column(layout: InputLayout | None) -> str:
    """Returns the name of a model's only column, if it is one of texts; else an empty text."""
    kinds = {} if layout is None else layout.kinds
    return next(iter(kinds)) if len(kinds) == 1 and all(kind.is_text for kind in kinds.values()) else ""


def takes_texts(run: RunFolder) -> bool:
    """Whether the only column of a run's data has texts, as its record says."""
    columns, kinds = run.data().get("columns") or [], recorded_kinds(run)
    return len(columns) == 1 and columns[0] in kinds and kinds[columns[0]].is_text


def are_cells(experiment: Experiment) -> bool:
    """Whether the texts of the training were cells of a table, where a word such as `NA` is a missing value."""
    return isinstance(experiment.data.source, Csv)


@dataclass
class _ReadFiles:
    """Texts of files, and what is noted about the files.

    Attributes:
        source: how files are read.
        skip: is called with the name of each file that cannot be read, and the reason.
        empty_lines: the number of empty lines, which are no texts.
        others: the number of files that were read in another encoding than the first, by encoding.
    """

    source: TextFolder
    skip: Skip
    empty_lines: int
    others: dict[str, int]

    def texts(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yields the name and the text of each example: `reviews/one.txt`, or `reviews.txt:3` where each line is one."""
        for path in paths:
            try:
                text, encoding = read_text(path, self.source.encoding)
            except DataError as error:
                self.skip(path, str(error).removeprefix(f"{path}: ").partition(";")[0])
                continue
            if encoding != self.source.encoding[0]:
                self.others[encoding] = self.others.get(encoding, 0) + 1
            if self.source.lines:
                yield from self._lines(path, text)
            else:
                yield path, text

    def _lines(self, path: str, text: str) -> Iterator[tuple[str, str]]:
        for number, line in numbered_lines(text):
            if line.strip():
                yield f"{path}:{number}", line
            else:
                self.empty_lines += 1

    def notes(self) -> tuple[str, ...]:
        """Returns the notes on the files."""
        encodings = (f"read {count:,} text file{_s(count)} as {encoding}" for encoding, count in self.others.items())
        lines = [f"ignored {self.empty_lines:,} empty line{_s(self.empty_lines)}"] if self.empty_lines else []
        return (*encodings, *lines)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def text_batches(paths: Iterable[str], source: TextFolder, layout: InputLayout, size: int, skip: Skip) -> Iterator[Batch]:
    """Yields the texts of files, `size` at a time; a file that cannot be read or decoded is skipped.

    Args:
        paths: the files.
        source: how files are read: as texts or as lines, and in which encodings.
        layout: the inputs of the model, which has one column.
        size: texts in a batch.
        skip: is called with the name of each skipped file, and the reason.
    """
    files = _ReadFiles(source, skip, 0, {})
    ids, texts = list[str](), list[str]()
    for text_id, text in files.texts(paths):
        ids.append(text_id)
        texts.append(text)
        if len(ids) == size:
            yield text_batch(ids, texts, layout)
            ids, texts = [], []
    if ids:
        yield text_batch(ids, texts, layout)
    if notes := files.notes():
        yield Batch([], TableColumns({}, {}), notes)


def memory_texts(texts: Sequence[str], layout: InputLayout, size: int) -> Iterator[Batch]:
    """Yields texts in memory, `size` at a time; each is named by its position, from 0."""
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        yield text_batch([str(start + place) for place in range(len(part))], part, layout)


def file_note(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns a note on texts that are names of existing files, which are not read."""
    names = [text for text in texts if text and len(text) < _LONGEST_NAME and "\0" not in text and os.path.lexists(text)]
    if not names:
        return ()
    return (f"{len(names):,} of {len(texts):,} texts are names of existing files, such as {names[0]!r}; name files by Path",)


def text_batch(ids: Sequence[str], texts: Sequence[str], layout: InputLayout) -> Batch:
    """Returns texts as a batch of a model whose only column has them."""
    column = np.array([*texts, None], dtype=object)[:-1]  # texts of one length would become an array of characters
    return Batch(list(ids), TableColumns({only_text_column(layout): column}, layout.kinds, layout))
