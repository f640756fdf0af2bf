"""Before a training: `dlcli lr-find`, `dlcli batch-find` and `dlcli baseline`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, Overrides, RunsFolder, SpecFile, named_run
from dlcli.errors import RunFailed, UsageError
from dlcli.visible import visible

if TYPE_CHECKING:
    from dlcli.score.baseline import Baselines
    from dlcli.training.rate_curve import Suggestions

_WAYS = ("steepest", "valley", "minimum")


def lr_find(
    spec: SpecFile,
    overrides: Overrides = None,
    lowest: Annotated[float, typer.Option("--from", min=1e-12, help="First learning rate.")] = 1e-7,
    highest: Annotated[float, typer.Option("--to", max=1e6, help="Last learning rate.")] = 10.0,
    steps: Annotated[int, typer.Option(min=20, max=100_000, help="Number of steps from the first to the last rate.")] = 100,
    stage: Annotated[str, typer.Option(help="Stage whose learning rate is tested.  [default: the first]")] = "",
    write: Annotated[
        str, typer.Option(metavar="WHICH", help="Write this suggestion into SPEC: steepest, valley or minimum.")
    ] = "",
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Suggest learning rates by a range test.

    The learning rate increases step by step while a temporary model is trained.
    """
    from dlcli.spec.load import load

    if lowest >= highest:
        raise UsageError(f"--from {lowest:g} must be below --to {highest:g}")
    if write and write not in _WAYS:
        raise UsageError(f"--write: expected {', '.join(_WAYS)}, found {write!r}")
    loaded = load(spec, overrides or ())

    from dlcli.cli.console import TrainingDisplay, print_json

    display = TrainingDisplay(quiet=as_json)
    with display.waiting("starting TensorFlow"):
        from dlcli.training.lr_find import Search, find_rate
    search = Search(lowest, highest, steps)
    result = find_rate(loaded.experiment, runs, display.log, search, stage_name=stage, offline=offline)
    if as_json:
        print_json({"folder": str(result.folder), "stage": result.stage, **vars(result.suggestions)})
    else:
        from dlcli.training.lr_find import setting_of_rate

        _show_rates(result.suggestions, result.picture, setting_of_rate(loaded, result.stage, result.suggestions.valley))
    if write and not result.suggestions.clear:
        raise RunFailed(f"the loss did not fall clearly, so no rate is written; see {result.picture}")
    if write:
        from dlcli.training.lr_find import written_rate

        place = written_rate(Path(spec), loaded.experiment, result.stage, getattr(result.suggestions, write))
        typer.echo(visible(f"written into {spec}: {place}"), err=True)


def _show_rates(suggestions: Suggestions, picture: Path, setting: str) -> None:
    from rich.table import Table

    from dlcli.cli.console import results_console

    meanings = {
        "steepest": "the steepest fall of the loss",
        "valley": "two thirds along the longest fall of the loss",
        "minimum": "a tenth of the rate with the lowest loss",
    }
    table = Table("suggestion", "learning rate", "definition")
    for name, meaning in meanings.items():
        table.add_row(name, f"{getattr(suggestions, name):.3g}", meaning)
    console = results_console()
    console.print(table)
    if suggestions.clear:
        console.print(f"try: {setting or f'a rate of {suggestions.valley:.3g}'}", soft_wrap=True, markup=False)
    else:
        console.print(
            "The loss did not fall by more than the noise of single batches, so these rates are unreliable. Try more --steps,"
            " other rates (--from, --to), or larger batches (--set data.batch_size=...)."
        )
    console.print(f"curve: {picture}", soft_wrap=True)


def batch_find(
    spec: SpecFile,
    overrides: Overrides = None,
    smallest: Annotated[int, typer.Option("--from", min=1, help="First batch size.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds for which each size is measured.")] = 3.0,
    memory: Annotated[float | None, typer.Option(min=0.1, metavar="GB", help="Memory limit of each process.")] = None,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Find the largest batch size that fits, and the fastest one.

    Each batch size is tried in its own process.
    """
    from dlcli.spec.load import load

    loaded = load(spec, overrides or ())

    from dlcli.cli.console import PlainConsole, print_json
    from dlcli.fleet.batch_find import find_batch_size
    from dlcli.runs.layout import features_folder

    console, tried = PlainConsole(stderr=True, quiet=as_json), []
    for size in find_batch_size(
        loaded.document.text,
        str(Path(spec).absolute()),
        list(loaded.overrides),
        features_folder(runs),
        smallest=smallest,
        seconds=seconds,
        memory_gb=memory,
        offline=offline,
    ):
        tried.append(size)
        words = size.reason or f"{size.examples_per_second:,.0f} examples/s, {size.memory / 2**30:.2f} GB"
        console.print(f"batch of {size.batch_size:,}: {words}", soft_wrap=True)
    fit = [size for size in tried if not size.reason]
    if not fit:
        raise RunFailed(f"no batch fits: {tried[0].reason}; try --from 1, smaller images or a smaller model")
    fastest, largest = max(fit, key=lambda size: size.examples_per_second), fit[-1]
    if as_json:
        sizes = [vars(size) for size in tried]
        print_json({"fastest": fastest.batch_size, "largest": largest.batch_size, "sizes": sizes})
        return
    typer.echo(f"fastest: {fastest.batch_size} ({fastest.examples_per_second:,.0f} examples/s)")
    typer.echo(f"largest that fits: {largest.batch_size}")
    typer.echo(
        "A larger batch size means fewer steps per epoch: it may need a higher learning rate (dlcli lr-find) or more epochs."
    )


def baseline(
    spec: SpecFile,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="Split to score: validation or test.  [default: test]")] = "",
    examples: Annotated[int, typer.Option(min=10, help="Maximum number of training examples.")] = 10_000,
    beside: Annotated[str, typer.Option("--run", metavar="RUN", help="Add the scores of this run to the table.")] = "",
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Score simple models on the data and metrics of a spec.

    The models are the majority class or the mean, a linear model, nearest neighbours, a random forest and gradient boosting.
    """
    from dlcli.spec.load import load

    if split not in ("", "validation", "test"):
        raise UsageError(f"--split: expected validation or test, found {split!r}")
    loaded = load(spec, overrides or ())

    from dlcli.cli.console import TrainingDisplay, print_json

    run = named_run(beside, runs) if beside else None
    display = TrainingDisplay(quiet=as_json)
    with display.waiting("starting TensorFlow"):
        from dlcli.score.baseline import baselines, with_run
    result = baselines(loaded.experiment, display.log, split=split, most=examples, offline=offline)
    if run is not None:
        result = with_run(result, run)
    if as_json:
        from dataclasses import asdict

        print_json(asdict(result))
    else:
        _show_baselines(result)


def _show_baselines(result: Baselines) -> None:
    """Prints what simple models reach, and a run's own scores last."""
    from rich.table import Table

    from dlcli.cli.console import interval, results_console, shown

    table = Table("model", *result.metrics, "seconds")
    for row in result.rows:
        scores = [row.scores[name] for name in result.metrics if name in row.scores]
        cells = [f"{shown(value)} ({interval(bounds)})" for value, bounds in scores] or [row.reason]
        cells += [""] * (len(result.metrics) - len(cells))
        table.add_row(row.name, *cells, f"{row.seconds:.1f}" if row.seconds else "")
    console = results_console()
    console.print(f"{result.title}: {result.examples:,} examples, 95 % intervals in brackets; fitted on {result.trained_on:,}")
    console.print(table)
