"""Real tables with planted faults: each fault changes a table and says which issue it must give."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dlcli.upstream.sklearn import bundled_table

Row = dict[str, str]
TITANIC = ("PassengerId", "Name", "Ticket", "Cabin")
"""Columns that are left out: nearly all their values differ."""


@dataclass
class Table:
    """Rows of text; `test` are those of a second file, if there are any."""

    rows: list[Row]
    numbers: list[str]
    test: list[Row] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        return sorted({row["label"] for row in self.rows})


@dataclass(frozen=True)
class Expected:
    """The kind of the issue, and what it must name: a column, or any of the ids."""

    kind: str
    column: str = ""
    ids: frozenset[str] = frozenset()


def bundled(name: str) -> Table:
    """Returns a set that comes with scikit-learn; its classes are `c0`, `c1`, ..."""
    values, labels = bundled_table(name)
    names = [f"x{place}" for place in range(values.shape[1])]
    order = np.random.default_rng(0).permutation(len(values))
    rows = [
        dict(zip(names, map(repr, values[place].tolist()), strict=True)) | {"label": f"c{labels[place]}"}
        for place in order.tolist()
    ]
    return Table(rows, names)


def titanic(folder: Path) -> Table:
    """Returns the passengers of the Titanic with whether they survived."""
    with (folder / "tabular" / "titanic_train.csv").open(newline="") as file:
        rows = [{name: cell for name, cell in row.items() if name not in TITANIC} for row in csv.DictReader(file)]
    for row in rows:
        row["label"] = f"c{row.pop('Survived')}"
    return Table(rows, ["Age", "Fare"])


def write(table: Table, folder: Path) -> Path:
    """Writes the files and a spec for them, and returns the spec."""
    files = {"path": table.rows} | ({"test": table.test} if table.test else {})
    for name, rows in files.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    sources = ", ".join(f"{name}: {name}.csv" for name in files)
    spec = folder / "spec.yaml"
    spec.write_text(
        f"name: planted\ntask: classification\ndata: {{source: {{kind: csv, {sources}, target: label}}}}\n"
        "model: {kind: mlp, units: [4]}\ntraining: {epochs: 1}\n"
    )
    return spec


def _chosen(table: Table, seed: int, share: float) -> list[int]:
    count = max(1, round(share * len(table.rows)))
    return [int(place) for place in np.random.default_rng(seed).permutation(len(table.rows))[:count]]


def _number(table: Table, seed: int) -> str:
    return table.numbers[seed % len(table.numbers)]


def _hold_out(table: Table) -> None:
    """Moves the last 40 % of the rows into a test file."""
    at = round(0.6 * len(table.rows))
    table.test, table.rows = table.rows[at:], table.rows[:at]


def many_gaps(table: Table, seed: int) -> Expected:
    column = _number(table, seed)
    for place in _chosen(table, seed, 0.45):
        table.rows[place][column] = ""
    return Expected("many missing values", column)


def constant(table: Table, seed: int) -> Expected:
    for row in table.rows:
        row["site"] = ("3", "north", "0.0", "A", "2024")[seed % 5]
    return Expected("constant column", "site")


def second_unit(table: Table, seed: int) -> Expected:
    column = _number(table, seed)
    for row in table.rows:
        row["again"] = f"{float(row[column]) * (2.54, 1.8, 1000, 0.4536, 1)[seed % 5] + seed:.9g}" if row[column] else ""
    return Expected("duplicate column", "again")


def row_number(table: Table, seed: int) -> Expected:
    order = np.random.default_rng(seed).permutation(len(table.rows)) if seed % 2 else np.arange(len(table.rows))
    for row, number in zip(table.rows, order.tolist(), strict=True):
        row["case"] = str(1000 * seed + number)
    return Expected("identifier column", "case")


def many_categories(table: Table, seed: int) -> Expected:
    codes = np.random.default_rng(seed).integers(0, min(190, len(table.rows) // 3), len(table.rows))
    for row, code in zip(table.rows, codes.tolist(), strict=True):
        row["postcode"] = f"P{code}x"
    return Expected("high-cardinality category", "postcode")


def known_afterwards(table: Table, seed: int) -> Expected:
    code = {name: f"{(place + seed) % 7 + 1}" for place, name in enumerate(table.classes)}
    words = {name: f"outcome {place}" for place, name in enumerate(table.classes)}
    for row in table.rows:
        row["outcome"] = (words if seed % 2 else code)[row["label"]]
    return Expected("column that reveals the target", "outcome")


def slipped_point(table: Table, seed: int) -> Expected:
    column = _number(table, seed)
    places = [place for place in _chosen(table, seed, 0.2) if table.rows[place][column]][:2]
    middle = np.median([float(row[column]) for row in table.rows if row[column]])
    for place in places:
        table.rows[place][column] = str(-999) if seed % 2 else repr(float(middle) * 100)
    return Expected("outlier", column, frozenset(f"train/{place}" for place in places))


def stored_twice(table: Table, seed: int) -> Expected:
    begin = len(table.rows)
    table.rows += [dict(table.rows[place]) for place in _chosen(table, seed, 0.25)]
    table.rows = [table.rows[place] for place in np.random.default_rng(seed).permutation(len(table.rows)).tolist()]
    assert len(table.rows) > begin
    return Expected("repeated rows across splits")


def two_labels(table: Table, seed: int) -> Expected:
    begin, places = len(table.rows), _chosen(table, seed, 0.04)
    for place in places:
        other = next(name for name in table.classes if name != table.rows[place]["label"])
        table.rows.append(table.rows[place] | {"label": other})
    return Expected("conflicting labels of equal rows", ids=frozenset(f"train/{begin + n}" for n in range(len(places))))


def other_place(table: Table, seed: int) -> Expected:
    column = _number(table, seed)
    values = [float(row[column]) for row in table.rows if row[column]]
    _hold_out(table)
    for row in table.test:
        row[column] = repr(float(row[column]) + 2 * float(np.std(values))) if row[column] else ""
    return Expected("drift between splits", column)


def absent_class(table: Table, seed: int) -> Expected:
    name = table.classes[seed % len(table.classes)]
    _hold_out(table)
    table.test = [row for row in table.test if row["label"] != name]
    return Expected("class missing from a split")


def other_shares(table: Table, seed: int) -> Expected:
    name = table.classes[seed % len(table.classes)]
    _hold_out(table)
    of_class = [row for row in table.test if row["label"] == name]
    table.test = [*of_class, *[row for row in table.test if row["label"] != name][: len(of_class) // 4]]
    return Expected("targets differ between splits")


def _reduce(table: Table, seed: int, count: int) -> None:
    name = table.classes[seed % len(table.classes)]
    of_class = [row for row in table.rows if row["label"] == name]
    table.rows = [row for row in table.rows if row["label"] != name] + of_class[:count]


def rare_class(table: Table, seed: int) -> Expected:
    _reduce(table, seed, 3)
    return Expected("class with too few examples")


def imbalance(table: Table, seed: int) -> Expected:
    _reduce(table, seed, len(table.rows) // 40 + 2)
    return Expected("class imbalance")


def two_spellings(table: Table, seed: int) -> Expected:
    name = table.classes[seed % len(table.classes)]
    for place in _chosen(table, seed, 0.5):
        if table.rows[place]["label"] == name:
            table.rows[place]["label"] = name.upper()
    return Expected("classes that may mean the same")


FAULTS: dict[str, Callable[[Table, int], Expected]] = {
    function.__name__: function
    for function in (
        *(many_gaps, constant, second_unit, row_number, many_categories, known_afterwards, slipped_point, stored_twice),
        *(two_labels, other_place, absent_class, other_shares, rare_class, imbalance, two_spellings),
    )
}
