"""Specs, seeds and settings -> the jobs of a batch, every one checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from dlcli.errors import Fault, SpecError, UsageError
from dlcli.program import command
from dlcli.runs.batches import Job
from dlcli.spec.document import list_items
from dlcli.spec.experiment import asks_for_gpus
from dlcli.spec.load import load, load_text

_MOST = 10_000


def planned(specs: Sequence[str], seeds: Sequence[int], settings: Sequence[str]) -> list[Job]:
    """Returns a job for every spec, every combination of the settings' values, and every seed (the spec's own if none).

    Args:
        specs: paths of YAML files.
        seeds: seeds, each for every spec.
        settings: `--set` options, whose values are separated by commas outside brackets: `data.batch_size=32,64`.

    Raises:
        SpecError: a spec or a setting is wrong, or asks for several processes; all faults are reported.
        UsageError: these are more than 10,000 jobs.
    """
    specs = list(dict.fromkeys(specs))
    choices = [list(dict.fromkeys(values_of(setting))) for setting in settings]
    varied = {at for at, values in enumerate(choices) if len(values) > 1}
    count = len(specs) * max(1, len(seeds))
    for values in choices:
        count *= len(values)
    if count > _MOST:
        raise UsageError(f"this batch would have {count:,} runs; the limit is {_MOST:,}")
    jobs: list[tuple[tuple[str, tuple[str, ...]], Job]] = []
    names: dict[str, set[str]] = {}
    faults: list[Fault] = []
    for spec, chosen in product(specs, product(*choices)):
        try:
            loaded = load(spec, chosen)
            for seed in seeds:
                load(spec, [*chosen, f"seed={seed}"])
        except SpecError as error:
            faults += error.faults
            continue
        if loaded.experiment.hardware.strategy == "multi_worker":
            message = f"a batch trains each run in one process; use `{command()} train` for several workers"
            faults.append(loaded.document.fault(("hardware", "strategy"), message))
            continue
        names.setdefault(loaded.experiment.name, set()).add(spec)
        group = (spec, tuple(setting for at, setting in enumerate(chosen) if at in varied))
        text = loaded.document.text
        for seed in seeds or [loaded.experiment.seed]:
            own = [*loaded.overrides, f"seed={seed}"] if seeds else [*loaded.overrides]
            jobs.append((group, Job(len(jobs) + 1, loaded.experiment.name, "", str(Path(spec).absolute()), text, own, seed)))
    if faults:
        raise SpecError(faults)
    return [replace(job, group=_group(job.name, *group, shared=len(names[job.name]) > 1)) for group, job in jobs]


def refuse_mirrored(jobs: Sequence[Job], *, on_cluster: bool, on_gpus: bool) -> None:
    """Refuses specs with `strategy: mirrored` that would find a single GPU.

    Args:
        jobs: the jobs of a batch, or of a sweep.
        on_cluster: whether a cluster provides each run's resources.
        on_gpus: whether each run has a GPU of this machine.

    Raises:
        SpecError: there are such; all faults are reported.
    """
    faults: dict[str, Fault] = {}
    for job in jobs if on_cluster or on_gpus else ():
        if "mirrored" not in job.text and not any("mirrored" in override for override in job.overrides):
            continue
        loaded = load_text(job.text, job.file, job.overrides)
        hardware = loaded.experiment.hardware
        if hardware.strategy != "mirrored" or hardware.device == "cpu":
            continue
        if on_gpus:
            message = (
                f"each run has one GPU here; use `{command()} train` for all GPUs, or a cluster"
                " (--engine) for as many as requested"
            )
        elif hardware.devices or hardware.resources.gpus or asks_for_gpus(hardware.resources.slurm):
            continue
        else:
            message = "on a cluster, set the number of GPUs by hardware.devices"
        fault = loaded.document.fault(("hardware", "strategy"), message)
        faults[str(fault)] = fault
    if faults:
        raise SpecError(list(faults.values()))


def _group(name: str, spec: str, varied: tuple[str, ...], *, shared: bool) -> str:
    """Returns the name of a line of the leaderboard: two specs of one name are distinguished by their files."""
    return " ".join([f"{name} ({spec})" if shared else name, *varied])


def values_of(setting: str) -> list[str]:
    """Returns a `--set` option for each of its values.

    Raises:
        UsageError: it is not `path=value`, or its values are not a list.
    """
    path, equals, values = setting.partition("=")
    if not equals:
        raise UsageError(f"--set: expected path=value or path=value,value, found {setting!r}")
    try:
        return [f"{path}={value}" for value in list_items(values)]
    except SpecError as error:
        message = error.faults[0].message
        reason = "an item is empty, or a bracket or a quote is not closed" if message.startswith("not YAML") else message
        words = f"expected values separated by commas, found {values!r}: {reason}"
        raise UsageError(f"--set {path}: {words}; put quotes around text with commas or brackets") from None


def seeds_of(text: str) -> list[int]:
    """Returns the seeds of `0-4,7`.

    Raises:
        UsageError: these are not integers or ranges of them.
    """
    seeds: list[int] = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) - int(first) not in range(_MOST)):
            raise UsageError(f"--seeds: expected numbers and ranges such as 0-4,7; found {part!r}")
        seeds += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(seeds))
