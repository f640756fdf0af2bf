"""Every check of the data doctor, in the order in which they are made. A check is one file here and its entry in this list."""

from __future__ import annotations

from dlcli.data.doctor.check import Check
from dlcli.data.doctor.checks.duplicates import Duplicates
from dlcli.data.doctor.checks.image_files import ImageFileCheck
from dlcli.data.doctor.checks.image_outliers import ImageOutliers
from dlcli.data.doctor.checks.image_shapes import ImageShapes
from dlcli.data.doctor.checks.image_statistics import ImageStatistics
from dlcli.data.doctor.checks.near_duplicates import NearDuplicates

IMAGE_CHECKS: tuple[Check, ...] = (
    ImageFileCheck(),
    Duplicates(),
    NearDuplicates(),
    ImageShapes(),
    ImageStatistics(),
    ImageOutliers(),
)
CHECKS: tuple[Check, ...] = IMAGE_CHECKS
