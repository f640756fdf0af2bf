"""How a `sequence` model turns tokens into vectors."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from dlcli.spec.base import Count, OneOf, Positive, Spec
from dlcli.spec.paths import FilePath
from dlcli.visible import listed

_SHOWN = 5


class EmbeddingSpec(Spec):
    """How tokens become vectors."""

    kind: str

    @property
    def channels(self) -> int:
        """The size of the vectors.

        Raises:
            DataError: its file cannot be read.
        """
        raise NotImplementedError

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields what is wrong with its files, as (field, message)."""
        yield from ()

    def resolved(self) -> "EmbeddingSpec":
        """Returns the embedding with every value filled in that is read from its files; itself if there is none.

        Raises:
            DataError: its file cannot be read.
        """
        return self

    def lines(self, vocabulary: Sequence[str]) -> list[str]:
        """Returns lines on the vectors of a vocabulary, whose tokens are in the order of their numbers.

        Raises:
            DataError: its file cannot be read.
        """
        return []

    def apply(self, tokens: Any, vocabulary: Sequence[str], name: str, *, load_weights: bool) -> Any:
        """Returns vectors `(batch, steps, channels)` of tokens.

        Args:
            tokens: numbers of tokens, int32 `(batch, steps)`.
            vocabulary: the tokens by their numbers, from that of padding.
            name: the name of the layer.
            load_weights: whether the values of its file are needed; if not, other weights will take their place.
        """
        raise NotImplementedError


class TrainedEmbedding(EmbeddingSpec):
    """A vector for each token, learned from random values."""

    kind: Literal["trained"]
    output_dim: Count = Field(default=64, description="Size of the vectors.")

    @property
    def channels(self) -> int:
        """The size of the vectors."""
        return self.output_dim

    def apply(self, tokens: Any, vocabulary: Sequence[str], name: str, *, load_weights: bool) -> Any:
        """Returns learned vectors."""
        import keras

        return keras.layers.Embedding(len(vocabulary), self.output_dim, name=name)(tokens)


class PretrainedEmbedding(EmbeddingSpec):
    """Vectors from a text file of GloVe, word2vec or fastText: a token and its numbers in each line.

    The file is read once, line by line, and only the vectors of the vocabulary are kept. They are scaled so that the standard
    deviation of their values is `stddev`. Tokens without a vector in the file start from zeros.
    """

    kind: Literal["pretrained"]
    path: FilePath = Field(description="Text file of vectors, also compressed by gzip.")
    trainable: bool = Field(default=True, description="Whether training changes the vectors.")
    stddev: Positive | None = Field(
        default=0.2, description="Standard deviation of the values after scaling; `null`: the values of the file."
    )

    output_dim: Count | None = Field(
        default=None, description="Size of the vectors. A run records that of its file, which then need not be read again."
    )

    @property
    def channels(self) -> int:
        """The size of the vectors in the file."""
        from dlcli.runtime.vectors import vector_size

        return self.output_dim or vector_size(self.path)

    def resolved(self) -> "PretrainedEmbedding":
        """Returns the embedding with the size of the vectors in the file."""
        return self if self.output_dim else self.model_copy(update={"output_dim": self.channels})

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a missing file."""
        if not Path(self.path).is_file():
            yield "path", f"{self.path} is a folder, not a file" if Path(self.path).is_dir() else f"no file {self.path}"

    def lines(self, vocabulary: Sequence[str]) -> list[str]:
        """Returns how many tokens have a vector in the file, and the most frequent ones that have none."""
        from dlcli.runtime.vectors import FIRST, read_vectors

        missing = read_vectors(self.path, vocabulary, self.stddev, self.output_dim).missing
        count = len(vocabulary) - FIRST
        without = f"; the most frequent without: {listed(missing[:_SHOWN])}" if missing else ""
        return [f"vectors: {count - len(missing):,} of {count:,} tokens have a vector in {self.path}{without}"]

    def apply(self, tokens: Any, vocabulary: Sequence[str], name: str, *, load_weights: bool) -> Any:
        """Returns the vectors of the file, as initial values if they are trained."""
        import keras

        from dlcli.runtime.vectors import read_vectors

        layer = keras.layers.Embedding(len(vocabulary), self.channels, trainable=self.trainable, name=name)
        output = layer(tokens)
        if load_weights:
            layer.set_weights([read_vectors(self.path, vocabulary, self.stddev, self.output_dim).values])
        return output


Embedding = Annotated[TrainedEmbedding | PretrainedEmbedding, OneOf("Embedding")]
