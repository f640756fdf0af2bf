"""The features of dlcli that a model kind or a task may not support, and the error of one that is not supported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dlcli.errors import UsageError

if TYPE_CHECKING:
    from dlcli.spec.experiment import Experiment

Feature = Literal[
    "evaluate",
    "predict",
    "explain",
    "export",
    "baseline",
    "finetune",
    "validation",
    "lr-find",
    "several devices",
    "use_ema",
    "reduce_lr_on_plateau",
    "class weights",
]
"""What may be done with a model. `evaluate` covers every score: metrics, baseline, diagnosis; `validation` the validation loss
during training; `finetune` every training that starts from a saved model; `class weights` their use in the minimised loss."""


def supports(experiment: Experiment, feature: Feature) -> bool:
    """Whether a spec's model and task support a feature.

    Example:
        >>> from dlcli.spec.load import load
        >>> supports(load("configs/digits_mlp.yaml").experiment, "evaluate")
        True
    """
    return not words_against(experiment, feature, "")


def words_against(experiment: Experiment, feature: Feature, what: str) -> str:
    """Returns the message that `what`, which needs a feature, does not support a spec's model or task; empty if it does."""
    model, task = experiment.model, experiment.task
    if reason := model.reason_against(feature):
        return f"{what} does not support `model.kind: {model.kind}`: {reason}"
    if reason := task.output.reason_against(feature):
        return f"{what} does not support `task: {task}`: {reason}"
    return ""


def refuse_unsupported(experiment: Experiment, feature: Feature, what: str) -> None:
    """Checks that a spec's model and task support a feature that `what` needs, such as "`dlcli predict`".

    Raises:
        UsageError: one of them does not.
    """
    words = words_against(experiment, feature, what)
    if words:
        raise UsageError(words)
