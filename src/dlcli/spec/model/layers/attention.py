"""Attention over the steps of series and texts, Transformer blocks, and codes of positions."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, Fraction, Positive, Shape
from dlcli.spec.model.activations import Elementwise
from dlcli.spec.model.layers.base import LayerSpec, ShapeError
from dlcli.spec.model.layers.padding import zeroed

_HEADS = "Number of attention heads."


class _OfSteps(LayerSpec):
    """A layer of sequences that reads all steps at once."""

    rank: ClassVar[int] = 2
    takes_padding: ClassVar[bool] = True

    def apply(self, tensor: Any) -> Any:
        """Returns the output for sequences without padding."""
        import keras

        return self.apply_masked(tensor, keras.ops.ones_like(tensor[..., 0], dtype="bool"))[0]


class MultiHeadAttention(_OfSteps):
    """Self-attention: each step becomes a weighted mean of all steps, in several heads (Vaswani et al. 2017)."""

    has_weights: ClassVar[bool] = True
    kind: Literal["multi_head_attention"]
    num_heads: Count = Field(description=_HEADS)
    key_dim: Count = Field(description="Size of the queries and keys of each head.")
    dropout: Fraction = Field(default=0.0, description="Dropout of the attention weights.")

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the attention over the valid steps."""
        import keras

        layer = keras.layers.MultiHeadAttention(self.num_heads, self.key_dim, dropout=self.dropout)
        return _attended(layer, tensor, mask), mask

    def multiply_adds(self, shape: Shape) -> int:
        """Returns those of the four projections and of both products of attention."""
        return attention_multiply_adds(shape, self.num_heads * self.key_dim)


class Attention(_OfSteps):
    """Self-attention by dot products without weights: each step becomes a weighted mean of all steps (Luong et al. 2015)."""

    kind: Literal["attention"]
    dropout: Fraction = Field(default=0.0, description="Dropout of the attention weights.")

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the attention over the valid steps."""
        import keras

        layer = keras.layers.Attention(dropout=self.dropout)
        return layer([tensor, tensor], mask=[mask, mask]), mask

    def multiply_adds(self, shape: Shape) -> int:
        """Returns those of both products."""
        return 2 * shape[0] ** 2 * shape[1]


class AttentionPooling(_OfSteps):
    """Takes the mean of all steps, weighted by a learned score of each step (Yang et al. 2016)."""

    has_weights: ClassVar[bool] = True
    kind: Literal["attention_pooling"]
    units: Count = Field(default=64, description="Units of the hidden layer that scores a step.")

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the weighted mean of the valid steps; 0 where there are none."""
        import keras

        ops = keras.ops
        scores = keras.layers.Dense(1, use_bias=False)(keras.layers.Dense(self.units, activation="tanh")(tensor))
        lowest = ops.full_like(scores, _LOWEST)
        weights = ops.softmax(ops.where(ops.expand_dims(mask, -1), scores, lowest), axis=1)
        return ops.sum(zeroed(tensor * weights, mask), axis=1), None

    def transformed(self, shape: Shape) -> Shape:
        """One value a channel is left."""
        return (shape[1],)

    def multiply_adds(self, shape: Shape) -> int:
        """Returns those of the hidden layer, of the scores and of the mean."""
        return shape[0] * (shape[1] * self.units + self.units + shape[1])


class TransformerEncoder(_OfSteps):
    """A block of a Transformer: self-attention and two dense layers, each with a shortcut and a normalisation.

    `normalize_first` is the pre-norm variant, which trains without a warm-up of the rate; its last block needs a
    `layer_normalization` after it (Xiong et al. 2020).
    """

    has_weights: ClassVar[bool] = True
    kind: Literal["transformer_encoder"]
    intermediate_dim: Count = Field(description="Units of the first dense layer.")
    num_heads: Count = Field(description=f"{_HEADS} They divide the channels.")
    dropout: Fraction = Field(default=0.0, description="Dropout of the attention weights and of both outputs.")
    activation: Elementwise = Field(default="relu", description="Activation of the first dense layer.")
    layer_norm_epsilon: Positive = Field(default=1e-5, description="Small constant that is added to the variance.")
    normalize_first: bool = Field(default=False, description="Whether inputs are normalised, not outputs.")

    def transformed(self, shape: Shape) -> Shape:
        """The shape stays; the heads must divide the channels."""
        if shape[1] % self.num_heads:
            raise ShapeError(f"`num_heads: {self.num_heads}` must divide its {shape[1]} channels")
        return shape

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the output of the block; attention is over the valid steps."""
        import keras

        channels = int(tensor.shape[-1])
        attention = keras.layers.MultiHeadAttention(self.num_heads, channels // self.num_heads, dropout=self.dropout)
        tensor = self._with_shortcut(tensor, lambda inputs: _attended(attention, inputs, mask))
        first, second = keras.layers.Dense(self.intermediate_dim, activation=self.activation), keras.layers.Dense(channels)
        return self._with_shortcut(tensor, lambda inputs: second(first(inputs))), mask

    def _with_shortcut(self, tensor: Any, inner: Any) -> Any:
        import keras

        normalize = keras.layers.LayerNormalization(epsilon=self.layer_norm_epsilon)
        output = inner(normalize(tensor) if self.normalize_first else tensor)
        if self.dropout:
            output = keras.layers.Dropout(self.dropout)(output)
        total = keras.layers.Add()([tensor, output])
        return total if self.normalize_first else normalize(total)

    def multiply_adds(self, shape: Shape) -> int:
        """Returns those of the attention, the dense layers and the normalisations."""
        steps, channels = shape
        return attention_multiply_adds(shape, channels) + 2 * steps * channels * (self.intermediate_dim + 1)


class PositionEmbedding(_OfSteps):
    """Adds a learned vector for each position to a sequence."""

    has_weights: ClassVar[bool] = True
    kind: Literal["position_embedding"]

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the sum."""
        import keras

        steps, channels = tensor.shape[1:]
        layer = keras.layers.Embedding(steps, channels)
        return keras.layers.Add()([tensor, layer(_positions(tensor))]), mask

    def multiply_adds(self, shape: Shape) -> int:
        """Returns 0: positions are added."""
        return 0


class SinePositionEncoding(_OfSteps):
    """Adds sines and cosines of each position, in wavelengths from 2 pi to 2 pi `max_wavelength` (Vaswani et al. 2017)."""

    kind: Literal["sine_position_encoding"]
    max_wavelength: Positive = Field(default=10_000.0, description="Largest wavelength, divided by 2 pi.")

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the sum."""
        import keras

        channels, ops = int(tensor.shape[-1]), keras.ops
        # Of channel 2i the sine and of 2i + 1 the cosine, as one sine with a phase of a quarter of a wave.
        rates = [1 / self.max_wavelength ** (2 * (channel // 2) / channels) for channel in range(channels)]
        phases = [0.5 * _PI * (channel % 2) for channel in range(channels)]
        positions = ops.cast(ops.expand_dims(_positions(tensor), -1), "float32")
        angles = keras.layers.Rescaling(rates, phases, dtype="float32")(positions)
        return keras.layers.Add()([tensor, ops.cast(ops.sin(angles), tensor.dtype)]), mask


def attention_multiply_adds(shape: Shape, width: int) -> int:
    """Returns the multiply-adds of self-attention whose heads have so many channels together."""
    steps, channels = shape
    return 4 * steps * channels * width + 2 * steps**2 * width


def _attended(layer: Any, tensor: Any, mask: Any) -> Any:
    """Returns the output of Keras's multi-head attention over the valid steps."""
    import keras

    return layer(tensor, tensor, attention_mask=keras.ops.expand_dims(mask, 1))


def _positions(tensor: Any) -> Any:
    """Returns the number of each step `(batch, steps)`, from 0. A constant would not be part of the graph."""
    import keras

    ones = keras.ops.ones_like(tensor[..., 0], dtype="int32")
    return keras.ops.cumsum(ones, axis=1) - 1


_PI = 3.141592653589793
_LOWEST = -6e4
