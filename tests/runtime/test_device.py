"""The shares of GPUs that a batch gives its runs: told by the driver, kept by TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import environment

from dlcli.errors import UsageError
from dlcli.runtime import device
from dlcli.runtime.engine import tf
from dlcli.stages.batch import devices
from dlcli.stages.batch.devices import Slot, slots

DRIVER = "#!/bin/sh\nprintf '0, 81559\\n1, 40960\\n'\n"
"""Stands in for the driver's program, which is not where there is no GPU."""


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(DRIVER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_every_gpu_is_a_place_and_several_runs_share_its_memory() -> None:
    assert slots(None, "", 1) == [Slot(f"gpu {one}", {"CUDA_VISIBLE_DEVICES": one}) for one in "01"]
    shared = slots(3, "", 2)
    assert [slot.name for slot in shared] == ["gpu 0", "gpu 1", "gpu 0"]
    limits = [int(slot.variables[devices.GPU_MEMORY]) for slot in shared]
    assert limits == [int(81559 * 0.95 / 2), int(40960 * 0.95 / 2), int(81559 * 0.95 / 2)]


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_is_not_there_or_not_ours_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="there is no GPU '2'; there are 0, 1"):
        slots(None, "0,2", 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [slot.name for slot in slots(None, "", 1)] == ["gpu 1"]
    with pytest.raises(UsageError, match="there is no GPU '0'"):
        slots(None, "0", 1)


def test_a_batch_and_tensorflow_mean_the_same_variable() -> None:
    assert devices.GPU_MEMORY == device.GPU_MEMORY


def test_a_process_takes_no_more_of_a_gpu_than_its_share() -> None:
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU")
    code = (
        "from dlcli.runtime.device import use_device\nfrom dlcli.runtime.engine import tf\n"
        "from dlcli.spec.experiment import Hardware\n"
        "use_device(Hardware(device='gpu'), 0)\n"
        "try: tf.zeros([300, 2**20])\n"
        "except tf.errors.ResourceExhaustedError: print('full')\n"
    )
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(**{device.GPU_MEMORY: "1000"}))
    assert told.stdout == "full\n"
