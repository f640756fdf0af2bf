"""What an epoch writes does not grow with the number of epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trainings import CIRCLES, trained, write_spec

from dlcli.runs.checkpoints import checkpoint_files
from dlcli.runs.reporter import EpochReport, Reporter
from dlcli.runtime.checkpoint import read_snapshot

pytestmark = pytest.mark.usefixtures("without_pictures")


class _Written(Reporter):
    """Notes at the end of each epoch how many bytes this process has written so far."""

    def __init__(self) -> None:
        self.bytes: list[int] = []

    def epoch_finished(self, report: EpochReport) -> None:
        counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
        self.bytes.append(int(counts["wchar"]))


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the kernel does not count what a process writes")
def test_a_late_epoch_writes_as_much_as_an_early_one(tmp_path: Path) -> None:
    training = "epochs: 60, checkpoint_minutes: 1e-9, optimizer: {kind: sgd, learning_rate: 1e-30}"
    written = _Written()
    run = trained(write_spec(tmp_path, CIRCLES, data="batch_size: full", training=training), reporter=written)
    each = np.diff(written.bytes)
    early, late = np.median(each[2:12]), np.median(each[-10:])
    assert late == pytest.approx(early, rel=0.005)
    assert "rows" not in read_snapshot(checkpoint_files(run.checkpoints_path)[0]).state["record"]
    assert [row["epoch"] for row in run.history()] == [str(epoch) for epoch in range(1, 61)]
