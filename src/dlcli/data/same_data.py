"""Checks by fingerprint, not by path, whether a source holds the examples of a run."""

from __future__ import annotations

from dlcli.data.fingerprint import fingerprint
from dlcli.data.inputs import recorded_kinds
from dlcli.data.source_examples import open_examples
from dlcli.data.split import recorded_splits
from dlcli.errors import DataError
from dlcli.runs import RunFolder
from dlcli.spec.data.sources import Opened
from dlcli.spec.data.sources.row_ids import names_in
from dlcli.spec.experiment import Experiment


def refuse_other_data(run: RunFolder, experiment: Experiment, *, offline: bool) -> None:
    """Raises DataError if an experiment's source lacks examples that a run was trained on, or has changed ones."""
    opened = _opened(run, experiment, run.split(), offline=offline)
    try:
        current = _fingerprint_in(opened, run, experiment)
    except DataError as error:
        raise _other_data(run, str(error)) from None
    refuse_other_fingerprint(run, current)


def refuse_other_fingerprint(run: RunFolder, current: str) -> None:
    """Raises DataError if the current fingerprint of the data differs from the one that a run recorded."""
    recorded = str(run.data().get("fingerprint") or "")
    if recorded and current != recorded:
        raise _other_data(run, f"its fingerprint was {recorded[:12]} and is now {current[:12]}")


def _other_data(run: RunFolder, difference: str) -> DataError:
    return DataError(
        f"the data is not what {run.id} was trained on: {difference}; a run needs its own data, or an exact copy of it"
    )


def is_copy(run: RunFolder, experiment: Experiment, *, offline: bool) -> bool:
    """Whether the source of an experiment holds exactly the examples of a run."""
    split = run.split()
    opened = _opened(run, experiment, split, offline=offline)
    names = _names(opened, split)
    recorded = run.data()
    unused = recorded.get("skipped", {}).get("count", 0) + recorded.get("excluded", 0)
    unused += sum(recorded.get("unused", {}).values())
    if not split.keys() <= names or len(names) > len(split) + unused:
        return False
    try:
        return _fingerprint_in(opened, run, experiment) == recorded.get("fingerprint")
    except DataError:
        return False


def known_images(run: RunFolder, experiment: Experiment, *, offline: bool) -> int:
    """Returns how many images of a source of files have the path of a training image of a run; 0 for other sources."""
    if not experiment.data.source.has_files:
        return 0
    split = run.split()
    trained = {name for name, part in split.items() if part == "train"}
    return len(trained & _names(open_examples(experiment, offline=offline, split=None, revision=run.revision()), split))


def _opened(run: RunFolder, experiment: Experiment, split: dict[str, str], *, offline: bool) -> Opened:
    """Returns the examples of an experiment's source, read as those of the run."""
    return open_examples(experiment, offline=offline, split=split, revision=run.revision(), column_kinds=recorded_kinds(run))


def _names(opened: Opened, split: dict[str, str]) -> set[str]:
    return {name for examples in opened.parts.values() for name in names_in(examples.ids, split)}


def _fingerprint_in(opened: Opened, run: RunFolder, experiment: Experiment) -> str:
    return fingerprint(recorded_splits(opened, run.split(), experiment).by_name)
