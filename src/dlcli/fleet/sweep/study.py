"""Optuna's study of a sweep: where it is stored, who draws, who prunes, what it keeps of the spec."""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlcli.errors import Interrupted, RunFailed, UsageError
from dlcli.program import command, install_command, install_package_command
from dlcli.runs.sweeps import SweepFolder, storage_path, without_password
from dlcli.spec.edit import without_key
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import LoadedSpec, load_text
from dlcli.spec.search.reading import read_space
from dlcli.spec.search.rules import OTHER_OBJECTIVES, objectives
from dlcli.spec.search.space import Number, Parameter
from dlcli.spec.training.metrics import higher_is_better

_PLAN = "dlcli"
_NEEDS = {"cma-es": "cmaes", "gp": "torch"}


@dataclass(frozen=True)
class Plan:
    """What a sweep tries, kept in the study so that other machines need nothing else: the spec's text as given, the path
    it had, its `--set` options, and how many trials."""

    text: str
    file: str
    overrides: list[str]
    trials: int

    def loaded(self) -> LoadedSpec:
        """Returns the checked spec.

        Raises:
            SpecError: it is not sound on this machine: its data may not be here.
        """
        return load_text(self.text, self.file, self.overrides, with_search=True)


@dataclass(frozen=True)
class Search:
    """A sweep's study and all that is needed to make its trials."""

    study: Any
    plan: Plan
    loaded: LoadedSpec
    parameters: Sequence[Parameter]
    objectives: Sequence[str]
    rises: Sequence[bool]

    @property
    def experiment(self) -> Experiment:
        """The experiment as the spec says it."""
        return self.loaded.experiment

    @property
    def text(self) -> str:
        """The spec's text without its search."""
        return without_key(self.plan.text, "sweep")

    @property
    def overrides(self) -> list[str]:
        """The `--set` options that are not about the search."""
        return [override for override in self.plan.overrides if not override.startswith("sweep")]


def require_optuna(sampler: str = "") -> None:
    """Raises UsageError where Optuna is not installed, or a package that a sampler needs."""
    for package in ("optuna", _NEEDS.get(sampler, "optuna")):
        if importlib.util.find_spec(package) is None:
            how = install_package_command("torch") if package == "torch" else install_command("sweep")
            what = f"{command()} sweep" if package == "optuna" else f"the sampler {sampler}"
            raise UsageError(f"{what} needs the package {package}: {how}")


def create(folder: SweepFolder, storage: str, loaded: LoadedSpec) -> Search:
    """Makes the study of a new sweep.

    Raises:
        UsageError: its storage cannot be reached, or holds such a study already.
    """
    import optuna

    sweep = loaded.experiment.sweep
    assert sweep is not None
    plan = Plan(loaded.document.text, str(Path(loaded.document.file).absolute()), list(loaded.overrides), sweep.trials)
    names, rises = _objectives(loaded.experiment)
    try:
        study = optuna.create_study(
            storage=_storage(folder, storage),
            study_name=folder.id,
            directions=["maximize" if is_maximised else "minimize" for is_maximised in rises],
        )
        search = Search(study, plan, loaded, _parameters(loaded), names, rises)
        if sweep.sampler == "grid":
            _queue_the_grid(search)
        # Written last: a study that has its plan is complete and can be resumed.
        study.set_user_attr(_PLAN, asdict(plan))
    except _storage_errors() as error:
        raise _unreachable(storage, error) from None
    return search


def open_search(folder: SweepFolder, storage: str, trials: int | None = None) -> Search:
    """Opens the study of an existing sweep, with another number of trials if given.

    Raises:
        UsageError: its storage cannot be reached, or has no such study.
        SpecError: its spec is not sound on this machine.
    """
    import optuna

    path = storage_path(storage)
    if path is not None and not path.exists():  # Optuna would make it
        raise UsageError(f"the storage {without_password(storage)} does not exist")
    try:
        study = optuna.load_study(storage=_storage(folder, storage), study_name=folder.id)
        stored = study.user_attrs.get(_PLAN)
    except KeyError:
        raise UsageError(f"the storage {without_password(storage) or folder.path} has no sweep {folder.id}") from None
    except _storage_errors() as error:
        raise _unreachable(storage, error) from None
    if stored is None:
        raise UsageError(
            f"the study {folder.id} was not created by dlcli, or is still being created; if its creation was interrupted,"
            " start a new sweep"
        )
    if trials is not None:
        stored = stored | {"trials": trials}
        study.set_user_attr(_PLAN, stored)
    plan = _plan_of(stored)
    loaded = plan.loaded()
    names, rises = _objectives(loaded.experiment)
    return Search(study, plan, loaded, _parameters(loaded), names, rises)


def _plan_of(stored: Any) -> Plan:
    """Returns a study's plan.

    Raises:
        UsageError: the storage holds something else in its place.
    """
    try:
        plan = Plan(**stored)
        texts = (plan.text, plan.file, *plan.overrides)
        if isinstance(plan.overrides, list) and all(isinstance(text, str) for text in texts) and plan.trials >= 1:
            return plan
    except TypeError:
        pass
    raise UsageError("the plan of the study is damaged; start a new sweep")


def _parameters(loaded: LoadedSpec) -> list[Parameter]:
    return read_space(loaded.document.data["sweep"]["space"])[0]


def _objectives(experiment: Experiment) -> tuple[list[str], list[bool]]:
    names, metrics = objectives(experiment), experiment.training.metrics or []
    return names, [name not in OTHER_OBJECTIVES and higher_is_better(name, list(metrics)) for name in names]


def _storage(folder: SweepFolder, text: str) -> Any:
    """Returns Optuna's storage: of a database's URL, of a journal's path, or the folder's own SQLite file."""
    import optuna
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if text and "://" not in text:
        path = Path(text).absolute()
        if not path.parent.is_dir():
            raise UsageError(f"--storage {text}: there is no folder {path.parent}")
        return JournalStorage(JournalFileBackend(str(path)))
    if not text:
        # Several processes write it: each waits for the others.
        return RDBStorage(f"sqlite:///{folder.study_path}", engine_kwargs={"connect_args": {"timeout": 60}})
    # `postgresql://` alone would need psycopg 2; the extra installs its successor.
    address = text.replace("postgresql://", "postgresql+psycopg://", 1)
    return RDBStorage(address, engine_kwargs={"pool_pre_ping": True})


def _storage_errors() -> tuple[type[Exception], ...]:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    return (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, OSError, ValueError)


def _unreachable(storage: str, error: Exception) -> UsageError:
    return UsageError(f"the storage {without_password(storage) or 'of the sweep'} cannot be used: {_reason(error)}")


def _reason(error: Exception) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0] if str(error) else type(error).__name__


@contextmanager
def with_resume_hint(folder: SweepFolder) -> Iterator[None]:
    """Ends the block with a message where it can no longer write.

    Raises:
        RunFailed: the study's storage or the folder is lost, or what runs the trials is.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except Interrupted:
        raise
    except RunFailed as error:
        raise RunFailed(f"{error}; {resume_hint(folder)}") from None
    except (StorageInternalError, SQLAlchemyError, OSError) as error:
        raise RunFailed(f"sweep {folder.id} can no longer be written: {_reason(error)}; {resume_hint(folder)}") from None


def resume_hint(folder: SweepFolder) -> str:
    """Returns the command that resumes a sweep, as text."""
    stored = folder.recorded_storage
    storage = " --storage URL" if folder.needs_storage else f" --storage {shlex.quote(stored)}" if stored else ""
    return f"to resume: {command()} sweep --resume {folder.id} --runs {folder.batch.runs}{storage}"


def _queue_the_grid(search: Search) -> None:
    """Has the study try every combination once, in an order by the seed, whichever process runs them."""
    import random

    from dlcli.spec.search.space import combinations

    points = list(combinations(search.parameters))
    random.Random(search.experiment.seed).shuffle(points)
    for point in points:
        search.study.enqueue_trial(point)


def sampler_of(search: Search, worker: str) -> Any:
    """Returns what draws the next trial.

    Its seed follows from the spec's and the number of trials so far, so that an interrupted sweep continues with the values
    that it would have drawn; each further process, named by `worker`, has its own.
    """
    from optuna import samplers

    sweep, experiment = search.experiment.sweep, search.experiment
    assert sweep is not None
    count = len(search.study.get_trials(deepcopy=False))
    seed = int.from_bytes(hashlib.sha256(f"{experiment.seed} {count} {worker}".encode()).digest()[:4], "big")
    if sweep.sampler == "tpe":
        return samplers.TPESampler(seed=seed, constant_liar=True)
    if sweep.sampler == "cma-es":
        from dlcli.upstream.optuna_cma import JsonCmaEsSampler

        return JsonCmaEsSampler(seed=seed, warn_independent_sampling=False)
    if sweep.sampler == "gp":
        return samplers.GPSampler(seed=seed)
    return samplers.RandomSampler(seed=seed)


def pruner_of(search: Search) -> Any:
    """Returns what decides whether a trial is worth going on with."""
    from optuna import pruners

    sweep = search.experiment.sweep
    assert sweep is not None
    if sweep.pruner == "none" or len(search.objectives) > 1 or search.objectives[0] in OTHER_OBJECTIVES:
        return pruners.NopPruner()
    epochs = sum(stage.epochs or 0 for stage in search.experiment.stages)
    if sweep.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=max(epochs, 1))
    return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1 + max(1, epochs // 10))


class Drawing:
    """Draws a point of the space by an Optuna trial; what the trial has drawn already it gives again."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial

    def number(self, name: str, number: Number) -> float:
        """Returns a number."""
        low, high = number.ends
        if number.whole:
            return float(self._trial.suggest_int(name, low, high, step=number.step or 1, log=number.log))
        return float(self._trial.suggest_float(name, low, high, step=number.step, log=number.log))

    def label(self, name: str, labels: Sequence[str]) -> str:
        """Returns one of the labels."""
        return str(self._trial.suggest_categorical(name, labels))
