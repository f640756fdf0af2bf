"""A second process that draws and writes while this one computes. It is started early and imports no TensorFlow.

A training uses one core while Python imports, traces, draws and writes. With a helper process, matplotlib and the report are
imported while TensorFlow is, and pictures are drawn while the model is measured. `submit` gives it a function; without a helper
process the function runs at once in this process, so that callers do not depend on it:

    >>> with helper_process(import_matplotlib):
    ...     drawing = submit(draw_curves, run)
    ...     measure(model)
    ...     drawing.result()

The process ends with this one, however this one ends: it waits for requests on a pipe, which the system then closes.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from subprocess import PIPE, Popen
from typing import IO, Any, Generic, TypeVar

from dlcli.runtime.cores import affinity
from dlcli.runtime.python import python_command, python_environment
from dlcli.upstream.start import VERBOSE, silence_dependencies

Result = TypeVar("Result")
_LENGTH = struct.Struct("<Q")


class HelperFailed(Exception):
    """The function did not return in the helper process: it raised an error there, or the process has ended."""


class Work(Generic[Result]):
    """A call of a function that was submitted.

    Args:
        call: calls the function in this process.
        future: the call in the helper process; None to call the function at once.
    """

    def __init__(self, call: Callable[[], Result], future: Future[Result] | None = None) -> None:
        self._call, self._future = call, future
        if future is None:
            self._value = call()

    def result(self) -> Result:
        """Returns what the function returned, once it has.

        If it failed in the helper process, it is called in this process, which may succeed: a program may have registered a
        kind of model here alone. Otherwise the error is raised here, with its own traceback.
        """
        if self._future is None:
            return self._value
        try:
            return self._future.result()
        except HelperFailed as error:
            if os.environ.get(VERBOSE):
                print(f"the helper process failed: {error}", file=sys.stderr)
            return self._call()


class HelperProcess:
    """A running helper process; it calls functions one at a time, in the order of their submission."""

    def __init__(self) -> None:
        line = python_command("-m", __name__)
        self._process = Popen(line, stdin=PIPE, stdout=PIPE, env=python_environment())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="helper process")
        self._last: Future[Any] | None = None

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Submits a function of a module that imports no TensorFlow; arguments and result are pickled.

        The future raises `HelperFailed` if the function does not return.
        """
        request = pickle.dumps((function, arguments), protocol=pickle.HIGHEST_PROTOCOL)
        future: Future[Result] = self._thread.submit(self._answer, request)
        self._last = future
        return future

    def close(self) -> None:
        """Ends the process, also in the middle of a function that nobody waits for."""
        if self._last is not None and not self._last.done():
            self._process.kill()
        self._thread.shutdown(cancel_futures=True)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()
        self._process.wait()

    def _answer(self, request: bytes) -> Any:
        try:
            _send(self._process.stdin, request)
            returned, value = pickle.loads(_receive(self._process.stdout))
        except Exception as error:  # of the pipe, or of a value that cannot be unpickled here
            raise HelperFailed(f"{type(error).__name__}: {error}") from error
        if not returned:
            raise HelperFailed(value)
        return value


_current: HelperProcess | None = None


@contextmanager
def helper_process(prepare: Callable[[], None], *, enabled: bool = True) -> Iterator[None]:
    """Runs a helper process beside the block, where the machine has a second core for it.

    Args:
        prepare: what the process calls first, while this one does something else; what it raises is ignored.
        enabled: False to run the block without a helper process.
    """
    global _current
    if not enabled or _current is not None or len(affinity()) < 2:
        yield
        return
    try:
        _current = HelperProcess()
    except OSError:  # too little memory, or too many processes: everything is done here
        yield
        return
    try:
        _current.submit(prepare)
        yield
    finally:
        helper, _current = _current, None
        helper.close()


def has_helper() -> bool:
    """Whether a helper process is running."""
    return _current is not None


def submit(function: Callable[..., Result], *arguments: Any) -> Work[Result]:
    """Submits a call of `function` to the helper process; without one, calls it at once.

    Args:
        function: a function of a module that imports no TensorFlow. It must be harmless to call it again after it has failed.
        arguments: picklable arguments.

    Returns:
        the call, whose `result()` waits for the end of the function.

    Raises:
        Exception: what the function raises, where it is called at once.
    """
    future = None
    if _current is not None:
        with suppress(pickle.PicklingError, AttributeError, TypeError):  # what cannot be pickled is used in this process
            future = _current.submit(function, *arguments)
    return Work(partial(function, *arguments), future)


def _send(stream: IO[bytes] | None, message: bytes) -> None:
    assert stream is not None
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def _receive(stream: IO[bytes] | None) -> bytes:
    """Returns the next message.

    Raises:
        EOFError: the other process has ended.
    """
    assert stream is not None
    head = stream.read(_LENGTH.size)
    message = stream.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
    if not message:
        raise EOFError("the other process has ended")
    return message


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers requests until the other process closes the pipe."""
    with suppress(EOFError, BrokenPipeError):
        while True:
            _send(answers, _called(_receive(requests)))


def _called(request: bytes) -> bytes:
    """Calls the function of a request and returns the answer: whether it returned, and its value or a traceback."""
    try:
        function, arguments = pickle.loads(request)
        return pickle.dumps((True, function(*arguments)), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:
        return pickle.dumps((False, traceback.format_exc()))


def _main() -> None:
    """Sets the process up and serves. It ignores signals: it ends when the process that started it does."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    gc.set_threshold(100_000, 20, 20)  # as in dlcli's own process
    silence_dependencies()
    _serve(requests, answers)
    os._exit(0)  # there is nothing to close, and taking the modules apart takes time


if __name__ == "__main__":
    _main()
