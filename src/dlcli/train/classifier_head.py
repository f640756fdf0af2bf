"""A scikit-learn classifier as the head: fitted once on the features, then plain Keras layers like any other head."""

from __future__ import annotations

import warnings
from time import perf_counter
from typing import Any

import numpy as np

from dlcli.models.features import kept_features
from dlcli.models.network import model_name
from dlcli.runs.reporter import EpochReport
from dlcli.runtime.engine import keras
from dlcli.score.evaluate import mean_loss
from dlcli.spec.model.heads import ClassifierSpec
from dlcli.spec.training.stages import Stage
from dlcli.train.recorder import Best
from dlcli.train.setup import RunTraining


def fit_classifier(work: RunTraining, stage: Stage) -> dict[str, Any]:
    """Fits the spec's classifier on the backbone's features and saves the whole model; returns the entry of `stages.json`."""
    experiment, splits, record = work.experiment, work.splits, work.record
    classifier = experiment.model.classifier
    assert classifier is not None
    still = work.network.body.count_params()
    work.log(f"stage {stage.name}: {classifier.kind}, fitted once; the {still:,} parameters of the backbone are frozen")
    folder = record.run.features_path
    kept = kept_features(experiment, splits, work.network, list(stage.augment or []), folder)
    work.log(f"features: {kept.told}")
    record.reporter.fit_started(1, 1)
    started = perf_counter()
    labels = np.tile(splits.train.targets, kept.copies)
    fitted = _fitted(work, classifier, _rows(kept.train), labels)
    head = classifier.graph(fitted, classes=len(splits.classes), binary=work.splits.outputs == 1)
    tensor = work.network.body.output
    row_shaped = tensor if len(tensor.shape) == 2 else keras.layers.Flatten()(tensor)
    record.whole = keras.Model(work.network.body.input, head(row_shaped), name=model_name(experiment))
    row: dict[str, Any] = {"stage": stage.name, "epoch": 1}
    row |= _scored(work, head, _rows(kept.train), labels, "")
    if kept.validation is not None:
        row |= _scored(work, head, _rows(kept.validation), splits["validation"].targets, "val_")
    seconds = perf_counter() - started
    row |= {"seconds": round(seconds, 3), "examples_per_second": round(len(labels) / max(seconds, 1e-9), 1)}
    record.rows.append(row)
    record.run.write_history(record.rows)
    record.run.update_status(stage=stage.name, epoch=1, epochs=1, step=1, monitor=record.monitor)
    best = Best(1, float(row[record.monitor]), stage.name)
    record.save_best(best)
    record.reporter.epoch_finished(EpochReport(1, 1, row, None, True))
    record.reporter.fit_finished()
    return {
        "name": stage.name,
        "train": stage.train,
        "classifier": classifier.kind,
        "epochs": 1,
        "monitor": record.monitor,
        "best_epoch": 1,
        "best_value": best.value,
    }


def _fitted(work: RunTraining, classifier: ClassifierSpec, features: Any, labels: Any) -> Any:
    """Returns the fitted classifier; what scikit-learn warns of (that more iterations are needed, say) is told."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted = classifier.fit(features, labels, work.experiment.seed)
    for warning in told:
        work.log(f"note: scikit-learn: {str(warning.message).splitlines()[0]}")
    return fitted


def _rows(features: Any) -> Any:
    return features.reshape(len(features), -1)


def _scored(work: RunTraining, head: Any, features: Any, labels: Any, prefix: str) -> dict[str, float]:
    """Returns the loss and every metric of the fitted head on some features."""
    experiment = work.experiment
    head.jit_compile = False
    scores = experiment.task.output.scores(np.asarray(head.predict(features, batch_size=256, verbose=0)))
    loss = mean_loss(experiment, len(work.splits.classes), labels, scores)
    found = {metric.name: metric.score(labels, scores, experiment.task) for metric in experiment.training.metrics or []}
    return {f"{prefix}loss": loss} | {f"{prefix}{name}": value for name, value in found.items()}
