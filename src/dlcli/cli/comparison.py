"""What `dlcli runs compare` shows: the runs under letters, what differs in their specs, scores, and what tells them apart."""

from __future__ import annotations

import string
from dataclasses import asdict
from typing import Any

from rich.table import Table

from dlcli.cli.console import PlainConsole, results_console
from dlcli.cli.tables import with_interval
from dlcli.runs import RunFolder
from dlcli.runs.compare import Comparison, Score
from dlcli.score.compare import SIGNIFICANT, Pairing, sentence
from dlcli.spec.load import to_flow


def comparison_as_dict(comparison: Comparison, pairings: list[Pairing]) -> dict[str, Any]:
    """Returns a comparison as plain data; `tests` holds a row for every run but the first and every metric."""
    scores = comparison.scores.items()
    return {
        "runs": [run.id for run in comparison.runs],
        "split": comparison.split,
        "differences": comparison.differences,
        "scores": {name: [entry and entry["value"] for entry in entries] for name, entries in scores},
        "intervals": {name: [entry and entry.get("interval") for entry in entries] for name, entries in scores},
        "tests": [test for pairing in pairings for test in _tests(pairing)],
        "notes": _notes(pairings),
    }


def _tests(pairing: Pairing) -> list[dict[str, Any]]:
    first, other = pairing.first.id, pairing.other.id
    return [
        {"run": other, "against": first, "examples": pairing.examples, "difference": difference.difference}
        | asdict(difference)
        | {"sentence": sentence(difference, first, other)}
        for difference in pairing.differences
    ]


def _notes(pairings: list[Pairing]) -> list[str]:
    return list(dict.fromkeys(note for pairing in pairings for note in pairing.notes))


def show_comparison(comparison: Comparison, pairings: list[Pairing]) -> None:
    """Prints what differs in the specs, the scores, and for every run how it differs from the first."""
    console, letters = results_console(), _letters(comparison.runs)
    for run, letter in zip(comparison.runs, letters, strict=True):
        console.print(f"{letter} = {run.id}", soft_wrap=True)
    console.print()
    _show_specs(console, comparison, letters)
    _show_scores(console, comparison, letters)
    shown_notes: set[str] = set()
    for pairing, letter in zip(pairings, letters[1:], strict=True):
        _show_pairing(console, pairing, letters[0], letter)
        for note in [note for note in pairing.notes if note not in shown_notes]:
            console.print(f"  note: {note}", soft_wrap=True)
        shown_notes |= {*pairing.notes}
    tested = sum(difference.verdict != "same" for pairing in pairings for difference in pairing.differences)
    if tested * SIGNIFICANT >= 1:
        chance = f"about {tested * SIGNIFICANT:.0f} of them would be significant by chance"
        console.print(f"note: {tested} differences were tested; without a real difference, {chance}", soft_wrap=True)


def _show_pairing(console: PlainConsole, pairing: Pairing, first: str, other: str) -> None:
    on = f"on the same {pairing.examples:,} {pairing.title} examples:" if pairing.differences else "not tested"
    console.print(f"{other} against {first}, {on}")
    for difference in pairing.differences:
        console.print(f"  {sentence(difference, first, other)}", soft_wrap=True)


def _letters(runs: list[RunFolder]) -> list[str]:
    """Returns what each run is called here: A, B, ...; by numbers where there are more than letters."""
    if len(runs) <= len(string.ascii_uppercase):
        return list(string.ascii_uppercase[: len(runs)])
    return [f"#{number}" for number in range(1, len(runs) + 1)]


def _show_specs(console: PlainConsole, comparison: Comparison, letters: list[str]) -> None:
    if not comparison.differences:
        console.print("The specs are the same.")
        return
    console.print("Differences between the specs:")
    table = Table("field", *letters)
    for column in table.columns:
        column.overflow = "fold"
    for key, values in comparison.differences.items():
        table.add_row(key, *(str(value) if isinstance(value, str) else to_flow(value) for value in values))
    console.print(table)


def _show_scores(console: PlainConsole, comparison: Comparison, letters: list[str]) -> None:
    if not comparison.scores:
        return
    has_intervals = any(entry and entry.get("interval") for entries in comparison.scores.values() for entry in entries)
    console.print(f"Scores on {comparison.title}{', with 95 % intervals' if has_intervals else ''}:")
    table = Table("metric")
    for letter in letters:
        table.add_column(letter, justify="right", overflow="fold")
    for name, entries in comparison.scores.items():
        table.add_row(name, *(with_interval(*_value(entry)) for entry in entries))
    console.print(table)


def _value(entry: Score | None) -> tuple[float | None, list[float] | None]:
    return (entry["value"], entry.get("interval")) if entry else (None, None)
