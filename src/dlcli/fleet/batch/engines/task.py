"""One job of a batch on a machine of a cluster: a separate process, started by the cluster's task.

The task writes the pickled order to the process's standard input and leaves that open: its end tells the process that the
task has ended, killed with its node or with the batch, and that it should stop with a checkpoint.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

from dlcli.errors import RunFailed
from dlcli.fleet.batch.engines.engine import LOOK, too_much_memory
from dlcli.fleet.batch.engines.local import memory_of
from dlcli.fleet.batch.worker import Order, work
from dlcli.runs.batches import Batch
from dlcli.runtime.python import python_command, python_environment


def run_order(order: Order, next_signal: Callable[[], int], memory_gb: float | None = None) -> int:
    """Runs a job in a separate process and returns its exit code; a signal's negative number if one ended it.

    Args:
        order: what the process is to do.
        next_signal: is called every `LOOK` seconds for the number of a signal to send to the process; 0 for none.
        memory_gb: memory limit of the process, in GB of 2^30 bytes; a process above it is killed with a message.

    Raises:
        RunFailed: the batch's folder is not there on this machine.
    """
    process = _started(order)
    sent = 0
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK)
            if memory_gb and memory_of(process.pid) > memory_gb * 2**30:
                process.kill()
                process.wait()
                text = too_much_memory(memory_gb)
                Batch(order.batch).write_result(order.job, "RunFailed", text)
                return RunFailed.exit_code
            number = next_signal()
            if number not in (0, sent):
                process.send_signal(number)
                sent = number
    finally:
        assert process.stdin is not None
        process.stdin.close()


def _started(order: Order) -> subprocess.Popen[bytes]:
    """Starts the process; what it prints before it has read the order goes to the job's log as well."""
    try:
        log = os.open(Batch(order.batch).log_path(order.job), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        where = f"cannot write to {order.batch} on {socket.gethostname()}: {error.strerror}"
        raise RunFailed(f"{where}; the runs folder must be on a disk that all machines of the cluster share") from None
    try:
        process = subprocess.Popen(
            python_command("-m", __name__), stdin=subprocess.PIPE, stdout=log, stderr=log, env=python_environment()
        )
    finally:
        os.close(log)
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it could not start; its exit code and log say why
        process.stdin.write(pickle.dumps(order))
        process.stdin.flush()
    return process


def main() -> None:
    """Reads an order from standard input and does it."""
    order = pickle.load(sys.stdin.buffer)
    owner = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # processes that the run starts must not wait for input
    os.close(null)
    work(order, until=lambda: os.read(owner, 1))


if __name__ == "__main__":
    main()
