"""The interface of the kinds of `data.balance`, and the kind that changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from dlcli.spec.base import Spec
from dlcli.visible import visible

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.inputs import Inputs

MOST_NAMED = 5


@dataclass(frozen=True)
class ClassCounts:
    """How many training examples each class or label has.

    Attributes:
        names: the classes or labels.
        counts: the training examples of each.
        examples: all training examples.
        of_labels: whether an example may have any number of the names.
    """

    names: Sequence[str]
    counts: Sequence[int]
    examples: int
    of_labels: bool = False


class BalanceSpec(Spec):
    """How a training treats classes of different frequency; validation and test examples are never changed."""

    kind: str
    weights_loss: ClassVar[bool] = False
    """Whether it gives examples different weights in the minimised loss."""
    resamples: ClassVar[bool] = False
    """Whether an epoch has more or fewer examples than the training split."""
    adds_rows: ClassVar[bool] = False
    """Whether it adds synthetic rows to a table (`with_synthetic`), so that examples must be rows of one class each."""

    @property
    def is_active(self) -> bool:
        """Whether it changes the training."""
        return self.weights_loss or self.resamples

    @property
    def calibration_note(self) -> str:
        """A sentence on how it shifts predicted probabilities; empty if it does not."""
        if not self.is_active:
            return ""
        return (
            f"The training was balanced (data.balance: {self.kind}): probabilities of rare classes are higher than their"
            " frequency."
        )

    @property
    def missing(self) -> str:
        """The message on what must be installed for it; empty if nothing is missing."""
        return ""

    @property
    def named_weights(self) -> Mapping[str, Any]:
        """The weights that the spec names, by class or label."""
        return {}

    def refuse_unfit(self, inputs: "Inputs", sizes: Sequence[tuple[str, int, int]]) -> None:
        """Raises DataError if it cannot balance the inputs of the training split; `sizes` are those of `in_words`."""
        return

    def with_synthetic(self, inputs: "Inputs", targets: "Array", sizes: Sequence[int], seed: int) -> "tuple[Inputs, Array]":
        """Returns the training rows followed by synthetic ones, and the classes of all; only where `adds_rows`."""
        raise NotImplementedError

    def resolved(self, counts: ClassCounts) -> Self:
        """Returns the kind with every value filled in that depends on the training split."""
        return self

    def unresolved(self, counts: ClassCounts) -> Self:
        """Returns the kind without values that `resolved` computed from these counts, for other data."""
        return self

    def loss_weights(self, names: Sequence[str], *, of_labels: bool) -> list[Any] | None:
        """Returns the weight of each class, of labels [weight without the label, weight with it]; None without weights."""
        return None

    def sizes(self, groups: Sequence[int]) -> list[int] | None:
        """Returns how many examples of each group an epoch has, for the training examples of each; None for all of them."""
        return None

    def in_words(self, counts: ClassCounts, sizes: Sequence[tuple[str, int, int]]) -> str:
        """Returns what it does, as the rest of a line of the log.

        Args:
            counts: the training examples of each class or label.
            sizes: the name, the training examples and the examples in an epoch of each group whose numbers differ.
        """
        raise NotImplementedError


class NoBalance(BalanceSpec):
    """Every training example once in an epoch, with the same weight."""

    kind: Literal["none"]


def shown_name(name: str) -> str:
    """Returns the name of a class as a log line shows it: quoted, of bounded length and without control characters."""
    return repr(visible(name[:60]))


def first_of(texts: Sequence[str]) -> str:
    """Returns up to five texts as the words of a log line, and how many more there are."""
    return ", ".join(texts[:MOST_NAMED]) + (f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else "")
