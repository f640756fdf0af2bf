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

    def lines(self, vocabulary: Sequence[str]) -> list[str]:
        """Returns lines on the vectors of a vocabulary, whose tokens are in the order of their numbers.

        Raises:
            DataError: its file cannot be read.
        """
        return []

    def apply(self, tokens: Any, vocabulary: Sequence[str], name: str) -> Any:
        """Returns vectors `(batch, steps, channels)` of tokens.

        Args:
            tokens: numbers of tokens, int32 `(batch, steps)`.
            vocabulary: the tokens by their numbers, from that of padding.
            name: the name of the layer.
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

    def apply(self, tokens: Any, vocabulary: Sequence[str], name: str) -> Any:
        """Returns learned vectors."""
        import keras

        return keras.layers.Embedding(len(vocabulary), self.output_dim, name=name)(tokens)


class PretrainedEmbedding(EmbeddingSpec):
    """Vectors from a text file of GloVe, word2vec or fastText: a token and its numbers in each line.

    The file is read once, line by line, and only the vectors of the vocabulary are kept. Tokens without a vector get random
    ones of the same scale. Vectors are scaled so that the standard deviation of their values is `stddev`.
    """

    kind: Literal["pretrained"]
    path: FilePath = Field(description="Text file of vectors, also compressed by gzip.")
    trainable: bool = Field(default=True, description="Whether training changes the vectors.")
    stddev: Positive | None = Field(
        default=0.1, description="Standard deviation of the values after scaling; `null`: the values of the file."
    )

    @property
    def channels(self) -> int:
        """The size of the vectors in the file."""
        from dlcli.runtime.vectors import vector_size

        return vector_size(self.path)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a missing file."""
        if not Path(self.path).is_file():
            yield "path", f"{self.path} is a folder, not a file" if Path(self.path).is_dir() else f"no file {self.path}"

    def lines(self, vocabulary: Sequence[str]) -> list[str]:
        """Returns how many tokens have a vector in the file, and the most frequent ones that have none."""
        from dlcli.runtime.vectors import FIRST, read_vectors

        missing = read_vectors(self.path, vocabulary, self.stddev).missing
        count = len(vocabulary) - FIRST
        without = f"; the most frequent without: {listed(missing[:_SHOWN])}" if missing else ""
        return [f"vectors: {count - len(missing):,} of {count:,} tokens have a vector in {self.path}{without}"]

    def apply(self, tokens: Any, vocabulary: Sequence[str], name: str) -> Any:
        """Returns the vectors of the file, as initial values if they are trained."""
        import keras

        from dlcli.runtime.vectors import read_vectors

        vectors = read_vectors(self.path, vocabulary, self.stddev).values
        layer = keras.layers.Embedding(*vectors.shape, trainable=self.trainable, name=name)
        output = layer(tokens)
        layer.set_weights([vectors])
        return output


Embedding = Annotated[TrainedEmbedding | PretrainedEmbedding, OneOf("Embedding")]
