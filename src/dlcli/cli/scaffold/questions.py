"""The options of `init`, and its questions where the data does not decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlcli.errors import UsageError

Ask = Callable[[str, str], str]
"""From a question and its default to an answer."""
_TRIES = 3


@dataclass(frozen=True)
class Options:
    """The options of `init`; None where one was not given."""

    data: str | None = None
    task: str | None = None
    model: str | None = None
    name: str | None = None
    target: tuple[str, ...] = ()
    path: Path | None = None
    shipped: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Questions:
    """Asks on a terminal. Without one (`ask` is None), a sure default is taken; otherwise the error names the option."""

    ask: Ask | None = None

    def text(self, question: str, default: str) -> str:
        """Returns a free answer, or the default without a terminal."""
        return self.ask(question, default) if self.ask else default

    def choice(self, option: str, question: str, choices: Sequence[str], default: str, doubt: str = "") -> str:
        """Returns one of several words.

        Args:
            option: the option that answers the question, such as `--task`.
            question: the text shown on a terminal.
            choices: the words that may be answered.
            default: the likely one.
            doubt: why the default is not sure, as text; "" if it is.

        Raises:
            UsageError: there is no terminal and the default is not sure, or no answer fits.
        """
        if self.ask is None:
            if doubt:
                raise UsageError(doubt)
            return default
        for _ in range(_TRIES):
            answer = self.ask(f"{question} ({', '.join(choices)})", default)
            if answer in choices:
                return answer
            error = UsageError(f"{option}: {unknown(answer, choices)}")
            question = f"{error}. {question.rpartition('. ')[2]}"
        raise error


def unknown(word: str, choices: Sequence[str]) -> str:
    """Returns the message for an unknown word, with the nearest choice."""
    from dlcli.spec.messages import nearest

    near = nearest(word, choices)
    listed = ", ".join(choices[:40]) + (", ..." if len(choices) > 40 else "")
    return f"{word!r} is not one of them; {f'did you mean {near!r}?' if near else f'there are {listed}'}"


def refuse_unknown(option: str, word: str, choices: Sequence[str]) -> None:
    """Raises UsageError if an option's word is not among the choices."""
    if word not in choices:
        raise UsageError(f"{option}: {unknown(word, choices)}")
