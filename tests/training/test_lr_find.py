"""The learning-rate range test, and the simple models that come before any network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from trainings import CIRCLES, GAUSSIANS, PLANE, Heard, trained, write_spec

from dlcli.data.splits import open_splits
from dlcli.errors import OutOfMemory, RunFailed, UsageError
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.runtime.engine import keras
from dlcli.score.baseline import baselines, with_run
from dlcli.spec.load import load
from dlcli.training.lr_find import Search, find_rate, setting_of_rate, smoothed, written_rate
from dlcli.training.rate_curve import Suggestions, smooth_curve, suggested

pytestmark = pytest.mark.usefixtures("without_pictures")

Array = np.ndarray[Any, Any]
COSINE = "epochs: 3, optimizer: {kind: sgd, learning_rate: {kind: cosine_decay, initial_learning_rate: 0.1}}"


def weights(run: RunFolder) -> list[bytes]:
    return [one.tobytes() for one in keras.saving.load_model(run.model_path, compile=False).get_weights()]


def found_in(folder: Path, spec: Path, **changes: float) -> object:
    search = Search(**{"lowest": 1e-4, "highest": 100.0, "steps": 60, **changes})  # type: ignore[arg-type]
    return find_rate(load(spec).experiment, folder / "runs", Heard().log, search)


@pytest.mark.usefixtures("with_pictures")
def test_the_suggestions_are_rates_at_which_the_model_learns(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, CIRCLES, training="epochs: 12, optimizer: {kind: sgd, learning_rate: 1e-4}", name="slow")
    search = Search(1e-4, 100.0, 80)
    found = find_rate(load(spec).experiment, tmp_path / "runs", Heard().log, search)
    assert (np.diff(found.rates) > 0).all()
    assert found.rates[0] == pytest.approx(1e-4)
    slow = trained(spec).metrics()["metrics"]["loss"]["value"]
    for rate in (found.suggestions.steepest, found.suggestions.valley):
        assert 1e-4 <= rate <= 100
    quick = trained(spec, [f"training.optimizer.learning_rate={found.suggestions.steepest:.3g}"])
    assert quick.metrics()["metrics"]["loss"]["value"] < slow - 0.05
    rows = read_table(found.folder / "curve.csv")
    assert [float(row["loss"]) for row in rows] == pytest.approx(found.losses.tolist())
    with Image.open(found.folder / "curve.png") as picture:
        assert min(picture.size) > 300


def test_a_search_changes_nothing_in_a_later_training(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, GAUSSIANS, training=COSINE)
    before = weights(trained(spec))
    found_in(tmp_path, spec)
    assert weights(trained(spec)) == before
    assert not [path for path in (tmp_path / "runs").iterdir() if path.name not in ("tiny", ".lr-find")]


def test_the_suggestions_of_a_known_curve_are_where_they_should_be() -> None:
    rates = np.geomspace(1e-6, 10, 141)
    place = np.log10(rates)
    losses = 2 - 1.5 / (1 + np.exp(-6 * (place + 2))) + np.exp(4 * (place - 0.2))
    found = suggested(rates, losses, losses)
    assert np.log10(found.steepest) == pytest.approx(-2, abs=0.15)
    assert np.log10(found.minimum) == pytest.approx(np.log10(rates[losses.argmin()]) - 1, abs=1e-9)
    low = np.log10(rates[losses.argmin()])
    assert np.log10(found.valley) == pytest.approx(-5.3 + (low + 5.3) * 2 / 3, abs=0.1)


def made_curve(noise: float, fall: float, seed: int, steps: int = 100) -> tuple[Array, Array]:
    """Returns rates and losses that fall about a rate of 10^-2.5 and blow up two decades later, with the noise of batches."""
    rates = np.geomspace(1e-7, 10, steps)
    place = np.log10(rates)
    losses = 2 - fall / (1 + np.exp(-4 * (place + 2.5))) + np.exp(np.minimum(6 * (place + 0.3), 15))
    return rates, losses + noise * np.random.default_rng(seed).normal(size=steps)


def of_curve(rates: Array, losses: Array) -> Suggestions:
    return suggested(rates, smooth_curve(rates, losses).losses, losses)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_the_steepest_rate_of_a_noisy_curve_is_where_the_loss_falls(noise: float) -> None:
    found = [of_curve(*made_curve(noise, 1.5, seed)) for seed in range(30)]
    assert all(one.clear for one in found)
    assert all(10**-3.2 < one.steepest < 10**-1.9 for one in found)
    assert all(10**-2.9 < one.minimum < 10**-1.9 for one in found)


def test_the_noise_of_single_batches_is_no_clear_fall() -> None:
    flat = [of_curve(*made_curve(0.3, 0.0, seed, steps)).clear for seed in range(50) for steps in (40, 100, 300)]
    assert sum(flat) <= 2
    hidden = [of_curve(*made_curve(1.5, 0.3, seed)) for seed in range(50)]
    assert sum(one.clear for one in hidden) <= 1


def test_more_steps_make_a_fall_clear() -> None:
    few, many = ([of_curve(*made_curve(0.8, 1.5, seed, steps)).clear for seed in range(30)] for steps in (40, 600))
    assert sum(few) < 10
    assert sum(many) > 27


def test_real_searches_are_clear_where_the_loss_falls_and_say_so_where_it_does_not(tmp_path: Path) -> None:
    """Sixty steps each: rates at which nothing is learned, in noisy batches of 4, and rates at which it is."""
    spec = write_spec(
        tmp_path, CIRCLES, data="batch_size: 4", training="epochs: 1, optimizer: {kind: adam, learning_rate: 1e-4}"
    )
    low = find_rate(load(spec).experiment, tmp_path / "runs", Heard().log, Search(1e-9, 1e-6, 60))
    assert not low.suggestions.clear
    spec = write_spec(tmp_path, GAUSSIANS, training="epochs: 1", name="gaussians")
    whole = find_rate(load(spec).experiment, tmp_path / "runs", Heard().log, Search(1e-7, 10, 100))
    assert whole.suggestions.clear
    assert 1e-4 < whole.suggestions.steepest < 1


def test_smoothing_is_free_of_its_start() -> None:
    assert smoothed(np.full(5, 3.0)) == pytest.approx([3.0] * 5)


def test_a_loss_that_is_no_number_at_once_is_told(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, PLANE, task="regression", model="{kind: mlp, units: [64, 64, 64]}", training="epochs: 1")
    with pytest.raises(RunFailed, match="try a lower --from"):
        found_in(tmp_path, spec, lowest=1e30, highest=1e36)


def test_an_unknown_stage_is_told(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, GAUSSIANS)
    with pytest.raises(UsageError, match="no stage 'top'; stages are train"):
        find_rate(load(spec).experiment, tmp_path, Heard().log, Search(), stage_name="top")


def test_a_rate_is_written_into_the_spec(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, GAUSSIANS, training=COSINE)
    assert written_rate(spec, load(spec).experiment, "train", 0.0123456) == (
        "training.optimizer.learning_rate.initial_learning_rate: 0.0123"
    )
    assert load(spec).experiment.training.optimizer.learning_rate.initial_learning_rate == 0.0123  # type: ignore[union-attr]
    assert load(spec).experiment.training.epochs == 3


@pytest.mark.parametrize(
    ("training", "option"),
    [
        ("epochs: 3", "--set 'training.optimizer={kind: adam, learning_rate: 0.0123}'"),
        ("epochs: 3, optimizer: {kind: sgd, learning_rate: 0.5}", "--set training.optimizer.learning_rate=0.0123"),
        (COSINE, "--set training.optimizer.learning_rate.initial_learning_rate=0.0123"),
    ],
)
def test_the_option_that_is_shown_gives_the_spec_the_rate(training: str, option: str, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, GAUSSIANS, training=training)
    assert setting_of_rate(load(spec), "train", 0.0123456) == option
    given = load(spec, shlex.split(option)[1:]).experiment.training.optimizer.learning_rate
    assert getattr(given, "initial_learning_rate", given) == 0.0123


def test_lack_of_memory_tells_the_batch_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("dlcli.training.lr_find._losses", full)
    spec = write_spec(tmp_path, GAUSSIANS)
    with pytest.raises(OutOfMemory, match=r"out of memory with 32 .*; try --set data.batch_size=16"):
        find_rate(load(spec).experiment, tmp_path, Heard().log, Search())


def test_a_part_that_is_not_there_is_told(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, GAUSSIANS, data="split: {test: 0}")
    with pytest.raises(UsageError, match="--split: the data has no test split; it has train, validation"):
        baselines(load(spec).experiment, Heard().log, split="test")


@pytest.mark.parametrize(
    ("source", "task"),
    [(GAUSSIANS, "binary"), ("{kind: builtin, name: iris}", "classification"), (PLANE, "regression")],
)
def test_simple_models_are_scored_with_the_specs_metrics_on_its_own_parts(tmp_path: Path, source: str, task: str) -> None:
    experiment = load(write_spec(tmp_path, source, task=task)).experiment
    found = baselines(experiment, Heard().log)
    assert len(found.rows) == 5
    assert all(set(row.scores) == set(found.metrics) for row in found.rows)
    first = found.metrics[0]
    guess, linear = found.rows[0].scores[first][0], found.rows[1].scores[first][0]
    assert (linear < guess) if task == "regression" else (linear > guess)


def test_the_logistic_regression_is_scikit_learns(tmp_path: Path) -> None:
    experiment = load(write_spec(tmp_path)).experiment
    found = baselines(experiment, Heard().log)
    splits = open_splits(experiment)
    train, test = splits.train, splits["test"]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(train.inputs.values, train.targets)
    row = next(row for row in found.rows if row.name == "logistic regression")
    assert row.scores["accuracy"][0] == model.score(test.inputs.values, test.targets)
    assert found.examples == len(test)


def test_columns_with_gaps_and_text_and_several_labels_are_taken(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = [f"{'' if at % 7 == 0 else round(random.normal(), 3)},{'ab'[at % 2]},{at % 2},{at % 3 == 0:d}" for at in range(60)]
    (tmp_path / "rows.csv").write_text("size,side,one,two\n" + "\n".join(lines) + "\n")
    source = "{kind: csv, path: rows.csv, target: [one, two]}"
    found = baselines(load(write_spec(tmp_path, source, task="multilabel")).experiment, Heard().log)
    scores = {row.name: row.scores["accuracy"][0] for row in found.rows}
    assert scores["logistic regression"] > scores["label frequencies (no model)"]


def test_a_run_stands_in_the_same_table_if_it_was_scored_on_the_same_examples(tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    run = trained(spec)
    found = with_run(baselines(load(spec).experiment, Heard().log), run)
    assert found.rows[-1].name == run.id
    assert found.rows[-1].scores["accuracy"][0] == run.metrics()["metrics"]["accuracy"]["value"]
    other = baselines(load(spec, ["seed=5"]).experiment, Heard().log)
    with pytest.raises(UsageError, match="different data or a different split"):
        with_run(other, run)
    with pytest.raises(UsageError, match="was not scored on validation"):
        with_run(baselines(load(spec).experiment, Heard().log, split="validation"), run)
