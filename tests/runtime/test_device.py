"""The shares of GPUs that a batch gives its runs: told by the driver, kept by TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import environment

from dlcli.errors import UsageError
from dlcli.fleet.batch import devices
from dlcli.fleet.batch.devices import Slot, slots
from dlcli.runtime import device
from dlcli.runtime.engine import tf
from runtime.nvml import stand_in

GPUS = (("GPU-a1b2", "NVIDIA H100", 81559), ("GPU-c3d4", "NVIDIA A100", 40960))


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, GPUS, parts={"MIG-4": 9728})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_every_gpu_is_a_place_and_several_runs_share_its_memory() -> None:
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # the driver's, whose numbers these are
    assert slots(None, "", 1) == [Slot(f"gpu {one}", {**order, "CUDA_VISIBLE_DEVICES": one}) for one in "01"]
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


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("visible", "places"),
    [
        ("1, 0", ["1", "0"]),
        ("GPU-c3", ["GPU-c3"]),
        ("MIG-5,0", ["MIG-5", "0"]),
        ("0,7,1", ["0"]),
        ("-1", []),
        ("", []),
    ],
)
def test_gpus_are_called_as_in_cuda_s_variable(visible: str, places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = [slot.variables["CUDA_VISIBLE_DEVICES"] for slot in slots(None, "", 1)]
    assert found == (places or ["-1"])


@pytest.mark.usefixtures("two_gpus")
def test_memory_that_is_not_told_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-c3d4")
    (first, _) = slots(None, "", 2)
    assert first.variables[devices.GPU_MEMORY] == str(int(40960 * 0.95 / 2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-5")
    with pytest.raises(UsageError, match="the memory of MIG-5"):
        slots(None, "", 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-4")
    (first, _) = slots(None, "", 2)
    assert first.variables[devices.GPU_MEMORY] == str(int(9728 * 0.95 / 2))


def test_a_driver_that_fails_is_told_rather_than_the_cpu_used(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, error="Driver Not Loaded")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UsageError, match="the NVIDIA driver fails: Driver Not Loaded; --gpus none trains on the CPU"):
        slots(None, "", 1)
    assert [slot.name for slot in slots(None, "none", 1)] == ["cpu 0"]


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
