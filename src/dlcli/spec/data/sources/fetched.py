"""What the sets in scikit-learn's data home have in common: its place, their columns, and their download."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from dlcli.errors import DataError, Interrupted
from dlcli.spec.data.sources.base import Examples, Opened, Request, SourceSpec, row_ids, with_dropped
from dlcli.spec.data.sources.named_columns import input_faults, lacking_columns, text_faults

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.column_kinds import ColumnKind

_SHARE = 0.5
"""Share of the free memory that the content of a file may take."""


class FetchedSource(SourceSpec):
    """A set that scikit-learn fetches into its data home, and whose examples are images or rows of named columns."""

    if TYPE_CHECKING:  # the fields of every such source
        kind: str
        name: str
        features: Literal["all"] | list[str]
        drop: list[str]
        data_home: str | None

    @property
    def home(self) -> Path:
        """The data home: `data_home`, `SCIKIT_LEARN_DATA`, or scikit-learn's own default."""
        place = self.data_home or os.environ.get("SCIKIT_LEARN_DATA") or "~/scikit_learn_data"
        return Path(place).expanduser()

    @property
    def targets(self) -> list[str]:
        """The columns with labels, as far as they are known without opening the set."""
        raise NotImplementedError

    @property
    def texts(self) -> list[str]:
        """The columns of texts."""
        return []

    def header(self) -> tuple[str, ...] | None:
        """Returns the columns of the set, among them the targets; None if they are unknown without a download."""
        raise NotImplementedError

    def feature_names(self, header: tuple[str, ...]) -> list[str]:
        """Returns the columns that the model sees."""
        if isinstance(self.features, list):
            return list(dict.fromkeys(self.features))
        return [name for name in header if name not in {*self.targets, *self.drop}]

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields columns that the set does not have, and a set without inputs."""
        header = self.header()
        if header is None:
            return
        fields = {"features": self.features if isinstance(self.features, list) else [], "drop": self.drop, "text": self.texts}
        if isinstance(target := getattr(self, "target", None), (str, list)):
            fields["target"] = [target] if isinstance(target, str) else target
        yield from lacking_columns("the set", header, fields)
        if header:
            features = self.feature_names(header)
            yield from input_faults(features, self.targets)
            yield from text_faults(self.texts, header, features)

    def side_columns(self) -> tuple[str, ...] | None:
        """Returns the columns of the set; None if they are unknown without a download."""
        return self.header()

    def without_inputs(self, columns: tuple[str, ...]) -> Self:
        """Returns the source that drops these columns, unless `features` or `text` lists them."""
        return with_dropped(self, columns, self.texts)

    def download(self, function: str, **arguments: Any) -> None:
        """Has scikit-learn's own function download the set into the data home; what it prints goes to stderr.

        Raises:
            DataError: it fails.
        """
        import sys
        import warnings

        from dlcli.upstream.sklearn import import_sklearn

        import_sklearn()
        from sklearn import datasets

        try:
            with redirect_stdout(sys.stderr), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of attempts that fail, and of sets that OpenML finds doubtful
                getattr(datasets, function)(data_home=str(self.home), n_retries=1, **arguments)
        except Interrupted:
            raise
        except Exception as error:
            raise self.unavailable(f"its download failed: {_reason(error)}") from None

    def unavailable(self, reason: str) -> DataError:
        """Returns the error for a set that cannot be had."""
        return DataError(
            f"the {self.kind} set {self.name} is not available: {reason}\n"
            f"  cached data is looked for in {self.home} (SCIKIT_LEARN_DATA, or `data.source.data_home`, names another place)\n"
            "  configs/digits_cnn.yaml trains on real images without any download"
        )

    def opened(
        self, columns: Mapping[str, Array], labels: tuple[Array, tuple[str, ...]], request: Request, notes: tuple[str, ...] = ()
    ) -> Opened:
        """Returns all rows of a table as one part.

        Args:
            columns: those of inputs and targets by name, numbers `(n,)`, or text objects `(n,)` with None for gaps.
            labels: the targets and the names of classes or targets, as `labels_of` returns them.
            request: the request.
            notes: what was left out.
        """
        from dlcli.runtime.inputs import TableColumns
        from dlcli.spec.data.sources.column_kinds import kinds_of
        from dlcli.spec.data.sources.table.facts import ColumnFact, summary

        names = self.feature_names(tuple(columns))
        inputs = {name: _as_input(columns[name], name, is_text=name in self.texts) for name in names}
        kinds = kinds_of(inputs, self.texts)
        targets, label_names = labels
        side_columns = {name: columns[name] for name in request.side_columns if name in columns}
        examples = Examples(TableColumns(inputs, kinds), targets, row_ids("train", len(targets)), side_columns)
        facts = [_fact(name, inputs[name], kinds[name]) for name in names]
        why = "data.source.drop" if self.features == "all" else "not in data.source.features"
        facts += [ColumnFact(name, "dropped", why=why) for name in columns if name not in {*inputs, *self.targets}]
        facts += [ColumnFact(name, "target") for name in self.targets]
        lines = (f"table: {self.kind} {self.name}, {len(targets):,} rows", f"columns: {summary(facts)}")
        column_facts = [fact.as_json() for fact in facts]
        return Opened({"train": examples}, label_names, notes, lines, column_facts=column_facts)


def most_bytes(copies: int = 1) -> int:
    """Returns the most bytes that the content of a file may have which takes so many times as much memory once it is read."""
    from dlcli.runtime.free_memory import free_memory

    return int(_SHARE * free_memory() / copies)


def _as_input(values: Array, name: str, *, is_text: bool) -> Array:
    """Returns a column as a model takes it: float32 with NaN for gaps, or text objects with "" for gaps.

    The usual marks of missing values are gaps, as in a CSV file: the rows of a prediction come from one.

    Raises:
        DataError: a number is infinite, or too large for float32; or a column of texts has numbers.
    """
    import numpy as np

    if values.dtype == object:
        from dlcli.runtime.column_kinds import CellForm
        from dlcli.spec.data.sources.column_kinds import CATEGORY, TEXT
        from dlcli.spec.data.sources.table.cells import filled_text

        texts = {text: filled_text(text) for text in set(values.tolist())}
        cells = np.array([texts[text] for text in values.tolist()], dtype=object)
        return (TEXT if is_text else CATEGORY).read(cells, CellForm()).values
    if is_text:
        raise DataError(f"column `{name}` has numbers, not texts; take it out of `data.source.text`")
    with np.errstate(over="ignore"):
        numbers = values.astype("float32")
    if np.isinf(numbers).any():
        row = int(np.isinf(numbers).argmax())
        raise DataError(f"column `{name}` contains a number in row {row} (counted from 0) that is infinite or too large")
    return numbers


def _fact(name: str, values: Array, kind: ColumnKind) -> Any:
    """Returns what a column became."""
    import numpy as np

    from dlcli.spec.data.sources.table.facts import ColumnFact

    if values.dtype != object:
        return ColumnFact(name, kind.name, None, int(np.isnan(values).sum()))
    gaps = int(kind.gaps(values).sum())
    return ColumnFact(name, kind.name, len(set(values.tolist())) - (gaps > 0) if kind.has_categories else None, gaps)


def _reason(error: Exception) -> str:
    """Returns the first line of an error, and a question where the network failed."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{line}; is there a network?" if isinstance(error, OSError) else line
