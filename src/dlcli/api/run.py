"""`dlcli.Run`: a run as a program uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcli.api.predictions import Predictions
from dlcli.errors import UsageError
from dlcli.runs import RunFolder, find_run
from dlcli.spec.support import words_against

if TYPE_CHECKING:
    from dlcli.explain import Explanation
    from dlcli.export.export import Exported
    from dlcli.export.formats import Format, Quantize
    from dlcli.predict.predict import Prediction
    from dlcli.score.record import Scores
    from dlcli.spec.experiment import Experiment


class Run:
    """A run: its spec, history and scores, and what its model predicts.

    Args:
        path: the run folder; or, as on the command line, a name (its latest completed run), `name@best`, or the first
            characters of an id.
        runs: the folder of the runs, for names and ids.

    Raises:
        UsageError: there is no such run, or there are several.

    Example:
        >>> run = dlcli.Run("digits_mlp")
        >>> run.metrics()["accuracy"], run.spec.training.epochs
        >>> run.predict("photo.png")[0]["predicted"]
    """

    def __init__(self, path: str | PathLike[str], *, runs: str | PathLike[str] = "runs") -> None:
        self._folder = find_run(fspath(path), Path(runs))

    def __repr__(self) -> str:
        return f"dlcli.Run({str(self.path)!r})"

    @property
    def folder(self) -> RunFolder:
        """The run folder with everything it holds, as dlcli itself reads it; it may change between versions."""
        return self._folder

    @property
    def path(self) -> Path:
        """The run folder; docs/results.md lists what is in it."""
        return self._folder.path

    @property
    def id(self) -> str:
        """`name/time-letters`, which names the run in every command."""
        return self._folder.id

    @property
    def state(self) -> str:
        """`running`, `completed`, `failed`, `interrupted`, or `dead`: its process is gone."""
        return self._folder.shown_state

    @property
    def spec(self) -> Experiment:
        """The resolved spec, every default written out: `run.spec.training.epochs`.

        Raises:
            SpecError: the file was changed and is no longer valid.
        """
        return self._folder.experiment()

    def history(self) -> list[dict[str, Any]]:
        """Returns a dict for each epoch: `stage`, `epoch`, losses, metrics, learning rate and seconds.

        A column that only other stages have is missing. `pandas.DataFrame(run.history())` makes a table of it.
        """
        return self._folder.history_file.epochs()

    def metrics(self, split: str = "") -> dict[str, float]:
        """Returns the loss and metrics of a split.

        Args:
            split: test, train or validation; by default test, or validation where there is no test split.

        Raises:
            UsageError: the split was not scored; `evaluate` scores it where the model has scores.
        """
        return {name: entry["value"] for name, entry in self._scored(split)["metrics"].items()}

    def scores(self, split: str = "") -> Scores:
        """Returns the metrics of a split with their confidence intervals, and those of the baseline.

        Args:
            split: as for `metrics`.

        Raises:
            UsageError: the split was not scored; `evaluate` scores it where the model has scores.
        """
        from dlcli.score.record import scores_of

        return scores_of(self._scored(split))

    def model(self) -> Any:
        """Returns the `keras.Model` of the best epoch, uncompiled; its input is as the data holds it, scaling included.

        Raises:
            UsageError: no epoch has finished.
            DamagedFile: the file cannot be loaded.
        """
        from dlcli.runtime.keras_file import load_keras_file

        self._folder.refuse_missing_model()
        return load_keras_file(self._folder.model_path)

    def predict(self, inputs: Any, *, calibrated: bool = False) -> Predictions:
        """Returns predictions for new examples, which are preprocessed as in training.

        Args:
            inputs: files, folders or patterns (one or several); a NumPy array `(n, ...)` of images (uint8, 0 to 255) or
                numbers; the rows of a table as a pandas DataFrame, a dict of columns, or a list of dicts; or, for a model
                whose only column has texts, a list of them. Files of such a model are one text, or a list of `Path`.
            calibrated: whether the temperature of `evaluate(calibrate=True)` is applied.

        Raises:
            UsageError: the run has no model or no temperature, or a file does not exist.
            DataError: the model takes other inputs, or none of them could be read.

        Example:
            >>> run.predict(["a.png", "b.png"])
            >>> run.predict({"sepal_length": [5.1], "sepal_width": [3.5]})
            >>> reviews.predict(["a lovely film", "dull"])
        """
        return _collected(self.prediction(inputs, calibrated=calibrated))

    def prediction(self, inputs: Any, *, calibrated: bool = False) -> Prediction:
        """Returns a prediction that reads and answers a batch at a time, for more inputs than fit into memory.

        Its `answers(skip)` yields the batches. The arguments are those of `predict`.
        """
        from dlcli.predict.predict import prepare, prepare_examples, prepare_texts
        from dlcli.predict.texts import takes_texts

        if _are_texts(inputs) and takes_texts(self._folder):
            return prepare_texts(self._folder, inputs, calibrate=calibrated)
        files = _files(inputs)
        if files is not None:
            return prepare(self._folder, files, calibrate=calibrated)
        return prepare_examples(self._folder, _in_memory(inputs), calibrate=calibrated)

    def evaluate(
        self,
        split: str = "",
        *,
        data: str | PathLike[str] = "",
        slice_by: Sequence[str] = (),
        cost: tuple[float, float] | None = None,
        calibrate: bool = False,
        offline: bool = False,
    ) -> Scores:
        """Scores the model on a split or on other data, writes `evaluation/<split>/` and returns the scores.

        Args:
            split: train, validation or test; by default test, or validation where there is no test split.
            data: other labelled data of the same kind: a folder, table or .npz file.
            slice_by: columns whose values group the examples.
            cost: costs of a false positive and a false negative, for the threshold with the lowest cost.
            calibrate: whether a temperature is fitted on the validation split and stored in the run.
            offline: whether the network must not be accessed.

        Raises:
            UsageError: the run has no model, no such split, or its source takes no other data.
            DataError: the data cannot be read, has changed since the training, or does not fit the model.
        """
        from dlcli.score.evaluate import EvaluateOptions, evaluate

        options = EvaluateOptions(slice_by, cost, calibrate)
        return evaluate(self._folder, split, offline=offline, data=fspath(data), options=options)

    def explain(
        self,
        files: Sequence[str] = (),
        *,
        method: str = "",
        class_name: str = "",
        split: str = "",
        clusters: int | None = None,
        cluster_method: str = "",
        projection: str = "",
        offline: bool = False,
        skip: Callable[[str, str], None] = lambda *_: None,
    ) -> list[Explanation]:
        """Explains predictions, writes pictures into `explanations/` and returns what was made.

        Args:
            files: images or texts to explain; by default examples of the test split, wrong predictions first.
            method: grad_cam, occlusion, permutation, boundary, filters or clusters; by default the first that applies.
            class_name: the class to explain; by default the predicted one.
            split: the split of the run's data to explain; by default test, or validation where there is no test split.
            clusters: of the method `clusters` the number of clusters of k-means; by default as many as classes.
            cluster_method: kmeans, dbscan or mean_shift; by default kmeans.
            projection: pca or ica; by default pca.
            offline: whether the network must not be accessed.
            skip: is called with the name of each file that cannot be read, and the reason.

        Raises:
            UsageError: the method does not fit the model, or there is no such class, split or file.
            DataError: the data, or all files, cannot be read.
        """
        from dlcli.explain import ClusterSettings, explain

        clustering = ClusterSettings(clusters, cluster_method, projection)
        return explain(
            self._folder,
            files,
            method=method,
            class_name=class_name,
            split=split,
            clustering=clustering,
            offline=offline,
            skip=skip,
        )

    def export(
        self, form: Format, *, quantize: Quantize = "", to: str | PathLike[str] | None = None, offline: bool = False
    ) -> Exported:
        """Exports the model for use without dlcli, compares it with the original and returns where it is.

        Args:
            form: `keras`, `saved_model`, `tflite` or `onnx`.
            quantize: for `tflite`: `int8` or `float16`.
            to: the folder to create; by default `exports/<form>` in the run folder.
            offline: whether the network must not be accessed.

        Raises:
            UsageError: something else is in the folder's place, or the model does not fit the format.
            RunFailed: the model cannot be converted, or the export does not agree with it.
        """
        from dlcli.export.export import export

        return export(self._folder, form, quantize=quantize, to=None if to is None else Path(to), offline=offline)

    def _scored(self, split: str) -> dict[str, Any]:
        splits = self._folder.scored_splits()
        chosen = split or next(iter(splits), "test")
        if chosen not in splits:
            scored = ", ".join(splits) or "none"
            remedy = words_against(self.spec, "evaluate", "Run.evaluate") or "Run.evaluate scores it"
            raise UsageError(f"{self.id}: the split {chosen!r} was not scored (scored: {scored}); {remedy}")
        return self._folder.metrics(chosen)


def _collected(prediction: Prediction) -> Predictions:
    """Returns all answers of a prediction at once.

    Raises:
        DataError: nothing could be predicted.
    """
    import numpy as np

    from dlcli.predict.answers import Answers

    skipped: dict[str, str] = {}
    batches = list(prediction.answers(skipped.__setitem__))
    ids = [example for batch in batches for example in batch.ids]
    answers = Answers(prediction.experiment.task, prediction.classes, ids, np.concatenate([batch.scores for batch in batches]))
    unfamiliar = prediction.unfamiliar.notes() if prediction.unfamiliar else []
    return Predictions(answers, skipped, [*prediction.notes, *prediction.row_notes, *unfamiliar])


def _are_texts(inputs: Any) -> bool:
    """Whether inputs may be texts themselves: a list of them, not the name of a file."""
    return isinstance(inputs, (list, tuple)) and bool(inputs) and all(isinstance(item, str) for item in inputs)


def _files(inputs: Any) -> list[str] | None:
    """Returns the files that inputs name; None where they are examples themselves."""
    if isinstance(inputs, (str, PathLike)):
        return [fspath(inputs)]
    if isinstance(inputs, (list, tuple)) and inputs and all(isinstance(item, (str, PathLike)) for item in inputs):
        return [fspath(item) for item in inputs]
    return None


def _in_memory(inputs: Any) -> Any:
    """Returns an array, or the columns of a table.

    Raises:
        UsageError: the inputs are neither.
    """
    if hasattr(inputs, "columns") and hasattr(inputs, "notna"):  # a pandas DataFrame; pandas need not be installed
        return inputs.astype(object).where(inputs.notna(), None).to_dict("list")
    if isinstance(inputs, Mapping):
        return {name: list(values) for name, values in inputs.items()}
    if isinstance(inputs, (list, tuple)) and inputs and all(isinstance(row, Mapping) for row in inputs):
        return _columns(inputs)
    if hasattr(inputs, "dtype") and hasattr(inputs, "shape"):
        import numpy as np

        return np.asarray(inputs)
    kinds = "files, a NumPy array, a pandas DataFrame, a dict of columns, a list of dicts or of texts"
    raise UsageError(f"predict: expected {kinds}, found {type(inputs).__name__}")


def _columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}
