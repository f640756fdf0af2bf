"""Every way to balance the classes of a training. A kind is a class in a file here and its entry in this union."""

from typing import Annotated

from dlcli.spec.base import OneOf
from dlcli.spec.data.balance.base import BalanceSpec, NoBalance
from dlcli.spec.data.balance.class_weights import ClassWeight, EffectiveNumber, SquareRoot, WeightingSpec
from dlcli.spec.data.balance.resampling import Oversample, ResamplingSpec, Undersample
from dlcli.spec.data.balance.smote import Smote

Balance = Annotated[
    NoBalance | ClassWeight | SquareRoot | EffectiveNumber | Oversample | Undersample | Smote,
    OneOf("Balance"),
]

__all__ = [
    "Balance",
    "BalanceSpec",
    "ClassWeight",
    "EffectiveNumber",
    "NoBalance",
    "Oversample",
    "ResamplingSpec",
    "Smote",
    "SquareRoot",
    "Undersample",
    "WeightingSpec",
]
