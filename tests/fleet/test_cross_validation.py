"""`dlcli train --folds`: a run for each fold, the scores of all examples out of fold, and an ensemble that predicts."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.killing import PATIENCE, _weights, started, wait_for
from conftest import Dlcli, command, environment, run_process
from trainings import write_spec

import dlcli
from dlcli.errors import SpecError, UsageError
from dlcli.fleet.children import experiment_of, fold_jobs, fraction_jobs
from dlcli.report.diagnosis.evidence import read_evidence
from dlcli.report.diagnosis.remedies import applicable
from dlcli.runs import RunFolder, all_runs, find_run
from dlcli.runs.batches import find_batch
from dlcli.runs.children import read_folds
from dlcli.runs.diagnosis import Remedy
from dlcli.runs.files import read_table
from dlcli.runtime.engine import keras
from dlcli.score.compare import pair_runs
from dlcli.score.evaluate import evaluate
from dlcli.score.outcome import read_outcome
from dlcli.spec.load import load

pytestmark = pytest.mark.usefixtures("without_pictures")

BREAST_CANCER = "{kind: builtin, name: breast_cancer}"


def called(folder: Path, *arguments: str | Path) -> Any:
    """Calls `dlcli` in a process of its own and returns what it did."""
    return run_process(command(*arguments, "--runs", folder / "runs"), cwd=folder, env=environment(), timeout=1200)


def children(parent: RunFolder) -> list[RunFolder]:
    batch = find_batch(parent.status().children, parent.path.parents[1])
    return [run for job in batch.jobs() if (run := batch.run_of(job)) is not None]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A cross-validation of iris in 3 folds, with a fifth of the examples held out."""
    folder = tmp_path_factory.mktemp("folds")
    write_spec(folder, data="split: {test: 0.2}", training="epochs: 1")
    process = called(folder, "train", "tiny.yaml", "--folds", "3", "--jobs", "2", "--quiet")
    assert process.returncode == 0, process.stderr
    return RunFolder(Path(process.stdout.strip()))


def test_each_example_is_predicted_once_by_the_run_that_did_not_see_it(parent: RunFolder) -> None:
    runs = children(parent)
    outcome = read_outcome(parent, "out_of_fold")
    scores = dict(zip(outcome.ids, outcome.scores if outcome.scores is not None else [], strict=True))
    folds = Counter[str]()
    for run in runs:
        stored = read_outcome(run, "test")
        assert stored.scores is not None
        folds.update(stored.ids)
        assert all(run.split()[name] == "test" for name in stored.ids)
        for name, score in zip(stored.ids, stored.scores, strict=True):
            np.testing.assert_array_equal(scores[name], score)
    assert set(folds.values()) == {1}
    assert sorted(folds) == sorted(outcome.ids)
    assert len(outcome) == 120


def test_held_out_examples_are_in_no_fold_and_score_the_ensemble(parent: RunFolder) -> None:
    held_out = {name for name, split in parent.split().items() if split == "test"}
    assert len(held_out) == 30
    for run in children(parent):
        assert not held_out & run.split().keys()
        assert set(run.split().values()) == {"train", "validation", "test"}
    assert parent.scored_splits() == ["test", "out_of_fold"]
    assert len(parent.metrics("test")["members"]) == 3
    assert evaluate(parent, "").split == "test"


def test_the_results_are_those_of_the_runs(parent: RunFolder) -> None:
    content = read_folds(parent)
    assert content is not None
    values = [run.metrics("test")["metrics"]["accuracy"]["value"] for run in children(parent)]
    assert [row.metrics["accuracy"] for row in content.runs] == values
    assert content.metrics["accuracy"].mean == pytest.approx(np.mean(values))
    assert content.metrics["accuracy"].deviation == pytest.approx(np.std(values, ddof=1))
    assert parent.metrics("out_of_fold")["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(values))
    table = read_table(parent.fold_table_path)
    assert Counter(row["fold_of_repeat_1"] for row in table) == {"0": 30, "1": 40, "2": 40, "3": 40}


def test_the_model_of_the_parent_is_the_mean_of_the_folds(parent: RunFolder) -> None:
    rows = np.random.default_rng(0).normal(3, 2, (9, 4)).astype("float32")
    models = [keras.saving.load_model(run.model_path, compile=False) for run in (parent, *children(parent))]
    mean, *folds = [model.predict(rows, verbose=0) for model in models]
    np.testing.assert_allclose(mean, np.mean(folds, axis=0), rtol=1e-6)


def test_a_name_means_the_parent_and_its_folds_have_their_own(parent: RunFolder) -> None:
    runs = parent.path.parents[1]
    assert find_run("tiny", runs).id == parent.id
    assert Counter(run.name for run in all_runs(runs)) == {"tiny": 1, "tiny-folds": 3}


def test_report_and_comparison_use_the_scores_out_of_fold(parent: RunFolder) -> None:
    report = parent.report_path.read_text(encoding="utf-8")
    assert "Out-of-fold, 120 examples" in report
    assert "It is not the uncertainty of the mean" in report
    (pairing,) = pair_runs([parent, parent], "out_of_fold")
    assert pairing.examples == 120


def test_a_complete_cross_validation_is_resumed_without_training(parent: RunFolder) -> None:
    before = parent.model_path.stat().st_mtime_ns
    dlcli.resume(dlcli.Run(parent.path))
    assert parent.model_path.stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="consists of several runs, which are resumed as they are"):
        dlcli.resume(dlcli.Run(parent.path), set={"training.epochs": 5})


def test_repeats_and_folds_are_jobs_with_settings_of_the_split(tmp_path: Path) -> None:
    jobs = fold_jobs(load(write_spec(tmp_path)), 2, 2)
    assert [job.group for job in jobs] == [f"fold {fold} of repeat {repeat}" for repeat in (1, 2) for fold in (1, 2)]
    settings = ["name=tiny-folds", "data.split.folds=2", "data.split.fold=1", "data.split.repeat=2"]
    assert jobs[2].overrides == settings


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "split: {file: tiny.yaml}",
            "tiny.yaml:3:53: data.split.file: --folds sets the examples of each run; remove this field",
        ),
        ("split: {folds: 3, fold: 1}", "data.split.folds: --folds sets the examples of each run; remove this field"),
        ("split: {test: validation}", "data.split.test: the test split of each run is a fold; remove this field"),
    ],
)
def test_a_spec_that_divides_its_examples_itself_is_refused_with_its_line(tmp_path: Path, data: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        fold_jobs(load(write_spec(tmp_path, data=data)), 3, 1)


def test_classes_with_fewer_examples_than_folds_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        dlcli.train(write_spec(tmp_path), folds=60, runs=tmp_path / "runs")
    assert "tiny.yaml:3:8: data.source: class 'setosa' has 50 examples" in str(caught.value)
    assert "fewer than the 60 folds; use --folds 50" in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", "3", "--data-fractions", "1"), "--folds and --data-fractions cannot be combined: run one after the other"),
        (("--repeats", "2"), "--repeats needs --folds"),
        (("--seeds", "0-2"), "--seeds needs --data-fractions; `dlcli batch` trains a spec with several seeds"),
        (("--jobs", "2"), "--jobs needs --folds or --data-fractions"),
        (("--folds", "3", "--profile", "1:2"), "--profile is for a single run; omit it with --folds"),
        (("--data-fractions", "0.5,x"), "--data-fractions: expected fractions such as 0.1,0.3,1.0; found '0.5,x'"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    tmp_path: Path, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from dlcli.cli.app import app

    with pytest.raises(SystemExit) as caught:
        app(["train", str(write_spec(tmp_path)), *options], prog_name="dlcli")
    assert caught.value.code == 2
    assert capsys.readouterr().err.strip() == message


def test_a_resume_starts_no_folds(parent: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    from dlcli.cli.app import app

    with pytest.raises(SystemExit):
        app(["train", "--resume", str(parent.path), "--folds", "3"], prog_name="dlcli")
    expected = "--folds starts new runs; --resume alone continues the run of an earlier --folds"
    assert capsys.readouterr().err.strip() == expected


def test_fractions_have_as_many_steps_as_all_data(tmp_path: Path) -> None:
    jobs = fraction_jobs(load(write_spec(tmp_path, training="epochs: 3")), [1.0, 0.1, 0.3], [0, 1])
    assert [(job.group, job.seed) for job in jobs[:3]] == [("fraction 0.1", 0), ("fraction 0.1", 1), ("fraction 0.3", 0)]
    assert jobs[0].overrides == ["name=tiny-fractions", "data.split.train_fraction=0.1", "training.epochs=30"]
    assert "training.epochs=10" in jobs[2].overrides
    assert jobs[-1].overrides[-1] == "seed=1"


def test_stages_and_callbacks_of_fractions_count_as_many_steps_too(tmp_path: Path) -> None:
    stages = "stages: [{name: a, train: all, epochs: 4, callbacks: [{kind: reduce_lr_on_plateau, patience: 3}]}]"
    spec = write_spec(tmp_path, training=f"epochs: 3, callbacks: [early_stopping], {stages}")
    job = fraction_jobs(load(spec), [0.5], [])[0]
    training = experiment_of(job).training
    assert training.epochs == 6
    assert training.callbacks[0].patience == 10
    assert training.stages[0].epochs == 8
    assert training.stages[0].callbacks[0].patience == 6


def test_a_cross_validation_without_held_out_examples_is_diagnosed_out_of_fold(parent: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(shutil.copytree(parent.path, tmp_path / "runs" / parent.name / parent.path.name))
    assert read_evidence(copy).scored == "test"
    shutil.rmtree(copy.evaluation("test"))
    evidence = read_evidence(copy)
    assert len(evidence.outcome or ()) == 120
    assert applicable(evidence, [Remedy("another loss", "training.loss=kl_divergence"), Remedy("more data")]) == (
        Remedy("more data"),
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_cross_validation_resumes_to_the_same_bits(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, BREAST_CANCER, task="binary", training="epochs: 4, checkpoint_minutes: 0.001")
    whole = called(tmp_path, "train", spec, "--folds", "5", "--jobs", "2", "--quiet")
    assert whole.returncode == 0, whole.stderr
    runs = tmp_path / "killed"
    process = started("train", spec, "--folds", "5", "--jobs", "2", "--runs", runs, cwd=tmp_path)
    assert wait_for(lambda: list(runs.glob("tiny-folds/*/checkpoints/*")), process, 10 * PATIENCE)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    (parent,) = [run for run in all_runs(runs) if run.status().children]
    assert parent.shown_state == "dead"
    assert parent.is_resumable
    resumed = started("train", "--resume", parent.path, cwd=tmp_path)
    assert resumed.wait(10 * PATIENCE) == 0, (tmp_path / "output.txt").read_text(encoding="utf-8")
    first = RunFolder(Path(whole.stdout.strip()))
    for one, other in zip((first, *children(first)), (parent, *children(parent)), strict=True):
        assert _weights(one) == _weights(other)
    for name in ("predictions.csv", "losses.csv"):
        one_file, other_file = (run.evaluation("out_of_fold") / name for run in (first, parent))
        assert one_file.read_bytes() == other_file.read_bytes()
    assert read_folds(first).metrics == read_folds(parent).metrics  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_failed_fold_is_named_and_trained_again(tmp_path: Path, dlcli: Dlcli) -> None:
    training = "epochs: 2, optimizer: {kind: sgd, learning_rate: 1.0e+30}"
    model = "{kind: mlp, units: [8], activation: linear}"
    spec = write_spec(tmp_path, "{kind: builtin, name: diabetes}", task="regression", model=model, training=training)
    done = dlcli("train", spec, "--folds", "2", "--runs", tmp_path / "runs", timeout=1200)
    assert done.returncode == 1
    assert "2 of 2 runs are not completed, so there are no results:" in done.stderr
    assert "fold 1, seed 0: failed: " in done.stderr
    (parent,) = [run for run in all_runs(tmp_path / "runs") if run.status().children]
    assert parent.status().state == "failed"
    assert not parent.has_model
    evaluated = dlcli("evaluate", parent.path)
    assert f"has no model: not all runs of batch {parent.status().children} are completed" in evaluated.stderr
    again = dlcli("batch", "--resume", parent.status().children, "--runs", tmp_path / "runs")
    assert f"these are runs of {parent.id}; `dlcli train --resume {parent.path}` computes its results" in again.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_json_has_the_results_of_the_folds(tmp_path: Path, dlcli: Dlcli) -> None:
    spec = write_spec(tmp_path, training="epochs: 1")
    done = dlcli("train", spec, "--folds", "2", "--repeats", "2", "--json", timeout=1200)
    answer = json.loads(done.stdout)
    assert answer["folds"]["repeats"] == 2
    assert len(answer["folds"]["runs"]) == 4
    assert answer["scores"]["split"] == "out_of_fold"
    assert answer["scores"]["examples"] == 150
