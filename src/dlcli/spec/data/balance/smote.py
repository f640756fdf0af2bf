"""Synthetic rows of rare classes, between a row and its neighbours in the training split."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.base import Count
from dlcli.spec.data.balance.base import BalanceSpec, ClassCounts, first_of, shown_name
from dlcli.spec.data.balance.resampling import Ratio, raised_sizes

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.inputs import Inputs


class Smote(BalanceSpec):
    """Adds synthetic training rows of rare classes to a table (Chawla et al. 2002).

    A row is drawn between a row and one of its nearest neighbours of the same class, by distances in standard deviations.
    A category is the most frequent one of the neighbours (SMOTENC). It needs imbalanced-learn, the extra `balance`.
    """

    resamples: ClassVar[bool] = True
    adds_rows: ClassVar[bool] = True
    kind: Literal["smote"]
    ratio: Ratio = Field(default=1.0, description="Size of the smallest class in an epoch relative to the largest one.")
    k_neighbors: Count = Field(default=5, description="Number of nearest neighbours of the same class.")

    @property
    def missing(self) -> str:
        """The message on how imbalanced-learn is installed; empty if it is."""
        from importlib.util import find_spec

        from dlcli.program import install_command

        if find_spec("imblearn") is not None:
            return ""
        return f"`data.balance: smote` needs imbalanced-learn, which is not installed: {install_command('balance')}"

    def sizes(self, groups: Sequence[int]) -> list[int]:
        """Returns at least `ratio` times the largest class for each class with examples."""
        return raised_sizes(groups, self.ratio)

    def in_words(self, counts: ClassCounts, sizes: Sequence[tuple[str, int, int]]) -> str:
        """Returns how many synthetic rows the changed classes have."""
        if not sizes:
            return f"the training split has this ratio ({self.ratio:g}) already, so nothing changes"
        texts = [f"{size - count:,} synthetic rows of {shown_name(name)} beside {count:,}" for name, count, size in sizes]
        return (
            f"an epoch has {first_of(texts)}; training columns of the history are of all these rows, validation and test"
            " scores of the natural distribution"
        )

    def refuse_unfit(self, inputs: "Inputs", sizes: Sequence[tuple[str, int, int]]) -> None:
        """Checks the training rows and the sizes of `in_words`.

        Raises:
            DataError: they stay on the disk, are no table, have gaps or no numbers, or a class has too few rows for its
                neighbours.
        """
        if not inputs.are_rows:
            raise DataError("data.balance: smote interpolates rows of a table; use `oversample` for images and other arrays")
        if inputs.on_disk:
            raise DataError(
                "data.balance: smote needs all training rows in memory, but those of this table stay on the disk; use"
                " `oversample`, or `data.cache: memory`"
            )
        columns = inputs.table()
        numbers = {name: column for name, column in columns.items() if column.dtype != object}
        if not numbers:
            raise DataError("data.balance: smote needs a column of numbers; use `oversample`")
        _refuse_gaps(numbers)
        for name, count, _ in sizes:
            if count <= self.k_neighbors:
                raise DataError(
                    f"data.balance.k_neighbors: class {shown_name(name)} has {count} training rows, but {self.k_neighbors}"
                    f" neighbours need at least {self.k_neighbors + 1}; set a smaller number or use `oversample`"
                )

    def with_synthetic(self, inputs: "Inputs", targets: "Array", sizes: Sequence[int], seed: int) -> "tuple[Inputs, Array]":
        """Returns the training rows followed by the synthetic ones, and the classes of all.

        Args:
            inputs: the rows of the training split.
            targets: their class numbers `(n,)`.
            sizes: the rows of each class in an epoch.
            seed: the seed of the synthetic rows.
        """
        import numpy as np

        counts = np.bincount(targets, minlength=len(sizes))
        raised = {number: size for number, size in enumerate(sizes) if size > counts[number]}
        if not raised:
            return inputs, targets
        columns = {name: _Column(values) for name, values in inputs.table().items()}
        sampler = self._sampler([column.is_category for column in columns.values()], raised, seed)
        matrix = np.stack([column.numbers for column in columns.values()], axis=1)
        rows, classes = sampler.fit_resample(matrix, targets)
        first = len(targets)
        table = {
            name: np.concatenate([column.values, column.cells(numbers[first:])])
            for (name, column), numbers in zip(columns.items(), rows.T, strict=True)
        }
        return inputs.with_table(table), np.concatenate([targets, classes[first:]])

    def _sampler(self, categorical: list[bool], raised: Mapping[int, int], seed: int) -> Any:
        from dlcli.upstream.sklearn import import_sklearn

        import_sklearn()
        from imblearn.over_sampling import SMOTE, SMOTENC

        settings = {"sampling_strategy": dict(raised), "k_neighbors": self.k_neighbors, "random_state": seed}
        return SMOTENC(categorical, **settings) if any(categorical) else SMOTE(**settings)


class _Column:
    """A column of a table as numbers: in standard deviations, of categories their places among all categories."""

    def __init__(self, values: "Array") -> None:
        import numpy as np

        self.values, self.is_category = values, values.dtype == object
        self.numbers: Array
        if self.is_category:
            self._categories, self.numbers = np.unique(values, return_inverse=True)
        else:
            self._scale = float(values.std(dtype="float64")) or 1.0
            self.numbers = values.astype("float64") / self._scale

    def cells(self, numbers: "Array") -> "Array":
        """Returns numbers as cells of the column."""
        import numpy as np

        if self.is_category:
            return np.asarray(self._categories[np.rint(numbers).astype("int64")])
        values = numbers * self._scale
        return np.asarray((np.rint(values) if self.values.dtype.kind in "iu" else values).astype(self.values.dtype))


def _refuse_gaps(numbers: "Mapping[str, Array]") -> None:
    import numpy as np

    gaps = {name: int((~np.isfinite(column)).sum()) for name, column in numbers.items()}
    name = next((name for name, count in gaps.items() if count), None)
    if name is not None:
        raise DataError(
            f"data.balance: column {shown_name(name)} has {gaps[name]:,} gaps in the training split, which smote cannot"
            " interpolate; use `oversample` or `class_weight`"
        )
