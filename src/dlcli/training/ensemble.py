"""Runs -> the spec of their ensemble, which is built and scored like the spec of any other run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlcli.errors import UsageError
from dlcli.models.ensemble import refuse_known, refuse_misfit
from dlcli.runs import RunFolder
from dlcli.spec.base import dump
from dlcli.spec.load import LoadedSpec, load_data
from dlcli.spec.support import refuse_unsupported


def combined(
    runs: Sequence[RunFolder], *, weights: Sequence[float] | None = None, name: str = "", overrides: Sequence[str] = ()
) -> LoadedSpec:
    """Returns the spec of the ensemble of completed runs, on the data and the split of the first one.

    Args:
        runs: two or more; none of them is named twice.
        weights: of each run in the mean; equal weights if None.
        name: of the ensemble's runs; by default that of the runs with `-ensemble`.
        overrides: `--set` options.

    Raises:
        UsageError: there are fewer than two runs, a run has no model, or its kind of model has no predictions.
        SpecError: an override, the name or a weight is wrong.
    """
    if len(runs) < 2:
        raise UsageError("an ensemble needs two runs or more")
    for run in runs:
        run.refuse_missing_model()
        refuse_unsupported(run.experiment(), "evaluate", f"an ensemble with {run.id}")
    _refuse_misfits(runs)
    folders = [str(run.path) for run in runs]
    if len(set(folders)) < len(folders):
        raise UsageError(f"{next(run.id for run in runs if folders.count(str(run.path)) > 1)} is named twice")
    weighted = {} if weights is None else {"weights": [float(weight) for weight in weights]}
    data = ensemble_data(runs[0], name or _usual_name(runs))
    data["model"] = {"kind": "ensemble", "runs": folders, **weighted}
    return load_data(data, overrides)


def ensemble_data(run: RunFolder, name: str) -> dict[str, Any]:
    """Returns the spec of an ensemble as plain data, without its model: the task, data, split, loss and metrics of a run."""
    experiment = run.experiment()
    data: dict[str, Any] = dump(experiment)
    split = {field: data["data"]["split"][field] for field in ("validation", "test")}
    # The members contain their scaling, and the model is only built. The recorded split has no excluded example.
    untrained: dict[str, Any] = {"normalize": "none", "scale_targets": False, "augment": [], "balance": "none", "exclude": None}
    data["data"] |= {"split": split | {"file": str(run.split_path)}, **untrained}
    training = {field: data["training"][field] for field in ("loss", "metrics")}
    kept = {field: data[field] for field in ("version", "task", "seed", "data")}
    hardware = {"device": experiment.hardware.device, "precision": "float32"}
    return {"name": name, **kept, "training": {"epochs": 0, **training}, "hardware": hardware}


def _refuse_misfits(runs: Sequence[RunFolder]) -> None:
    """Raises UsageError where the files of the runs show that they do not fit together, before the ensemble has a folder."""
    first, experiment = runs[0], runs[0].experiment()
    test = [name for name, split in first.split().items() if split == "test"]
    for run in runs[1:]:
        refuse_misfit(run, experiment, tuple(first.data().get("classes") or ()))
        if run.experiment().data.source == experiment.data.source:  # with another source, ids may mean other examples
            refuse_known(run, test, first)


def _usual_name(runs: Sequence[RunFolder]) -> str:
    names = {run.name for run in runs}
    return f"{names.pop()}-ensemble" if len(names) == 1 else "ensemble"
