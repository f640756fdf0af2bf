"""A trained model -> measurements for its diagnosis, on samples of bounded size."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dlcli.data.splits import Splits
from dlcli.errors import DlcliError
from dlcli.report.checks.first_layer import input_scale
from dlcli.report.checks.modes import modes
from dlcli.report.checks.simple_models import simple_models
from dlcli.report.diagnosis import FEW_SIMPLE, diagnose
from dlcli.runs import RunFolder
from dlcli.runs.checks import ChecksFile
from dlcli.runtime.loading import load_model
from dlcli.spec.experiment import Experiment
from dlcli.spec.support import supports

Measurements = dict[str, Any]
"""Measurements by name; None where one failed or does not apply."""


def measure_network(experiment: Experiment, splits: Splits, run: RunFolder) -> Measurements:
    """Measures the network of a run, which takes 0.3 to 1 s for a small one; its scores are not needed.

    A failed measurement is logged and omitted, since the run has its results.
    """
    if not supports(experiment, "evaluate") or experiment.model.has_backbone or not experiment.model.is_trained:
        return {}
    model = _logged(run, lambda: load_model(run.model_path))
    if model is None:
        return {}
    return {
        "inputs": _logged(run, lambda: input_scale(model, splits.train)),
        "modes": _logged(run, lambda: modes(model, experiment, splits)),
    }


def write_checks(experiment: Experiment, splits: Splits, run: RunFolder, measurements: Measurements) -> None:
    """Writes `checks.json` of a run that has its scores: the measurements, and simple models for comparison.

    Simple models, which take 2 to 4 s, are fitted only where the run's model is so weak that they decide the findings; for
    forecasts always, since only they tell what a score is worth, and for texts, on which linear models are often as good as a
    network. A model whose kind has no scores is not diagnosed, and so not
    measured.
    """
    if not supports(experiment, "evaluate"):
        return
    checks = dict(measurements)
    _write(run, checks)
    always = experiment.task.output.needs_series or splits.train.inputs.text_columns
    if always or _logged(run, lambda: any(finding.name in FEW_SIMPLE for finding in diagnose(run))):
        checks["simple_models"] = _logged(run, lambda: simple_models(experiment, splits, run))
        _write(run, checks)


def _write(run: RunFolder, checks: Measurements) -> None:
    ChecksFile.of({name: content.model_dump() for name, content in checks.items() if content is not None}).write(
        run.checks_path
    )


def _logged(run: RunFolder, measure: Callable[[], Any]) -> Any:
    """Returns a measurement; None, with the traceback in the run's log, where it fails."""
    try:
        return measure()
    except Exception:
        with suppress(OSError, DlcliError):
            run.log(f"a measurement for the diagnosis was omitted: {traceback.format_exc()}")
        return None
