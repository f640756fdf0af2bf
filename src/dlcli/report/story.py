"""The contents of a report on one run, from its folder; missing files are omitted, damaged files are named."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from dlcli.charts.chart import InlineChart, inlined
from dlcli.charts.fractions import fraction_chart
from dlcli.charts.learning import learning_charts, rate_charts
from dlcli.data.doctor.issue import REVEALING
from dlcli.errors import DlcliError
from dlcli.models.blocks import BlockRow, merged, words_of
from dlcli.report import sentences
from dlcli.report.diagnosis import Finding, findings
from dlcli.report.layers import Layer, layers
from dlcli.report.pictures import Budget, picture
from dlcli.report.scored import Scored, read_scored
from dlcli.runs import RunFolder, layout
from dlcli.runs.children import FoldsFile, FractionsFile, read_folds, read_fractions
from dlcli.runs.data_report import RecordedIssue, data_report
from dlcli.runs.explanations import explanations
from dlcli.runs.files import read_json
from dlcli.runs.scored_splits import score_text, sizes_in_words
from dlcli.runs.speed import StageSpeed, stage_speeds
from dlcli.spec.experiment import Experiment
from dlcli.spec.support import supports, words_against

PICTURES = 3_000_000
"""The most bytes of the pictures of one page, so that the whole page stays below 5 MB."""
Contents = TypeVar("Contents")


class Reading:
    """Reads the files of a run folder; a file that cannot be read is noted in `errors`, and the report omits it."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def of(self, read: Callable[[], Contents], otherwise: Any) -> Contents:
        """Returns the contents, or `otherwise`, of the same type, where a file is damaged."""
        try:
            return read()
        except DlcliError as error:
            self.errors.append(str(error).partition("\n")[0])
            return cast(Contents, otherwise)


@dataclass(frozen=True)
class StageStory:
    """A training stage: its trained layers, its blocks, its proof as text, and its best score."""

    name: str
    learns: str
    trainable: int
    frozen: int
    blocks: Sequence[BlockRow]
    proof: str
    epochs: int
    monitor: str
    best: str
    best_epoch: int
    is_best: bool
    compared: str


@dataclass(frozen=True)
class ShownExplanation:
    """A picture of `explanations/` as a data URL, with its texts."""

    title: str
    text: str
    image: str


@dataclass(frozen=True)
class Exported:
    """An export: its folder, format, size, and its agreement with the model."""

    name: str
    form: str
    size: str
    agrees: str


@dataclass(frozen=True)
class Story:
    """Everything on one run's page. `key` is the prefix of every id of the run on the page, `unscorable` says why its model
    cannot be scored."""

    run: RunFolder
    key: str
    summary: str
    state: str
    error: str
    facts: list[tuple[str, str]]
    data: dict[str, Any]
    counts: list[tuple[str, list[int]]]
    splits: list[str]
    diagnosis: list[Finding] | None
    issues: list[RecordedIssue]
    data_command: str
    stages: list[StageStory]
    curves: list[InlineChart]
    best_epoch: int
    scored: list[Scored]
    unscorable: str
    layers: list[Layer]
    environment: list[tuple[str, str]]
    spec: str
    explanations: list[ShownExplanation]
    exports: list[Exported]
    commands: list[tuple[str, str]]
    folds: FoldsFile | None = None
    fractions: FractionsFile | None = None
    fraction_charts: list[InlineChart] = field(default_factory=list)
    read_errors: list[str] = field(default_factory=list)
    omitted_pictures: int = 0

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def parameters(self) -> int | None:
        """The number of parameters of the model; None where it is not known."""
        counts = [layer.parameters for layer in self.layers]
        return sum(count or 0 for count in counts) if counts and None not in counts else None

    @property
    def largest_count(self) -> int:
        """The largest number of examples of one class in one split."""
        return max((count for _, row in self.counts for count in row), default=0)


def read_story(run: RunFolder, key: str, budget: Budget | None = None) -> Story:
    """Returns everything about a run that a report shows.

    Raises:
        DlcliError: its status or its spec cannot be read, so that there is nothing to report.
    """
    reading, budget = Reading(), budget or Budget(PICTURES)
    experiment, status = run.experiment(), run.status()
    data, history = reading.of(run.data, {}), reading.of(run.history, [])
    environment = reading.of(run.environment, {})
    scored = read_scored_splits(run, key, reading, budget)
    diagnosis = reading.of(lambda: findings(run), None)
    state = reading.of(lambda: run.shown_state, status.state)
    fractions: FractionsFile | None = reading.of(lambda: read_fractions(run), None)
    return Story(
        run=run,
        key=key,
        summary=sentences.what_it_is(experiment.model, experiment.task, data),
        state=state,
        error=status.error.partition("\n")[0],
        facts=[*_facts(run, data, environment), *_speed(reading.of(lambda: stage_speeds(run), []))],
        data=data,
        counts=_counts(data),
        splits=[split for split, counts in (data.get("counts") or {}).items() if counts],
        diagnosis=diagnosis,
        issues=_issues(reading.of(lambda: data_report(run).issues, []), diagnosis),
        data_command=f"dlcli data {shlex.quote(str(run.spec_path))}",
        stages=_stages(reading.of(run.stages, []), status.best_stage),
        curves=inlined([*learning_charts(history, status.best_epoch), *rate_charts(history)], f"{key}-curve"),
        best_epoch=status.best_epoch,
        scored=scored,
        unscorable=_unscorable(experiment, fractions),
        layers=reading.of(lambda: layers(run), []),
        environment=_environment(environment),
        spec=reading.of(lambda: _text(run.spec_path), ""),
        explanations=reading.of(lambda: _explanations(run, budget), []),
        exports=reading.of(lambda: _exports(run, reading), []),
        commands=_commands(run, experiment, environment, fractions),
        folds=reading.of(lambda: read_folds(run), None),
        fractions=fractions,
        fraction_charts=inlined([fraction_chart(fractions)] if fractions else [], f"{key}-fractions"),
        read_errors=reading.errors,
        omitted_pictures=budget.omitted,
    )


def read_scored_splits(run: RunFolder, key: str, reading: Reading, budget: Budget, *, draws: bool = True) -> list[Scored]:
    """Returns every scored split of a run, the test split first; without charts unless `draws`."""
    scored = []
    for number, split in enumerate(reading.of(run.scored_splits, [])):
        reader = partial(read_scored, run, split, f"{key}-s{number}", reading.of, budget, draws=draws and not number)
        split_scores = reading.of(reader, None)
        scored += [split_scores] if split_scores else []
    return scored


def _issues(issues: list[RecordedIssue], diagnosis: list[Finding] | None) -> list[RecordedIssue]:
    """Returns the issues of the data but those that a finding of the diagnosis repeats."""
    has_leak = any(finding.name == "leakage suspected" for finding in diagnosis or ())
    return [issue for issue in issues if not (has_leak and issue.kind == REVEALING)]


def _facts(run: RunFolder, data: dict[str, Any], environment: dict[str, Any]) -> list[tuple[str, str]]:
    status = run.status()
    sizes = sizes_in_words(data.get("examples", {}), shared=bool(data.get("test_is_validation")))
    best = f", best {status.best_epoch}" if status.best_epoch else ""
    device = environment.get("device", {})
    facts = [
        ("Examples", sizes),
        ("Epochs", f"{status.epoch}{best}" if status.epoch else ""),
        ("Trained", sentences.moment(status.started)),
        ("Took", sentences.duration(status.started, status.finished)),
        ("On", f"{device.get('kind', '').upper()}, {device.get('name', '')}" if device else ""),
        ("Continues", status.parent),
    ]
    return [(name, text) for name, text in facts if text]


def _speed(speeds: Sequence[StageSpeed]) -> list[tuple[str, str]]:
    """Returns what limits the speed of each measured stage."""
    name = "Speed of stage {}" if len(speeds) > 1 else "Speed"
    return [(name.format(speed.stage), "; ".join([f"{speed.bound}: {speed.text}", *speed.advice])) for speed in speeds]


def _counts(data: dict[str, Any]) -> list[tuple[str, list[int]]]:
    counts = {split: row for split, row in (data.get("counts") or {}).items() if row}
    return [(name, [row.get(name, 0) for row in counts.values()]) for name in data.get("classes") or ()] if counts else []


def _stages(rows: list[dict[str, Any]], best_stage: str) -> list[StageStory]:
    return [
        StageStory(
            name=row["name"],
            learns=words_of(row["train"]),
            trainable=row.get("trainable", 0),
            frozen=row.get("frozen", 0),
            blocks=_blocks(row.get("blocks")),
            proof=_proof(row.get("proof")),
            epochs=row["epochs"],
            monitor=row["monitor"],
            best=sentences.number(row["best_value"]),
            best_epoch=row["best_epoch"],
            is_best=row["name"] == best_stage,
            compared=str(row.get("compared") or ""),
        )
        for row in rows
    ]


def _blocks(rows: Any) -> list[BlockRow]:
    if not isinstance(rows, list):
        return []
    valid_rows = [row for row in rows if isinstance(row, dict) and {"name", "trainable", "frozen"} <= row.keys()]
    return merged([BlockRow(str(row["name"]), int(row["trainable"]), int(row["frozen"])) for row in valid_rows])


def _proof(proof: Any) -> str:
    if not isinstance(proof, dict) or not isinstance(proof.get("moved"), int):
        return ""
    still = proof.get("still", 0)
    frozen_text = f", {still} frozen ones did not" if still else ""
    without_gradient = len(proof.get("zero_gradient") or ()) + len(proof.get("tiny_step") or ())
    note = f"; {sentences.counted(without_gradient, 'variable')} had no gradient yet" if without_gradient else ""
    moved = f"{sentences.counted(proof['moved'], 'trainable variable')} changed"
    return f"Verified after step {proof.get('step', '?')}: {moved}{frozen_text}{note}."


def _environment(environment: dict[str, Any]) -> list[tuple[str, str]]:
    packages = environment.get("packages") if isinstance(environment.get("packages"), dict) else {}
    device, git = environment.get("device") or {}, environment.get("git") if isinstance(environment.get("git"), dict) else {}
    changed = ", with uncommitted changes" if git and git.get("changed") else ""
    rows = [
        ("dlcli", environment.get("dlcli")),
        ("Python", environment.get("python")),
        *((name, version) for name, version in (packages or {}).items()),
        ("Device", f"{device.get('kind', '')}, {device.get('name', '')}" if device else ""),
        ("Precision", environment.get("precision")),
        ("Repeats", {"exact": "bit for bit", "seeded": "up to rounding"}.get(str(environment.get("determinism")), "")),
        ("Cores", environment.get("cores")),
        ("Memory", f"{environment['memory_gib']} GiB" if environment.get("memory_gib") else ""),
        ("Platform", environment.get("platform")),
        ("Commit", f"{git['commit']}{changed}" if git and git.get("commit") else ""),
    ]
    return [(name, str(value)) for name, value in rows if value]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() and path.stat().st_size < 500_000 else ""


def _explanations(run: RunFolder, budget: Budget) -> list[ShownExplanation]:
    explanations_with_pictures = [
        (explanation, picture(run.explanations_path / explanation.file, budget)) for explanation in explanations(run)
    ]
    return [
        ShownExplanation(explanation.title, explanation.text, image)
        for explanation, image in explanations_with_pictures
        if image
    ]


def _exports(run: RunFolder, reading: Reading) -> list[Exported]:
    folders = sorted(path for path in run.exports_path.glob("*") if path.is_dir() and not path.is_symlink())
    records = [(folder.name, reading.of(partial(read_json, folder / layout.EXPORT), None)) for folder in folders]
    return [_export(name, content) for name, content in records if isinstance(content, dict)]


def _export(name: str, content: dict[str, Any]) -> Exported:
    agreement = content.get("agreement") if isinstance(content.get("agreement"), dict) else {}
    numbers = {key: value for key, value in (agreement or {}).items() if isinstance(value, (int, float))}
    agrees = ""
    if {"original", "export", "examples", "largest_difference"} <= numbers.keys():
        agrees = (
            f"{(agreement or {}).get('metric')} {score_text(numbers['export'])} against {score_text(numbers['original'])} on"
            f" {numbers['examples']:,} examples; largest difference of an output {numbers['largest_difference']:.2g}"
        )
    form = " ".join(str(content[key]) for key in ("format", "quantize") if content.get(key))
    bytes_ = content.get("bytes")
    return Exported(name, form, sentences.size(bytes_) if isinstance(bytes_, int) else "", agrees)


def _unscorable(experiment: Experiment, fractions: FractionsFile | None) -> str:
    if fractions is not None:
        return "Each fraction of the data has scores"
    return words_against(experiment, "evaluate", "An evaluation")


def _commands(
    run: RunFolder, experiment: Experiment, environment: dict[str, Any], fractions: FractionsFile | None
) -> list[tuple[str, str]]:
    """Returns the commands that repeat this run, each with its purpose."""
    git = environment.get("git")
    commit = git.get("commit") if isinstance(git, dict) else None
    original_command = environment.get("command")
    spec = shlex.quote(str(run.spec_path))
    rows = [("Check out the code", f"git checkout {shlex.quote(str(commit))}")] if commit else []
    if fractions is not None:
        rows.append(("Repeat the trainings from the resolved spec", f"dlcli train {spec} {_options(fractions)}"))
        return rows
    purpose = "Repeat the training from the resolved spec" if experiment.model.is_trained else "Average the models again"
    rows.append((purpose, f"dlcli train {spec}"))
    if isinstance(original_command, list) and len(original_command) > 1:
        rows.append(("Original command", shlex.join(["dlcli", *map(str, original_command[1:])])))
    if supports(experiment, "evaluate"):
        rows.append(("Evaluate it again", f"dlcli evaluate {shlex.quote(run.id)}"))
    return rows


def _options(fractions: FractionsFile) -> str:
    """Returns the options of `dlcli train` that train the runs of all fractions."""
    listed = ",".join(repr(point.fraction) for point in fractions.points)  # all digits: another fraction has other examples
    return f"--data-fractions {listed} --seeds {','.join(map(str, fractions.seeds))}"
