"""The tasks and their output types, without TensorFlow: conversions between the forms of an output."""

from __future__ import annotations

import doctest
import subprocess
import sys

import numpy as np
import pytest
from conftest import environment

from dlcli.tasks import (
    TASKS,
    Classes,
    Decisions,
    Labels,
    OutputType,
    Task,
    TwoClasses,
    Values,
    columns,
    entry_of,
    register,
    task,
)

NAMES = {"classification": 4, "binary": 2, "multilabel": 3, "regression": 2, "forecast": 1}


def model_output(name: str, examples: int = 20) -> np.ndarray:
    """Returns a random output of a model of a task, float32 `(n, units)`."""
    random = np.random.default_rng(0)
    units = TASKS[name].units(NAMES[name])
    output = random.random((examples, units)).astype("float32")
    return output / output.sum(axis=1, keepdims=True) if name == "classification" else output


@pytest.mark.parametrize("name", TASKS)
def test_scores_have_a_column_for_each_name_and_convert_back_to_the_models_output(name: str) -> None:
    output, kind = model_output(name), TASKS[name].output
    scores = kind.scores(output)
    assert scores.shape == (len(output), NAMES[name])
    assert (kind.model_output(scores) == output).all()
    assert kind.model_output(scores).dtype == output.dtype


@pytest.mark.parametrize("name", TASKS)
def test_decisions_have_the_form_of_targets_and_no_error_against_themselves(name: str) -> None:
    kind = TASKS[name].output
    scores = kind.scores(model_output(name))
    predicted = kind.decide(scores)
    assert predicted.shape == ((len(scores),) if isinstance(kind, Classes) else scores.shape)
    assert kind.errors(predicted, predicted).tolist() == [0.0] * len(scores)
    assert kind.width(predicted, ["name"] * NAMES[name]) == TASKS[name].units(NAMES[name])


def test_two_classes_are_decided_as_keras_decides_one_sigmoid() -> None:
    halves = np.array([[0.5], [np.nextafter(np.float32(0.5), np.float32(1))], [np.nextafter(np.float32(0.5), np.float32(0))]])
    kind = TASKS["binary"].output
    assert kind.decide(kind.scores(halves.astype("float32"))).tolist() == [0, 1, 0]


@pytest.mark.parametrize("name", ["classification", "binary", "multilabel"])
def test_a_temperature_of_one_changes_no_probability(name: str) -> None:
    kind = TASKS[name].output
    assert isinstance(kind, Decisions)
    scores = kind.scores(model_output(name))
    assert kind.calibrated(scores, 1.0) == pytest.approx(scores, abs=1e-6)
    assert (kind.decide(kind.calibrated(scores, 3.0)) == kind.decide(scores)).all()


def test_the_entry_of_the_nearest_output_type_is_used() -> None:
    table: dict[type[OutputType], str] = {Classes: "classes", Values: "values"}
    assert entry_of(table, TwoClasses()) == "classes"
    assert entry_of(table | {TwoClasses: "two"}, TwoClasses()) == "two"
    assert entry_of(table, Labels()) is None


def test_the_entry_of_rows_is_not_that_of_an_output_that_is_no_row() -> None:
    class Maps(Values):
        """An output that is not a row."""

        is_row = False

    class FineMaps(Maps):
        """Such an output with a base class that has an entry."""

    table: dict[type[OutputType], str] = {OutputType: "any", Values: "values"}
    assert entry_of(table, Maps()) is None
    assert entry_of(table | {Maps: "maps"}, FineMaps()) == "maps"
    assert (Values().has_scale, Maps().has_scale) == (True, False)


def test_the_name_of_a_task_is_unique() -> None:
    other = Task("binary", "", "", "sigmoid", "mse", (), Values())
    with pytest.raises(ValueError, match="there is a task 'binary' already"):
        register(other)
    assert register(TASKS["binary"]) is TASKS["binary"]


def test_the_examples_in_the_documentation_hold() -> None:
    for module in (task, columns):
        assert doctest.testmod(module).failed == 0
        assert doctest.testmod(module).attempted > 0


def test_importing_the_tasks_loads_no_numpy() -> None:
    code = "import sys, dlcli.tasks; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0
