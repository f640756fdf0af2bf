"""A stand-in for NVIDIA's management library, which only works on a machine with a GPU."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from threading import Event
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

MIB = 2**20


class NVMLError(Exception):
    """The base class of the library's errors."""


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801
    """The error for a missing driver."""


def stand_in(
    patch: pytest.MonkeyPatch,
    gpus: Sequence[tuple[str, str, int | None]] = (),
    *,
    parts: Mapping[str, int] | None = None,
    error: str = "",
    missing: bool = False,
    hangs: bool = False,
) -> list[str]:
    """Replaces the library by the stand-in and returns the list of calls that start and shut down the library.

    Args:
        patch: the fixture that removes the stand-in after the test.
        gpus: uuid, name and memory in MiB (None if the driver does not report it) of each GPU.
        parts: memory in MiB of each part of a GPU.
        error: why the driver fails.
        missing: whether there is no driver.
        hangs: whether the driver never answers.
    """
    calls: list[str] = []
    memory = {uuid: size for uuid, _, size in gpus} | dict(parts or {})

    def init() -> None:
        calls.append("init")
        if missing:
            raise NVMLError_LibraryNotFound("NVML Shared Library Not Found")
        if error:
            raise NVMLError(error)
        if hangs:
            Event().wait()

    def handle_by_uuid(uuid: str) -> str:
        if uuid not in memory:
            raise NVMLError("Not Found")
        return uuid

    def memory_info(handle: str) -> Any:
        if memory[handle] is None:
            raise NVMLError("Not Supported")
        return SimpleNamespace(total=(memory[handle] or 0) * MIB + 1)

    module: Any = ModuleType("pynvml")
    module.NVMLError, module.NVMLError_LibraryNotFound = NVMLError, NVMLError_LibraryNotFound
    module.nvmlInit = init
    module.nvmlShutdown = lambda: calls.append("shutdown")
    module.nvmlSystemGetDriverVersion = lambda: "550.54"
    module.nvmlDeviceGetCount = lambda: len(gpus)
    module.nvmlDeviceGetHandleByIndex = lambda number: gpus[number][0]
    module.nvmlDeviceGetHandleByUUID = handle_by_uuid
    module.nvmlDeviceGetUUID = lambda handle: handle
    module.nvmlDeviceGetName = {uuid: name for uuid, name, _ in gpus}.__getitem__
    module.nvmlDeviceGetMemoryInfo = memory_info
    patch.setitem(sys.modules, "pynvml", module)
    return calls
