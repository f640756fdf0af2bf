"""Batches on clusters that never begin anything: what is noted, refused, heard, and gone on with."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from dlcli.errors import Interrupted, RunFailed, SpecError
from dlcli.fleet.batch.active import Active, Fleet, noted_signals
from dlcli.fleet.batch.batch import Watcher, run_batch
from dlcli.fleet.batch.devices import Slot
from dlcli.fleet.batch.plan import planned, refuse_mirrored
from dlcli.fleet.batch.verdict import half_the_batch
from dlcli.fleet.batch.worker import PRELOADED, Order, as_it_stands
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Job, Settings
from dlcli.spec.load import load_text, to_yaml


def test_signals_are_noted_and_heard_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with noted_signals() as got:
        os.kill(os.getpid(), signal.SIGTERM)
    assert got == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before


def test_under_nohup_a_batch_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with noted_signals() as got:
            os.kill(os.getpid(), signal.SIGHUP)
        assert got == []
    finally:
        signal.signal(signal.SIGHUP, before)


SPEC = """\
name: one
task: classification
data: {source: {kind: builtin, name: iris}}
model: {kind: mlp, units: [8]}
"""


class Queued:
    """A process that waits in a cluster's queue until it is taken off it."""

    def __init__(self) -> None:
        self.code: int | None = None

    def exit_code(self) -> int | None:
        return self.code

    def has_begun(self) -> bool:
        return False

    def send(self, number: int) -> None:
        self.code = -number

    def memory(self) -> int:
        return 0


class Cluster:
    """Takes every order and begins none."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.processes: list[Any] = []

    def begin(self, orders: Sequence[Order]) -> Sequence[Any]:
        self.orders += orders
        self.processes += [Queued() for _ in orders]
        return self.processes[-len(orders) :]

    def follows(self, batch: Batch, job: Job) -> bool:
        return False

    def wait(self, processes: Sequence[Any]) -> None:
        pass

    def close(self) -> None:
        pass


class Stopping(Watcher):
    """Stops the batch at once, as Ctrl-C would."""

    def looked(self, active: Sequence[Active], waiting: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def one_job(folder: Path) -> tuple[Batch, Job, RunFolder]:
    """Returns a batch of one job, and the run that was made for it, interrupted."""
    (folder / "one.yaml").write_text(SPEC)
    batch = Batch.create(folder / "runs", planned([str(folder / "one.yaml")], [], []), Settings())
    (job,) = batch.jobs()
    run = RunFolder.create(batch.runs, "one", spec=SPEC, source=SPEC, batch=batch.tag(job))
    run.update_status(state="interrupted")
    batch.update(job, state="running", attempts=1)
    return batch, job, run


def stopped_at_once(batch: Batch, settings: Settings) -> list[Order]:
    """Runs a batch whose jobs never begin, and returns what was to be done."""
    cluster = Cluster()
    with pytest.raises(Interrupted):
        run_batch(batch, Fleet(cluster, [Slot("one")]), settings, Stopping())
    return cluster.orders


def test_a_failed_run_is_tried_anew_though_the_batch_was_stopped_before_the_new_one_began(tmp_path: Path) -> None:
    batch, job, run = one_job(tmp_path)
    run.update_status(state="failed", error="the disk was full")
    batch.update(job, state="failed", reason="the disk was full")
    batch.task_path(job).write_text("7")  # of a killed batch, whose end nobody has seen
    batch.queue_failed()
    assert not batch.task_path(job).exists()
    for _ in range(2):
        (order,) = stopped_at_once(batch, Settings())
        assert order.run is None
        assert (batch.status(job).state, batch.status(job).left) == ("interrupted", run.id)
    batch.update(job, state="running")  # as if it had been killed
    (order,) = stopped_at_once(batch, Settings())
    assert order.run is None


def test_a_batch_goes_on_as_it_was_told_last(tmp_path: Path) -> None:
    batch, _, run = one_job(tmp_path)
    wanted = Settings(engine="ray", address="auto", retries=3)
    (order,) = stopped_at_once(batch, wanted)
    assert order.run == run.path
    assert batch.settings() == wanted
    assert len(batch.jobs()) == 1


def test_a_process_that_waited_for_another_goes_on_with_what_that_made(tmp_path: Path) -> None:
    batch, job, run = one_job(tmp_path)
    order = Order(batch.path, job, [])
    assert as_it_stands(order) == replace(order, run=run.path)
    run.update_status(state="completed")
    assert as_it_stands(order) is None
    batch.update(job, left=run.id)
    assert as_it_stands(order) == order


def test_a_process_that_cannot_begin_does_not_keep_the_fleet_from_waiting_for_the_others(tmp_path: Path) -> None:
    class Broken(Queued):
        def exit_code(self) -> int | None:
            raise RunFailed("another dlcli")

    _, job, _ = one_job(tmp_path)
    cluster = Cluster()
    fleet = Fleet(cluster, [Slot("one"), Slot("two")])
    broken, fine = Broken(), Queued()
    fleet.active = [Active(job, Slot("one"), broken), Active(job, Slot("two"), fine)]
    fleet.abort()
    assert fine.code == -signal.SIGKILL


@pytest.mark.parametrize("optimizer", ["", "optimizer: sgd", "optimizer: {kind: sgd, gradient_accumulation_steps: 2}"])
def test_half_a_batch_gathers_twice_the_steps_whatever_the_spec_says_of_the_optimizer(optimizer: str, tmp_path: Path) -> None:
    text = SPEC + f"training: {{epochs: 1, {optimizer}}}\n"
    experiment = load_text(text, "one.yaml").experiment
    (tmp_path / "one.yaml").write_text(text)
    run = RunFolder.create(tmp_path / "runs", "one", spec=to_yaml(experiment), source=text)
    run.write_data({"examples": {"train": 100}})
    halved = load_text(text, "one.yaml", half_the_batch(run)).experiment
    before, after = experiment.training.optimizer, halved.training.optimizer
    assert (halved.data.batch_size, after.kind) == (16, before.kind)
    assert after.gradient_accumulation_steps == 2 * (before.gradient_accumulation_steps or 1)


@pytest.mark.parametrize(
    ("hardware", "on_cluster", "words"),
    [
        ("{strategy: mirrored}", False, "each run has one GPU here"),
        ("{strategy: mirrored, devices: 2}", False, "each run has one GPU here"),
        ("{strategy: mirrored}", True, "by hardware.devices"),
        ("{strategy: mirrored, devices: 2}", True, ""),
        ("{strategy: mirrored, devices: 2, device: cpu}", False, ""),
        ('{strategy: mirrored, resources: {slurm: {gres: "gpu:2"}}}', True, ""),
        ("{strategy: one_device}", False, ""),
    ],
)
def test_a_mirrored_run_is_refused_where_it_would_have_one_gpu(
    hardware: str, on_cluster: bool, words: str, tmp_path: Path
) -> None:
    (tmp_path / "one.yaml").write_text(SPEC + f"hardware: {hardware}\n")
    jobs = planned([str(tmp_path / "one.yaml")], [0, 1], [])
    refuse_mirrored(jobs, on_cluster=False, on_gpus=False)
    with pytest.raises(SpecError) if words else nullcontext() as caught:
        refuse_mirrored(jobs, on_cluster=on_cluster, on_gpus=not on_cluster)
    if caught is not None:
        (fault,) = caught.value.faults
        assert words in str(fault)
        assert "one.yaml:5" in str(fault)


@pytest.mark.parametrize("name", [*PRELOADED, "dlcli.training.rate_trial"])
def test_what_is_preloaded_can_be_imported(name: str) -> None:
    """The fork server ignores an ImportError: each job would import TensorFlow itself."""
    assert import_module(name).__name__ == name
