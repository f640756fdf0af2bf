"""Every command that uses a run's model opens the run in the same way, with the same errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.runs.making import make_run
from tests.trainings import save_rows, trained, write_spec

from dlcli.data.open_run import open_run
from dlcli.errors import DataError, UsageError
from dlcli.explain import explain
from dlcli.export.export import export
from dlcli.models.describe import describe_run
from dlcli.predict.predict import prepare
from dlcli.runs import RunFolder
from dlcli.runs.reporter import Reporter
from dlcli.score.evaluate import evaluate
from dlcli.training.finetune import continued
from dlcli.training.resume import resume

pytestmark = pytest.mark.usefixtures("without_pictures")

FINETUNE: dict[str, Any] = {"train": "all", "learning_rate": None, "epochs": None, "overrides": []}
USES: dict[str, Callable[[RunFolder], Any]] = {
    "evaluate": lambda run: evaluate(run, ""),
    "predict": lambda run: prepare(run, ["rows.csv"]),
    "explain": lambda run: explain(run, method="permutation"),
    "export": lambda run: export(run, "keras"),
    "describe": describe_run,
    "finetune": lambda run: continued(run, print, **FINETUNE),
}
USES_OF_DATA = ("evaluate", "explain", "export")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on a file of rows that tests may replace."""
    folder = tmp_path_factory.mktemp("rows")
    save_rows(folder / "rows.npz")
    return trained(write_spec(folder, "{kind: npz, path: rows.npz}", task="regression", training="epochs: 1"))


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_run_without_a_model_is_refused_in_the_same_words(use: Callable[[RunFolder], Any], tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(UsageError) as refused:
        use(run)
    assert str(refused.value) == f"{run.id} has no model: it has not finished an epoch"


def test_an_open_run_has_the_model_and_the_data_of_its_training(run: RunFolder) -> None:
    with open_run(run) as opened:
        assert (opened.task.name, opened.classes) == ("regression", ("y",))
        assert opened.model is opened.model
        assert opened.model.output_shape == (None, 1)
        assert opened.splits.fingerprint == run.data()["fingerprint"]
        assert {name: part for part, examples in opened.splits.by_name.items() for name in examples.ids} == run.split()


def test_changed_data_is_the_same_error_for_every_command(run: RunFolder) -> None:
    path = run.path.parents[2] / "rows.npz"
    before = path.read_bytes()
    recorded = run.data()["fingerprint"]
    try:
        save_rows(path, seed=1)
        uses = [USES[name] for name in USES_OF_DATA]
        uses.append(lambda run: resume(run, Reporter(), overrides=["training.epochs=2"], schedule=None, offline=True))
        texts = []
        for use in uses:
            with pytest.raises(DataError) as refused:
                use(run)
            texts.append(str(refused.value))
    finally:
        path.write_bytes(before)
    assert len(set(texts)) == 1, texts
    begin, _, rest = texts[0].partition(" and is now ")
    assert begin == f"the data is not what {run.id} was trained on: its fingerprint was {recorded[:12]}"
    assert rest[12:] == "; a run needs its own data, or an exact copy of it"
