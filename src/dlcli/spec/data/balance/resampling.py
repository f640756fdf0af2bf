"""Training examples of rare classes several times in an epoch, or fewer of the others."""

from collections.abc import Sequence
from math import ceil
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dlcli.spec.data.balance.base import BalanceSpec, ClassCounts, first_of, shown_name

Ratio = Annotated[float, Field(gt=0, le=1)]


class ResamplingSpec(BalanceSpec):
    """Another number of training examples of each class in an epoch.

    With several labels for each example, an example belongs to the rarest of its labels; those without a label are a group
    of their own.
    """

    resamples: ClassVar[bool] = True
    ratio: Ratio = Field(default=1.0, description="Size of the smallest class in an epoch relative to the largest one.")

    def in_words(self, counts: ClassCounts, sizes: Sequence[tuple[str, int, int]]) -> str:
        """Returns how many examples of the changed classes an epoch has."""
        if not sizes:
            return f"the training split has this ratio ({self.ratio:g}) already, so nothing changes"
        texts = [f"{size:,} examples of {shown_name(name)} in place of {count:,}" for name, count, size in sizes]
        return (
            f"an epoch has {first_of(texts)}; training columns of the history are of these examples, validation and"
            " test scores of the natural distribution"
        )


class Oversample(ResamplingSpec):
    """Repeats training examples of rare classes in each epoch: each equally often, those that are left over by lot."""

    kind: Literal["oversample"]

    def sizes(self, groups: Sequence[int]) -> list[int]:
        """Returns at least `ratio` times the largest group for each group with examples."""
        return raised_sizes(groups, self.ratio)


class Undersample(ResamplingSpec):
    """Leaves out training examples of frequent classes: each epoch takes the next ones, until all were used."""

    kind: Literal["undersample"]

    def sizes(self, groups: Sequence[int]) -> list[int]:
        """Returns at most the smallest group divided by `ratio` for each group."""
        most = int(min(filter(None, groups)) / self.ratio)
        return [min(count, most) for count in groups]


def raised_sizes(groups: Sequence[int], ratio: float) -> list[int]:
    """Returns at least `ratio` times the largest group for each group with examples."""
    least = ceil(ratio * max(groups))
    return [max(count, least) if count else 0 for count in groups]
