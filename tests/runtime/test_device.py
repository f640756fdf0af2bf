"""The shares of GPUs that a batch assigns to its runs: computed from the driver's facts, respected by TensorFlow."""

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
def test_every_gpu_is_a_slot_and_several_runs_share_its_memory() -> None:
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # the driver's, whose numbers these are
    assert slots(None, "", 1) == [Slot(f"gpu {number}", {**order, "CUDA_VISIBLE_DEVICES": number}) for number in "01"]
    shared = slots(3, "", 2)
    assert [slot.name for slot in shared] == ["gpu 0", "gpu 1", "gpu 0"]
    limits = [int(slot.variables[devices.GPU_MEMORY]) for slot in shared]
    assert limits == [int(81559 * 0.95 / 2), int(40960 * 0.95 / 2), int(81559 * 0.95 / 2)]


@pytest.mark.usefixtures("two_gpus")
def test_a_missing_or_hidden_gpu_is_refused_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_gpus_are_named_as_in_cuda_visible_devices(visible: str, places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    names = [slot.variables["CUDA_VISIBLE_DEVICES"] for slot in slots(None, "", 1)]
    assert names == (places or ["-1"])


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_of_unknown_memory_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-c3d4")
    (first, _) = slots(None, "", 2)
    assert first.variables[devices.GPU_MEMORY] == str(int(40960 * 0.95 / 2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-5")
    with pytest.raises(UsageError, match="the memory of MIG-5"):
        slots(None, "", 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-4")
    (first, _) = slots(None, "", 2)
    assert first.variables[devices.GPU_MEMORY] == str(int(9728 * 0.95 / 2))


def test_a_failing_driver_is_an_error_instead_of_a_training_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, error="Driver Not Loaded")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UsageError, match="the NVIDIA driver fails: Driver Not Loaded; --gpus none trains on the CPU"):
        slots(None, "", 1)
    assert [slot.name for slot in slots(None, "none", 1)] == ["cpu 0"]


def test_a_batch_and_the_device_module_use_the_same_environment_variable() -> None:
    assert devices.GPU_MEMORY == device.GPU_MEMORY


def test_a_process_allocates_no_more_than_its_share_of_a_gpu() -> None:
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU")
    code = (
        "from dlcli.runtime.device import use_device\nfrom dlcli.runtime.engine import tf\n"
        "from dlcli.spec.experiment import Hardware\n"
        "use_device(Hardware(device='gpu'), 0)\n"
        "try: tf.zeros([300, 2**20])\n"
        "except tf.errors.ResourceExhaustedError: print('full')\n"
    )
    command, variables = [sys.executable, "-c", code], environment(**{device.GPU_MEMORY: "1000"})
    process = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    assert process.stdout == "full\n"
