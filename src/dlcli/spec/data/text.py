"""How texts become tokens."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from dlcli.spec.base import Count, Spec

if TYPE_CHECKING:
    from dlcli.runtime.tokens import TokenSettings

Standardize = Literal["lower_and_strip_punctuation", "lower", "strip_punctuation", "none"]
Split = Literal["whitespace", "character", "unicode_words"]
TextBatches = Literal["auto", "by_length", "shuffled"]


class TextSettings(Spec):
    """How the columns of texts become tokens. The vocabulary is that of the training split."""

    max_tokens: Annotated[int, Field(ge=3, lt=2**24)] = Field(
        default=20_000,
        description="Largest size of the vocabulary of a column, with the entries for padding and unknown tokens. The most"
        " frequent tokens of the training split are used.",
    )
    max_length: Literal["auto"] | Count = Field(
        default="auto",
        description=(
            "Number of tokens of a text that the model reads; longer texts are cut at the end, shorter ones padded. `auto`: the"
            " 95th percentile of the lengths in the training split, at most 500."
        ),
    )
    standardize: Standardize = Field(
        default="lower_and_strip_punctuation",
        description="Change of a text before it is split. As in Keras, letters and punctuation outside ASCII stay as they are.",
    )
    split: Split = Field(
        default="whitespace",
        description="`whitespace`: tokens are words between spaces; `character`: each character is a token, as for Chinese;"
        " `unicode_words`: runs of letters and digits are tokens, and each character of scripts without spaces between words,"
        " as for texts that mix Chinese or Thai with English; all other characters separate.",
    )
    batches: TextBatches = Field(
        default="auto",
        description="Which texts are trained on together. `by_length`: those of similar length, padded to the longest of them;"
        " `shuffled`: any, padded to `max_length`; `auto`: `by_length`, unless a layer needs texts of one length. Both are"
        " drawn anew in each epoch.",
    )
    ngrams: Count | None = Field(
        default=None, description="Also tokens of up to so many neighbouring words; single ones if not set."
    )

    def token_settings(self, vocabularies: Mapping[str, tuple[str, ...]] = MappingProxyType({})) -> "TokenSettings":
        """Returns how texts become tokens; the length is 0 while it is not resolved.

        `vocabularies` are the tokens of each input of texts by their numbers.
        """
        from dlcli.runtime.tokens import TokenSettings

        length = 0 if self.max_length == "auto" else self.max_length
        standardize = None if self.standardize == "none" else self.standardize
        return TokenSettings(self.max_tokens, length, standardize, self.split, self.ngrams, vocabularies)
