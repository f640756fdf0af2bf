"""Networks over the steps of texts and series."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from dlcli.spec.base import Shape
from dlcli.spec.model.base import Change, ModelSpec, chain_or_none
from dlcli.spec.model.embeddings import Embedding, TrainedEmbedding
from dlcli.spec.model.layers import Layer, LayerSpec, ShapeError
from dlcli.spec.model.layers.composite import chain, chain_shape, masked_chain
from dlcli.spec.model.layers.padding import zeroed
from dlcli.spec.model.layers.pooling import GlobalMaxPooling1D

if TYPE_CHECKING:
    from dlcli.runtime.columns import EncodedColumns

_CONVOLUTIONS = [
    [{"kind": "conv1d", "filters": 100, "kernel_size": width, "activation": "relu"}, "global_max_pooling1d"]
    for width in (3, 4, 5)
]
_ENCODER = {"kind": "transformer_encoder", "intermediate_dim": 128, "num_heads": 4, "dropout": 0.1, "normalize_first": True}
_OF_SERIES = [
    {"kind": "conv1d", "filters": filters, "kernel_size": width, "padding": "same", "activation": "relu"}
    for filters, width in ((64, 8), (128, 5), (64, 3))
]
NETWORKS: dict[str, list[Any]] = {
    "kim_cnn": [{"kind": "branches", "branches": _CONVOLUTIONS}, {"kind": "dropout", "rate": 0.5}],
    "bilstm": [{"kind": "bidirectional", "layer": {"kind": "lstm", "units": 64}}, {"kind": "dropout", "rate": 0.5}],
    "transformer": [
        "sine_position_encoding",
        _ENCODER,
        _ENCODER,
        "layer_normalization",
        "global_average_pooling1d",
        {"kind": "dropout", "rate": 0.3},
    ],
    "fcn": [*_OF_SERIES, "global_average_pooling1d"],
}
"""The layers of networks that have a name: of Kim (2014), a bidirectional LSTM, a small pre-norm Transformer, and the fully
convolutional network of Wang et al. (2017) with half the filters and without batch normalization, whose statistics are far
off after the few steps of an epoch on 50 series."""
Network = Literal["kim_cnn", "bilstm", "transformer", "fcn"]


def _written_out(value: Any) -> Any:
    """Returns the layers of a network that is given by its name; other values as they are."""
    return NETWORKS.get(value, value) if isinstance(value, str) else value


SequenceLayers = Annotated[
    list[Layer], BeforeValidator(_written_out, json_schema_input_type=list[Layer] | Network), Field(min_length=1)
]

_LENGTHS = 16
"""The most lengths of batches."""


class SequenceModel(ModelSpec):
    """Layers over the steps of texts or series, whose padding never changes an answer.

    In a table, each column of texts has its own embedding and its own `layers`; their outputs and the other columns, encoded
    as usual, are joined before `head`. An output with steps is reduced to its largest values.
    """

    reads_padding: ClassVar[bool] = True
    kind: Literal["sequence"]
    embedding: Embedding = Field(default=TrainedEmbedding(kind="trained"), description="Vectors of the tokens of texts.")
    layers: SequenceLayers = Field(
        description="The layers of each column of texts, or of the series; or a network by its name: `kim_cnn`, `bilstm`,"
        " `transformer`, `fcn`."
    )
    head: list[Layer] = Field(default=[], description="Layers after the columns are joined.")

    @property
    def reads_texts(self) -> bool:
        """True: each column of texts has its own layers."""
        return True

    @property
    def listed_layers(self) -> Sequence[LayerSpec]:
        """The layers of `layers`."""
        return self.layers

    def in_words(self) -> str:
        """Returns what the model is."""
        return "A sequence model"

    def faults(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yields the layers that have no rule for padding, and a missing file of vectors."""
        for place, layer in enumerate(self.layers):
            if layer.rank != 1 and (kind := layer.fault_of_padding()):
                yield ("layers", place), f"`{kind}` cannot take sequences of different lengths; put it into `head`"
        for field, message in self.embedding.faults():
            yield ("embedding", field), message

    def faults_of_rows(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yields that rows of numbers have no steps."""
        yield (), "`sequence` needs columns of texts (`data.source.text`) or series, but the source gives rows of numbers"

    def against_overfitting(self) -> list[Change]:
        """Returns dropout before the output."""
        return [("add dropout before the output", "model.head+={kind: dropout, rate: 0.5}")]

    def against_underfitting(self, stages: int) -> list[Change]:
        """Returns one more layer."""
        return [("one more hidden layer", "model.head+={kind: dense, units: 64, activation: relu}")]

    def stack(self, shape: Shape) -> list[tuple[LayerSpec, tuple[str | int, ...]]]:
        """Returns the layers for series of this shape, what reduces their steps, and the head."""
        stack: list[tuple[LayerSpec, tuple[str | int, ...]]] = [
            (layer, ("layers", place)) for place, layer in enumerate(self.layers)
        ]
        end = chain_or_none(list(self.layers), shape)
        if end is not None and len(end) == 2:
            stack.append((GlobalMaxPooling1D(kind="global_max_pooling1d"), ()))
        return [*stack, *((layer, ("head", place)) for place, layer in enumerate(self.head))]

    def lines_of_vocabulary(self, vocabulary: Sequence[str]) -> list[str]:
        """Returns lines on the vectors of a vocabulary, whose tokens are in the order of their numbers."""
        return self.embedding.lines(vocabulary)

    def resolved(self, *, offline: bool) -> "SequenceModel":
        """Returns the model with the size of the vectors of its file."""
        embedding = self.embedding.resolved()
        return self if embedding is self.embedding else self.model_copy(update={"embedding": embedding})

    def check_texts(self, max_length: int) -> None:
        """Raises ShapeError if a layer cannot take texts of so many tokens, such as a window that is longer than they are."""
        chain_shape(list(self.layers), (max_length, self.embedding.channels), ("layers",))

    def batch_lengths(self, max_length: int) -> list[int]:
        """Returns a few lengths, each of which XLA compiles once; `max_length` alone if a layer needs texts of one length."""
        if any(layer.needs_one_length() for layer in self.layers):
            return [max_length]
        step = -(-max_length // _LENGTHS)
        return [length for length in range(max_length, 0, -step) if self._takes(length)][::-1]

    def _takes(self, length: int) -> bool:
        try:
            self.check_texts(length)
        except ShapeError:
            return False
        return True

    def of_columns(self, columns: "EncodedColumns", rows: Any, *, load_weights: bool = True) -> Any:
        """Returns the output for a table with columns of texts."""
        import keras

        outputs: list[Any] = []
        for kind, part in columns.parts(rows):
            if not kind.is_text:
                outputs.append(kind.trained(part))
                continue
            vocabularies = columns.vocabularies
            for number, (name, vocabulary) in enumerate(vocabularies.items()):
                tokens = keras.ops.cast(part[:, number :: len(vocabularies)], "int32")
                outputs.append(self._of_text(tokens, vocabulary, name, load_weights=load_weights))
        tensor = outputs[0] if len(outputs) == 1 else keras.layers.Concatenate(name="columns_")(outputs)
        return chain(list(self.head), tensor)

    def _of_text(self, tokens: Any, vocabulary: Sequence[str], name: str, *, load_weights: bool) -> Any:
        """Returns the output of `layers` for numbers of tokens int32 `(batch, steps)`."""
        import keras

        from dlcli.runtime.tokens import PADDING

        vectors = self.embedding.apply(tokens, vocabulary, f"{name}_embedding", load_weights=load_weights)
        return self._without_steps(vectors, keras.ops.not_equal(tokens, PADDING))

    def apply_padded(self, tensor: Any) -> Any:
        """Returns the output for series `(batch, steps, channels)` whose steps after the end are NaN."""
        import keras

        mask = keras.ops.logical_not(keras.ops.any(keras.ops.isnan(tensor), axis=-1))
        return chain(list(self.head), self._without_steps(zeroed(tensor, mask), mask))

    def _without_steps(self, tensor: Any, mask: Any) -> Any:
        """Returns the output of `layers` for padded sequences, with its steps reduced to their largest values."""
        tensor, mask = masked_chain(list(self.layers), tensor, mask)
        return tensor if mask is None else GlobalMaxPooling1D(kind="global_max_pooling1d").apply_masked(tensor, mask)[0]
