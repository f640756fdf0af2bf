"""The runs of all folds -> the results of a cross-validation: out-of-fold scores, their spread, and an ensemble of the runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from dlcli.errors import RunFailed, SpecError
from dlcli.fleet.children import experiment_of, too_small_classes
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Job
from dlcli.runs.children import FoldsFile
from dlcli.runs.files import write_table
from dlcli.runs.layout import OUT_OF_FOLD
from dlcli.runs.reporter import Log, Reporter
from dlcli.runs.split_groups import GROUP
from dlcli.spec.load import LoadedSpec, load_data, to_yaml

if TYPE_CHECKING:
    from dlcli.data.splits import Splits
    from dlcli.report.checks import Measurements
    from dlcli.score.outcome import Outcome
    from dlcli.spec.experiment import Experiment

_FEW = 3
"""Classes that a message names."""


def refuse_small_classes(loaded: LoadedSpec, job: Job, *, offline: bool) -> None:
    """Opens the data and raises SpecError if a class has fewer examples than folds: some fold would have none of it.

    Raises:
        DataError: the data cannot be read, or has fewer examples than folds.
    """
    import numpy as np

    from dlcli.data.folds import fold_numbers
    from dlcli.data.resolve import prepared
    from dlcli.data.source_examples import open_readable

    experiment = prepared(experiment_of(job), offline=offline)
    opened = open_readable(experiment, offline=offline).opened
    numbers, source = fold_numbers(opened, experiment).numbers, opened.parts["train"]
    strata, folds = experiment.task.output.strata(source.targets), experiment.data.split.folds or 0
    if strata is None:
        return
    in_folds = np.array([numbers[name] > 0 for name in source.ids])
    counts = np.bincount(strata[in_folds], minlength=len(opened.classes)).tolist()
    present = [(name, count) for name, count in zip(opened.classes, counts, strict=True) if count]
    small = list(too_small_classes(present, folds))
    if small:
        more = f" and {len(small) - _FEW} more" if len(small) > _FEW else ""
        fewest = min(count for _, count in present)
        remedy = f"; use --folds {fewest}" if fewest > 1 else "; leave the class out with `data.classes`, or add examples"
        message = f"{', '.join(small[:_FEW])}{more}, fewer than the {folds} folds{remedy}"
        raise SpecError([loaded.document.fault(("data", "source"), message)])


def finish(run: RunFolder, batch: Batch, children: Sequence[RunFolder], reporter: Reporter, log: Log, *, offline: bool) -> None:
    """Scores the out-of-fold predictions of completed runs, and builds and scores the ensemble of their models.

    Raises:
        DlcliError: the data or a file of a run cannot be read, or has changed since; the parent is then failed.
    """
    from dlcli.training.ensemble import ensemble_data
    from dlcli.training.train import proceed

    if not run.split_path.exists():  # else it was stopped while it was scored
        _write_fold_table(run, children, offline=offline)
        data = ensemble_data(children[0], run.name)
        data["data"]["split"]["file"] = str(run.fold_table_path)
        data["model"] = {"kind": "ensemble", "runs": [str(child.path) for child in children]}
        run.write_spec(to_yaml(load_data(data).experiment))
    score = partial(_score, batch=batch, children=children)
    proceed(run, run.experiment(), reporter, log, offline=offline, score=score)


def _write_fold_table(run: RunFolder, children: Sequence[RunFolder], *, offline: bool) -> None:
    """Writes `folds.csv`: the fold of each example in each repetition, and its split in the ensemble.

    The ensemble is scored on the held-out examples; its training split are the examples of all folds.
    """
    from dlcli.data.folds import open_folds

    experiments = {child.experiment().data.split.repeat: child.experiment() for child in children}
    folds = {repeat: open_folds(experiment, offline=offline) for repeat, experiment in sorted(experiments.items())}
    numbers = {repeat: of_repeat.numbers for repeat, of_repeat in folds.items()}
    groups = next(iter(folds.values())).groups | children[0].groups()
    first = next(iter(numbers.values()))
    own_validation = [name for name in children[0].split() if name not in first]
    rows: list[list[Any]] = [
        [name, "train" if fold else "test", *(of_repeat[name] for of_repeat in numbers.values())]
        for name, fold in first.items()
    ]
    rows += [[name, "validation", *("" for _ in numbers)] for name in own_validation]
    columns = ("id", "split", *(f"fold_of_repeat_{repeat}" for repeat in numbers))
    if groups:
        rows = [[*row, groups.get(row[0], row[0])] for row in rows]
        columns = (*columns, GROUP)
    write_table(run.fold_table_path, columns, rows)


def _score(
    experiment: Experiment,
    splits: Splits,
    run: RunFolder,
    log: Log,
    *,
    measured: bool,
    batch: Batch,
    children: Sequence[RunFolder],
) -> Measurements:
    """Writes the out-of-fold scores and `folds.json`, and scores the ensemble on the held-out examples if there are any."""
    from dlcli.data.unfamiliar import gaps_of
    from dlcli.report.checks import measure_network
    from dlcli.score.evaluate import begin_evaluation, score_predictions

    outcome = out_of_fold(experiment, splits, children)
    data = splits.describe() | {"gaps": gaps_of(splits.train.inputs)}
    score_predictions(experiment, run, outcome, splits.train, data)
    _content(batch, children).write(run.folds_path)
    if splits.test is None:
        log("the ensemble of all folds was not scored: no examples are held out (data.split.test)")
    else:
        begin_evaluation(experiment, splits, run, "test").finish()
    return measure_network(experiment, splits, run) if measured else {}


def out_of_fold(experiment: Experiment, splits: Splits, children: Sequence[RunFolder]) -> Outcome:
    """Returns the prediction for each example by the runs that were not trained on it, the mean over the repetitions.

    Raises:
        RunFailed: an example was predicted by another number of runs than there are repetitions.
    """
    import numpy as np

    from dlcli.score.evaluate import with_losses
    from dlcli.score.outcome import Outcome

    train = splits.train
    places = {name: place for place, name in enumerate(train.ids)}
    sums: Any = None
    counts = np.zeros(len(train), dtype="int64")
    for child in children:
        ids, scores = _test_scores(child, experiment, splits)
        chosen = np.array([places[name] for name in ids])
        sums = np.zeros((len(train), *scores.shape[1:])) if sums is None else sums
        sums[chosen] += scores
        counts[chosen] += 1
    if counts.min() != counts.max() or not counts.min():
        raise RunFailed(f"the folds do not cover each example equally often: {counts.min()} to {counts.max()} times")
    scores = (sums / counts.reshape(-1, *(1 for _ in sums.shape[1:]))).astype("float32")
    outcome = Outcome(experiment.task, OUT_OF_FOLD, list(train.ids), splits.classes, train.targets, scores, groups=train.groups)
    return with_losses(experiment, outcome)


def _test_scores(child: RunFolder, experiment: Experiment, splits: Splits) -> tuple[list[str], Any]:
    """Returns the ids of the examples of a run's fold and its scores for them: the stored ones, else predicted again."""
    import numpy as np

    from dlcli.data.batches import prediction_batches
    from dlcli.runtime.loading import load_model
    from dlcli.score.evaluate import predictions
    from dlcli.score.outcome import has_outcome, read_outcome

    if has_outcome(child, "test"):
        stored = read_outcome(child, "test")
        if stored.scores is not None:
            return stored.ids, stored.scores
    fold = {name for name, split in child.split().items() if split == "test"}
    examples = splits.train.take(np.array([place for place, name in enumerate(splits.train.ids) if name in fold]))
    model = load_model(child.model_path, output=splits.output_shape)
    return list(examples.ids), predictions(model, prediction_batches(examples.inputs, experiment, len(examples)), experiment)


def _content(batch: Batch, children: Sequence[RunFolder]) -> FoldsFile:
    """Returns the content of `folds.json`."""
    rows = []
    for child in children:
        split, scores = child.experiment().data.split, child.metrics("test")
        values = {name: entry["value"] for name, entry in scores["metrics"].items()}
        row = {"run": child.id, "fold": split.fold, "repeat": split.repeat, "examples": scores["examples"], "metrics": values}
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row["metrics"])
    spreads = {name: spread([row["metrics"].get(name) for row in rows]) for name in names}
    folds, repeats = (max(row[field] for row in rows) for field in ("fold", "repeat"))
    return FoldsFile.of({"batch": batch.id, "folds": folds, "repeats": repeats, "runs": rows, "metrics": spreads})


def spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Returns mean, sample deviation, smallest and largest of the values that are defined; None where there are none."""
    defined = [value for value in values if value is not None]
    if not defined:
        return dict.fromkeys(("mean", "deviation", "smallest", "largest"))
    deviation = stdev(defined) if len(defined) > 1 else None
    return {"mean": fmean(defined), "deviation": deviation, "smallest": min(defined), "largest": max(defined)}
