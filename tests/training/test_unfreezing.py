"""The stored answers of stages: those of this version, of earlier ones, and of damaged files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from trainings import write_spec

from dlcli.runs import RunFolder
from dlcli.runs.stage_answers import write_stage_answers
from dlcli.runtime.inputs import Arrays
from dlcli.spec.data.sources import Examples
from dlcli.spec.load import load
from dlcli.training.unfreezing import _outcome

SECOND = np.array([0.25, 0.75, 0.5], "float32")


def setup_of_three(folder: Path) -> Any:
    """Returns what is asked of a training: a binary task with three validation examples."""
    experiment = load(write_spec(folder, "{kind: builtin, name: breast_cancer}", task="binary")).experiment
    part = Examples(Arrays(np.zeros((3, 2), "float32")), np.array([0, 1, 1]), ["a", "b", "c"])
    return SimpleNamespace(
        experiment=experiment, splits=SimpleNamespace(validation=part, outputs=1, output_shape=(1,), classes=("no", "yes"))
    )


@pytest.mark.parametrize("answers", [SECOND, SECOND[:, None]], ids=["as earlier versions stored them", "a column"])
def test_stored_answers_are_the_probability_of_the_second_class(tmp_path: Path, answers: Any) -> None:
    record: Any = SimpleNamespace(run=RunFolder(tmp_path))
    write_stage_answers(record.run, 0, answers)
    outcome = _outcome(setup_of_three(tmp_path), record, 0)
    assert outcome is not None
    assert outcome.scores is not None
    assert outcome.scores.tolist() == [[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]
    assert outcome.losses is not None


@pytest.mark.parametrize(
    "answers", [np.float32(0.5), np.zeros((0, 3)), np.zeros((3, 2)), np.zeros((2, 1)), np.full((3, 1), np.nan)]
)
def test_answers_of_another_shape_are_not_compared_and_end_no_run(tmp_path: Path, answers: Any) -> None:
    record: Any = SimpleNamespace(run=RunFolder(tmp_path))
    write_stage_answers(record.run, 0, answers)
    assert _outcome(setup_of_three(tmp_path), record, 0) is None
