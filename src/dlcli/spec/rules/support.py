"""The rules of model kinds that do not support every feature of a training, found before the run has a folder."""

from __future__ import annotations

from collections.abc import Iterator

from dlcli.spec.base import walk
from dlcli.spec.experiment import Experiment
from dlcli.spec.support import Feature, words_against
from dlcli.spec.training.callbacks import ReduceLROnPlateau
from dlcli.spec.training.optimizers import OptimizerSpec

Place = tuple[str | int, ...]
Finding = tuple[Place, str]


def _features_are_supported(experiment: Experiment) -> Iterator[Finding]:
    for place, feature, what in _used_features(experiment):
        words = words_against(experiment, feature, what)
        if words:
            yield place, words


def _used_features(experiment: Experiment) -> Iterator[tuple[Place, Feature, str]]:
    """Yields the place of every setting that needs a feature, the feature, and the setting as a message names it."""
    strategy, training = experiment.hardware.strategy, experiment.training
    if strategy in ("mirrored", "multi_worker"):
        yield ("hardware", "strategy"), "several devices", f"`strategy: {strategy}`"
    if training.initial_weights is not None:
        yield ("training", "initial_weights"), "finetune", "`initial_weights`"
    for index, metric in enumerate(training.metrics or []):
        yield ("training", "metrics", index), "evaluate", f"`{metric.name}`"
    for place, spec in walk(training, ("training",)):
        if isinstance(spec, ReduceLROnPlateau):
            yield place, "reduce_lr_on_plateau", f"`{spec.kind}`"
        if isinstance(spec, OptimizerSpec) and spec.use_ema:
            yield (*place, "use_ema"), "use_ema", "`use_ema`"


def _untrained_models_have_no_settings_of_a_training(experiment: Experiment) -> Iterator[Finding]:
    if experiment.model.is_trained:
        return
    data, training = experiment.data, experiment.training
    reason = f"`model.kind: {getattr(experiment.model, 'kind', '')}` is built from trained models"
    if training.epochs:
        yield ("training", "epochs"), f"{reason}; set `epochs: 0`"
    if training.stages:
        yield ("training", "stages"), f"{reason}; it has no stages"
    if data.balance.is_active:
        yield ("data", "balance"), f"{reason}; set `balance: none`"
    if data.augment:
        yield ("data", "augment"), f"{reason}; remove this field"


RULES = (_features_are_supported, _untrained_models_have_no_settings_of_a_training)
