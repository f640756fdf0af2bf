"""Records the failure of a run in its folder, with a message and the right exit code."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dlcli.errors import NO_ROOM, DlcliError, Interrupted, OutOfMemory, RunFailed
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.folder import State, now
from dlcli.runtime.signals import StopRequest, signals_as_exceptions

_FULL = (*NO_ROOM, errno.EACCES, errno.EPERM)


@contextmanager
def recorded_failure(run: RunFolder) -> Iterator[StopRequest]:
    """Records an exception of the block in the run folder, and raises it with the message of `failures_in_words`."""
    request = StopRequest()
    try:
        with failures_in_words(run) as request:
            yield request
    except Interrupted as error:
        # Keras adds text to the message of an exception inside a layer.
        text = str(error) if str(error).startswith("stopped by") else request.words
        _record(run, "interrupted", text)
        raise Interrupted(f"{text}; to resume: {command()} train --resume {run.path}") from None
    except BaseException as error:
        _record(run, "failed", str(error) or type(error).__name__)
        raise


@contextmanager
def failures_in_words(run: RunFolder) -> Iterator[StopRequest]:
    """Turns signals into Interrupted, and lack of memory or disk space into RunFailed with a remedy.

    Other exceptions pass unchanged: errors of the user with their message, defects with their traceback.
    """
    try:
        with signals_as_exceptions() as request:
            yield request
    except KeyboardInterrupt:
        raise Interrupted("stopped by SIGINT") from None
    except Exception as error:
        words = folder_gone(run) or disk_full(error, run)
        if words:
            raise RunFailed(words) from error
        words = out_of_memory(error, run)
        if words:
            raise OutOfMemory(words) from error
        raise


def _record(run: RunFolder, state: State, text: str) -> None:
    with suppress(OSError, DlcliError):  # a full disk or a removed folder must not hide the error of the run
        run.log(f"{state}: {text}")
        run.update_status(state=state, finished=now(), error=text)


def folder_gone(run: RunFolder) -> str:
    """Returns the message for a run whose folder was removed or renamed meanwhile; empty if the folder exists."""
    return "" if run.path.is_dir() else f"{run.path} was removed or renamed while the run was writing to it"


def disk_full(error: BaseException, run: RunFolder) -> str:
    """Returns the message for an error of a full or read-only disk; empty for any other error."""
    reasons = [os.strerror(number) for number in _FULL]
    # TensorFlow's errors contain the system's message, but no error number.
    reason = next((text for text in reasons if text in str(error)), "") if not isinstance(error, DlcliError) else ""
    remark = "; the best epoch so far is stored there" if run.model_path.exists() else ""
    return f"cannot write to {run.path}: {reason}{remark}" if reason else ""


def out_of_memory(error: BaseException, run: RunFolder) -> str:
    """Returns the message for exhausted memory, with the batch size to try; empty for any other error."""
    if not is_out_of_memory(error):
        return ""
    batch, examples = _batch(run)
    if batch < 2:
        return "out of memory with a batch size of 1; try smaller images or a smaller model"
    of = "the whole training split" if batch == examples else f"{batch} examples"
    return f"out of memory with {of} in a batch; try --set data.batch_size={batch // 2} in a new run, or smaller images"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means exhausted memory, in TensorFlow or in Python."""
    return type(error).__name__ == "ResourceExhaustedError" or isinstance(error, MemoryError)


def _batch(run: RunFolder) -> tuple[int, int]:
    """Returns the number of examples in a batch and in the training split; 0 if they are unknown."""
    try:
        examples = int(run.data()["examples"]["train"])
        size = run.experiment().data.examples_in_step(examples)
    except (DlcliError, KeyError, OSError):
        return 0, 0
    return min(size, examples), examples
