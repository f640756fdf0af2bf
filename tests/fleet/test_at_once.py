"""How many runs of a batch train at once where the user does not say it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dlcli.fleet.batch import at_once
from dlcli.fleet.batch.at_once import is_small, runs_at_once
from dlcli.fleet.batch.devices import slots
from dlcli.fleet.batch.plan import planned
from dlcli.spec.load import load, load_text

DIGITS = "name: one\ntask: classification\ndata: {source: {kind: builtin, name: digits}, batch_size: 32}\n"
SMALL = DIGITS + "model: {kind: mlp, units: [16]}\n"
LARGE = DIGITS + "model: {kind: mlp, units: [4096, 4096]}\n"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine of four cores and 64 GB."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(at_once, "free_memory", lambda: 64 * 2**30)
    return monkeypatch


def jobs_of(folder: Path, *texts: str, seeds: int = 3) -> list[at_once.Job]:
    paths = [folder / f"{number}.yaml" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return planned([str(path) for path in paths], range(seeds), [])


@pytest.mark.usefixtures("machine")
def test_small_networks_train_one_per_core(tmp_path: Path) -> None:
    assert runs_at_once(jobs_of(tmp_path, SMALL, seeds=9)) == 4
    assert runs_at_once(jobs_of(tmp_path, SMALL, seeds=3)) == 3
    assert runs_at_once(jobs_of(tmp_path, SMALL, LARGE)) == 1
    assert runs_at_once(jobs_of(tmp_path, LARGE)) == 1


def test_no_more_than_eight_train_at_once(tmp_path: Path, machine: pytest.MonkeyPatch) -> None:
    machine.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert runs_at_once(jobs_of(tmp_path, SMALL, seeds=30)) == 8


def test_memory_limits_the_runs_at_once(tmp_path: Path, machine: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(tmp_path, SMALL, seeds=9)
    machine.setattr(at_once, "free_memory", lambda: 5 * 2**30)
    assert runs_at_once(jobs) == 2
    assert runs_at_once(jobs, memory_gb=4.5) == 1
    machine.setattr(at_once, "free_memory", lambda: 2**30)
    assert runs_at_once(jobs) == 1


@pytest.mark.usefixtures("machine")
def test_each_different_spec_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(text: str, file: str, overrides: list[str]) -> object:
        read.append(file)
        return load_text(text, file, overrides)

    monkeypatch.setattr(at_once, "load_text", counted)
    assert runs_at_once(jobs_of(tmp_path, SMALL, SMALL.replace("16", "17"), seeds=50)) == 4
    assert len(read) == 2


def test_the_user_and_gpus_come_before_the_default() -> None:
    assert [slot.name for slot in slots(None, "none", 1, lambda: 3)] == ["cpu 0", "cpu 1", "cpu 2"]
    assert [slot.name for slot in slots(1, "none", 1, lambda: 3)] == ["cpu 0"]


@pytest.mark.parametrize(
    ("spec", "small"),
    [("digits_mlp", True), ("digits_cnn", True), ("breast_cancer_mlp", True), ("diabetes_mlp", True), ("mnist_cnn", False)],
)
def test_configs(spec: str, small: bool) -> None:
    path = Path(__file__).resolve().parents[2] / "configs" / f"{spec}.yaml"
    assert is_small(load(str(path), []).experiment) is small


def test_a_table_is_small_by_its_files_and_its_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "table.csv"
    table.write_text("first,second,label\n" + "1,2,yes\n3,4,no\n" * 20)
    text = (
        "name: one\ntask: binary\ndata: {source: {kind: csv, path: table.csv, target: label}}\nmodel: {kind: mlp, units: [8]}\n"
    )
    path = tmp_path / "one.yaml"
    path.write_text(text)
    assert is_small(load(str(path), []).experiment)
    assert not is_small(load(str(path), ["hardware.strategy=mirrored"]).experiment)
    assert not is_small(load(str(path), ["data.batch_size=full"]).experiment)
    monkeypatch.setattr(at_once, "_SMALL_DATA", 10)
    assert not is_small(load(str(path), []).experiment)


def test_arrays_are_small_by_their_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x=np.zeros((8, 4), "float32"), y=np.arange(8) % 2)
    path = tmp_path / "one.yaml"
    path.write_text(
        "name: one\ntask: classification\ndata: {source: {kind: npz, path: few.npz}}\nmodel: {kind: mlp, units: [8]}\n"
    )
    source = load(str(path), []).experiment.data.source
    assert source.stored_bytes() == (tmp_path / "few.npz").stat().st_size
    assert is_small(load(str(path), []).experiment)
