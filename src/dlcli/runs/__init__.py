"""The run folder: the only code that knows its file names. Imports no TensorFlow, Keras or NumPy."""

from dlcli.runs.folder import RunFolder, Status
from dlcli.runs.lookup import all_runs, find_run, newer_run

__all__ = ["RunFolder", "Status", "all_runs", "find_run", "newer_run"]
