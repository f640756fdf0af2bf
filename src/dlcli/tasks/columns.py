"""The columns of a table of predictions: how an output type reads back what it wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from dlcli.errors import DamagedFile

if TYPE_CHECKING:
    from dlcli.arrays import Array

# With more classes, a matrix or a column of probabilities per class would be larger than the rest of the run folder.
MANY_CLASSES = 1000


@dataclass(frozen=True)
class StoredPredictions:
    """Labels and predictions as a table holds them.

    Attributes:
        names: the names of classes, labels or targets.
        truth: the targets.
        scores: the scores; None where the table has only the decisions.
        predicted: the decisions where scores are None.
    """

    names: tuple[str, ...]
    truth: Array
    scores: Array | None
    predicted: Array | None = None


@dataclass(frozen=True)
class PredictionColumns:
    """The columns of a table by name, with the file that errors name.

    Attributes:
        cells: by name, texts or numbers as objects, or numbers, `(n,)`.
        path: the path of the file, for messages.

    Example:
        >>> import numpy as np
        >>> columns = PredictionColumns({"p_cat": np.array(["0.25", "1"], object)}, "predictions.csv")
        >>> columns.numbers("p_cat").tolist()
        [0.25, 1.0]
    """

    cells: Mapping[str, Array]
    path: str

    def column(self, name: str) -> Array:
        """Returns a column.

        Raises:
            DamagedFile: the table lacks it.
        """
        if name not in self.cells:
            raise DamagedFile(f"{self.path}: lacks the column {name!r}")
        return self.cells[name]

    def numbers(self, name: str) -> Array:
        """Returns a column of finite numbers, float32 `(n,)`.

        Raises:
            DamagedFile: the table lacks it, or has a cell that is not a finite number.
        """
        column = self.column(name)
        try:
            numbers: Array = column.astype("float64").astype("float32")
        except (TypeError, ValueError):
            raise DamagedFile(f"{self.path}: {name}: contains a cell that is not a number") from None
        if not all(map(isfinite, numbers.tolist())):
            raise DamagedFile(f"{self.path}: {name}: contains a number that is not finite")
        return numbers

    def class_numbers(self, name: str, classes: Sequence[str]) -> Array:
        """Returns the class numbers of a column of class names, int64 `(n,)`.

        Raises:
            DamagedFile: the table lacks it, or names another class.
        """
        import numpy as np

        number = {class_name: place for place, class_name in enumerate(classes)}
        names = self.column(name).tolist()
        unknown = next((text for text in names if text not in number), None)
        if unknown is not None:
            raise DamagedFile(f"{self.path}: {name}: the run has no class {str(unknown)[:40]!r}")
        return np.array([number[text] for text in names], dtype="int64")
