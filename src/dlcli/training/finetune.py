"""Spec or run -> the stages of a fine-tuning, to be trained like any other spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlcli.data.same_data import is_copy, known_images
from dlcli.data.split import DEFAULT_SHARES
from dlcli.errors import DlcliError, SpecError, UsageError
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runtime.keras_file import read_config
from dlcli.spec.base import dump
from dlcli.spec.data.balance import BalanceSpec
from dlcli.spec.data.balance.base import ClassCounts
from dlcli.spec.data.split import WITH_FILE
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import LoadedSpec, load_text, to_flow
from dlcli.spec.support import refuse_unsupported
from dlcli.spec.training.optimizers import OptimizerSpec
from dlcli.spec.training.schedules import ByPart, scaled_rate
from dlcli.spec.training.stages import Stage
from dlcli.tasks import TwoClasses

GENTLE = 0.01
"""The default rate of what was trained before, as a share of the head's: large steps would undo it (Keras's guide on
transfer learning takes 1e-5 after 1e-3)."""
_SOURCE = ("data.source=", "data.source.")
"""Prefix of the `--set` options of another source."""


def with_stages(loaded: LoadedSpec) -> LoadedSpec:
    """Returns a spec with stages to fine-tune by: its own, or the head first, then everything at a hundredth of the rate.

    Raises:
        UsageError: the spec has nothing that was trained before, or a head that is no network.
    """
    experiment = loaded.experiment
    _refuse_model(experiment)
    if experiment.training.stages:
        return loaded
    if not experiment.pretrained:
        raise UsageError(
            f"{loaded.document.file}: it has no pretrained weights; `{command()} train` trains it, and fine-tuning needs"
            " `model.kind: transfer`, `training.stages` or `training.initial_weights`"
        )
    if not experiment.training.epochs:
        raise UsageError(f"{loaded.document.file}: `training.epochs` is 0, so nothing would be fine-tuned")
    optimizer = experiment.training.optimizer
    gentle = optimizer.model_copy(update={"learning_rate": scaled_rate(optimizer.learning_rate, GENTLE)})
    stages = [Stage(name="head", train="head"), Stage(name="all", train="all", optimizer=gentle)]
    training = experiment.training.model_copy(update={"stages": stages})
    return replace(loaded, experiment=experiment.model_copy(update={"training": training}))


def continued(
    run: RunFolder,
    log: Callable[[str], None],
    *,
    train: Any,
    learning_rate: float | None,
    epochs: int | None,
    overrides: list[str],
    offline: bool = False,
) -> LoadedSpec:
    """Returns the spec of a run that starts from a completed run's model, on the same data with the same split.

    Where overrides name another source it is split again, by the settings by which the run's split was drawn, unless it is a
    copy of the run's own. The output layer is new where its classes differ.

    Args:
        run: the completed run.
        log: reports that other data is split again.
        train: what learns, as a stage's `train`.
        learning_rate: of the new stage; if None that of the run's last stage, or a hundredth of it if that unfroze nothing.
        epochs: of the new stage; those of the run's last stage if None.
        overrides: `--set` options.
        offline: whether nothing may be fetched.

    Raises:
        UsageError: the run has no model, one that is no network to the end, or one for two classes where there are more.
        SpecError: an override, or a stage, is wrong.
        DamagedFile: the run's model or its split is not as dlcli wrote it.
    """
    data = _data_of_stage(run, train, learning_rate, epochs)
    split = data["data"]["split"]
    if any(override.startswith(_SOURCE) for override in overrides):
        drawn, unknown = _as_drawn(split)
        data["data"]["split"] = _of_another_source(drawn)
        data["data"]["balance"] = dump(_balance_of_another_source(run))
        loaded = _with_other_classes(run, data, overrides)
        source = run.experiment().data.source
        if loaded.experiment.data.source != source and not is_copy(run, loaded.experiment, offline=offline):
            _tell_other_data(run, loaded.experiment, log, offline=offline)
            if unknown:
                log(f"note: the split of {run.id} repeats {unknown}, whose settings are not known: the data is split by shares")
            return loaded
    data["data"]["split"] = split | WITH_FILE | {"file": str(run.split_path)}
    return load_text(to_flow(data), run.spec_path, overrides)


def _data_of_stage(run: RunFolder, train: Any, learning_rate: float | None, epochs: int | None) -> dict[str, Any]:
    """Returns the run's spec as plain data, with one stage that starts from the run's model.

    Raises:
        UsageError: the run has no model, or one that is no network to the end.
        DamagedFile: the run's model or its split is not as dlcli wrote it.
    """
    run.refuse_missing_model()
    experiment = run.experiment()
    _refuse_model(experiment)
    read_config(run.model_path)  # a damaged file is reported now, not once the training has started
    run.split()
    last = experiment.stages[-1]
    epochs = epochs or last.epochs
    if not epochs:
        raise UsageError(f"{run.id} was built without training; set the number of epochs, e.g. --epochs 5")
    optimizer = dump(_optimizer(experiment, last, learning_rate, head_alone=train == "head"))
    data: dict[str, Any] = dump(experiment)
    stage = {"name": "finetune", "train": train, "epochs": epochs, "optimizer": optimizer}
    data["training"] |= {"stages": [stage], "optimizer": optimizer, "initial_weights": str(run.path)}
    data["data"]["exclude"] = None  # the run's split leaves these examples out; another source has other examples
    data["data"]["scale_targets"] = experiment.data.scales_targets  # a run older than the field has targets as they are
    return data


def _as_drawn(split: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Returns the settings by which a split was drawn: of the run whose split it repeats, such as one that was fine-tuned.

    Also returns the repeated file if its settings are not known, since it is not in the folder of a run; else an empty text.
    """
    earlier_files: set[str] = set()
    while (file := split["file"]) is not None:
        earlier = RunFolder(Path(file).parent)
        if file in earlier_files or Path(file) != earlier.split_path:
            return split, file
        earlier_files.add(file)
        try:
            settings: dict[str, Any] = dump(earlier.experiment())["data"]["split"]
        except (DlcliError, OSError):
            return split, file
        split = settings | {"group": settings["group"] or split["group"]}  # a group beside a file checked the file's split
    return split, ""


def _of_another_source(split: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a split without what was resolved for a run's own source: its splits, and the default shares."""
    shares = {part: "auto" for part, share in DEFAULT_SHARES.items() if split[part] in ("source", share)}
    return split | shares | {"file": None}


def _balance_of_another_source(run: RunFolder) -> BalanceSpec:
    """Returns the balance of a run without weights that were computed from its training split."""
    experiment, data = run.experiment(), run.data()
    balance = experiment.data.balance
    if not balance.weights_loss:
        return balance
    counts, examples = data["counts"]["train"], int(data["examples"]["train"])
    of_labels = experiment.task.output.reads_columns
    return balance.unresolved(ClassCounts(list(counts), list(counts.values()), examples, of_labels))


def _tell_other_data(run: RunFolder, experiment: Experiment, log: Callable[[str], None], *, offline: bool) -> None:
    log(f"note: the data is not that of {run.id}, so it is split again")
    count = known_images(run, experiment, offline=offline)
    if count:
        log(
            f"note: {count:,} of its images have the same names as training images of {run.id}; if they are the same"
            " images, scores"
            " of the new test split are too high"
        )


def _with_other_classes(run: RunFolder, data: dict[str, Any], overrides: list[str]) -> LoadedSpec:
    """Returns the checked spec.

    Raises:
        UsageError: the run distinguishes two classes by one output, and the new source does not have two.
        SpecError: an override is wrong.
    """
    try:
        return load_text(to_flow(data), run.spec_path, overrides)
    except SpecError as error:
        fault = next((fault for fault in error.faults if fault.key == "task"), None)
        if fault is None or not isinstance(run.experiment().task.output, TwoClasses):
            raise
    raise UsageError(
        f"{run.id} has one output for two classes, and {fault.message.partition(';')[0]}: write a spec with"
        f" `task: classification` and `model: {{kind: transfer, backbone: {{kind: run, run: {run.path}}}}}`, which uses the"
        " run's model without its output layer"
    )


def _optimizer(experiment: Experiment, last: Stage, learning_rate: float | None, *, head_alone: bool) -> OptimizerSpec:
    """Returns the optimizer of a run's last stage for one more: at its rate if it unfroze anything, else at a hundredth."""
    assert last.optimizer is not None
    rate: Any = last.optimizer.learning_rate
    if isinstance(rate, ByPart) and head_alone:
        rate = rate.head
    if learning_rate is not None:
        rate = learning_rate
    elif not (experiment.training.stages and last.trains_backbone):
        rate = scaled_rate(rate, GENTLE)
    # The length of the run's schedule does not fit the new stage.
    return last.optimizer.model_copy(update={"learning_rate": rate}).of_any_length()


def _refuse_model(experiment: Experiment) -> None:
    kind = experiment.model.fitted_once
    refuse_unsupported(experiment, "finetune", f"`{command()} finetune`")
    if kind:
        raise UsageError(f"a `{kind}` head is fitted once, by `{command()} train`; fine-tuning needs a head of layers")
