"""Every source of examples. A kind is one file here and its place in this list."""

from __future__ import annotations

from typing import Annotated

from dlcli.spec.base import OneOf
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec

__all__ = ["Examples", "Facts", "Opened", "Request", "Source", "SourceSpec"]

_PLACES = {
    "builtin": f"{__name__}.builtin:Builtin",
    "sklearn": f"{__name__}.sklearn:Sklearn",
    "openml": f"{__name__}.openml:Openml",
    "playground": f"{__name__}.playground:Playground",
    "tfds": f"{__name__}.tfds:Tfds",
    "folder": f"{__name__}.folder:Folder",
    "image_table": f"{__name__}.image_table:ImageTable",
    "text_folder": f"{__name__}.text_folder:TextFolder",
    "csv": f"{__name__}.csv:Csv",
    "parquet": f"{__name__}.parquet:Parquet",
    "series": f"{__name__}.series:Series",
    "huggingface": f"{__name__}.huggingface:Huggingface",
    "npz": f"{__name__}.npz:Npz",
    "ts": f"{__name__}.ts:Ts",
}
"""Each kind's module and class, in the order of the reference. A check of a spec imports the one that it uses."""
Source = Annotated[SourceSpec, OneOf("Source", places=_PLACES)]
