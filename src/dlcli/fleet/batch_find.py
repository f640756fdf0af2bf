"""The largest batch that fits and the fastest one: each size is tried in a separate process, which may run out of memory."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

from dlcli.errors import DlcliError, RunFailed
from dlcli.fleet.batch.engines.local import memory_of
from dlcli.fleet.batch.worker import PRELOADED
from dlcli.runtime.python import fork_server_context

_WARM = 3
_MOST_STEPS = 50
_LOOK = 0.1


@dataclass(frozen=True)
class Size:
    """One batch size: examples per second and the peak memory in bytes; or why it is impossible."""

    batch_size: int
    examples_per_second: float = 0.0
    memory: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Probe:
    """What a process tries: a spec with its `--set` options, one batch size, for some seconds."""

    text: str
    file: str
    overrides: list[str]
    batch_size: int
    seconds: float
    features: Path
    offline: bool


def find_batch_size(
    text: str,
    file: str,
    overrides: list[str],
    features: Path,
    *,
    smallest: int = 8,
    seconds: float = 3.0,
    memory_gb: float | None = None,
    offline: bool = False,
) -> Iterator[Size]:
    """Yields sizes, each twice the one before, until one does not fit, or holds all training examples.

    Args:
        text: the spec.
        file: its path.
        overrides: `--set` options.
        features: the folder in which features of a frozen backbone are kept.
        smallest: the first size.
        seconds: how long each is measured once it is compiled.
        memory_gb: memory that a process may take; on a GPU its own memory is the limit.
        offline: whether nothing may be fetched.

    Raises:
        RunFailed: the first size fails for another reason than memory.
    """
    context = fork_server_context()
    context.set_forkserver_preload([*PRELOADED, "dlcli.training.rate_trial"])
    size = smallest
    while True:
        probe = Probe(text, file, overrides, size, seconds, features, offline)
        size_result, examples = _tried(context, probe, memory_gb, first=size == smallest)
        yield size_result
        if size_result.reason or size >= examples:
            return
        size = min(2 * size, max(examples, size + 1))


def _tried(context: Any, probe: Probe, memory_gb: float | None, *, first: bool) -> tuple[Size, int]:
    """Returns what one size gives, and the number of training examples; a defect at the first size is no lack of memory."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_try, args=(probe, sender))
    process.start()
    sender.close()
    message, most, reason = None, 0, ""
    while process.is_alive() and message is None:
        if receiver.poll(_LOOK):
            message = _received(receiver)
            break
        most = max(most, memory_of(process.pid))
        if memory_gb is not None and most > memory_gb * 2**30:
            process.kill()
            reason = f"it needs more than {memory_gb:g} GB"
    process.join()
    message = message or (_received(receiver) if receiver.poll() else None)
    if isinstance(message, str):
        raise RunFailed(message)
    if message is None and not reason:
        code = process.exitcode or 0
        if code >= 0 and first:  # its traceback is printed
            raise RunFailed(f"trying batches of {probe.batch_size} failed: its process ended with exit code {code}")
        died = f"was ended by {signal.Signals(-code).name}, usually because of too little memory" if code < 0 else ""
        reason = f"its process {died or f'failed with exit code {code}'}"
    if message is None or reason:
        return Size(probe.batch_size, memory=most, reason=reason), 0
    rate, examples, words = message
    return Size(probe.batch_size, rate, most, words), examples


def _received(connection: Connection) -> Any:
    try:
        return connection.recv()
    except EOFError:
        return None


def _try(probe: Probe, connection: Connection) -> None:
    """Trains for some seconds and sends (examples per second, training examples, reason), or an error message."""
    from dlcli.runs.failures import is_out_of_memory
    from dlcli.spec.load import load_text
    from dlcli.training.rate_trial import put_together

    try:
        loaded = load_text(probe.text, probe.file, [*probe.overrides, f"data.batch_size={probe.batch_size}"])
        trial = put_together(loaded.experiment, probe.features, _say_nothing, offline=probe.offline)
        connection.send((_measured(trial, probe.seconds), trial.setup.epoch_examples, ""))
    except DlcliError as error:
        connection.send(str(error))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        connection.send((0.0, 0, "out of memory"))


def _say_nothing(_line: str) -> None:
    return


def _measured(trial: Any, seconds: float) -> float:
    """Returns the examples a second of full batches."""
    stream, model = trial.stream, trial.model
    full = max(1, trial.setup.epoch_examples // trial.setup.batch_size)

    def steps() -> Iterator[Any]:
        epoch = 0
        while True:
            batches = stream.batches(epoch)
            for _ in range(full):
                yield batches
            epoch += 1

    source = steps()
    for _ in range(_WARM):
        float(model.train_function(next(source))["loss"])
    began, count = perf_counter(), 0
    while count < _MOST_STEPS and (count < 2 or perf_counter() - began < seconds):
        float(model.train_function(next(source))["loss"])
        count += 1
    return float(count * trial.setup.batch_size / (perf_counter() - began))
