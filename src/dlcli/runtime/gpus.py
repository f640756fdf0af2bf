"""The GPUs of this machine, and why TensorFlow does not use one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from dlcli.program import command, install_command, install_package_command
from dlcli.runtime.driver import Gpu, ask_driver
from dlcli.upstream.start import quiet_start

Verdict = tuple[Literal["ok", "warn", "fail"], str, str]


@dataclass(frozen=True)
class Gpus:
    """The GPUs that TensorFlow and the driver report, and facts on the installation.

    Attributes:
        used: the names of the GPUs that TensorFlow sees.
        driver: the names of the GPUs that the driver reports.
        driver_error: why the driver fails; empty if it works or is not installed.
        devices: whether the system has NVIDIA device files.
        hidden: the value of CUDA_VISIBLE_DEVICES if that hides every GPU.
        cuda_build: whether TensorFlow is built with CUDA.
        missing: the packages of TensorFlow's `and-cuda` extra that are not installed.
    """

    used: tuple[str, ...] = ()
    driver: tuple[str, ...] = ()
    driver_error: str = ""
    devices: bool = False
    hidden: str | None = None
    cuda_build: bool = True
    missing: tuple[str, ...] = ()

    def verdict(self) -> Verdict:
        """Returns status, finding and remedy: an unused GPU is a warning, a machine without a GPU is not."""
        if self.used:
            return "ok", f"TensorFlow sees {', '.join(self.used)}", ""
        if not self.driver:
            return self._without_driver()
        subject = f"{', '.join(self.driver)} not used: "
        if self.hidden is not None:
            return "warn", f"{subject}CUDA_VISIBLE_DEVICES is {self.hidden!r}", "unset CUDA_VISIBLE_DEVICES"
        if not self.cuda_build:
            return (
                "warn",
                f"{subject}this TensorFlow is built without CUDA",
                f"{install_package_command('tensorflow[and-cuda]')} on Linux or WSL 2",
            )
        if self.missing:
            first = ", ".join(self.missing[:3]) + (", ..." if len(self.missing) > 3 else "")
            remedy = f"in a checkout delete .venv and call scripts/dlcli, or {install_command('gpu')}"
            return "warn", f"{subject}{len(self.missing)} CUDA packages are missing ({first})", remedy
        causes = "LD_LIBRARY_PATH may point to another CUDA version, or the driver may be too old"
        remedy = f"TF_CPP_MIN_LOG_LEVEL=0 {command()} doctor shows which one; {causes}"
        return "warn", f"{subject}TensorFlow could not load a CUDA library", remedy

    def _without_driver(self) -> Verdict:
        if self.driver_error:
            return (
                "warn",
                f"the NVIDIA driver fails: {self.driver_error}",
                "load or reinstall the NVIDIA driver; reboot after an update",
            )
        if self.devices:
            remedy = "in a container: docker run --gpus all with the NVIDIA container toolkit; else install the driver"
            return "warn", "there is an NVIDIA device, but no driver library (libnvidia-ml)", remedy
        return "ok", "none; training uses the CPU", ""


def find_gpus() -> Gpus:
    """Queries TensorFlow (which it imports), the driver and the installation."""
    import tensorflow as tf

    driver = ask_driver()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Gpus(
        used=tuple(_name(tf, gpu) for gpu in visible_gpus(tf)),
        driver=tuple(_driver_name(gpu, driver.version) for gpu in driver.gpus),
        driver_error=driver.error,
        devices=any(Path("/dev").glob("nvidia[0-9]*")),
        hidden=visible if visible is not None and visible.strip() in ("", "-1", "NoDevFiles") else None,
        cuda_build=bool(tf.sysconfig.get_build_info().get("is_cuda_build")),
        missing=missing_cuda_packages(),
    )


def visible_gpus(tf: Any) -> list[Any]:
    """Returns the GPUs that TensorFlow sees, without the error that it logs where there is no driver: `Gpus` reports it."""
    with quiet_start():
        gpus: list[Any] = tf.config.list_physical_devices("GPU")
    return gpus


def _name(tf: Any, gpu: Any) -> str:
    details = tf.config.experimental.get_device_details(gpu)
    capability = ".".join(map(str, details.get("compute_capability", ())))
    return f"{details.get('device_name', 'a GPU')}{f' (compute capability {capability})' if capability else ''}"


def _driver_name(gpu: Gpu, version: str) -> str:
    memory = "" if gpu.memory_mb is None else f"{gpu.memory_mb} MiB, "
    return f"{gpu.name} ({memory}driver {version})"


def missing_cuda_packages() -> tuple[str, ...]:
    """Returns the packages of TensorFlow's `and-cuda` extra that are not installed."""
    from packaging.requirements import Requirement

    required = [Requirement(line) for line in metadata.requires("tensorflow") or []]
    extra_names = [item.name for item in required if item.marker and _is_cuda(item.marker)]
    installed = {(distribution.name or "").lower().replace("_", "-") for distribution in metadata.distributions()}
    return tuple(name for name in extra_names if name.lower().replace("_", "-") not in installed)


def _is_cuda(marker: Any) -> bool:
    """Whether a requirement applies with the extra `and-cuda` only."""
    evaluate = marker.evaluate
    return bool(evaluate({"extra": "and-cuda"}) and not evaluate({"extra": ""}))
