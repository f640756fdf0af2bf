"""The features of dlcli that a model kind may not support, and the error of one that it does not support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dlcli.errors import UsageError

if TYPE_CHECKING:
    from dlcli.spec.model.base import ModelSpec

Feature = Literal[
    "evaluate",
    "predict",
    "explain",
    "export",
    "finetune",
    "validation",
    "lr-find",
    "several devices",
    "use_ema",
    "reduce_lr_on_plateau",
]
"""What may be done with a model. `evaluate` covers every score: metrics, baseline, diagnosis; `validation` the validation loss
during training; `finetune` every training that starts from a saved model."""
ONE_OPTIMIZER: frozenset[Feature] = frozenset(("lr-find", "use_ema", "reduce_lr_on_plateau"))
"""The features that change the only optimizer of a model."""


def words_against(model: ModelSpec, feature: Feature, what: str) -> str:
    """Returns the message that `what`, which needs a feature, does not support a model; empty if the model supports it.

    Example:
        >>> from dlcli.spec.model.models import Mlp
        >>> words_against(Mlp(kind="mlp"), "evaluate", "`dlcli evaluate`")
        ''
    """
    reason = model.reason_against(feature)
    return reason and f"{what} does not support `model.kind: {model.kind}`: {reason}"


def refuse_unsupported(model: ModelSpec, feature: Feature, what: str) -> None:
    """Checks that a model supports a feature that `what` needs, such as "`dlcli predict`".

    Raises:
        UsageError: it does not.
    """
    words = words_against(model, feature, what)
    if words:
        raise UsageError(words)
