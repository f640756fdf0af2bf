"""The rules of `data.balance`: what it cannot be combined with, found before the data is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from dlcli.spec.data.balance import BalanceSpec
from dlcli.spec.data.sources.labels import composed
from dlcli.spec.experiment import Experiment
from dlcli.spec.support import words_against
from dlcli.tasks import Decisions

Place = tuple[str | int, ...]
Finding = tuple[Place, str]
_PLACE: Place = ("data", "balance")


def _balance_fits(experiment: Experiment) -> Iterator[Finding]:
    balance, task = experiment.data.balance, experiment.task
    if not balance.is_active:
        return
    what = f"`balance: {balance.kind}`"
    if not isinstance(task.output, Decisions):
        yield _PLACE, f"{what} needs examples with classes or labels, which `task: {task}` does not have"
    elif words := words_against(experiment, "evaluate", what):
        yield _PLACE, words
    elif head := experiment.model.fitted_once:
        yield _PLACE, _words_of_fitted_head(experiment, what, head)
    elif balance.weights_loss:
        yield from _faults_of_weights(experiment, balance, what)
    elif balance.adds_rows:
        yield from _faults_of_rows(experiment, what)


def _words_of_fitted_head(experiment: Experiment, what: str, head: str) -> str:
    has_weights = hasattr(experiment.model.classifier, "class_weight")
    remedy = f"set `class_weight: balanced` of `{head}`" if has_weights else f"`{head}` has no weights of classes"
    return f"{what} changes the training of a network, but a `{head}` head is fitted once; {remedy}"


def _faults_of_weights(experiment: Experiment, balance: BalanceSpec, what: str) -> Iterator[Finding]:
    if reason := experiment.training.loss.reason_against_weights():
        yield ("training", "loss"), f"{what}: {reason}; use `oversample`"
    if words := words_against(experiment, "class weights", what):
        yield _PLACE, words
    yield from _faults_of_names(experiment, balance.named_weights)


def _faults_of_names(experiment: Experiment, weights: Mapping[str, object]) -> Iterator[Finding]:
    of_labels = experiment.task.output.reads_columns
    classes = [composed(name) for name in experiment.data.classes or experiment.data.source.facts(experiment.task).classes]
    for name, weight in weights.items():
        place = (*_PLACE, "weights", name)
        if classes and composed(name) not in classes:
            near = get_close_matches(name, classes, 1)
            guess = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(classes[:20])}"
            yield place, f"the data has no class `{name}`; {guess}"
        if isinstance(weight, dict) and not of_labels:
            yield place, f"expected a number: a class of `task: {experiment.task}` has one weight"


def _faults_of_rows(experiment: Experiment, what: str) -> Iterator[Finding]:
    facts = experiment.data.facts(experiment.task)
    if experiment.task.output.reads_columns:
        yield _PLACE, f"{what} needs one class for each row; use `oversample` for several labels"
    elif facts.texts:
        yield _PLACE, f"{what} interpolates rows of a table, but the source gives texts; use `oversample`"
    elif facts.image:
        yield _PLACE, f"{what} interpolates rows of a table, but the source gives images; use `oversample`"


RULES = (_balance_fits,)
