"""Texts -> numbers of tokens, exactly as in the training. Usage: python tokenizer.py tokens.json "a text" ["another" ...]

An export that takes numbers of tokens contains a copy of this file as `tokenizer.py`, and `tokens.json` with the settings and
the vocabulary of each input. It needs Python alone. It does what `keras.layers.TextVectorization` does: lower case and
punctuation are those of ASCII only. For the split `unicode_words` letters, marks and digits are those of the Unicode that
Python knows; characters that it does not know are letters.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PADDING, UNKNOWN = 0, 1
"""The numbers of padding and of tokens outside the vocabulary."""
_TO_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")
_WORD = re.compile(r"[^ \t\n\v\f\r]+")
JOINERS = ("\xad", "\u200c", "\u200d", *map(chr, range(0xFE00, 0xFE10)))
"""Invisible characters inside words and emoji, which are left out: soft hyphens, joiners, and selectors of variants."""
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f]"
)
"""The scripts without spaces between words: Thai, Lao, Burmese, Khmer, Hiragana, Katakana, Han. Rare Han characters outside the
first 65,536 of Unicode are letters, so that the list of these characters inside a model stays short."""
_SEPARATORS = {"P", "S", "Z", "Cc", "Cf", "Cs"}
"""The categories of Unicode, and their first letters, that separate words."""


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


def replacement(character: str) -> str:
    """Returns a character with a space on both sides if it is a word of its own, a space for one that separates words."""
    category = unicodedata.category(character)
    if character in JOINERS:
        return ""
    if character != "\0" and not _SEPARATORS.isdisjoint({category, category[0]}):  # no vocabulary of Keras can have a NUL
        return " "
    return f" {character} " if _WITHOUT_SPACES.match(character) else character


class _Replacements(dict[int, str]):
    """The replacement of each character by its code, as `str.translate` takes them."""

    def __missing__(self, code: int) -> str:
        return self.setdefault(code, replacement(chr(code)))


_REPLACEMENTS = _Replacements()


def unicode_words(text: str) -> list[str]:
    """Returns the runs of letters, marks and digits, and each character of scripts without spaces between words."""
    return whitespace(text.translate(_REPLACEMENTS))


def placed_unicode_words(text: str, standardize: Callable[[str], str]) -> Iterator[tuple[str, int, int]]:
    """Yields the words of a text after a change of each of its characters, each with its start and its end in the text."""
    replacements = [standardize(letter).translate(_REPLACEMENTS) for letter in text]
    places = [place for place, spaced in enumerate(replacements) for _ in spaced]
    for match in _WORD.finditer("".join(replacements)):
        yield match[0], places[match.start()], places[match.end() - 1] + 1


STANDARDIZE: dict[str, Callable[[str], str]] = {
    "lower_and_strip_punctuation": lower_and_strip_punctuation,
    "lower": lower,
    "strip_punctuation": strip_punctuation,
    "none": str,
}
"""The changes of a text before it is split, by their names in `data.text.standardize`."""
SPLITS: dict[str, Callable[[str], list[str]]] = {
    "whitespace": whitespace,
    "character": character,
    "unicode_words": unicode_words,
}
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
