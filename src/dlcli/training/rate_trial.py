"""A stage put together without a run, to try rates and sizes on a model that nobody keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcli.data.balance import balance_in_words, refuse_missing_balance
from dlcli.data.resolve import prepared, resolved_for
from dlcli.data.splits import open_splits
from dlcli.errors import UsageError
from dlcli.models.initial_weights import start_from_run
from dlcli.models.network import build_model
from dlcli.models.pretraining import pretrain
from dlcli.models.selection import plan_stage
from dlcli.models.targets import scale_in_words, target_scale
from dlcli.runs.reporter import Log
from dlcli.runtime.device import use_device
from dlcli.runtime.engine import keras, new_session
from dlcli.runtime.learner import make_train_function
from dlcli.runtime.stream import TrainingStream
from dlcli.spec.experiment import Experiment
from dlcli.spec.training.stages import Stage
from dlcli.training.assemble import compile_stage, stage_inputs_of, stream_of
from dlcli.training.setup import TrainingSetup, with_precision


@dataclass(frozen=True)
class Trial:
    """A compiled model of one stage and the batches it reads, one step a call."""

    stage: Stage
    setup: TrainingSetup
    model: Any
    stream: TrainingStream


def put_together(experiment: Experiment, features: Path, log: Log, *, stage_name: str = "", offline: bool = False) -> Trial:
    """Returns a stage ready for its first step, as a training would start it.

    Args:
        experiment: the experiment; a schedule in it stays.
        features: the folder in which features of a frozen backbone are stored.
        log: writes notes for the user.
        stage_name: the stage; the first if empty.
        offline: whether nothing may be fetched.

    Raises:
        UsageError: there is no stage of this name, or none that is trained by steps.
        DataError: the data cannot be read.
        RunFailed: the model does not fit the data.
    """
    refuse_missing_balance(experiment)
    hardware = experiment.hardware.model_copy(update={"steps_per_execution": 1})
    experiment = experiment.model_copy(update={"hardware": hardware})
    new_session()
    device = use_device(experiment.hardware, experiment.seed)
    log(f"device: {device}")
    experiment = prepared(experiment, offline=offline)
    splits = open_splits(experiment, offline=offline)
    experiment = resolved_for(experiment, splits, device)
    scale = target_scale(experiment, splits)
    if scale is not None:
        log(scale_in_words(scale, splits.classes))
    if line := balance_in_words(experiment, splits):
        log(line)
    stage = _stage(experiment, stage_name)
    keras.utils.set_random_seed(experiment.seed)
    fresh = not experiment.training.initial_weights
    network = build_model(experiment, splits, load_weights=fresh, offline=offline)
    if fresh:
        pretrain(experiment, network, splits.train.inputs, log)
    else:
        start_from_run(experiment, network, splits, log)
    setup = with_precision(TrainingSetup(experiment, splits, network, log))
    plan = plan_stage(network, stage)
    stage_inputs = stage_inputs_of(setup, stage, features)
    stream = stream_of(setup, stage_inputs)
    compile_stage(setup, plan, stage_inputs, stream)
    make_train_function(stage_inputs.model)
    return Trial(stage, setup, stage_inputs.model, stream)


def _stage(experiment: Experiment, name: str) -> Stage:
    if experiment.model.fitted_once:
        raise UsageError("a scikit-learn classifier as the head is fitted at once, not by steps")
    stages = experiment.stages
    chosen = next((stage for stage in stages if name in ("", stage.name)), None)
    if chosen is None:
        raise UsageError(f"--stage: there is no stage {name!r}; stages are {', '.join(stage.name for stage in stages)}")
    return chosen
