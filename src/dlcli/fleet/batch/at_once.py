"""How many runs of a batch train at once on processors, where `--jobs` does not say it."""

from __future__ import annotations

from collections.abc import Sequence

from dlcli.runs.batches import Job
from dlcli.runtime.cores import affinity
from dlcli.runtime.free_memory import free_memory
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import load_text
from dlcli.spec.model.layers import ShapeError
from dlcli.spec.rules.inputs import input_shape

SMALL_STEP = 50_000_000
"""Most multiply-adds of a step of a small network. At 40 million (`digits_cnn`) two runs at once take 0.78 of the time of one
after the other on two cores, at fewer (`digits_mlp`) less; networks of more have not been measured."""
_SMALL_DATA = 32 * 2**20
"""Most bytes of the files of small data, which each run holds in memory."""
_RUN_MEMORY = 2 * 2**30
"""Bytes of free memory for each run: three times what a small one takes (0.7 GB in all, half of it shared)."""
_MOST = 8
"""Most runs at once: each has a thread per core, and machines of many cores have not been measured."""
_COLUMNS = 100
"""Columns that a table is assumed to have: their number is known once it is opened."""


def runs_at_once(jobs: Sequence[Job], memory_gb: float | None = None) -> int:
    """Returns how many runs of a batch train at once on processors: one per core, at most 8, if all networks are small.

    A small network uses little more than one core. A larger one, a backbone and data whose size is unknown before it is
    opened train one at a time, as they may use all cores or much memory. The results of a run do not depend on it: each
    process divides its sums among as many threads as there are cores, however many processes there are.

    Args:
        jobs: the jobs of the batch.
        memory_gb: the memory limit of a run in GB.
    """
    by_memory = int(free_memory() // max(_RUN_MEMORY, (memory_gb or 0) * 2**30))
    count = min(len(affinity()), len(jobs), by_memory, _MOST)
    return count if count > 1 and all(map(is_small, _different_experiments(jobs))) else 1


def _different_experiments(jobs: Sequence[Job]) -> list[Experiment]:
    """Returns the experiments of jobs, one for all seeds."""
    loaded = {
        (job.file, tuple(override for override in job.overrides if not override.startswith("seed="))): job for job in jobs
    }
    return [load_text(job.text, job.file, job.overrides).experiment for job in loaded.values()]


def is_small(experiment: Experiment) -> bool:
    """Whether the network and the data of an experiment are known to be small, without opening the data."""
    size = experiment.data.source.stored_bytes()
    shape = input_shape(experiment, experiment.data.facts(experiment.task)) or (_COLUMNS,)
    batch_size = experiment.data.batch_size
    several_devices = experiment.hardware.strategy == "mirrored"
    if size is None or size > _SMALL_DATA or not isinstance(batch_size, int) or several_devices:
        return False
    try:
        work = experiment.model.multiply_adds(shape)
    except ShapeError:  # the columns are another number than assumed
        return False
    return work is not None and work * batch_size < SMALL_STEP
