"""Every check of the data doctor, in the order in which they are made. A check is one file here and its entry in this list."""

from __future__ import annotations

from dlcli.data.doctor.check import Check
from dlcli.data.doctor.checks.class_balance import ClassBalance
from dlcli.data.doctor.checks.class_counts import ClassCounts
from dlcli.data.doctor.checks.class_names import ClassNames
from dlcli.data.doctor.checks.class_shares import ClassShares
from dlcli.data.doctor.checks.drift import Drift
from dlcli.data.doctor.checks.duplicate_columns import DuplicateColumns
from dlcli.data.doctor.checks.duplicates import Duplicates
from dlcli.data.doctor.checks.image_files import ImageFileCheck
from dlcli.data.doctor.checks.image_outliers import ImageOutliers
from dlcli.data.doctor.checks.image_shapes import ImageShapes
from dlcli.data.doctor.checks.image_statistics import ImageStatistics
from dlcli.data.doctor.checks.label_errors import LabelErrors
from dlcli.data.doctor.checks.missing_values import MissingValues
from dlcli.data.doctor.checks.near_duplicates import NearDuplicates
from dlcli.data.doctor.checks.outliers import Outliers
from dlcli.data.doctor.checks.repeated_rows import RepeatedRows
from dlcli.data.doctor.checks.revealing_columns import RevealingColumns
from dlcli.data.doctor.checks.uninformative_columns import UninformativeColumns

IMAGE_CHECKS: tuple[Check, ...] = (
    ImageFileCheck(),
    Duplicates(),
    NearDuplicates(),
    ImageShapes(),
    ImageStatistics(),
    ImageOutliers(),
)
CHECKS: tuple[Check, ...] = (
    *IMAGE_CHECKS,
    ClassCounts(),
    ClassBalance(),
    ClassNames(),
    ClassShares(),
    MissingValues(),
    UninformativeColumns(),
    DuplicateColumns(),
    RevealingColumns(),
    Outliers(),
    RepeatedRows(),
    Drift(),
    LabelErrors(),
)
