"""The names of all files in a runs folder, and the paths in a run's folder. No other module contains such a name."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dlcli.errors import DamagedFile, UsageError
from dlcli.spec.data.sources.part_names import SPLITS

# Files of a run.
SPEC = "spec.yaml"
SOURCE = "source.yaml"
STATUS = "status.json"
DATA = "data.json"
DATA_REPORT = "data_report.json"
ENVIRONMENT = "environment.json"
SPLIT = "split.csv"
VOCABULARY = "vocabulary.json"
HISTORY = "history.csv"
STAGES = "stages.json"
CALIBRATION = "calibration.json"
CHECKS = "checks.json"
DIAGNOSIS = "diagnosis.json"
SPEED = "speed.json"
PROFILE = "profile.csv"
FOLDS = "folds.json"
FOLD_TABLE = "folds.csv"
FRACTIONS = "fractions.json"
FRACTION_TABLE = "fractions.csv"
FRACTION_PICTURE = "fractions.png"
MODEL = "model.keras"
LOG = "log.txt"
LOCK = "lock"
CURVES = "curves.png"
REPORT = "report.html"
MODEL_CARD = "model_card.md"

# Folders of a run.
CHECKPOINTS = "checkpoints"
EVALUATION = "evaluation"
EXPLANATIONS = "explanations"
EXPORTS = "exports"
STAGE_ANSWERS = "stages"
TENSORBOARD = "tensorboard"
TRACKERS = "trackers"

# Files in the folder of a scored split.
METRICS = "metrics.json"
PREDICTIONS = "predictions.csv"
PREDICTIONS_PARQUET = "predictions.parquet"
LOSSES = "losses.csv"
GROUPS = "groups.csv"
EXAMPLES = "examples.csv"
NOTABLE_TEXTS = "texts.json"
THUMBNAILS = "thumbnails"
PER_CLASS = "per_class.csv"
CONFUSION_MATRIX = "confusion_matrix.csv"
CONFUSION_SHARES = "confusion_matrix_normalised.csv"
CONFUSION_PAIRS = "confusion_pairs.csv"
CONFUSION_PICTURE = "confusion_matrix.png"
DECILES = "deciles.csv"
ACTUAL_PICTURE = "predicted_against_actual.png"
RESIDUALS_PICTURE = "residuals.png"
FORECASTS_PICTURE = "forecasts.png"
ERROR_BY_STEP_PICTURE = "error_by_step.png"
RELIABILITY = "calibration.csv"
RELIABILITY_PICTURE = "reliability.png"
ROC = "roc_curve.csv"
ROC_PICTURE = "roc_curve.png"
PR = "pr_curve.csv"
PR_PICTURE = "pr_curve.png"
THRESHOLDS = "thresholds.csv"
SLICES = "slices.csv"

# Files in the folder of explanations, and in that of an export.
EXPLANATION_LIST = "explanations.json"
CLUSTERS = "clusters.json"
CLUSTER_TABLE = "clusters.csv"
CLUSTER_PICTURE = "clusters.png"
CLUSTER_EXAMPLES_PICTURE = "clusters_examples.png"
EXPORT = "export.json"
LABELS = "labels.txt"
CATEGORIES = "categories.json"
SHARED_COLUMNS = "columns.json"
EXAMPLE_PROGRAM = "example.py"
IMAGE_READER = "image_reader.py"
TOKENS = "tokens.json"
TOKENIZER = "tokenizer.py"
README = "README.md"

# Folders in a runs folder that hold no runs, and their files.
FEATURES = ".features"
PIXELS = ".pixels"
RATE_SEARCHES = ".lr-find"
RATE_CURVE = "curve.csv"
RATE_PICTURE = "curve.png"
RATE_SUGGESTIONS = "suggestions.json"
BATCHES = ".batches"
BATCH = "batch.json"
LEADERBOARD = "leaderboard.csv"
SWEEPS = ".sweeps"
SWEEP = "sweep.json"
SWEEP_PAGE = "sweep.html"
STUDY = "study.db"
TRIALS = "trials.csv"
BEST_SPEC = "best.yaml"

OUT_OF_FOLD = "out_of_fold"
"""The name of the scores of a cross-validation: each example is predicted by the runs that were not trained on it."""
OTHER_DATA = "data-"
"""Prefix of the names of evaluations on other data than the run's own."""


class RunPaths:
    """The paths in a run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def spec_path(self) -> Path:
        """The resolved spec."""
        return self.path / SPEC

    @property
    def source_path(self) -> Path:
        """The original spec."""
        return self.path / SOURCE

    @property
    def status_path(self) -> Path:
        """The status of the run."""
        return self.path / STATUS

    @property
    def data_path(self) -> Path:
        """Facts about the data."""
        return self.path / DATA

    @property
    def data_report_path(self) -> Path:
        """The issues of the data that were found before the first epoch."""
        return self.path / DATA_REPORT

    @property
    def environment_path(self) -> Path:
        """The machine and the versions."""
        return self.path / ENVIRONMENT

    @property
    def split_path(self) -> Path:
        """The split of each example; written once the spec is resolved and the data recorded."""
        return self.path / SPLIT

    @property
    def history_path(self) -> Path:
        """A row for each epoch."""
        return self.path / HISTORY

    @property
    def stages_path(self) -> Path:
        """What each stage trained."""
        return self.path / STAGES

    @property
    def calibration_path(self) -> Path:
        """The temperature."""
        return self.path / CALIBRATION

    @property
    def checks_path(self) -> Path:
        """The measurements for the diagnosis."""
        return self.path / CHECKS

    @property
    def diagnosis_path(self) -> Path:
        """The findings of the diagnosis."""
        return self.path / DIAGNOSIS

    @property
    def speed_path(self) -> Path:
        """What limits the speed of the training."""
        return self.path / SPEED

    @property
    def profile_path(self) -> Path:
        """The time of each layer in the profiled steps."""
        return self.path / PROFILE

    @property
    def folds_path(self) -> Path:
        """The runs and scores of a cross-validation."""
        return self.path / FOLDS

    @property
    def fold_table_path(self) -> Path:
        """The fold of each example in each repetition of a cross-validation, and its split in the ensemble."""
        return self.path / FOLD_TABLE

    @property
    def fractions_path(self) -> Path:
        """The scores for fractions of the training data."""
        return self.path / FRACTIONS

    @property
    def fraction_table_path(self) -> Path:
        """The scores for fractions of the training data as a table."""
        return self.path / FRACTION_TABLE

    @property
    def fraction_picture_path(self) -> Path:
        """The picture of the scores for fractions of the training data."""
        return self.path / FRACTION_PICTURE

    @property
    def model_path(self) -> Path:
        """The best epoch's model."""
        return self.path / MODEL

    @property
    def log_path(self) -> Path:
        """The log: lines with times."""
        return self.path / LOG

    @property
    def lock_path(self) -> Path:
        """The lock of the process that writes the run."""
        return self.path / LOCK

    @property
    def curves_path(self) -> Path:
        """The picture of the history."""
        return self.path / CURVES

    @property
    def report_path(self) -> Path:
        """The page about the run."""
        return self.path / REPORT

    @property
    def model_card_path(self) -> Path:
        """The model card."""
        return self.path / MODEL_CARD

    @property
    def checkpoints_path(self) -> Path:
        """The states that the run can be resumed from."""
        return self._own_folder(CHECKPOINTS)

    @property
    def vocabulary_path(self) -> Path:
        """The tokens of each column of texts by their numbers."""
        return self.path / VOCABULARY

    @property
    def explanations_path(self) -> Path:
        """Pictures that explain predictions, and their numbers.

        Raises:
            DamagedFile: the path is a link or a file.
        """
        return self._own_folder(EXPLANATIONS)

    @property
    def exports_path(self) -> Path:
        """The model in other formats, a folder for each."""
        return self._own_folder(EXPORTS)

    @property
    def tensorboard_path(self) -> Path:
        """The TensorBoard logs."""
        return self._own_folder(TENSORBOARD)

    @property
    def trackers_path(self) -> Path:
        """The files of trackers: the ids of their runs, and their logs."""
        return self._own_folder(TRACKERS)

    @property
    def evaluation_path(self) -> Path:
        """A folder for each scored split."""
        return self._own_folder(EVALUATION)

    @property
    def features_path(self) -> Path:
        """The features that the runs of a runs folder share."""
        return features_folder(self.path.parents[1])

    @property
    def pixels_path(self) -> Path:
        """The decoded images that the runs of a runs folder share."""
        return self.path.parents[1] / PIXELS

    def evaluation(self, split: str) -> Path:
        """Returns the folder of the scores of a split: train, validation or test, `out_of_fold`, or of other data (`data-...`).

        Raises:
            UsageError: there is no split of this name.
            DamagedFile: the folder is a link.
        """
        if split not in (*SPLITS, OUT_OF_FOLD) and not re.fullmatch(OTHER_DATA + r"[a-z0-9-]+", split):
            raise UsageError(f"there is no split {split!r}; splits are {', '.join(SPLITS)}")
        self._own_folder(EVALUATION)
        return self._own_folder(f"{EVALUATION}/{split}")

    def made_evaluation(self, split: str) -> Path:
        """Returns the folder for the scores of a split, and creates it if necessary; the run's folder must exist."""
        folder = self.evaluation(split)
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
        return folder

    def _own_folder(self, name: str) -> Path:
        """Returns a folder inside the run's; a link is refused, since files would be written outside the run."""
        folder = self.path / name
        if folder.is_symlink() or (os.path.lexists(folder) and not folder.is_dir()):
            raise DamagedFile(f"{folder}: not a folder inside the run")
        return folder


def features_folder(runs: Path) -> Path:
    """Returns the folder of the features that the runs of a runs folder share."""
    return runs / FEATURES


def is_own_name(name: str) -> bool:
    """Tells whether one of dlcli's own files or folders has this name, so that nothing else may have it."""
    return name in (value for constant, value in globals().items() if constant.isupper())


def scored_file(split: str, name: str) -> str:
    """Returns the path of a scored split's file relative to the run's folder, such as `evaluation/test/metrics.json`."""
    return f"{EVALUATION}/{split}/{name}"
