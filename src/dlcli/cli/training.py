"""`dlcli train`."""

from __future__ import annotations

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, Overrides, Quiet, RunsFolder, SpecFile


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

    loaded = load(spec, overrides or ())

    from dlcli.cli.console import TrainingDisplay, print_json, show_result

    display = TrainingDisplay(quiet=quiet)
    with display.waiting("starting TensorFlow"):
        from dlcli.stages import train as stage

    try:
        run = stage.train(loaded, runs, display, offline=offline)
    finally:
        display.fit_finished()  # a stopped training, too, gives the terminal its cursor back
    if quiet:
        print(run.path)
    elif as_json:
        print_json(
            {"run": str(run.path), "id": run.id, "status": vars(run.status()), "scores": run.metrics(run.scored_splits()[0])}
        )
    else:
        show_result(run)
