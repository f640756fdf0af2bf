"""`doctor`: the result of each check on this machine and, where it can be simulated, on a machine with a problem."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement

from dlcli.cli.machine import doctor
from dlcli.runtime import machine as stage
from dlcli.runtime.gpus import Gpus, find_gpus, missing_cuda_packages
from runtime.nvml import stand_in

H100 = ("H100 (80 GB, driver 550.1)",)


def test_doctor_succeeds_on_a_machine_that_can_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doctor(runs=tmp_path, json=True)
    result = json.loads(capsys.readouterr().out)
    assert result["can_train"] is True
    names = [check["name"] for check in result["checks"]]
    assert names[0] == "Python"
    assert names[-3:] == ["TensorFlow", "GPU", "self-test"]
    assert all(set(check) == {"name", "status", "found", "remedy"} for check in result["checks"])
    assert all(check["remedy"] for check in result["checks"] if check["status"] != "ok")


def test_an_unwritable_runs_folder_fails_with_its_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(typer.Exit) as caught:
        doctor(runs=tmp_path / "file" / "runs")
    assert caught.value.exit_code == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "Not a directory" in printed
    assert "remedy: set another folder with --runs or DLCLI_RUNS" in printed
    assert printed.endswith("This machine cannot train yet: see `fail` above.")


def test_an_unsupported_python_fails() -> None:
    check = stage.check_python((3, 14, 0))
    assert (check.status, check.found, check.remedy) == ("fail", "3.14.0", "install Python 3.11, 3.12 or 3.13")


def test_missing_and_old_packages_are_named() -> None:
    assert stage._mismatch(Requirement("no-such-package>=1")) == "no-such-package is missing"
    assert stage._mismatch(Requirement("packaging>=9999")).endswith("required >=9999")
    assert stage._mismatch(Requirement("packaging>=1")) == ""


def test_missing_bytecode_is_a_warning_with_the_command_to_compile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    check = stage.check_bytecode()
    assert check.status == "warn"
    assert check.found.startswith("0% of ")
    assert "-m compileall" in check.remedy


def test_an_unwritable_data_folder_is_only_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert stage.check_folder("datasets", tmp_path / "file" / "sets", "remedy").status == "warn"


def test_an_exception_in_the_self_test_is_a_failed_check() -> None:
    check = stage.self_test(None)
    assert check.status == "fail"
    assert "AttributeError" in check.found
    assert check.remedy


@pytest.mark.parametrize(
    ("gpus", "status", "finding", "remedy"),
    [
        (Gpus(used=("H100 (compute capability 9.0)",), driver=H100), "ok", "sees H100", ""),
        (Gpus(), "ok", "none; training uses the CPU", ""),
        (Gpus(missing=("nvidia-cudnn-cu12",)), "ok", "none", ""),
        (Gpus(driver=H100, hidden="-1"), "warn", "CUDA_VISIBLE_DEVICES is '-1'", "unset CUDA_VISIBLE_DEVICES"),
        (Gpus(driver=H100, cuda_build=False), "warn", "without CUDA", "tensorflow[and-cuda]"),
        (Gpus(driver=H100, missing=("a", "b", "c", "d")), "warn", "4 CUDA packages are missing (a, b, c, ...)", "[gpu]'"),
        (Gpus(driver=H100), "warn", "could not load a CUDA library", "LD_LIBRARY_PATH"),
        (Gpus(driver_error="driver/library mismatch"), "warn", "driver/library mismatch", "reboot"),
        (Gpus(devices=True), "warn", "no driver library", "--gpus all"),
    ],
)
def test_the_verdict_explains_why_a_gpu_is_not_used(gpus: Gpus, status: str, finding: str, remedy: str) -> None:
    verdict = gpus.verdict()
    assert verdict[0] == status
    assert finding in verdict[1]
    assert remedy in verdict[2]
    assert bool(verdict[2]) == (status != "ok")


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, missing=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    gpus = find_gpus()
    assert (gpus.used, gpus.driver, gpus.driver_error) == ((), (), "")
    assert gpus.hidden == ""


def test_the_error_of_a_failing_driver_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, error="RM has detected an NVML/RM version mismatch.")
    assert find_gpus().driver_error == "RM has detected an NVML/RM version mismatch."


def test_gpus_of_the_driver_are_listed_with_memory_and_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, [("GPU-1", "NVIDIA H100", 81559), ("GPU-2", "NVIDIA GB10", None)])
    assert find_gpus().driver == ("NVIDIA H100 (81559 MiB, driver 550.54)", "NVIDIA GB10 (driver 550.54)")


def test_the_cuda_packages_are_those_of_the_installed_tensorflow() -> None:
    missing = missing_cuda_packages()
    assert missing == () or any(name.startswith("nvidia-cudnn") for name in missing)


def test_an_existing_relative_folder_is_not_reported_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert stage.check_folder("runs folder", Path("runs"), "").found == f"runs (does not exist; created in {tmp_path})"
    Path("runs").mkdir()
    assert stage.check_folder("runs folder", Path("runs"), "").found == "runs"
