"""A model that averages the outputs of the models of completed runs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from dlcli.errors import DataError
from dlcli.runtime.saved_layers import SavedLayers
from dlcli.spec.base import Positive, Shape
from dlcli.spec.model.backbones.run import model_of_run, run_folder
from dlcli.spec.model.base import ModelSpec
from dlcli.spec.model.layers import LayerSpec
from dlcli.spec.paths import FilePath
from dlcli.spec.run_files import MODEL
from dlcli.spec.support import Feature

_COMBINED = "it combines the trained models of its runs"


class Ensemble(ModelSpec):
    """The mean of the outputs of completed runs: of probabilities for classes and labels, of values for a regression.

    The runs have the same task, classes and inputs. It is built without training (`training.epochs: 0`).
    """

    kind: Literal["ensemble"]
    runs: Annotated[list[FilePath], Field(min_length=2)] = Field(
        description="Folders of the runs, or of all runs of a name (the latest completed run is used)."
    )
    weights: list[Positive] | None = Field(
        default=None, description="Weight of each run in the mean, in the order of `runs`; equal weights if not set."
    )
    is_trained: ClassVar[bool] = False
    reads_padding: ClassVar[bool] = True
    unsupported: ClassVar[Mapping[Feature, str]] = dict.fromkeys(
        ("finetune", "lr-find", "several devices", "use_ema", "reduce_lr_on_plateau"), f"{_COMBINED} and is not trained itself"
    )

    @property
    def reads_texts(self) -> bool:
        """True: its runs may."""
        return True

    @property
    def members(self) -> tuple[str, ...]:
        """The folders of the runs."""
        return tuple(self.runs)

    @property
    def saved_layers(self) -> SavedLayers | None:
        """The layers outside Keras that one of the runs' models contains."""
        declared = (None if model is None else model.saved_layers for model in map(model_of_run, self._folders()))
        return next((layers for layers in declared if layers is not None), None)

    def in_words(self) -> str:
        """Returns what the model is, and the number of its runs."""
        return f"An ensemble of {len(self.runs)} models"

    def licence(self) -> str:
        """Returns the sentences on the weights of the runs' models, each once; empty where all were random at first."""
        models = [model for model in map(model_of_run, self._folders()) if model is not None]
        return " ".join(dict.fromkeys(sentence for model in models if (sentence := model.licence())))

    def faults(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yields runs that are missing, are named twice or have no predictions, and a wrong number of weights."""
        folders: dict[Path, int] = {}
        for number, run in enumerate(self.runs):
            place, folder = ("runs", number), run_folder(run)
            if folder is None:
                reason = "it contains no run with a model" if Path(run).is_dir() else "there is no such folder"
                yield place, f"expected the folder of a completed run; {run}: {reason}"
                continue
            if folder in folders:
                yield place, f"{folder} is also run {folders[folder] + 1} of the list"
            folders.setdefault(folder, number)
            model = model_of_run(folder)
            if model is not None and (reason := model.reason_against("evaluate")):
                yield place, f"{folder}/{MODEL} has no predictions to average: `model.kind: {model.kind}`: {reason}"
        if self.weights is not None and len(self.weights) != len(self.runs):
            yield ("weights",), f"expected a weight for each of the {len(self.runs)} runs, found {len(self.weights)}"

    def resolved(self, *, offline: bool) -> Self:
        """Returns the model with the exact runs.

        Raises:
            DataError: a run has no model.
        """
        folders = self._folders()
        if len(folders) < len(self.runs):
            missing = next(run for run in self.runs if run_folder(run) is None)
            raise DataError(f"model.runs: {missing} contains no run with a model")
        return self.model_copy(update={"runs": [str(folder.absolute()) for folder in folders]})

    def stack(self, shape: Shape) -> list[tuple[LayerSpec, tuple[str | int, ...]]]:
        """Returns no layers: those of the runs' models are in their files."""
        return []

    def output_shape(self, shape: Shape) -> Shape:
        """Returns an empty shape: the files of the runs must be opened first."""
        return ()

    def multiply_adds(self, shape: Shape) -> int | None:
        """Returns None: the files of the runs must be opened first."""
        return None

    def _folders(self) -> list[Path]:
        """Returns the folders of the runs that have a model."""
        return [folder for run in self.runs if (folder := run_folder(run)) is not None]
