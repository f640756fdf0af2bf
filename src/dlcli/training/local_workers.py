"""`--local-workers N`: the workers of one training as processes of this machine, for trying out."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from tempfile import TemporaryFile
from time import sleep
from types import FrameType
from typing import IO

from dlcli.errors import UsageError
from dlcli.program import command
from dlcli.runtime.cluster import listens
from dlcli.runtime.python import python_command, python_environment
from dlcli.visible import visible

GRACE = 60.0
"""Seconds that the others have to end after the chief: each ends by itself once it notices that another has ended."""
_LINES = 15


def run_local_workers(count: int, arguments: Sequence[str]) -> int:
    """Runs `dlcli train` with some arguments in several processes, and returns the chief's exit code.

    Where a worker ends before it can be reached, all are ended, and the exit code is its own.
    The chief writes to this terminal; of the others the last lines are shown where they end otherwise than the chief.

    Raises:
        UsageError: there is nothing to share among fewer than two.
    """
    if count < 2:
        raise UsageError(f"--local-workers: expected 2 or more, found {count}")
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    with ExitStack() as stack:
        outputs = [stack.enter_context(TemporaryFile()) for _ in range(count - 1)]
        processes: list[subprocess.Popen[bytes]] = []
        _pass_signals_on(processes, stack)
        for index in range(count):
            workers = ["--workers", ",".join(addresses), "--index", str(index)]
            output = outputs[index - 1] if index else None
            # In a separate process group a worker gets the terminal's Ctrl-C only once, from here: a second one would end it.
            processes.append(
                subprocess.Popen(
                    python_command("-m", "dlcli", *arguments, *workers),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=python_environment(),
                    process_group=0,
                )
            )
        missing = _wait_for_chief(processes, addresses)
        chief = _ended(processes[0])
        if missing:
            print(f"worker {missing} ended before all workers had connected", file=sys.stderr)
        elif chief < 0:
            how = signal.Signals(-chief).name
            print(f"the chief was ended by {how}; `{command()} train --resume` resumes its run", file=sys.stderr)
        for index, process in enumerate(processes[1:], 1):
            code = _ended(process)
            if code != chief:
                _show(index, code, outputs[index - 1])
        code = processes[missing].wait()
    return code if code >= 0 else 128 - code


def _wait_for_chief(processes: Sequence[subprocess.Popen[bytes]], addresses: Sequence[str]) -> int:
    """Waits for the chief's end; returns a worker that ended before it listened, for which the chief would wait long, or 0."""
    awaited = list(range(1, len(processes)))
    while processes[0].poll() is None:
        awaited = [index for index in awaited if not listens(addresses[index])]
        for index in awaited:
            if processes[index].poll() is not None:
                for process in processes:
                    process.terminate()
                return index
        sleep(0.1)
    return 0


def _free_ports(count: int) -> list[int]:
    """Returns ports on which no process listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [int(opened.getsockname()[1]) for opened in sockets]


def _pass_signals_on(processes: list[subprocess.Popen[bytes]], stack: ExitStack) -> None:
    """Has what ends this process end the workers, each with what it has to write."""

    def pass_on(number: int, _: FrameType | None) -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        stack.callback(signal.signal, number, signal.signal(number, pass_on))


def _ended(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _show(index: int, code: int, output: IO[bytes]) -> None:
    output.seek(0)
    lines = output.read().decode(errors="replace").splitlines()[-_LINES:]
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    print(f"worker {index} {how}", file=sys.stderr)
    for line in lines:
        print(f"  {visible(line)}", file=sys.stderr)
