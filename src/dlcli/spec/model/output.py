"""The settings of a model's output layer; the head itself comes from the task (`tasks/heads.py`)."""

from pydantic import Field

from dlcli.spec.base import KerasSpec
from dlcli.spec.model.layers.dense import GLOROT, ZEROS
from dlcli.spec.model.parameters import Initializer, Regularizer


class Output(KerasSpec):
    """Settings of the output layer, whose units and activation come from the task."""

    kernel_initializer: Initializer = Field(default=GLOROT, description="Initial weights.")
    bias_initializer: Initializer = Field(default=ZEROS, description="Initial bias.")
    kernel_regularizer: Regularizer | None = Field(default=None, description="Penalty on the weights.")
