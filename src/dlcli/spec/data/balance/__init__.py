"""Every way to balance the classes of a training. A kind is a class in a file here and its place in this list."""

from typing import Annotated

from dlcli.spec.base import OneOf
from dlcli.spec.data.balance.base import BalanceSpec, NoBalance

__all__ = ["Balance", "BalanceSpec", "NoBalance"]

_PLACES = {
    "none": f"{__name__}.base:NoBalance",
    "class_weight": f"{__name__}.class_weights:ClassWeight",
    "sqrt": f"{__name__}.class_weights:SquareRoot",
    "effective_number": f"{__name__}.class_weights:EffectiveNumber",
    "oversample": f"{__name__}.resampling:Oversample",
    "undersample": f"{__name__}.resampling:Undersample",
    "smote": f"{__name__}.smote:Smote",
}
"""Each kind's module and class, in the order of the reference. A check of a spec imports the one that it uses."""
Balance = Annotated[BalanceSpec, OneOf("Balance", places=_PLACES)]
