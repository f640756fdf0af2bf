"""The GPUs that the NVIDIA driver knows, by its management library (NVML): TensorFlow would take hold of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

_PATIENCE = 60.0
"""Seconds for an answer: the library waits forever for a GPU that has failed."""
_MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine.

    Attributes:
        number: its place in the driver's order, that of the PCI bus.
        uuid: its name on every machine, `GPU-...`.
        name: the product.
        memory_mb: its memory in MiB; None where the driver does not say it.
    """

    number: int
    uuid: str
    name: str
    memory_mb: int | None


@dataclass(frozen=True)
class Driver:
    """What the driver answers.

    Attributes:
        installed: whether its library is there.
        error: why it does not answer; empty where it does.
        version: of the driver.
        gpus: this machine's GPUs.
        parts: the memory in MiB of each part of a GPU that was asked for; None where the driver does not say it.
    """

    installed: bool = True
    error: str = ""
    version: str = ""
    gpus: tuple[Gpu, ...] = ()
    parts: dict[str, int | None] = field(default_factory=dict)


def ask_driver(parts: Sequence[str] = (), patience: float = _PATIENCE) -> Driver:
    """Asks the driver for this machine's GPUs.

    Args:
        parts: names of parts of GPUs (`MIG-...`) whose memory is asked for.
        patience: seconds to wait for the answer.
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
    """Appends the answer, or a defect of ours for the thread that asked."""
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
    except pynvml.NVMLError:  # there is no such part, or its name is shortened
        return None


def _memory(pynvml: Any, handle: Any) -> int | None:
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) // _MIB
    except pynvml.NVMLError:  # a GPU that shares its memory with the processor has none of its own
        return None
