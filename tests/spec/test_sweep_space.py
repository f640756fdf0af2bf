"""The `sweep` section: what it may say, what is told of a wrong one, and how a point of its space is put into a spec."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

from dlcli.errors import SpecError
from dlcli.spec.edit import without_key
from dlcli.spec.load import load_text, to_yaml
from dlcli.spec.search.reading import read_space
from dlcli.spec.search.space import Number, changed, combinations, drawn, names_of

BASE = """\
name: small
task: classification
data: {source: {kind: builtin, name: iris}, batch_size: 16}
model: {kind: mlp, units: [8]}
training: {epochs: 2, optimizer: {kind: sgd, learning_rate: 0.05}}
"""
CNN = """\
name: small
task: classification
data: {source: {kind: builtin, name: digits}}
model:
  kind: cnn
  layers:
    - {kind: conv2d, filters: 8, kernel_size: 3}
    - {kind: max_pooling2d}
    - {kind: dropout, rate: 0.1}
    - {kind: flatten}
    - {kind: dense, units: 16}
"""


class Told:
    """Draws what it is told, by name; of what it is not told the first."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._told = told

    def number(self, name: str, number: Number) -> float:
        return float(self._told.get(name, number.low))

    def label(self, name: str, labels: Sequence[str]) -> str:
        return str(self._told.get(name, labels[0]))


def faults(space: str, *, base: str = BASE, head: str = "") -> list[str]:
    """Returns what is said of a spec with a space, without the lines themselves."""
    text = f"{base}sweep:\n{head}  space:\n" + "".join(f"    {line}\n" for line in space.splitlines())
    try:
        load_text(text, "spec.yaml", with_search=True)
    except SpecError as error:
        return [str(fault).split("\n")[0].removeprefix("spec.yaml:") for fault in error.faults]
    return []


def point(space: str, told: Mapping[str, Any], *, base: str = BASE) -> dict[str, Any]:
    """Returns what `--set` is told for a point of a space."""
    parameters, wrong = read_space(load_text(f"{base}sweep: {{space: {space}}}", "spec.yaml").document.data["sweep"]["space"])
    assert not wrong
    return changed(yaml.safe_load(base), drawn(parameters, Told(told)))


def test_a_trial_is_one_process() -> None:
    text = BASE + "hardware: {strategy: multi_worker}\nsweep: {space: {model.dropout: {float: [0, 0.5]}}}\n"
    with pytest.raises(SpecError, match=r":6:\d+: hardware.strategy: a trial runs in one process") as told:
        load_text(text, "spec.yaml", with_search=True)
    assert len(told.value.faults) == 1


def test_no_run_keeps_the_search() -> None:
    loaded = load_text(BASE + "sweep: {space: {model.dropout: {float: [0, 0.5]}}}\n", "spec.yaml")
    assert loaded.experiment.sweep is not None
    assert "sweep" not in to_yaml(loaded.experiment)
    assert to_yaml(loaded.experiment) == to_yaml(load_text(BASE, "spec.yaml").experiment)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            "training.optimiser.learning_rate: {log: [1e-5, 1e-2]}",
            "8:5: sweep.space.training.optimiser.learning_rate: training.optimiser: unknown key; did you mean `optimizer`?",
        ),
        ("model.units.3: {int: [4, 8]}", "8:5: sweep.space.model.units.3: the list has 1 entries, counted from 0; `3` is none"),
        ("model.dropout: {float: [0, 1]}", "8:5: sweep.space.model.dropout: expected a number below 1, found 1"),
        ("model.dropout: {float: [0.5, 0]}", "8:21: sweep.space.model.dropout.float: the lower bound must come first"),
        ("model.dropout: {float: [0.5, 0.5]}", "8:21: sweep.space.model.dropout.float: the bounds are equal"),
        ("model.dropout: {float: [0, .inf]}", "8:21: sweep.space.model.dropout.float: expected two numbers"),
        ("model.dropout: {float: [0, 0.5], step: 2}", "8:38: sweep.space.model.dropout.step: expected a number above 0 and at"),
        (
            "model.dropout: {log: [0, 0.5]}",
            "8:21: sweep.space.model.dropout.log: bounds of a logarithmic scale must be above 0",
        ),
        ("model.dropout: {flaot: [0, 0.5]}", "8:5: sweep.space.model.dropout: nothing to search in a mapping; expected"),
        ("model.dropout: 0.5", "8:5: sweep.space.model.dropout: nothing to search in 0.5; expected {float: [0, 0.5]}"),
        ("model.units.0: {int: [4, 8], stepp: 2}", "8:34: sweep.space.model.units.0.stepp: unknown key; did you mean `step`?"),
        (
            "model.units.0: {int: [4, 8], float: [0, 1]}",
            "8:5: sweep.space.model.units.0: `float` and `int` cannot be combined in one mapping",
        ),
        ("model.units.0: {choice: [4]}", "8:21: sweep.space.model.units.0.choice: expected a list of at least two"),
        ("model.units.0: {choice: [4, 8, 4]}", "8:36: sweep.space.model.units.0.choice.2: is listed twice: 4"),
        ("model.units: {count: [1, 3]}", "8:5: sweep.space.model.units: missing `of`"),
        (
            "training.optimizer:\n  choice:\n    - adam\n    - {kind: sgd, momentm: {float: [0, 0.9]}}",
            "11:23: sweep.space.training.optimizer.choice.1.momentm: unknown key; did you mean `momentum`?",
        ),
        (
            "training.optimizer: {choice: [adam, sgdd]}",
            "8:41: sweep.space.training.optimizer.choice.1: unknown optimizer `sgdd`",
        ),
        ("seed: {int: [0, 9]}", "8:5: sweep.space.seed: cannot be searched: a seed is not a setting"),
        ("data.split.validation: {float: [0.1, 0.2]}", "8:5: sweep.space.data.split.validation: cannot be searched"),
        (
            "data: {choice: [{source: {kind: builtin, name: iris}}, {source: {kind: builtin, name: wine}}]}",
            "8:5: sweep.space.data: cannot be searched: it contains data.split, and scores on different validation splits"
            " are not",
        ),
        (
            "training.loss: {choice: [categorical_crossentropy, categorical_focal_crossentropy]}",
            "8:5: sweep.space.training.loss: cannot be searched with objective val_loss: different losses are not",
        ),
        (
            "training.optimizer: {choice: [adam, sgd]}\n"
            "training.optimizer.momentum: {float: [0, 0.9], when: {training.optimizer: sdg}}",
            "9:59: sweep.space.training.optimizer.momentum.when.training.optimizer: `training.optimizer` has no choice `sdg`;"
            " did you mean `sgd`?",
        ),
        (
            "training.optimizer.momentum: {float: [0, 0.9], when: {training.optimizer: sgd}}",
            "8:59: sweep.space.training.optimizer.momentum.when.training.optimizer: there is no parameter with this path above",
        ),
    ],
)
def test_a_wrong_space_is_told_with_its_line(space: str, said: str) -> None:
    found = faults(space)
    assert len(found) == 1, found
    assert found[0].startswith(said)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("  objective: val_acuracy\n", "7:3: sweep.objective: no score `val_acuracy` of the validation split; did you mean"),
        ("  objective: accuracy\n", "7:3: sweep.objective: no score `accuracy` of the validation split"),
        ("  objective: parameters\n", "7:3: sweep.objective: parameters alone would select an untrained model"),
        ("  objective: [val_loss, parameters]\n  pruner: median\n", "8:3: sweep.pruner: pruning needs a single objective"),
        ("  sampler: grid\n", "9:5: sweep.space.model.dropout: a grid needs a `step` or a `choice`"),
        ("  sampler: bayes\n", "7:3: sweep.sampler: expected tpe, random, grid, cma-es or gp, found the text 'bayes'"),
    ],
)
def test_a_wrong_search_is_told_with_its_line(head: str, said: str) -> None:
    found = faults("model.dropout: {float: [0, 0.5]}", head=head)
    assert len(found) == 1, found
    assert found[0].startswith(said)


def test_a_search_needs_a_validation_part() -> None:
    base = BASE.replace("batch_size: 16}", "batch_size: 16, split: {validation: 0}}")
    found = faults("model.dropout: {float: [0, 0.5]}", base=base)
    assert found == ["6:1: sweep.objective: trials are compared on the validation split, but data.split.validation is 0"]


def test_a_grid_has_at_least_as_many_trials_as_points() -> None:
    space = "model.units.0: {int: [4, 16], step: 4}\nmodel.dropout: {choice: [0, 0.1, 0.2]}"
    head = "  sampler: grid\n  trials: {}\n"
    assert faults(space, head=head.format(12)) == []
    assert faults(space, head=head.format(11)) == [
        "8:3: sweep.trials: the grid has 12 points, but there are only 11 trials; change one of them"
    ]


def test_a_loss_may_be_searched_for_a_score_that_is_none() -> None:
    space = "training.loss: {choice: [categorical_crossentropy, categorical_focal_crossentropy]}"
    assert faults(space, head="  objective: val_accuracy\n") == []


def test_commands_that_do_not_search_pass_the_search_over() -> None:
    text = BASE + "sweep: {objective: val_accuracy, space: {model.nosuch: {float: [0, 0.5]}}}\n"
    assert load_text(text, "spec.yaml", ["data.split.validation=0"]).experiment.data.split.validation == 0
    with pytest.raises(SpecError, match=r"model\.nosuch"):
        load_text(text, "spec.yaml", with_search=True)


def test_a_range_of_a_billion_numbers_takes_no_memory() -> None:
    space = "{a: {int: [1, 1000000000], step: 2}, b: {float: [0, 1], step: 0.3}}"
    parameters, wrong = read_space(yaml.safe_load(space))
    assert not wrong
    tracemalloc.start()
    assert [one.tree.ends for one in parameters] == [[1, 999_999_999], [0, pytest.approx(0.9)]]
    assert len(list(islice(combinations(parameters), 9))) == 9
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_what_belongs_to_one_choice_is_drawn_with_it_alone() -> None:
    space = "{training.optimizer: {choice: [adam, {kind: sgd, momentum: {float: [0.1, 0.9]}}]}}"
    assert point(space, {"training.optimizer": "adam"}) == {"training.optimizer": "adam"}
    told = {"training.optimizer": "sgd", "training.optimizer[sgd].momentum": 0.5}
    assert point(space, told) == {"training.optimizer": {"kind": "sgd", "momentum": 0.5}}


def test_conditions_hold_for_what_was_drawn_above() -> None:
    space = (
        "{training.optimizer: {choice: [adam, sgd]}, training.optimizer.momentum: {choice: [0.5, 0.9],"
        " when: {training.optimizer: sgd}}}"
    )
    assert point(space, {}) == {"training.optimizer": "adam"}
    sgd = point(space, {"training.optimizer": "sgd"})
    assert sgd == {"training.optimizer": "sgd", "training.optimizer.momentum": 0.5}
    load_text(BASE, "spec.yaml", ["training.optimizer=sgd", "training.optimizer.momentum=0.5"])


def test_a_list_has_as_many_entries_as_are_counted() -> None:
    space = "{model.units: {count: [0, 3], of: {int: [4, 32]}}}"
    assert point(space, {}) == {"model.units": []}
    told = {"model.units.count": 3, "model.units.0": 4, "model.units.1": 32, "model.units.2": 9}
    assert point(space, told) == {"model.units": [4, 32, 9]}


def test_layers_take_the_place_of_one_and_others_are_changed_beside_it() -> None:
    space = (
        "{model.layers.0.filters: {int: [4, 64]}, model.layers.4.units: {int: [8, 64]},"
        " model.layers.2: {count: [0, 2], of: {kind: dropout, rate: {float: [0.1, 0.5]}}}}"
    )
    told = {"model.layers.0.filters": 16, "model.layers.2.count": 2, "model.layers.2.1.rate": 0.4, "model.layers.4.units": 32}
    assert point(space, told, base=CNN) == {
        "model.layers": [
            {"kind": "conv2d", "filters": 16, "kernel_size": 3},
            {"kind": "max_pooling2d"},
            {"kind": "dropout", "rate": 0.1},
            {"kind": "dropout", "rate": 0.4},
            {"kind": "flatten"},
            {"kind": "dense", "units": 32},
        ]
    }
    assert len(point(space, {}, base=CNN)["model.layers"]) == 4


def test_every_point_of_a_grid_is_there_once_with_its_conditions() -> None:
    data = yaml.safe_load("{a: {choice: [x, {kind: y, z: {int: [1, 3]}}]}, b: {float: [0, 1], step: 0.5, when: {a: x}}}")
    parameters, wrong = read_space(data)
    assert not wrong
    points = list(combinations(parameters))
    assert points == [
        *({"a": "x", "b": value} for value in (0, 0.5, 1)),
        *({"a": "y", "a[y].z": value} for value in (1, 2, 3)),
    ]
    assert [name for name, _ in names_of(parameters)] == ["a", "a[y].z", "b"]


def test_a_text_loses_its_search_and_nothing_else() -> None:
    search = "sweep:\n  space:\n    # which\n    model.dropout: {float: [0, 0.5]}\n"
    end = "\n# hardware\nhardware: {device: cpu}\n"
    assert without_key(BASE + search + end, "sweep") == BASE + end
    assert without_key(BASE + search, "sweep") == BASE
    assert without_key(BASE, "sweep") == BASE
    assert without_key("{a: 1, sweep: {b: 2}, c: [3]}\n", "sweep") == "{a: 1, c: [3]}\n"


def test_the_example_of_the_page_is_sound() -> None:
    page = (REPOSITORY / "docs" / "sweep.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    spec = (REPOSITORY / "configs" / "digits_cnn.yaml").read_text(encoding="utf-8")
    assert load_text(spec + example, "digits.yaml", with_search=True).experiment.sweep is not None


def test_a_sound_search_is_checked_from_the_command_line(tmp_path: Path) -> None:
    text = BASE + "sweep: {trials: 3, objective: [val_accuracy, parameters], space: {model.dropout: {float: [0, 0.5]}}}\n"
    loaded = load_text(text, tmp_path / "spec.yaml", ["sweep.trials=5"], with_search=True)
    assert loaded.experiment.sweep is not None
    assert (loaded.experiment.sweep.trials, loaded.experiment.sweep.jobs) == (5, 1)
