"""Imports Hugging Face's `datasets` so that it opens folders on this machine and fetches nothing."""

from __future__ import annotations

import os
from typing import Any

from dlcli.errors import DataError
from dlcli.program import install_command

_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Variables that the package reads when it is imported."""


def import_datasets() -> Any:
    """Imports and returns the package `datasets`, without access to the network.

    Raises:
        DataError: the package is not installed.
    """
    os.environ.update(_OFFLINE)
    try:
        import datasets
    except ImportError:
        raise DataError(f"kind: huggingface needs a package that is not installed: {install_command('huggingface')}") from None
    datasets.disable_progress_bars()
    return datasets
