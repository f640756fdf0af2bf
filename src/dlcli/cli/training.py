"""The commands that train: `dlcli train` and `dlcli finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, Overrides, Quiet, RunsFolder, SpecFile, complete_run

if TYPE_CHECKING:
    from dlcli.spec.file import Loaded


def train(
    spec: SpecFile,
    overrides: Overrides = None,
    runs: RunsFolder = DEFAULT_RUNS,
    quiet: Quiet = False,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Train a spec's model in a new run folder and score it."""
    from dlcli.spec.file import load

    _train(load(spec, overrides or ()), runs, quiet=quiet, as_json=as_json, offline=offline)


def finetune(
    what: Annotated[
        str,
        typer.Argument(metavar="SPEC|RUN", help="An experiment's YAML file, or a finished run.", autocompletion=complete_run),
    ],
    overrides: Overrides = None,
    selection: Annotated[
        str | None, typer.Option("--train", metavar="WHAT", help="RUN only: all, head, last:20, blocks:2 or from:LAYER.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=0, help="RUN only: its rate; by default the last stage's, or a hundredth."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="RUN only: its epochs; the last stage's if not given.")] = None,
    runs: RunsFolder = DEFAULT_RUNS,
    quiet: Quiet = False,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Fine-tune: all stages of a spec (head first, then everything), or one more stage of a finished run, in a new run."""
    from dlcli.stages.finetune import continued, with_stages

    if Path(what).is_file() or what.endswith((".yaml", ".yml")):
        from dlcli.errors import UsageError
        from dlcli.spec.file import load

        if (selection, learning_rate, epochs) != (None, None, None):
            raise UsageError("--train, --learning-rate and --epochs are for a RUN; a SPEC says them in `training.stages`")
        loaded, parent = with_stages(load(what, overrides or ())), ""
    else:
        from dlcli.runs import all_runs, find_run

        run = find_run(what, runs)
        if not run.model_path.exists():  # of a name's runs the latest that got as far as a model
            run = next((one for one in reversed(list(all_runs(runs))) if one.name == what and one.model_path.exists()), run)
        loaded = continued(
            run,
            train=_selection(selection or "all"),
            learning_rate=learning_rate,
            epochs=epochs,
            overrides=overrides or [],
        )
        parent = run.id
    _train(loaded, runs, quiet=quiet, as_json=as_json, offline=offline, parent=parent)


def _selection(text: str) -> Any:
    """Returns what `--train` names in the form of a spec: `last:20` as {last: 20}."""
    way, colon, wanted = text.partition(":")
    return {way: int(wanted) if wanted.isdecimal() else wanted} if colon else text


def _train(loaded: Loaded, runs: Path, *, quiet: bool, as_json: bool, offline: bool, parent: str = "") -> None:
    from dlcli.cli.console import TrainingDisplay, print_json, show_result

    display = TrainingDisplay(quiet=quiet)
    with display.waiting("starting TensorFlow"):
        from dlcli.stages import train as stage

    try:
        run = stage.train(loaded, runs, display, offline=offline, parent=parent)
    finally:
        display.fit_finished()  # a stopped training, too, gives the terminal its cursor back
    if quiet:
        print(run.path)
    elif as_json:
        scores = run.metrics(run.scored_splits()[0])
        print_json({"run": str(run.path), "id": run.id, "status": vars(run.status()), "scores": scores})
    else:
        show_result(run)
