"""A scikit-learn classifier as the head: fitted once on the features, then plain Keras layers like any other head."""

from __future__ import annotations

import warnings
from time import perf_counter
from typing import Any

import numpy as np

from dlcli.models.features import CachedFeatures, cached_features
from dlcli.models.network import model_name
from dlcli.runs.reporter import EpochReport
from dlcli.runtime.engine import keras
from dlcli.score.losses import mean_loss
from dlcli.spec.model.heads import ClassifierSpec
from dlcli.training.recorder import Best, Record
from dlcli.training.setup import TrainingSetup


class ClassifierTrainer:
    """Fits the spec's classifier once on the backbone's features, and saves the complete model."""

    def __init__(self, setup: TrainingSetup, record: Record) -> None:
        classifier = setup.experiment.model.classifier
        assert classifier is not None
        self._setup, self._record, self._classifier = setup, record, classifier
        (self._stage,) = setup.experiment.stages

    def train(self) -> None:
        """Computes the features, fits the classifier on them, and records its one epoch."""
        setup, record, stage = self._setup, self._record, self._stage
        still = setup.network.body.count_params()
        setup.log(
            f"stage {stage.name}: {self._classifier.kind}, fitted once; the {still:,} parameters of the backbone are frozen"
        )
        features = cached_features(
            setup.experiment, setup.splits, setup.network, list(stage.augment or []), record.run.features_path
        )
        setup.log(f"features: {features.description}")
        record.reporter.fit_started(1, 1)
        started = perf_counter()
        labels = np.tile(setup.splits.train.targets, features.copies)
        head = self._fitted_head(features.train, labels)
        record.whole = self._whole(head)
        self._record_epoch(self._scores(head, features, labels), len(labels), started)

    def _fitted_head(self, features: Any, labels: Any) -> Any:
        """Returns the fitted classifier as Keras layers."""
        fitted = _fitted(self._setup, self._classifier, _rows(features), labels)
        classes = len(self._setup.splits.classes)
        return self._classifier.graph(fitted, classes=classes, binary=self._setup.splits.outputs == 1)

    def _whole(self, head: Any) -> Any:
        """Returns the model from examples to the classifier's answers."""
        body = self._setup.network.body
        row_shaped = body.output if len(body.output.shape) == 2 else keras.layers.Flatten()(body.output)
        encode, name = self._setup.network.encode, model_name(self._setup.experiment)
        if encode is None:
            return keras.Model(body.input, head(row_shaped), name=name)
        return keras.Model(encode.input, keras.Model(body.input, head(row_shaped))(encode.output), name=name)

    def _scores(self, head: Any, features: CachedFeatures, labels: Any) -> dict[str, float]:
        """Returns loss and metrics of the training part, and of the validation part if there is one."""
        scores = _scored(self._setup, head, _rows(features.train), labels, "")
        if features.validation is not None:
            targets = self._setup.splits["validation"].targets
            scores |= _scored(self._setup, head, _rows(features.validation), targets, "val_")
        return scores

    def _record_epoch(self, scores: dict[str, float], examples: int, started: float) -> None:
        """Writes the one row of the history, the model, and the entry of `stages.json`."""
        record, run, stage = self._record, self._record.run, self._stage
        seconds = perf_counter() - started
        row: dict[str, Any] = {"stage": stage.name, "epoch": 1, **scores}
        row |= {"seconds": round(seconds, 3), "examples_per_second": round(examples / max(seconds, 1e-9), 1)}
        record.rows.append(row)
        run.write_history(record.rows)
        run.update_status(stage=stage.name, epoch=1, epochs=1, step=1, monitor=record.monitor)
        best = Best(1, float(row[record.monitor]), stage.name)
        record.save_best(best)
        record.reporter.epoch_finished(EpochReport(1, 1, row, None, True))
        record.reporter.fit_finished()
        kinds = {"name": stage.name, "train": stage.train, "classifier": self._classifier.kind}
        run.write_stages([{**kinds, "epochs": 1, "monitor": record.monitor, "best_epoch": 1, "best_value": best.value}])


def _fitted(setup: TrainingSetup, classifier: ClassifierSpec, features: Any, labels: Any) -> Any:
    """Returns the fitted classifier; scikit-learn's warnings (such as too few iterations) are logged."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fitted = classifier.fit(features, labels, setup.experiment.seed)
    for warning in warned:
        setup.log(f"note: scikit-learn: {str(warning.message).splitlines()[0]}")
    return fitted


def _rows(features: Any) -> Any:
    return features.reshape(len(features), -1)


def _scored(setup: TrainingSetup, head: Any, features: Any, labels: Any, prefix: str) -> dict[str, float]:
    """Returns the loss and every metric of the fitted head on some features."""
    experiment = setup.experiment
    head.jit_compile = False
    scores = experiment.task.output.scores(np.asarray(head.predict(features, batch_size=256, verbose=0)))
    loss = mean_loss(experiment, len(setup.splits.classes), labels, scores)
    scored = {metric.name: metric.score(labels, scores, experiment.task) for metric in experiment.training.metrics or []}
    return {f"{prefix}loss": loss} | {f"{prefix}{name}": value for name, value in scored.items()}
