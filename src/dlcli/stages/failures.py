"""How a run that cannot go on ends: recorded in its folder, in words, with the right exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dlcli.errors import Interrupted, RunFailed
from dlcli.runs import Run
from dlcli.runs.folder import State, now
from dlcli.runtime.signals import signals_as_exceptions


@contextmanager
def recorded_failure(run: Run) -> Iterator[None]:
    """Records in the run folder why the block ended, if not well. Signals become Interrupted, lack of memory RunFailed."""
    try:
        with signals_as_exceptions():
            yield
    except (KeyboardInterrupt, Interrupted) as error:
        _record(run, "interrupted", str(error) or "stopped by SIGINT")
        raise Interrupted(f"{error}; the history and the best epoch so far are kept in {run.path}") from None
    except BaseException as error:
        text = out_of_memory(error) or str(error) or type(error).__name__
        _record(run, "failed", text)
        if out_of_memory(error):
            raise RunFailed(text) from error
        raise


def _record(run: Run, state: State, text: str) -> None:
    run.log(f"{state}: {text}")
    run.update_status(state=state, finished=now(), error=text)


def out_of_memory(error: BaseException) -> str:
    """Returns the words for an error of exhausted memory; empty for any other."""
    name = type(error).__name__
    if name == "ResourceExhaustedError" or isinstance(error, MemoryError):
        return "out of memory; try a smaller `data.batch_size` (half of it first), or smaller images"
    return ""
