"""`texts.json` of an evaluation: the texts of its notable examples, shortened, with the words that decided."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ConfigDict, RootModel

from dlcli.runs.contents import FileContent, Number, RunFile
from dlcli.runs.layout import NOTABLE_TEXTS


class Piece(FileContent):
    """A piece of a text.

    Attributes:
        text: the piece; `…` for what is left out.
        effect: by how much this word raises the score of `NotableText.explained`; None for other pieces.
    """

    text: str
    effect: Number = None


class NotableText(FileContent):
    """A text of a notable example.

    Attributes:
        id: the example.
        column: the column of the text.
        explained: the class or target whose score the effects are of; empty where no word was replaced.
        pieces: the text, shortened.
    """

    id: str
    column: str
    explained: str = ""
    pieces: list[Piece]


class NotableTextsFile(RunFile, RootModel[list[NotableText]]):
    """The content of `texts.json`."""

    model_config = ConfigDict(frozen=True)


def write_notable_texts(folder: Path, texts: Sequence[NotableText]) -> None:
    """Writes the texts into the folder of an evaluation."""
    NotableTextsFile.of([text.model_dump() for text in texts]).write(folder / NOTABLE_TEXTS)


def read_notable_texts(folder: Path) -> list[NotableText]:
    """Returns the texts of an evaluation; none for examples without texts.

    Raises:
        DamagedFile: the file cannot be read, or has invalid content.
    """
    path = folder / NOTABLE_TEXTS
    return NotableTextsFile.read(path).root if os.path.lexists(path) else []
