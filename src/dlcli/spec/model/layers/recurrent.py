"""Recurrent layers over series and texts."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, Fraction, OneOf, Shape
from dlcli.spec.model.activations import Elementwise
from dlcli.spec.model.layers.base import LayerSpec
from dlcli.spec.model.layers.dense import GLOROT, ZEROS
from dlcli.spec.model.layers.padding import with_first_step
from dlcli.spec.model.parameters import Initializer, NamedInitializer, Regularizer

ORTHOGONAL = NamedInitializer.model_construct(kind="orthogonal")


class Recurrent(LayerSpec):
    """What recurrent layers share: a state that is computed step by step.

    Padded steps leave the state as it is, so the last output is that of the last valid step.
    """

    rank: ClassVar[int] = 2
    has_weights: ClassVar[bool] = True
    takes_padding: ClassVar[bool] = True
    gates: ClassVar[int] = 1
    """The number of its kernels."""
    units: Count = Field(description="Number of outputs of each step.")
    return_sequences: bool = Field(
        default=False, description="Whether the outputs of all steps are returned, as a next recurrent layer needs them."
    )
    activation: Elementwise = Field(default="tanh", description="Activation of the outputs.")
    dropout: Fraction = Field(default=0.0, description="Dropout of the inputs of each step.")
    recurrent_dropout: Fraction = Field(default=0.0, description="Dropout of the state; slow on GPUs.")
    go_backwards: bool = Field(default=False, description="Whether the steps are read from the last to the first.")
    kernel_initializer: Initializer = Field(default=GLOROT, description="Initial weights of the inputs.")
    recurrent_initializer: Initializer = Field(default=ORTHOGONAL, description="Initial weights of the state.")
    bias_initializer: Initializer = Field(default=ZEROS, description="Initial bias.")
    kernel_regularizer: Regularizer | None = Field(default=None, description="Penalty on the weights of the inputs.")
    recurrent_regularizer: Regularizer | None = Field(default=None, description="Penalty on the weights of the state.")

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the last output, or those of all steps."""
        return _read(self.build(), tensor, mask), mask if self.return_sequences else None

    def transformed(self, shape: Shape) -> Shape:
        """One vector, or one for each step."""
        return (shape[0], self.units) if self.return_sequences else (self.units,)

    def multiply_adds(self, shape: Shape) -> int:
        """Returns one for each gate, input or state, unit and step."""
        return self.gates * shape[0] * self.units * (shape[1] + self.units)


class SimpleRNN(Recurrent):
    """Computes `activation(inputs @ kernel + state @ recurrent_kernel + bias)` at each step."""

    keras_class: ClassVar[str] = "layers.SimpleRNN"
    kind: Literal["simple_rnn"]


class LSTM(Recurrent):
    """A long short-term memory: gates decide what its cell keeps, takes and shows (Hochreiter, Schmidhuber 1997)."""

    keras_class: ClassVar[str] = "layers.LSTM"
    gates: ClassVar[int] = 4
    kind: Literal["lstm"]
    recurrent_activation: Elementwise = Field(default="sigmoid", description="Activation of the gates.")
    unit_forget_bias: bool = Field(default=True, description="Whether the forget gate's initial bias is 1.")


class GRU(Recurrent):
    """A gated recurrent unit: an LSTM with two gates and without a cell (Cho et al. 2014)."""

    keras_class: ClassVar[str] = "layers.GRU"
    gates: ClassVar[int] = 3
    kind: Literal["gru"]
    recurrent_activation: Elementwise = Field(default="sigmoid", description="Activation of the gates.")


def _read(layer: Any, tensor: Any, mask: Any) -> Any:
    """Returns the output of a recurrent layer for padded sequences."""
    steps, valid = with_first_step(tensor, mask)
    return layer(steps, mask=valid)


_DIRECTIONS = {"concat": 2, "sum": 1, "mul": 1, "ave": 1}


class Bidirectional(LayerSpec):
    """Reads the steps in both directions with two copies of a recurrent layer, and joins their outputs."""

    rank: ClassVar[int] = 2
    has_weights: ClassVar[bool] = True
    takes_padding: ClassVar[bool] = True
    kind: Literal["bidirectional"]
    layer: Annotated[SimpleRNN | LSTM | GRU, OneOf("Recurrent")] = Field(description="The recurrent layer.")
    merge_mode: Literal["concat", "sum", "mul", "ave"] = Field(default="concat", description="How outputs are joined.")

    def apply(self, tensor: Any) -> Any:
        """Returns the joined outputs."""
        return self._built()(tensor)

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the joined outputs; both directions skip the padding."""
        return _read(self._built(), tensor, mask), mask if self.layer.return_sequences else None

    def _built(self) -> Any:
        import keras

        return keras.layers.Bidirectional(self.layer.build(), merge_mode=self.merge_mode)

    def transformed(self, shape: Shape) -> Shape:
        """That of the layer, with twice its channels if they are concatenated."""
        *steps, channels = self.layer.transformed(shape)
        return (*steps, channels * _DIRECTIONS[self.merge_mode])

    def multiply_adds(self, shape: Shape) -> int:
        """Returns twice those of the layer."""
        return 2 * self.layer.multiply_adds(shape)
