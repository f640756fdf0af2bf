"""Augmentations of the rows of a table."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.base import NotNegative
from dlcli.spec.data.augmentations.base import AugmentationSpec, NumberFeatures

if TYPE_CHECKING:
    from dlcli.arrays import Array


class ColumnNoise(AugmentationSpec):
    """Adds random noise to the columns of numbers of a table; categories are left as they are."""

    inputs: ClassVar[Literal["images", "columns"]] = "columns"
    kind: Literal["column_noise"]
    stddev: NotNegative = Field(
        description="Standard deviation of the noise, in units of the column's deviation on the training split."
    )
    columns: list[str] | None = Field(default=None, description="Columns that get noise; all columns of numbers if not set.")

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns rows `(batch, columns)` of deviation 1 with noise."""
        return _with_noise(images, self.stddev, seed)

    def fitted(self, features: NumberFeatures, width: int) -> Any:
        """Returns the augmentation for encoded rows `(batch, width)`.

        Raises:
            DataError: `columns` has a name that is no column of numbers.
        """
        import numpy as np

        for name in self.columns or ():
            if name not in features:
                near = get_close_matches(name, features, 1)
                guess = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(list(features)[:20]) or 'none'}"
                raise DataError(f"column_noise.columns: `{name}` is no column of numbers; {guess}")
        stddev = np.zeros(width, "float32")
        for name in features if self.columns is None else self.columns:
            place, deviation = features[name]
            stddev[place] = self.stddev * deviation
        return RowNoise(stddev)


@dataclass(frozen=True)
class RowNoise:
    """Noise for encoded rows; `stddev` `(features,)` is the deviation of each feature."""

    stddev: "Array"
    kind: str = "column_noise"
    mixes_labels: bool = False

    def augment(self, rows: Any, seed: Any) -> Any:
        """Returns rows `(batch, features)` with noise."""
        return _with_noise(rows, self.stddev, seed)


def _with_noise(rows: Any, stddev: Any, seed: Any) -> Any:
    import keras

    return rows + keras.random.normal(keras.ops.shape(rows), seed=seed) * stddev
