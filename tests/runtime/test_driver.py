"""The answers of the NVIDIA driver, with a stand-in for its library."""

from __future__ import annotations

import sys

import pytest

from dlcli.runtime.driver import Driver, Gpu, ask_driver
from runtime.nvml import NVMLError, stand_in

TWO = (("GPU-a1b2", "NVIDIA H100", 81559), ("GPU-c3d4", "NVIDIA GB10", None))


def test_gpus_are_in_the_order_of_the_driver_and_the_library_is_shut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, TWO)
    gpus = (Gpu(0, "GPU-a1b2", "NVIDIA H100", 81559), Gpu(1, "GPU-c3d4", "NVIDIA GB10", None))
    assert ask_driver() == Driver(version="550.54", gpus=gpus)
    assert calls == ["init", "shutdown"]


def test_the_memory_of_an_existing_part_of_a_gpu_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, TWO[:1], parts={"MIG-5": 9728})
    assert ask_driver(["MIG-5", "MIG-6"]).parts == {"MIG-5": 9728, "MIG-6": None}


def test_a_missing_driver_is_distinguished_from_a_failing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, missing=True)
    assert ask_driver() == Driver(installed=False)
    calls = stand_in(monkeypatch, error="Driver Not Loaded")
    assert ask_driver() == Driver(error="Driver Not Loaded")
    assert calls == ["init"]


def test_a_driver_that_does_not_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, hangs=True)
    assert ask_driver(patience=0.2) == Driver(error="no answer in 0.2 seconds")


def test_a_failing_shutdown_does_not_lose_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, TWO[:1])
    monkeypatch.setattr(sys.modules["pynvml"], "nvmlShutdown", _fail)
    assert ask_driver().gpus == (Gpu(0, "GPU-a1b2", "NVIDIA H100", 81559),)


def _fail() -> None:
    raise NVMLError("Uninitialized")


def test_a_defect_in_the_driver_query_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, TWO[:1])
    monkeypatch.delattr(sys.modules["pynvml"], "nvmlDeviceGetName")
    with pytest.raises(AttributeError, match="nvmlDeviceGetName"):
        ask_driver()


def test_the_real_library_answers_on_this_machine() -> None:
    driver = ask_driver()
    assert "no answer" not in driver.error
    assert driver.installed == bool(driver.error or driver.version)


def test_the_stand_in_has_only_names_of_the_real_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    stand_in(monkeypatch)
    names = [name for name in vars(sys.modules["pynvml"]) if not name.startswith("__")]
    assert len(names) > 5
    assert [name for name in names if not hasattr(pynvml, name)] == []
