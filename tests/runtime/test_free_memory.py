"""The free memory of a container, and the share of it that is granted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from dlcli.data import memory_limit
from dlcli.runtime import free_memory
from dlcli.runtime.free_memory import MemoryShare
from dlcli.runtime.machine import check_memory


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the folder of a machine's control groups; the machine has 1,000 free bytes."""
    monkeypatch.setattr(free_memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    (tmp_path / "memory").mkdir()
    return tmp_path


def write_group(folder: Path, limit: str, use: int, statistics: str, version: int) -> None:
    names = {1: ("limit_in_bytes", "usage_in_bytes", "stat"), 2: ("max", "current", "stat")}[version]
    for name, text in zip(names, (limit, str(use), statistics), strict=True):
        (folder / ("memory" if version == 1 else "") / f"memory.{name}").write_text(text + "\n")


def test_a_machine_without_containers_has_the_memory_that_the_system_reports(groups: Path) -> None:
    assert free_memory.free_memory() == 1000


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_counts_what_it_uses_but_for_contents_of_files(groups: Path, version: int) -> None:
    entry = {1: "total_inactive_file", 2: "inactive_file"}[version]
    write_group(groups, "700", 600, f"anon 500\n{entry} 50\ninactive_anon 9", version)
    assert free_memory.free_memory() == 150
    assert memory_limit.fits_in_memory(37)
    assert not memory_limit.fits_in_memory(38)  # a quarter
    write_group(groups, "700", 800, f"{entry} 50", version)
    assert free_memory.free_memory() == 0


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_a_container_without_a_limit_has_the_memory_of_the_machine(groups: Path, limit: str) -> None:
    write_group(groups, limit, 800, "inactive_file 50", 2 if limit == "max" else 1)
    assert free_memory.free_memory() == 1000


def test_doctor_reports_the_same_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_memory, "free_memory", lambda: 3 * 2**30)
    assert check_memory().found.startswith("3.0 GiB free of ")


def test_grants_end_at_a_share_of_the_memory_that_is_free_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [1000]
    monkeypatch.setattr(free_memory, "free_memory", lambda: free[0])
    share = MemoryShare(0.25)
    granted = 0
    while share.grant(50):
        granted += 50
        free[0] -= 50
    assert granted == 250
    free[0] += 1000  # another program has ended
    assert share.grant(250)
    free[0] -= 250
    assert not share.grant(1)
    assert not MemoryShare(0.0).grant(1)


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_group_that_the_process_was_put_into_counts_too(
    groups: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    own = groups / ("memory" if version == 1 else "") / "job" / "step"
    own.mkdir(parents=True)
    line = "4:cpu,cpuacct:/\n7:memory:/job/step\n" if version == 1 else "0::/job/step\n"
    (groups / "own").write_text(line)
    monkeypatch.setattr(free_memory, "_OWN_GROUPS", groups / "own")
    names = ("limit_in_bytes", "usage_in_bytes") if version == 1 else ("max", "current")
    for name, text in zip(names, ("500", "200"), strict=True):
        (own.parent / f"memory.{name}").write_text(text)
    assert free_memory.free_memory() == 300
    assert free_memory.container_limit() == 500
