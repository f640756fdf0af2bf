"""The GPUs that the NVIDIA driver reports through its management library (NVML), without TensorFlow allocating their memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

_PATIENCE = 60.0
"""Timeout of the driver's answer in seconds: the library waits forever for a GPU that has failed."""
_MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine.

    Attributes:
        number: its index in the driver's order, which is that of the PCI bus.
        uuid: its unique name, `GPU-...`.
        name: the product name.
        memory_mb: its memory in MiB; None if the driver does not report it.
    """

    number: int
    uuid: str
    name: str
    memory_mb: int | None


@dataclass(frozen=True)
class Driver:
    """The answer of the driver.

    Attributes:
        installed: whether the driver's library is installed.
        error: why the driver does not answer; empty if it does.
        version: the version of the driver.
        gpus: this machine's GPUs.
        parts: the memory in MiB of each requested part of a GPU; None if the driver does not report it.
    """

    installed: bool = True
    error: str = ""
    version: str = ""
    gpus: tuple[Gpu, ...] = ()
    parts: dict[str, int | None] = field(default_factory=dict)


def ask_driver(parts: Sequence[str] = (), patience: float = _PATIENCE) -> Driver:
    """Queries the driver for this machine's GPUs.

    Args:
        parts: the names of parts of GPUs (`MIG-...`) whose memory is queried.
        patience: the timeout in seconds.
    """
    answers: list[Driver | Exception] = []
    thread = Thread(target=_append_answer, args=(answers, parts), daemon=True)  # a call that hangs cannot be interrupted
    thread.start()
    thread.join(patience)
    if not answers:
        return Driver(error=f"no answer in {patience:g} seconds")
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def _append_answer(answers: list[Driver | Exception], parts: Sequence[str]) -> None:
    """Appends the answer, or an exception that the calling thread raises."""
    try:
        answers.append(_answer(parts))
    except Exception as error:
        answers.append(error)


def _answer(parts: Sequence[str]) -> Driver:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return Driver(installed=False)
    except pynvml.NVMLError as error:
        return Driver(error=str(error))
    try:
        gpus = tuple(_gpu(pynvml, number) for number in range(pynvml.nvmlDeviceGetCount()))
        memory = {part: _memory_of_part(pynvml, part) for part in parts}
        return Driver(version=pynvml.nvmlSystemGetDriverVersion(), gpus=gpus, parts=memory)
    except pynvml.NVMLError as error:
        return Driver(error=str(error))
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _gpu(pynvml: Any, number: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(number)
    return Gpu(number, pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle), _memory(pynvml, handle))


def _memory_of_part(pynvml: Any, name: str) -> int | None:
    try:
        return _memory(pynvml, pynvml.nvmlDeviceGetHandleByUUID(name))
    except pynvml.NVMLError:  # the part does not exist, or its name is shortened
        return None


def _memory(pynvml: Any, handle: Any) -> int | None:
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) // _MIB
    except pynvml.NVMLError:  # a GPU that shares the processor's memory has none to report
        return None
