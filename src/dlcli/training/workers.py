"""A worker that is not the chief: it trains along, in a folder that goes with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from dlcli.errors import Interrupted
from dlcli.runs import RunFolder, layout
from dlcli.runs.reporter import Reporter
from dlcli.runtime.cluster import Cluster
from dlcli.spec.load import LoadedSpec
from dlcli.training.resume import SchedulePolicy, resume
from dlcli.training.train import train


def follow(loaded: LoadedSpec, cluster: Cluster, *, offline: bool = False) -> None:
    """Trains along with a new run of the chief's."""
    with _folder_of_its_own(cluster) as folder:
        train(loaded, folder, Reporter(), offline=offline, write_up=False, cluster=cluster)


def follow_resumed(
    run: RunFolder, cluster: Cluster, *, overrides: list[str], schedule: SchedulePolicy | None, offline: bool = False
) -> None:
    """Trains along with a resumed run, from a copy of its folder before any worker resumed it."""
    with _folder_of_its_own(cluster) as folder:
        copy = folder / run.name / run.path.name
        unread = shutil.ignore_patterns(layout.LOCK, "*.tmp", layout.TENSORBOARD, layout.EVALUATION, layout.LOG, "*.html")
        shutil.copytree(run.path, copy, ignore=unread)
        resume(RunFolder(copy), Reporter(), overrides=overrides, schedule=schedule, offline=offline, cluster=cluster)


@contextmanager
def _folder_of_its_own(cluster: Cluster) -> Iterator[Path]:
    """Yields a folder that is removed when the block ends; a message on its early end names the chief's run."""
    try:
        with TemporaryDirectory(prefix=f"dlcli-worker-{cluster.index}-") as folder:
            yield Path(folder)
    except Interrupted as error:
        raise Interrupted(f"{str(error).partition(';')[0]}; the run of the chief has the checkpoint to resume from") from None
