"""The disk takes no more, from any point of a run on: words, no traceback, and the run goes on once there is room."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli.killing import assert_same_bits
from conftest import command, environment
from runs.making import make_run
from trainings import CIRCLES, trained, write_spec

from dlcli.errors import DlcliError
from dlcli.runs import RunFolder, all_runs
from dlcli.runs.checkpoints import checkpoint_files, is_whole
from dlcli.runs.reporter import EpochReport, Reporter
from dlcli.training.resume import resume

pytestmark = pytest.mark.usefixtures("without_pictures")

ROOM = resource.getrlimit(resource.RLIMIT_FSIZE)
EVENTS = 43
"""What a reporter is told in a run of the spec: 4 lines, 33 steps, 3 epochs, start and end of the fit, and one line more."""


@contextmanager
def room_again() -> Iterator[None]:
    """Takes the limit back after the block."""
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, ROOM)


class Filling(Reporter):
    """From some event of the run on, no file may grow beyond a few bytes: the kernel says EFBIG, as it says ENOSPC."""

    def __init__(self, event: int) -> None:
        self.left = event

    def _event(self) -> None:
        self.left -= 1
        if self.left == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8, ROOM[1]))

    def log(self, line: str) -> None:
        self._event()

    def fit_started(self, epochs: int, steps: int) -> None:
        self._event()

    def step_finished(self, epoch: int, step: int, examples: int) -> None:
        self._event()

    def epoch_finished(self, report: EpochReport) -> None:
        self._event()

    def fit_finished(self) -> None:
        self._event()


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spec(
        tmp_path_factory.mktemp("full"),
        CIRCLES,
        model="{kind: mlp, units: [8], dropout: 0.2}",
        data="batch_size: 8",
        training="epochs: 3, checkpoint_minutes: 1e-9",
        more="hardware: {precision: float32}",  # `auto` logs a line on some processors
    )


@pytest.fixture(scope="module")
def whole(spec: Path) -> RunFolder:
    counted = Filling(0)
    run = trained(spec, reporter=counted)
    assert -counted.left == EVENTS
    return run


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "event", [10, *(pytest.param(one, marks=SLOW) for one in (42, 1, 2, 3, 4, 5, 6, 16, 17, 18, 29, 30, 41, 43))]
)
def test_a_run_goes_on_after_the_disk_was_full(spec: Path, whole: RunFolder, event: int) -> None:
    before = {run.path for run in all_runs(spec.parent / "runs")}
    with room_again(), pytest.raises(DlcliError, match=r"cannot write to .*File too large") as told:
        trained(spec, reporter=Filling(event))
    assert told.value.exit_code == 1
    (run,) = [run for run in all_runs(spec.parent / "runs") if run.path not in before]
    assert run.status().epoch == len(run.history())
    assert all(is_whole(path) for path in checkpoint_files(run.checkpoints_path))
    resume(run, Reporter(), overrides=[], schedule=None, offline=True)
    assert run.status().state == "completed"
    assert not list(run.path.rglob(".*")), "no half-written file is left"
    assert_same_bits(whole, run)


@pytest.mark.parametrize("arguments", [["report", "iris"], ["lr-find", "made.yaml", "--steps", "20"]])
def test_a_command_beside_a_run_says_that_nothing_more_can_be_written(arguments: list[str], tmp_path: Path) -> None:
    make_run(tmp_path / "runs")
    write_spec(tmp_path, CIRCLES, model="{kind: mlp, units: [8]}", name="made")
    told = subprocess.run(
        command(*arguments),
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8, ROOM[1])),
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1, told.stderr
    assert "Traceback" not in told.stderr
    assert told.stderr.splitlines()[-1].startswith("error: cannot write")
    assert told.stderr.splitlines()[-1].endswith("File too large")
