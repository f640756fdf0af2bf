"""A batch's or a sweep's folder that somebody else made: no pickle in it is read, and it names no server to talk to."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dlcli.cli.app import app
from dlcli.fleet.batch.engines.slurm import SlurmProcess
from dlcli.fleet.batch.engines.slurm_queue import LocalQueue
from dlcli.runs.batches import Batch, Job, Settings
from dlcli.runs.task_results import TaskResult

SPEC = """\
version: 1
name: a
task: classification
data: {source: {kind: builtin, name: iris}}
model: {kind: mlp, units: [4]}
training: {epochs: 1}
"""


class Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def made(folder: Path, settings: Settings) -> Batch:
    return Batch.create(folder / "runs", [Job(1, "a", "a", str(folder / "a.yaml"), SPEC, [], 0)], settings)


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


def ended(folder: Path, batch: Batch) -> int | None:
    return SlurmProcess("7", batch, batch.jobs()[0], LocalQueue(folder)).exit_code()


def test_the_result_of_a_task_is_json_and_its_pickle_is_never_read(tmp_path: Path) -> None:
    batch = made(tmp_path, Settings())
    folder = batch.path / "slurm"
    folder.mkdir()
    trap = folder / "7_0_result.pkl"
    trap.write_bytes(pickle.dumps(Trap(tmp_path / "mark")))
    (folder / "7_0_log.err").write_text("ImportError: no module\n")
    assert ended(folder, batch) == 1
    assert "ImportError: no module" in batch.result_path(batch.jobs()[0]).read_text()
    trap.write_bytes(pickle.dumps(Trap(tmp_path / "mark")))
    TaskResult(code=75).write(folder / "7_result.json")
    assert ended(folder, batch) == 75
    (folder / "7_result.json").write_text('{"code": "0"}')
    assert ended(folder, batch) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["7_0_log.err"]
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("kept", "given", "words"),
    [
        (
            Settings(engine="ray", address="evil:1"),
            (),
            "ran with --engine ray --address evil:1: repeat these options, or use --engine",
        ),
        (Settings(engine="slurm"), (), "ran with --engine slurm: repeat these options, or use --engine local"),
        (Settings(engine="ray", address="evil:1"), ("--engine", "ray"), "ran with --address evil:1: repeat this option, or"),
    ],
)
def test_a_cluster_is_named_by_the_user_and_not_by_the_folder(
    tmp_path: Path, kept: Settings, given: tuple[str, ...], words: str
) -> None:
    made(tmp_path, kept)
    done = CliRunner().invoke(app, ["batch", "--resume", "latest", "--runs", str(tmp_path / "runs"), *given])
    assert done.exit_code == 2
    assert words in done.stderr


@pytest.fixture
def optuna() -> Any:
    found = pytest.importorskip("optuna")
    pytest.importorskip("cmaes")
    found.logging.set_verbosity(found.logging.ERROR)
    return found


def searched(optuna: Any, sampler: type, count: int, study: Any = None) -> Any:
    """Returns a study after so many trials, each with a sampler of its own as in a sweep."""
    study = study or optuna.create_study()

    def objective(trial: Any) -> float:
        numbers = [trial.suggest_float(name, -5, 5) for name in "xy"]
        return (numbers[0] - 1) ** 2 + numbers[1] ** 2 + trial.suggest_int("n", 1, 9)

    for _ in range(count):
        study.sampler = sampler(seed=3 + len(study.trials), warn_independent_sampling=False)
        study.optimize(objective, n_trials=1)
    return study


def test_cma_es_draws_the_points_that_optuna_draws_from_a_state_in_json(optuna: Any) -> None:
    from dlcli.upstream.optuna_cma import JsonCmaEsSampler

    ours = searched(optuna, JsonCmaEsSampler, 40)
    theirs = searched(optuna, optuna.samplers.CmaEsSampler, 40)
    assert [trial.params for trial in ours.trials] == [trial.params for trial in theirs.trials]
    names = {key.partition(":")[0] + ":" + key.split(":")[1] for trial in ours.trials for key in trial.system_attrs}
    assert names == {"cma:generation", "cma:json"}


def test_no_state_of_cma_es_is_unpickled_and_a_strange_one_is_none(optuna: Any, tmp_path: Path) -> None:
    from dlcli.upstream.optuna_cma import JsonCmaEsSampler

    study = searched(optuna, JsonCmaEsSampler, 4)
    known = study.trials[-1]
    trap = pickle.dumps(Trap(tmp_path / "mark")).hex()
    for text in ("{}", '{"_mean": [1], "_bounds": [[0, 1]]}', "[[", trap):
        attributes = {"cma:optimizer:0": text, "cma:json:0": text, "cma:generation": 0}
        settings = {"params": known.params, "distributions": known.distributions, "value": 1.0}
        study.add_trial(optuna.trial.create_trial(**settings, system_attrs=attributes))
    searched(optuna, JsonCmaEsSampler, 3, study)
    assert len(study.trials) == 11
    assert not (tmp_path / "mark").exists()
    searched(optuna, optuna.samplers.CmaEsSampler, 1, study)
    assert (tmp_path / "mark").exists(), "the storage should be a trap"
