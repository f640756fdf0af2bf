"""The rules of a diagnosis on written run folders: every task, missing files, unusual ends, damaged files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.errors import DamagedFile
from dlcli.report.diagnosis import Finding, Remedy, diagnose, findings, in_words, write_diagnosis
from dlcli.report.diagnosis.evidence import read_evidence
from dlcli.report.diagnosis.remedies import applicable
from dlcli.runs import RunFolder
from dlcli.runs.checks import ChecksFile
from dlcli.runs.files import write_json, write_table
from dlcli.score.outcome import Outcome, write_outcome
from dlcli.spec.load import load_text, to_yaml
from dlcli.tasks import TASKS

YES = ("no", "yes")
BINARY = "task: binary\ndata: {source: {kind: builtin, name: breast_cancer}}\nmodel: {kind: mlp, units: [8]}\n"
IRIS = "task: classification\ndata: {source: {kind: builtin, name: iris}}\nmodel: {kind: mlp, units: [8]}\n"
CLASSES = ["setosa", "versicolor", "virginica"]
DIABETES = "task: regression\ndata: {source: {kind: builtin, name: diabetes}}\nmodel: {kind: mlp, units: [8]}\n"
Rows = Sequence[dict[str, Any]]


def _run(
    folder: Path,
    rows: Rows = (),
    *,
    spec: str = IRIS,
    scores: dict[str, float] | None = None,
    guess: dict[str, float] | None = None,
    predictions: Sequence[tuple[str, str]] = (),
    examples: int = 3000,
    tested: int = 300,
    classes: Sequence[str] = CLASSES,
    leaks: Any = None,
    **status: Any,
) -> RunFolder:
    """Writes a run folder like that of a training on balanced classes."""
    text = to_yaml(load_text(f"name: written\n{spec}", folder / "spec.yaml").experiment)
    run = RunFolder.create(folder / "runs", "written", spec=text, source=text)
    counts = {name: examples // max(len(classes), 1) for name in classes}
    split_sizes = {"train": examples, "validation": 300, "test": tested}
    data = {"examples": split_sizes, "counts": {"train": counts}, "classes": list(classes), "means": [150.0]}
    run.write_data(data | ({} if leaks is None else {"leaks": leaks}))
    rate = {"stage": "train", "learning_rate": 1e-3, "seconds": 1.0}
    run.write_history([rate | {"epoch": at} | row for at, row in enumerate(rows, 1)])
    run.update_status(**{"state": "completed", "best_epoch": len(rows)} | status)
    if scores is not None:
        metrics = {name: {"value": value, "interval": None} for name, value in scores.items()}
        baseline = {"name": "always 'setosa'", "metrics": guess or {"accuracy": 0.333}}
        content = {"split": "test", "examples": tested, "metrics": metrics, "baseline": baseline}
        write_json(run.made_evaluation("test") / "metrics.json", content)
    if predictions:
        columns = ("id", "label", "predicted", "probability", *(f"p_{name}" for name in classes))
        table = ((at, label, predicted, 0.9, *[0.9 if name == predicted else 0.05 for name in classes])
                 for at, (label, predicted) in enumerate(predictions))  # fmt: skip
        write_table(run.evaluation("test") / "predictions.csv", columns, table)
    return run


def test_rows_with_settings_of_images_are_not_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.ones((20, 3)), y=np.arange(20) % 2)
    source = f"source: {{kind: npz, path: '{tmp_path / 'rows.npz'}'}}, image: {{size: [8, 8]}}"
    run = _run(tmp_path, spec=f"task: binary\ndata: {{{source}}}\nmodel: {{kind: mlp, units: [8]}}\n", classes=YES)
    assert read_evidence(run).has_images  # as far as a run without a recorded shape tells
    run.write_data(run.data() | {"shape": [3]})
    assert not read_evidence(run).has_images


def _falling(*losses: float, gap: float = 0.05, accuracy: float = 0.9, val_accuracy: float = 0.9) -> Rows:
    return [{"loss": loss, "accuracy": accuracy, "val_loss": loss + gap, "val_accuracy": val_accuracy} for loss in losses]


def _names(run: RunFolder) -> list[str]:
    return [finding.name for finding in diagnose(run)]


GOOD = _falling(0.9, 0.5, 0.3, 0.21, 0.2, 0.2, 0.19, 0.19, 0.19, 0.19)


def test_equal_skill_on_all_splits_has_no_findings(tmp_path: Path) -> None:
    assert _names(_run(tmp_path, GOOD, scores={"loss": 0.24, "accuracy": 0.9})) == []


@pytest.mark.parametrize("spec", [IRIS, DIABETES])
def test_a_run_without_epochs_has_no_findings(tmp_path: Path, spec: str) -> None:
    assert _names(_run(tmp_path, spec=spec, state="interrupted")) == []
    assert _names(_run(tmp_path, spec=spec, scores={"loss": 1.1})) == []


def test_one_epoch_without_validation_is_not_too_short(tmp_path: Path) -> None:
    assert _names(_run(tmp_path, [{"loss": 0.5, "accuracy": 0.8}])) == []


def test_a_training_with_a_falling_loss_at_its_end_is_too_short(tmp_path: Path) -> None:
    diagnosed = diagnose(_run(tmp_path, _falling(1.0, 0.8, 0.6, 0.5, 0.4)))
    assert [finding.name for finding in diagnosed] == ["too short"]
    assert diagnosed[0].remedies == (Remedy("train longer", "training.epochs=30"),)


@pytest.mark.parametrize("status", [{"state": "interrupted"}, {"reason": "val_loss got no better for 3 epochs"}])
def test_a_stopped_training_is_not_too_short(tmp_path: Path, status: dict[str, str]) -> None:
    assert _names(_run(tmp_path, _falling(1.0, 0.8, 0.6, 0.5, 0.4), **status)) == []


def test_a_regression_with_a_small_error_only_in_training_is_overfitted(tmp_path: Path) -> None:
    rows = [{"loss": loss, "rmse": loss**0.5, "val_loss": 3000.0, "val_rmse": 55.0} for loss in (900.0, 400.0, 400.0)]
    spec = DIABETES + "training: {metrics: [rmse]}\n"
    run = _run(tmp_path, rows, spec=spec, scores={"loss": 3000, "rmse": 55}, guess={"rmse": 77}, classes=["target"])
    assert _names(run) == ["overfitting"]


def test_a_loss_without_a_known_guess_is_replaced_by_the_metric(tmp_path: Path) -> None:
    rows = [{"loss": 9.0, "mae": 9.5, "val_loss": 44.0, "val_mae": 44.5}] * 4
    spec = DIABETES + "training: {loss: huber, metrics: [mae]}\n"
    run = _run(tmp_path, rows, spec=spec, scores={"loss": 44, "mae": 44.5}, guess={"mae": 66}, classes=["target"])
    assert _names(run) == ["overfitting"]


def test_without_a_validation_split_the_test_split_shows_overfitting(tmp_path: Path) -> None:
    rows = [{"loss": 0.1, "accuracy": 0.99}] * 5
    spec = IRIS.replace("iris}", "iris}, split: {validation: 0}")
    run = _run(tmp_path, rows, spec=spec, scores={"loss": 0.9, "accuracy": 0.7})
    assert _names(run) == ["overfitting"]


def test_a_multilabel_run_can_be_overfitted(tmp_path: Path) -> None:
    rows = [{"loss": 0.05, "accuracy": 0.99, "f1": 0.98, "val_loss": 0.4, "val_accuracy": 0.7, "val_f1": 0.6}] * 4
    source = "{kind: npz, path: rows.npz, features: x, target: y}"
    spec = f"task: multilabel\ndata: {{source: {source}}}\nmodel: {{kind: mlp, units: [8]}}\n"
    np.savez(tmp_path / "rows.npz", x=[[0.0]], y=[[0, 1]])
    scores, guess = {"loss": 0.4, "accuracy": 0.7, "f1": 0.6}, {"accuracy": 0.5, "f1": 0.0}
    run = _run(tmp_path, rows, spec=spec, scores=scores, guess=guess, classes=["a", "b"])
    assert _names(run) == ["overfitting"]


def test_few_training_examples_per_class_explain_overfitting(tmp_path: Path) -> None:
    rows = _falling(0.5, 0.1, 0.05, 0.05, accuracy=1.0, val_accuracy=0.7)
    run = _run(tmp_path, rows, scores={"loss": 0.9, "accuracy": 0.7}, examples=30)
    assert _names(run) == ["data too few"]


def test_a_stage_that_undoes_the_previous_one_has_a_too_high_learning_rate(tmp_path: Path) -> None:
    head, top = (_falling(*losses) for losses in ((0.5, 0.3, 0.3, 0.3), (1.2, 0.9, 0.8, 0.8)))
    rows = [row | {"stage": "head"} for row in head] + [row | {"stage": "top", "learning_rate": 1e-2} for row in top]
    spec = (
        "task: classification\ndata: {source: {kind: builtin, name: digits}}\n"
        "model: {kind: transfer, backbone: {kind: mobilenet, input_size: [32, 32], weights: none}}\n"
        "training: {stages: [{name: head, train: head, epochs: 4},"
        " {name: top, train: {last: 20}, epochs: 4, optimizer: {kind: adam, learning_rate: 0.01}}]}\n"
    )
    run = _run(tmp_path, rows, spec=spec, scores={"loss": 0.35, "accuracy": 0.9}, classes=list("0123456789"), best_epoch=4)
    stage = {"train": "head", "epochs": 4, "monitor": "val_loss", "best_epoch": 4, "best_value": 0.35}
    run.write_stages([stage | {"name": "head"}, stage | {"name": "top", "train": {"last": 20}, "best_epoch": 8}])
    diagnosed = diagnose(run)
    assert [finding.name for finding in diagnosed] == ["learning rate too high"]
    assert diagnosed[0].remedies[0].set == "training.stages.1.optimizer.learning_rate=0.001"


def test_one_class_predicted_for_all_examples_is_a_class_collapse(tmp_path: Path) -> None:
    rare = [("virginica", "setosa")] * 6 + [("setosa", "setosa")] * 194
    run = _run(tmp_path, GOOD, scores={"loss": 0.2, "accuracy": 0.97}, predictions=rare)
    diagnosed = diagnose(run)
    assert [finding.name for finding in diagnosed] == ["class collapse"]
    assert "100.0% of the predictions are 'setosa', but only 97.0% of the examples" in diagnosed[0].evidence[0]


def test_an_ignored_class_counts_neither_in_the_guess_nor_in_the_collapse(tmp_path: Path) -> None:
    spec = f"{IRIS}training: {{loss: {{kind: sparse_categorical_crossentropy, ignore_class: 0}}}}\n"
    names = [("setosa", "versicolor")] * 100 + [("versicolor", "versicolor")] * 100 + [("virginica", "virginica")] * 2
    run = _run(tmp_path, _falling(0.6, 0.2), spec=spec, scores={"accuracy": 0.5}, predictions=names)
    assert read_evidence(run).guess_loss == pytest.approx(np.log(2))
    assert "class collapse" in _names(run), "the predictions alone show a collapse"
    truth = np.array([CLASSES.index(label) for label, _ in names])
    losses = [[number, "" if label == 0 else 0.1] for number, label in enumerate(truth)]
    write_table(run.evaluation("test") / "losses.csv", ("id", "loss"), losses)
    assert "class collapse" not in _names(run)


def test_learned_training_examples_with_chance_test_scores_mean_meaningless_labels(tmp_path: Path) -> None:
    rows = _falling(1.0, 0.6, 0.3, 0.1, gap=1.2, accuracy=0.95, val_accuracy=0.34)
    run = _run(tmp_path, rows, scores={"loss": 1.3, "accuracy": 0.33})
    assert _names(run) == ["shuffled or meaningless labels"]


def test_a_single_epoch_at_the_default_learning_rate_is_not_too_high(tmp_path: Path) -> None:
    rows = _falling(2.5, gap=0.1, accuracy=0.3, val_accuracy=0.3)
    run = _run(tmp_path, rows, scores={"loss": 2.6, "accuracy": 0.3})
    assert "learning rate too high" not in _names(run)


def _copies(count: int, *, rows: bool, same_label: int, repeats: float = 0.0, distinct: float = 0.2) -> dict[str, Any]:
    copies = {"examples": count, "of": 200, "same_label": same_label, "some": [["test/1", "train/2"]]}
    return {"rows": rows, "repeats": repeats, "distinct": distinct, "duplicates": {"test": copies}}


@pytest.mark.parametrize(
    ("leaks", "is_reported"),
    [
        (_copies(1, rows=False, same_label=1), False),  # a single one is an accident
        (_copies(2, rows=False, same_label=2), True),
        (
            _copies(30, rows=True, same_label=24, repeats=0.12),
            False,
        ),  # as in the Titanic data: few distinct values, and labels differ
        (_copies(30, rows=True, same_label=24, distinct=0.9), True),  # measurements do not repeat by chance
        (_copies(30, rows=True, same_label=1, distinct=0.9), False),  # as in a regression: equal inputs, different values
        (
            _copies(30, rows=True, same_label=24, distinct=1.0) | {"columns": {"of": 1}},
            False,
        ),  # a single column repeats by chance
        (_copies(40, rows=True, same_label=40, repeats=0.02), True),
        (_copies(150, rows=True, same_label=150, repeats=0.5), True),
    ],
)
def test_equal_examples_are_leakage_unless_they_may_coincide(tmp_path: Path, leaks: Any, is_reported: bool) -> None:
    assert ("leakage suspected" in _names(_run(tmp_path, GOOD, leaks=leaks))) is is_reported


@pytest.mark.parametrize(
    ("scores", "is_reported"),
    [
        ([["code", 1.0], ["age", 0.2], ["size", 0.1]], True),
        ([["length", 1.0], ["width", 0.99], ["age", 0.2]], False),  # an easy task that several columns solve
        ([["code", 1.0], ["age", 0.95], ["size", 0.1]], False),
        ([["code", 0.97], ["age", 0.2], ["size", 0.1]], False),
        ([["x", 1.0]], False),  # the only column
    ],
)
def test_a_revealing_column_is_leakage_if_no_other_column_comes_close(tmp_path: Path, scores: Any, is_reported: bool) -> None:
    leaks = {"rows": True, "columns": {"of": len(scores), "targets": {"": scores}}}
    assert ("leakage suspected" in _names(_run(tmp_path, GOOD, leaks=leaks))) is is_reported


def _alike(count: int) -> dict[str, Any]:
    return {"examples": count, "of": 100, "some": [["b/1_x.png", "b/1_y.png"]]}


@pytest.mark.parametrize(
    ("leaks", "evidence"),
    [
        ({"near_copies": {"test": _alike(2)}}, "2 of 100 test examples are nearly identical to a training image"),
        ({"near_copies": {"test": _alike(1)}}, ""),
        ({"stems": {"test": _alike(40)}}, "40 of 100 test examples are named like training examples"),
        ({"stems": {"test": _alike(9)}}, ""),
    ],
)
def test_near_copies_and_shared_stems_are_leakage(tmp_path: Path, leaks: Any, evidence: str) -> None:
    diagnosed = diagnose(_run(tmp_path, GOOD, leaks=leaks))
    assert [finding.name for finding in diagnosed] == (["leakage suspected"] if evidence else [])
    assert not evidence or diagnosed[0].evidence[0].startswith(evidence)


def test_one_image_with_two_labels_is_a_separate_finding(tmp_path: Path) -> None:
    pairs = [["test/1", "train/2"], ["test/3", "train/4"]]
    copies = {"test": {"examples": 2, "of": 50, "same_label": 0, "some": pairs}}
    pair = ["a/1.png", "setosa", "b/1.png", "virginica"]
    leaks = {"rows": False, "duplicates": copies, "contradictions": {"examples": 4, "of": 200, "some": [pair]}}
    diagnosed = diagnose(_run(tmp_path, GOOD, leaks=leaks))
    assert [finding.name for finding in diagnosed] == ["contradicting labels"]
    assert diagnosed[0].evidence == (
        "4 of 200 examples are identical to one with another label: a/1.png (setosa) and b/1.png (virginica) (data.json)",
    )


def test_a_learning_rate_in_float32_equals_the_default(tmp_path: Path) -> None:
    rows = [row | {"learning_rate": 0.0010000000474974513} for row in _falling(3.0, 3.1, 3.0, 3.1, gap=0.0, accuracy=0.34)]
    diagnosed = diagnose(_run(tmp_path, rows, scores={"loss": 3.1, "accuracy": 0.33}))
    changes = [remedy.set for finding in diagnosed for remedy in finding.remedies]
    assert "training.optimizer.learning_rate=0.001" not in changes


def test_predictions_with_a_high_area_exclude_meaningless_labels(tmp_path: Path) -> None:
    rows = _falling(0.6, 0.4, 0.3, 0.2, gap=0.4, accuracy=0.95, val_accuracy=0.6)
    random = np.random.default_rng(0)
    truth = random.random(300) < 0.3
    probabilities = np.clip(0.25 + 0.1 * truth + random.normal(0, 0.1, 300), 0, 1)
    scores = TASKS["binary"].output.scores(probabilities[:, None])
    run = _run(tmp_path, rows, spec=BINARY, scores={"loss": 0.6, "accuracy": 0.7}, guess={"accuracy": 0.7}, classes=YES)
    outcome = Outcome(
        TASKS["binary"], "test", [str(at) for at in range(300)], YES, truth.astype("int64"), scores.astype("float32")
    )
    write_outcome(outcome, run.evaluation("test"))
    assert "shuffled or meaningless labels" not in _names(run)


def _checks(run: RunFolder, **content: Any) -> RunFolder:
    ChecksFile.of(content).write(run.path / "checks.json")
    return run


def _simple(accuracy: float, *, related: float, better: float) -> dict[str, Any]:
    row = {"name": "random forest", "scores": {"accuracy": accuracy}, "related": related, "better": better}
    return {"part": "test", "examples": 300, "trained_on": 2000, "own": {"accuracy": 0.5}, "rows": [row]}


WEAK = _falling(1.0, 0.9, 0.88, 0.87, 0.87, 0.87, 0.87, 0.87, accuracy=0.5, val_accuracy=0.5)


def test_a_task_that_simple_models_do_not_solve_either_is_not_underfitted(tmp_path: Path) -> None:
    run = _run(tmp_path, WEAK, scores={"loss": 0.9, "accuracy": 0.5})
    assert _names(run) == ["underfitting"]
    assert _names(_checks(run, simple_models=_simple(0.52, related=0.0, better=0.2))) == []
    diagnosed = diagnose(_checks(run, simple_models=_simple(0.8, related=0.0, better=0.0)))
    assert [finding.name for finding in diagnosed] == ["underfitting"]
    assert (
        diagnosed[0].evidence[0]
        == "a simple model, random forest, has accuracy 0.800 on 300 test examples, this model 0.500 (checks.json)"
    )


@pytest.mark.parametrize(
    ("accuracy", "better", "is_as_good"),
    [(0.5, 1.0, True), (0.51, 0.4, True), (0.49, 0.7, True), (0.49, 0.97, False), (0.46, 0.7, False)],
)
def test_a_linear_model_that_is_not_worse_is_reported(tmp_path: Path, accuracy: float, better: float, is_as_good: bool) -> None:
    run = _run(tmp_path, WEAK, scores={"loss": 0.9, "accuracy": 0.5})
    simple = _simple(accuracy, related=0.0, better=better)
    simple["rows"][0]["name"] = "TF-IDF, logistic regression"
    diagnosed = diagnose(_checks(run, simple_models=simple))
    assert [finding.name for finding in diagnosed] == (["a linear model is as good"] if is_as_good else [])
    if is_as_good:
        assert diagnosed[0].evidence == (
            f"TF-IDF, logistic regression has accuracy {accuracy:.3f} on 300 test examples, this model 0.500 (checks.json);"
            " it was trained on 2000 examples",
        )
        assert "start simple: `dlcli baseline " in diagnosed[0].remedies[0].text
    simple["rows"][0]["related"] = 0.5
    assert "a linear model is as good" not in _names(_checks(run, simple_models=simple))


def test_labels_that_a_simple_model_predicts_are_not_meaningless(tmp_path: Path) -> None:
    rows = _falling(1.0, 0.6, 0.3, 0.1, gap=1.2, accuracy=0.95, val_accuracy=0.34)
    run = _run(tmp_path, rows, scores={"loss": 1.3, "accuracy": 0.33})
    assert _names(_checks(run, simple_models=_simple(0.35, related=0.5, better=0.4))) == ["shuffled or meaningless labels"]
    assert "shuffled or meaningless labels" not in _names(_checks(run, simple_models=_simple(0.8, related=0.0, better=0.0)))


@pytest.mark.parametrize(
    ("worse", "better", "inference", "is_reported"),
    [(30, 0, 0.7, True), (5, 1, 0.94, False), (40, 30, 0.9, False), (9, 9, 1.0, False)],
)
def test_training_and_inference_mode_disagree_only_beyond_chance(
    tmp_path: Path, worse: int, better: int, inference: float, is_reported: bool
) -> None:
    modes = {"layers": 3, "examples": 100, "score": "accuracy", "training": 1.0, "inference": inference}
    run = _checks(_run(tmp_path, WEAK, scores={"loss": 0.9, "accuracy": 0.5}), modes=modes | {"worse": worse, "better": better})
    assert (_names(run) == ["training and prediction disagree"]) is is_reported


@pytest.mark.parametrize(
    ("scale", "is_reported"),
    [
        ({"size": 0.002, "deviation": 0.001}, True),
        ({"size": 1.0, "deviation": 0.002}, True),  # twice `symmetric`: all near -1
        ({"size": 300.0, "deviation": 250.0}, True),
        ({"size": 0.1, "deviation": 0.1}, False),
        ({"size": 4.0, "deviation": 3.0}, False),
    ],
)
def test_inputs_far_from_the_usual_scale_are_reported(tmp_path: Path, scale: dict[str, float], is_reported: bool) -> None:
    run = _checks(_run(tmp_path, WEAK, scores={"loss": 0.9, "accuracy": 0.5}), inputs={"layer": "Dense", "examples": 9} | scale)
    assert ("badly scaled inputs" in _names(run)) is is_reported


def test_inputs_of_a_nearly_perfect_model_may_have_any_scale(tmp_path: Path) -> None:
    rows = _falling(0.9, 0.1, 0.01, 0.01, gap=0.0, accuracy=1.0, val_accuracy=1.0)
    run = _run(tmp_path, rows, scores={"loss": 0.01, "accuracy": 0.99})
    assert _names(_checks(run, inputs={"layer": "Dense", "examples": 9, "size": 300.0, "deviation": 250.0})) == []


def test_a_regression_worse_than_the_mean_is_reported(tmp_path: Path) -> None:
    rows = [{"loss": 9000.0, "val_loss": 9000.0}] * 5
    random = np.random.default_rng(0)
    truth = random.normal(150, 10, (80, 1))
    run = _run(tmp_path, rows, spec=DIABETES, scores={"loss": 9000, "r2": -61.7}, guess={"r2": 0}, classes=["target"])
    for answers, is_reported in ((truth * 0.5, True), (truth + random.normal(0, 9, truth.shape), False)):
        outcome = Outcome(
            TASKS["regression"], "test", [str(at) for at in range(80)], ("target",), truth, answers.astype("float32")
        )
        write_outcome(outcome, run.evaluation("test"))
        assert ("worse than a constant guess" in _names(run)) is is_reported
    assert "too short" not in _names(run)


def test_remedies_that_the_spec_already_has_or_refuses_are_omitted(tmp_path: Path) -> None:
    run = _run(tmp_path)
    remedies = [
        Remedy("as it is", "training.epochs=10"),
        Remedy("more", "training.epochs=31"),
        Remedy("wrong", "training.epochs=-1"),
    ]
    assert applicable(read_evidence(run), remedies) == (remedies[1],)


def test_a_finding_with_very_many_lines_is_stored_truncated(tmp_path: Path) -> None:
    names = [f"target {number}" for number in range(24)]
    targets = {name: [["code", 1.0], ["age", 0.2], ["size", 0.1]] for name in names}
    leaks = {"rows": True, "columns": {"of": 3, "targets": targets}}
    run = _run(tmp_path, GOOD, leaks=leaks)
    written = write_diagnosis(run)
    assert findings(run) == written
    assert written[0].evidence[19:] == (
        "column 'code' alone predicts 100.0% of 'target 19'; no other column comes close (data.json)",
        "and 4 more",
    )


def test_remedies_are_suggested_after_the_data_has_moved(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    spec = "task: regression\ndata: {source: {kind: csv, path: rows.csv, target: b}}\nmodel: {kind: mlp}\n"
    run = _run(tmp_path, [{"loss": 9.0, "val_loss": 9.0}, {"loss": 4.0, "val_loss": 4.0}], spec=spec, classes=["b"])
    (tmp_path / "rows.csv").unlink()
    assert [remedy.set for finding in diagnose(run) for remedy in finding.remedies] == ["training.epochs=30"]


def test_lines_for_a_terminal_contain_no_control_characters(tmp_path: Path) -> None:
    names = ["a\x1b[31m", "b\nc"]
    rare = [(names[1], names[0])] * 6 + [(names[0], names[0])] * 94
    run = _run(tmp_path, GOOD, scores={"loss": 0.2, "accuracy": 0.9}, predictions=rare, classes=names)
    lines = in_words(run, write_diagnosis(run))
    assert lines[0] == "diagnosis: class collapse"
    assert not any(char in line for line in lines for char in "\x1b\n")
    assert findings(run) == diagnose(run)


def test_a_finding_is_shown_with_its_evidence_and_remedies(tmp_path: Path) -> None:
    run = _run(tmp_path)
    finding_list = [Finding("too short", ("the loss fell",), (Remedy("train longer", "training.epochs=30"), Remedy("wait")))]
    assert in_words(run, finding_list) == [
        "diagnosis: too short",
        "  the loss fell",
        "  try: train longer: --set training.epochs=30",
        "  try: wait",
        f"  as in: dlcli train {run.path}/spec.yaml --set ...",
    ]


def test_the_findings_of_an_undiagnosed_run_are_none(tmp_path: Path) -> None:
    assert findings(_run(tmp_path)) is None


@pytest.mark.parametrize("text", ["{}", '[{"name": "doomed", "evidence": []}]', '[{"name": "unstable", "evidence": 3}]', "["])
def test_an_invalid_diagnosis_file_is_reported_as_damaged(tmp_path: Path, text: str) -> None:
    run = _run(tmp_path)
    (run.path / "diagnosis.json").write_text(text)
    with pytest.raises(DamagedFile, match=r"diagnosis\.json"):
        findings(run)


@pytest.mark.parametrize("leaks", ["all", {"duplicates": {"test": {"examples": "many"}}}, {"columns": {"targets": [1]}}])
def test_invalid_leaks_are_reported_as_damaged(tmp_path: Path, leaks: Any) -> None:
    run = _run(tmp_path, GOOD)
    data = json.loads((run.path / "data.json").read_text())
    (run.path / "data.json").write_text(json.dumps(data | {"leaks": leaks}))
    with pytest.raises(DamagedFile, match=r"data\.json: leaks"):
        diagnose(run)
