"""Every spec that ships: it checks, it trains where its data is at hand, and its head tells what a reader asks first."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import REPOSITORY

from dlcli.spec.file import load

CONFIGS = REPOSITORY / "configs"
SPECS = sorted(path for ending in ("yaml", "yml") for path in CONFIGS.rglob(f"*.{ending}"))
COUNT = 12
HEAD = ("Data", "Command", "Result", "Hardware", "Time")
SLICES = ["data.source.train='train[:640]'", "data.source.test='test[:200]'"]
NOT_AT_HAND = {"cifar10_cnn", "fashion_mnist_cnn"}
each_spec = pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def _titanic_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A table with the columns of the Titanic set: what a check needs of it."""
    columns = "PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked"
    (tmp_path / "titanic.csv").write_text(f"{columns}\n1,0,3,A,male,22,1,0,T,7.25,,S\n")
    monkeypatch.setenv("TITANIC_CSV", str(tmp_path / "titanic.csv"))


@pytest.fixture
def _data_sets(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, path: Path) -> None:
    """Points the spec's own environment variables to the real data, or skips where a spec needs what is not at hand."""
    text = path.read_text(encoding="utf-8")
    if "kind: tfds" in text or "TITANIC_CSV" in text:
        folder: Path = request.getfixturevalue("test_data")
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "tensorflow_datasets"))
        monkeypatch.setenv("TITANIC_CSV", str(folder / "tabular" / "titanic_train.csv"))


def test_no_spec_is_missing_from_these_tests() -> None:
    assert len(SPECS) == COUNT
    assert len({load(path).experiment.name for path in SPECS}) == COUNT


@each_spec
def test_it_is_named_by_its_file(path: Path) -> None:
    assert load(path).experiment.name == path.stem


@each_spec
def test_its_head_tells_purpose_data_command_result_hardware_and_time(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line for line in lines[: lines.index("version: 1")] if line.startswith("#")]
    assert comment[0] == "# yaml-language-server: $schema=../docs/schema.json"
    assert re.match(r"# [A-Z].*[.:]", comment[1]), "the purpose, in a sentence"
    told = dict(re.findall(r"^# ([A-Z][a-z]+): +(.+)$", "\n".join(comment), re.MULTILINE))
    assert tuple(told) == HEAD
    assert told["Result"] != "RESULT"
    assert re.search(r"\d", told["Result"]) or "not measured" in told["Result"], "a measured number, or that there is none"
    assert re.search(r"\d", told["Time"]) or told["Time"] == "not measured"
    assert told["Hardware"] != "HARDWARE"


@each_spec
def test_the_command_in_its_head_is_one(path: Path) -> None:
    from typer.main import get_command

    from dlcli.cli.app import app

    (line,) = re.findall(r"^# Command: +(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    words = [word for word in shlex.split(line) if not re.match(r"^[A-Z_]+=", word)]
    assert words[0] in ("dlcli", "scripts/dlcli")
    train = get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    context = train.make_context(words[1], words[2:])
    assert REPOSITORY / context.params["spec"] == path


@each_spec
@pytest.mark.usefixtures("_data_sets")
def test_it_trains_an_epoch_where_its_data_is_at_hand(path: Path, tmp_path: Path) -> None:
    from dlcli.runtime.engine import keras
    from dlcli.stages.build import shape_model
    from dlcli.stages.reporter import Reporter
    from dlcli.stages.train import train

    keras.utils.clear_session()
    if path.stem in NOT_AT_HAND:
        experiment = load(path).experiment
        facts = experiment.data.source.facts(experiment.task)
        assert facts.shape is not None
        assert facts.outputs == 10
        assert shape_model(experiment, facts.shape, 10).output.shape == (None, 10)
        pytest.skip(f"the model was built; the data of {path.stem} is not among the test data")
    slices = SLICES if "kind: tfds" in path.read_text(encoding="utf-8") else []
    run = train(load(path, ["training.epochs=1", *slices]), tmp_path, Reporter(), offline=True)
    assert run.status().state == "completed"
    assert run.metrics()["metrics"]
