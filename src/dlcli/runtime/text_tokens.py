"""Texts -> numbers of tokens, exactly as in the training. Usage: python tokenizer.py tokens.json "a text" ["another" ...]

An export that takes numbers of tokens contains a copy of this file as `tokenizer.py`, and `tokens.json` with the settings and
the vocabulary of each input. It needs Python alone. It does what `keras.layers.TextVectorization` does: lower case and
punctuation are those of ASCII only.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PADDING, UNKNOWN = 0, 1
"""The numbers of padding and of tokens outside the vocabulary."""
_TO_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")
_WORD = re.compile(r"[^ \t\n\v\f\r]+")


def lower(text: str) -> str:
    """Returns a text with the letters A to Z in lower case; other letters do not change."""
    return text.translate(_TO_LOWER)


def strip_punctuation(text: str) -> str:
    """Returns a text without the punctuation of ASCII."""
    return _PUNCTUATION.sub("", text)


def lower_and_strip_punctuation(text: str) -> str:
    """Returns a text in lower case without punctuation, both of ASCII."""
    return strip_punctuation(lower(text))


def whitespace(text: str) -> list[str]:
    """Returns the words between spaces of ASCII."""
    return _WORD.findall(text)


def character(text: str) -> list[str]:
    """Returns the characters."""
    return list(text)


STANDARDIZE: dict[str, Callable[[str], str]] = {
    "lower_and_strip_punctuation": lower_and_strip_punctuation,
    "lower": lower,
    "strip_punctuation": strip_punctuation,
    "none": str,
}
"""The changes of a text before it is split, by their names in `data.text.standardize`."""
SPLITS: dict[str, Callable[[str], list[str]]] = {"whitespace": whitespace, "character": character}
"""The ways to split a text, by their names in `data.text.split`."""


def with_ngrams(tokens: Sequence[str], longest: int) -> list[str]:
    """Returns the tokens, then those of two neighbouring ones, and so on, up to `longest` ones."""
    starts = [range(len(tokens) - width + 1) for width in range(longest + 1)]
    return [" ".join(tokens[start : start + width]) for width in range(1, longest + 1) for start in starts[width]]


@dataclass(frozen=True)
class Tokenizer:
    """Turns texts into numbers of tokens.

    Attributes:
        vocabulary: the tokens by their numbers; the first two are padding and unknown tokens.
        max_length: the number of tokens of each text; longer texts are cut, shorter ones padded with 0.
        standardize: the name of the change of a text before it is split.
        split: the name of the way to split it.
        ngrams: the most neighbouring words of a token; 1 for single words.
    """

    vocabulary: Sequence[str]
    max_length: int
    standardize: str = "lower_and_strip_punctuation"
    split: str = "whitespace"
    ngrams: int = 1

    def tokens(self, text: str) -> list[str]:
        """Returns the tokens of a text."""
        return with_ngrams(SPLITS[self.split](STANDARDIZE[self.standardize](text)), self.ngrams)

    def numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the numbers of the tokens of each text, `max_length` of each."""
        places = {token: number for number, token in enumerate(self.vocabulary) if number > UNKNOWN}
        rows = ([places.get(token, UNKNOWN) for token in self.tokens(text)[: self.max_length]] for text in texts)
        return [row + [PADDING] * (self.max_length - len(row)) for row in rows]


def read_tokenizers(path: str | Path) -> Mapping[str, Tokenizer]:
    """Returns the tokenizer of each input of the model, by the input's name."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    return {name: Tokenizer(vocabulary, **content["settings"]) for name, vocabulary in content["vocabularies"].items()}


if __name__ == "__main__":
    texts = sys.argv[2:]
    for name, tokenizer in read_tokenizers(sys.argv[1]).items():
        for argument, numbers in zip(texts, tokenizer.numbers(texts), strict=True):
            print(name, tokenizer.tokens(argument)[: tokenizer.max_length], numbers)
