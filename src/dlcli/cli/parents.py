"""The options of `dlcli train` that train several runs: `--folds` and `--data-fractions`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcli.errors import UsageError

if TYPE_CHECKING:
    from dlcli.fleet.batch.active import Fleet
    from dlcli.fleet.batch.batch import Watcher
    from dlcli.fleet.parent import Watch
    from dlcli.runs import RunFolder
    from dlcli.runs.batches import Batch, Settings


def refuse_combinations(options: dict[str, Any], others: dict[str, Any]) -> None:
    """Raises UsageError for options of several runs that do not fit together, or not to the other options of `train`.

    Args:
        options: folds, repeats, data_fractions, seeds and jobs; None or empty where they are not set.
        others: the options for a single run, by their names, with whether they are set.
    """
    folds, fractions = options["folds"] is not None, bool(options["data_fractions"])
    if folds and fractions:
        raise UsageError("--folds and --data-fractions cannot be combined: run one after the other")
    if options["repeats"] is not None and not folds:
        raise UsageError("--repeats needs --folds")
    if options["seeds"] and not fractions:
        raise UsageError("--seeds needs --data-fractions; `dlcli batch` trains a spec with several seeds")
    if not folds and not fractions:
        return
    option = "--folds" if folds else "--data-fractions"
    other = next((name for name, is_set in others.items() if is_set), None)
    if other == "--resume":
        raise UsageError(f"{option} starts new runs; --resume alone continues the run of an earlier {option}")
    if other is not None:
        raise UsageError(f"{other} is for a single run; omit it with {option}")


def train_several(
    spec: str, overrides: Sequence[str], runs: Path, options: dict[str, Any], *, quiet: bool, offline: bool
) -> RunFolder:
    """Trains the runs of folds or of fractions and returns their parent."""
    from dlcli.api.training import load
    from dlcli.cli.training import training_display
    from dlcli.fleet.parent import train_folds, train_fractions
    from dlcli.runs.batches import Settings

    fractions, seeds = fractions_of(options["data_fractions"]), _seeds(options["seeds"])
    loaded, settings = load(spec, set=overrides), Settings(jobs=options["jobs"], offline=offline)
    watch = watching(quiet=quiet)
    with training_display(quiet) as display:
        if options["folds"] is None:
            return train_fractions(loaded, runs, display, fractions=fractions, seeds=seeds, settings=settings, watch=watch)
        repeats = options["repeats"] or 1
        return train_folds(loaded, runs, display, folds=options["folds"], repeats=repeats, settings=settings, watch=watch)


def resume_several(run: RunFolder, jobs: int | None, *, quiet: bool, offline: bool) -> None:
    """Continues the runs of a parent."""
    from dlcli.cli.training import training_display
    from dlcli.fleet.parent import resume_parent

    with training_display(quiet) as display:
        resume_parent(run, display, jobs=jobs, offline=offline, watch=watching(quiet=quiet))


def watching(*, quiet: bool) -> Watch:
    """Returns what shows the runs of a batch on the terminal."""

    def watch(batch: Batch, fleet: Fleet, settings: Settings) -> AbstractContextManager[Watcher]:
        return _shown(batch, fleet, settings, quiet=quiet)

    return watch


@contextmanager
def _shown(batch: Batch, fleet: Fleet, settings: Settings, *, quiet: bool) -> Iterator[Watcher]:
    from dlcli.cli.fleet_display import BatchDisplay

    several = fleet.size > 1 and settings.jobs is None and not fleet.has_gpus
    places = f"{fleet.size} at once (small networks; --jobs changes it)" if several else ""
    with BatchDisplay(batch, places, quiet=quiet) as display:
        yield display


def fractions_of(text: str) -> list[float]:
    """Returns the fractions of `0.1,0.3,1.0`.

    Raises:
        UsageError: these are not numbers.
    """
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise UsageError(f"--data-fractions: expected fractions such as 0.1,0.3,1.0; found {text!r}") from None


def _seeds(text: str) -> list[int]:
    from dlcli.fleet.batch.plan import seeds_of

    return seeds_of(text)
