"""Commands whose options are read from their functions only when they are needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from typer import Typer
from typer.core import TyperCommand
from typer.main import get_command_from_info
from typer.models import CommandInfo

Function = TypeVar("Function", bound=Callable[..., None])


class DeferredCommand(TyperCommand):
    """A command whose parameters and callback are made from its function when they are first used.

    Typer would read the signatures of all commands at each start, of which only one is called: a fifth of `dlcli --help`.
    """

    def __init__(self, *, callback: Callable[..., Any], **settings: Any) -> None:
        super().__init__(callback=callback, **settings)
        self._function = vars(callback)["function"]
        del self.params, self.callback

    def __getattr__(self, name: str) -> Any:
        """Makes the two attributes that the constructor removed; Python calls this only if an attribute is missing."""
        if name not in ("params", "callback"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        command: Any = get_command_from_info(
            CommandInfo(name=self.name, callback=self._function),
            pretty_exceptions_short=True,
            rich_markup_mode=self.rich_markup_mode,
        )
        self.params, self.callback = command.params, command.callback
        return vars(self)[name]


def deferred_command(app: Typer, name: str) -> Callable[[Function], Function]:
    """Returns a decorator that adds a function to an app as a command of this name, like `app.command`."""

    def add(function: Function) -> Function:
        def placeholder() -> None: ...

        vars(placeholder)["function"] = function  # Typer copies it to the callback that it makes of the placeholder
        app.command(name, cls=DeferredCommand, help=inspect.getdoc(function))(placeholder)
        return function

    return add
