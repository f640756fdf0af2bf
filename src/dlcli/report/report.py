"""Runs -> one HTML page: of one run in its folder, or of several runs side by side in any file."""

from __future__ import annotations

import os
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dlcli.charts.chart import inlined
from dlcli.charts.learning import overlaid_charts
from dlcli.errors import DlcliError, UsageError
from dlcli.report.page import GENERATOR, page
from dlcli.report.pictures import Budget
from dlcli.report.scored import Score
from dlcli.report.story import PICTURES, Reading, Story, read_story
from dlcli.runs import RunFolder
from dlcli.runs.compare import Comparison, compare_runs
from dlcli.runs.files import write_text
from dlcli.spec.load import to_flow


@dataclass(frozen=True)
class Member:
    """One run of a comparison: its letter, its story, and the address of its own report, if it has one."""

    letter: str
    story: Story
    link: str


def write_report(run: RunFolder, to: Path | None = None) -> Path:
    """Writes a run's page and returns the file: `report.html` in its folder, or another.

    Raises:
        UsageError: another file is in its place.
        DlcliError: the run's status or spec cannot be read.
    """
    path = to or run.report_path
    refuse_other_file(path)
    story = read_story(run, "run")
    write_text(path, page("report", title=f"{run.id}: report", story=story))
    return path


def write_comparison(runs: Sequence[RunFolder], to: Path, *, split: str = "") -> Path:
    """Writes a page with several runs side by side and returns the file.

    Args:
        runs: two or more.
        to: the file.
        split: the split whose scores are compared; by default the first one that all runs were scored on.

    Raises:
        UsageError: another file is in its place.
        DlcliError: a run's status or spec cannot be read.
    """
    refuse_other_file(to)
    split = split or _common_split(runs)
    budget = Budget(PICTURES)
    members = [
        Member(letter, read_story(run, f"run{number}", budget), _link(run, to))
        for number, (letter, run) in enumerate(zip(_letters(len(runs)), runs, strict=True))
    ]
    comparison = compare_runs(list(runs), split)
    sentences, notes = _differences(runs, split, members)
    histories = [(member.letter, Reading().of(member.story.run.history, [])) for member in members]
    text = page(
        "comparison",
        title=f"{len(runs)} runs: report",
        members=members,
        split=split,
        split_title=comparison.title,
        scores=_scores(comparison, members),
        differences=[(name, [_plain(value) for value in values]) for name, values in comparison.differences.items()],
        sentences=sentences,
        notes=notes,
        curves=inlined(overlaid_charts(histories), "all-over"),
    )
    write_text(to, text)
    return to


def refuse_other_file(path: Path, option: str = "--to") -> None:
    """Checks that a file may be written: there is none, or a page that dlcli wrote.

    Raises:
        UsageError: something else is there, or there is no such folder.
    """
    if not os.path.lexists(path):
        if not path.parent.is_dir():
            raise UsageError(f"{path}: no folder {path.parent}")
        return
    if path.is_symlink() or not path.is_file():
        raise UsageError(f"{path}: not a file; give another name with {option}")
    with path.open("rb") as file:
        begin = file.read(2000)
    if f'<meta name="generator" content="{GENERATOR}">'.encode() not in begin:
        raise UsageError(f"{path}: this file exists and is not a report of dlcli; give another name with {option}")


def _letters(count: int) -> list[str]:
    letters = string.ascii_uppercase
    return list(letters[:count]) if count <= len(letters) else [str(number) for number in range(1, count + 1)]


def _link(run: RunFolder, to: Path) -> str:
    """Returns the relative address of a run's own report; empty where it has none."""
    own_report = run.report_path
    if not own_report.is_file():
        return ""
    return quote(os.path.relpath(own_report.absolute(), to.absolute().parent), errors="surrogateescape")


def _common_split(runs: Sequence[RunFolder]) -> str:
    """Returns the first split that every run was scored on; `test` where there is none."""
    scored = [run.scored_splits() for run in runs]
    return next((split for split in scored[0] if all(split in splits for splits in scored)), "test")


def _scores(comparison: Comparison, members: Sequence[Member]) -> list[tuple[str, list[Score | None]]]:
    scores_by_member = [
        {score.name: score for scored in member.story.scored if scored.split == comparison.split for score in scored.scores}
        for member in members
    ]
    return [(name, [scores.get(name) for scores in scores_by_member]) for name in comparison.scores]


def _differences(runs: Sequence[RunFolder], split: str, members: Sequence[Member]) -> tuple[list[str], list[str]]:
    """Returns the differences of the runs from the first one on the same examples, as sentences, and notes."""
    from dlcli.score.compare import pair_runs, sentence

    try:
        pairings = pair_runs(list(runs), split, any_data=True)
    except DlcliError as error:
        return [], [f"The runs could not be compared by a test: {str(error).partition(chr(10))[0]}"]
    first = members[0].letter
    sentences = [
        f"{member.letter} against {first}: {sentence(difference, first, member.letter)}."
        for member, pairing in zip(members[1:], pairings, strict=True)
        for difference in pairing.differences
    ]
    return sentences, list(dict.fromkeys(note for pairing in pairings for note in pairing.notes))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else to_flow(value)
