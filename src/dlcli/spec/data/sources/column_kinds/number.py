"""Columns of numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from dlcli.runtime.column_kinds import CellForm, ColumnKind, Dtype, Encoding, Normalize, ReadCells, joined

if TYPE_CHECKING:
    from dlcli.arrays import Array


class NumberColumn(ColumnKind):
    """Numbers, float32 with NaN for gaps.

    They are scaled by constants of the training split; gaps become the mean, and each column with gaps there has a further
    feature 0/1 `missing`. The features are the scaled numbers of all columns, then the indicators of gaps.
    """

    name: ClassVar[str] = "number"
    plural: ClassVar[str] = "numbers"
    dtype: ClassVar[Dtype] = "float32"
    is_numeric: ClassVar[bool] = True
    is_quantity: ClassVar[bool] = True
    can_share_input: ClassVar[bool] = True
    setting: ClassVar[str] = "numeric"
    gap_replacement: ClassVar[str] = "the mean"
    exported_as: ClassVar[str] = "float32, NaN if missing"

    def read(self, cells: Array, form: CellForm) -> ReadCells:
        """Returns the numbers of cells, NaN where a cell is a gap or not a number."""
        import numpy as np

        from dlcli.spec.data.sources.table.contents import gaps_in, numbers_in

        exact = numbers_in(
            cells, decimal=form.decimal, thousands=form.thousands, decorated=form.decorated, revision=form.revision
        )
        with np.errstate(over="ignore"):
            values = exact.astype("float32")
        return ReadCells(values, (np.isnan(exact) & ~gaps_in(cells)) | np.isinf(values), exact)

    def fits(self, read: ReadCells) -> bool:
        """Whether all cells are numbers; numbers that are too large for float32 are refused later, by name."""
        import numpy as np

        return not (read.unreadable & np.isnan(read.values)).any()

    def fault(self, cell: str, form: CellForm) -> str:
        """Returns what is wrong with a cell, and the remedy where it is written unlike the table's other numbers."""
        return f"{cell[:60]!r} is not a number, or too large{decimal_hint(form.decimal, cell)}"

    def refusal(self, cells: Array, read: ReadCells, form: CellForm, *, in_training: bool) -> str:
        """Returns the most frequent cells that are not numbers, or the first one that is too large."""
        import numpy as np

        from dlcli.spec.data.sources.table.reader import counted_rows

        not_numbers = read.unreadable & np.isnan(read.values)
        if not not_numbers.any():
            return f"contains {cells[read.unreadable][0]}, which is infinite or too large"
        examples = Counter(cells[not_numbers].tolist()).most_common(3)
        listed = ", ".join(
            f"{value!r} in {counted_rows(count)}" if len(examples) > 1 else repr(value) for value, count in examples
        )
        if in_training:
            return f"is `numeric`, but contains {listed}; list marks of missing values in `missing`"
        hint = decimal_hint(form.decimal, examples[0][0]) or "; if it marks a missing value, list it in `data.source.missing`"
        return f"is numeric in the training file, but contains {listed} here{hint}"

    def gaps(self, values: Array) -> Array:
        """Returns which values are NaN."""
        import numpy as np

        gaps: Array = np.isnan(values.astype("float64"))
        return gaps

    def typical(self, values: Array) -> float:
        """Returns the median; 0 for a column of gaps only."""
        import numpy as np

        present = values[~np.isnan(values)]
        return float(f"{np.median(present):.6g}") if len(present) else 0.0

    def encode(self, tensors: list[Any], columns: list[Array], encoding: Encoding) -> list[Any]:
        """Returns the scaled numbers, and the indicators of gaps for columns with gaps."""

        from dlcli.upstream.keras import import_keras

        keras = import_keras()
        offset, spread, mean = _scale(columns, encoding.normalize)
        raw = joined(tensors, "numbers_")
        is_gap = keras.ops.isnan(raw)
        # Gaps are filled before scaling: a NaN would make the gradient NaN even in the branch that `where` drops.
        filled = keras.ops.where(is_gap, mean.astype("float32"), raw)
        # The offset is subtracted first: `Rescaling` alone computes x * scale + offset, which loses digits of large, close
        # numbers. `Normalization` alone clips deviations at 1e-7.
        centred = keras.layers.Normalization(mean=offset.tolist(), variance=[1.0] * len(offset), dtype="float32")(filled)
        scaled = keras.layers.Rescaling((1 / spread).tolist(), dtype="float32")(centred)
        with_gaps = [place for place, values in enumerate(columns) if _gaps(values)]
        if not with_gaps:
            return [scaled]
        return [scaled, keras.ops.cast(keras.ops.take(is_gap, with_gaps, axis=1), "float32")]


def decimal_hint(decimal: str, cell: str) -> str:
    """Returns the remedy for a number that is not written like the file's other numbers."""
    from dlcli.spec.data.sources.table.cells import plain_number

    if decimal == "," and "." in cell and plain_number(cell, ",", "."):
        return "; beside decimal commas, a dot can only separate thousands: `thousands: '.'`"
    if decimal == "." and "," in cell and plain_number(cell, ",", None):
        return "; if it is a decimal comma, set `decimal: ','`"
    return ""


_BLOCK_ROWS = 65_536


def _scale(columns: list[Array], normalize: Normalize) -> tuple[Array, Array, Array]:
    """Returns the offset and the divisor of each column, and its mean, computed without gaps.

    The rows are added in their order, block by block, so that a large table needs no copy; the sums have the bits of a sum
    over the whole table.
    """
    import numpy as np

    rows = len(columns[0])
    counts = np.maximum(rows - np.array([_gaps(values) for values in columns]), 1)
    mean = _sum(columns, lambda table, gaps: np.where(gaps, 0, table)) / counts
    if normalize == "none":
        return np.zeros_like(mean), np.ones_like(mean), mean
    if normalize == "standard":
        deviation = np.sqrt(_sum(columns, lambda table, gaps: np.where(gaps, 0, table - mean) ** 2) / counts)
        return mean, _not_zero(deviation), mean
    limits = [(filled.min(axis=0), filled.max(axis=0)) for filled in (np.where(gap, mean, x) for x, gap in _blocks(columns))]
    lowest, highest = np.min([low for low, _ in limits], axis=0), np.max([high for _, high in limits], axis=0)
    if normalize == "unit":
        return lowest, _not_zero(highest - lowest), mean
    return (lowest + highest) / 2, _not_zero((highest - lowest) / 2), mean


def _gaps(values: Array) -> int:
    """Returns the number of gaps of a column."""
    import numpy as np

    return sum(int(np.isnan(values[start : start + _BLOCK_ROWS]).sum()) for start in range(0, len(values), _BLOCK_ROWS))


def _blocks(columns: list[Array]) -> Iterator[tuple[Array, Array]]:
    """Yields the rows of columns as float64 `(rows, columns)`, with their gaps; a single column as one block."""
    import numpy as np

    rows = len(columns[0]) if len(columns) == 1 else _BLOCK_ROWS  # NumPy adds the numbers of one column in another order
    for start in range(0, len(columns[0]), rows):
        table = np.stack([values[start : start + rows].astype("float64") for values in columns], axis=1)
        yield table, np.isnan(table)


def _sum(columns: list[Array], terms: Callable[[Array, Array], Array]) -> Array:
    """Returns the sum of the terms of all rows for each column."""
    import numpy as np

    total: Array | None = None
    for table, gaps in _blocks(columns):
        block = terms(table, gaps)
        total = block.sum(axis=0) if total is None else np.concatenate([total[None], block]).sum(axis=0)
    assert total is not None
    return total


def _not_zero(spread: Array) -> Array:
    import numpy as np

    return np.where(spread > 0, spread, 1.0)
