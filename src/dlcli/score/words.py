"""The effect of each word of a text on a prediction: the word is replaced by one that the model does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.models.raw_output import before_squashing
from dlcli.runtime.columns import InputLayout
from dlcli.runtime.engine import tf
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.text_tokens import STANDARDIZE, placed_unicode_words
from dlcli.spec.data.text import TextSettings
from dlcli.tasks import Classes, Decisions, Task

_BATCH = 64
_SMALLEST = 1e-7
"""The smallest probability whose logarithm is taken."""
_WORD = re.compile(r"[^ \t\n\v\f\r]+")
_UNKNOWN_WORDS = tuple(map(chr, range(0x16A0, 0x16EB)))
"""Runes, words that a vocabulary hardly has: letters, so that no way to split a text drops them, of one case."""


@dataclass(frozen=True)
class Word:
    """A word of a text.

    Attributes:
        column: the column of the text.
        start: the place of its first character.
        end: the place after its last character.
        text: the word as the model reads it, such as `film` for `Film,`.
    """

    column: str
    start: int
    end: int
    text: str


Row = Mapping[str, Any]
"""The value of each column of an example."""


class Occlusion:
    """Replaces words of texts by unknown ones and asks the model.

    An unknown word is a letter that no token of the vocabularies has. The word is replaced, not left out, so that the other
    words keep their places.

    Attributes:
        names: the names of the classes, labels or targets.
        task: the run's task.
    """

    def __init__(
        self,
        model: Any,
        layout: InputLayout,
        settings: TextSettings,
        vocabularies: Mapping[str, Sequence[str]],
        task: Task,
        names: Sequence[str],
    ) -> None:
        """Takes a saved model, its inputs, and how texts become tokens."""
        self.task, self.names = task, tuple(names)
        self._model, self._layout, self._settings = model, layout, settings
        self._columns = [name for name, kind in layout.kinds.items() if kind.is_text]
        letters = {letter for tokens in vocabularies.values() for token in tokens for letter in token}
        self._unknown = next((word for word in _UNKNOWN_WORDS if word not in letters), _UNKNOWN_WORDS[0])

    def words(self, row: Row) -> list[Word]:
        """Returns the words of an example that the model reads: not those after `max_length`, and no mere punctuation."""
        most = self._settings.max_length
        last = most if isinstance(most, int) else None
        return [word for name in self._columns for word in islice(self._words_of(name, row[name]), last)]

    def _words_of(self, column: str, text: str) -> Iterator[Word]:
        standardize = STANDARDIZE[self._settings.standardize]
        if self._settings.split == "unicode_words":
            for word, start, end in placed_unicode_words(text, standardize):
                yield Word(column, start, end, word)
            return
        pattern = re.compile(".", re.DOTALL) if self._settings.split == "character" else _WORD
        for match in pattern.finditer(text):
            if word := standardize(match[0]):
                yield Word(column, *match.span(), word)

    def without(self, row: Row, words: Sequence[Word]) -> Row:
        """Returns an example with unknown words in place of some words."""
        changed = dict(row)
        # a letter would become a part of the words beside a character that is a word
        unknown = f" {self._unknown} " if self._settings.split == "unicode_words" else self._unknown
        for word in sorted(words, key=lambda word: word.start, reverse=True):
            text = changed[word.column]
            changed[word.column] = text[: word.start] + unknown + text[word.end :]
        return changed

    def scores(self, rows: Sequence[Row]) -> Array:
        """Returns the score of each class, label or target, float64 `(n, names)`.

        Of a class or label it is the logarithm of the odds, p / (1 - p): a probability hardly changes where a model is
        confident. Of a target it is the value.
        """
        with before_squashing(self._model) as plain:
            output = np.concatenate(list(self._outputs(rows)))
        return _log_odds(output.astype("float64"), self.task, plain=plain, names=len(self.names))

    def _outputs(self, rows: Sequence[Row]) -> Iterator[Array]:
        for start in range(0, len(rows), _BATCH):
            tensors = self._layout.tensors(columns_of(rows[start : start + _BATCH], self._layout))
            yield np.asarray(self._call(tensors))

    @cached_property
    def _call(self) -> Any:
        """The model as a function that is traced once, with the last activation that it has then."""
        inputs = {
            name: tf.TensorSpec((None, len(columns)), self._layout.kind(name).dtype)
            for name, columns in self._layout.columns.items()
        }

        def call(tensors: Mapping[str, Any]) -> Any:
            return tf.cast(self._model(tensors, training=False), tf.float32)

        return tf.function(call, input_signature=[inputs])

    def effects(self, row: Row) -> tuple[list[Word], Array]:
        """Returns the words of an example, and by how much each of them raises each score, float64 `(words, names)`."""
        words = self.words(row)
        return words, self._falls(row, [[word] for word in words])

    def effects_of_all(self, rows: Sequence[Row], most: int) -> tuple[int, dict[str, list[Array]]]:
        """Returns the number of read examples; and the effects of each word, one `(names,)` for each text that has it.

        All places of a word in a text are replaced at once.

        Args:
            rows: the examples.
            most: the most texts that the model reads; further examples are ignored.
        """
        words, firsts, changed, read = list[str](), list[int](), list[Row](), 0
        for row in rows:
            places: dict[str, list[Word]] = {}
            for word in self.words(row):
                places.setdefault(word.text, []).append(word)
            if changed and len(changed) + len(places) + 1 > most:
                break
            read += 1
            words += ["", *places]
            firsts += [len(changed)] * (len(places) + 1)
            changed += [row, *(self.without(row, of_word) for of_word in places.values())]
        scores, effects = self.scores(changed), dict[str, list[Array]]()
        for place, (word_text, first) in enumerate(zip(words, firsts, strict=True)):
            if word_text:
                effects.setdefault(word_text, []).append(scores[first] - scores[place])
        return read, effects

    def _falls(self, row: Row, groups: Sequence[Sequence[Word]]) -> Array:
        scores = self.scores([row, *(self.without(row, words) for words in groups)])
        falls: Array = scores[0] - scores[1:]
        return falls


def rows_of(inputs: Inputs, places: Array) -> list[Row]:
    """Returns examples of a table as rows."""
    table = inputs.take(places).table()
    return [{name: values[at] for name, values in table.items()} for at in range(len(places))]


def columns_of(rows: Sequence[Row], layout: InputLayout) -> dict[str, Array]:
    """Returns rows as columns in the types of their kinds."""
    columns = {}
    for name, kind in layout.kinds.items():
        column = np.empty(len(rows), dtype=kind.numpy_dtype)
        column[:] = [row[name] for row in rows]
        columns[name] = column
    return columns


def _log_odds(output: Array, task: Task, *, plain: bool, names: int) -> Array:
    """Returns the logarithms of the odds `(n, names)` from a model's output, which is before softmax or sigmoid if `plain`."""
    kind = task.output
    if not isinstance(kind, Decisions):
        return np.asarray(kind.scores(output), dtype="float64")
    if not plain or output.shape[1] not in (1, names):
        shares = np.clip(kind.scores(output).astype("float64"), _SMALLEST, 1 - _SMALLEST)
        return np.asarray(np.log(shares) - np.log1p(-shares))
    if output.shape[1] == 1 and names == 2:
        return np.concatenate([-output, output], axis=1)
    if not isinstance(kind, Classes):
        return output
    from scipy.special import logsumexp

    others = [logsumexp(np.delete(output, place, axis=1), axis=1) for place in range(names)]
    return np.asarray(output - np.stack(others, axis=1))
