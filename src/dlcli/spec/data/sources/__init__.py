"""Every source of examples. A kind is one file here and its name in this list."""

from __future__ import annotations

from typing import Annotated

from dlcli.spec.base import OneOf
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec
from dlcli.spec.data.sources.builtin import Builtin
from dlcli.spec.data.sources.csv import Csv
from dlcli.spec.data.sources.folder import Folder
from dlcli.spec.data.sources.huggingface import Huggingface
from dlcli.spec.data.sources.image_table import ImageTable
from dlcli.spec.data.sources.npz import Npz
from dlcli.spec.data.sources.openml import Openml
from dlcli.spec.data.sources.parquet import Parquet
from dlcli.spec.data.sources.playground import Playground
from dlcli.spec.data.sources.sklearn import Sklearn
from dlcli.spec.data.sources.tfds import Tfds

__all__ = ["Examples", "Facts", "Opened", "Request", "Source", "SourceSpec"]

Source = Annotated[
    Builtin | Sklearn | Openml | Playground | Tfds | Folder | ImageTable | Csv | Parquet | Huggingface | Npz, OneOf("Source")
]
