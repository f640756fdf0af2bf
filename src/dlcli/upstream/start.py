"""How Keras and TensorFlow are started: quietly, and by the spec alone whatever the shell and `keras.json` say."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1", "KERAS_BACKEND": "tensorflow", "GRPC_VERBOSITY": "ERROR"}
VERBOSE = "DLCLI_VERBOSE"
"""Variable of the environment: shows the warnings of dlcli's dependencies."""
_NOTED = "DLCLI_KERAS_JSON_NOTED"
"""Set for child processes once a line on `keras.json` was printed."""
_KERAS_JSON = {"floatx": "float32", "epsilon": 1e-7, "backend": "tensorflow", "image_data_format": "channels_last"}
_IGNORED = {
    "TF_USE_LEGACY_KERAS": "dlcli uses Keras 3",
    "KERAS_MAX_EPOCHS": "the spec sets the number of epochs",
    "KERAS_MAX_STEPS_PER_EPOCH": "the spec sets the amount of data",
}
"""Variables of Keras and TensorFlow that would change what a spec means."""


def silence_dependencies() -> None:
    """Keeps the warnings of other packages, and what they log below errors, off the terminal, in child processes too.

    dlcli reports those that matter to a user in its own messages. `DLCLI_VERBOSE=1`, `PYTHONWARNINGS` and `python -W` show
    them.
    """
    if os.environ.get(VERBOSE) or sys.warnoptions:
        return
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"
    logging.disable(logging.WARNING)


def defer_package_metadata() -> None:
    """Lets `importlib.metadata` be loaded when it is first used.

    pydantic imports `entry_points` from it to look for plugins, which are disabled, and it imports `email` and `zipfile`: a
    thirtieth of a check. `importlib.util.LazyLoader` does not serve here: an import from a lazy module loads it.
    """
    name = "importlib.metadata"
    if name in sys.modules:
        return
    deferred = ModuleType(name)

    def real_attribute(attribute: str) -> Any:
        if attribute.startswith("__"):  # the import system asks for `__path__`
            raise AttributeError(attribute)
        if sys.modules.get(name) is deferred:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    def entry_points(**selection: Any) -> Any:
        return real_attribute("entry_points")(**selection)

    vars(deferred).update(__getattr__=real_attribute, entry_points=entry_points)
    sys.modules[name] = deferred
    setattr(importlib, "metadata", deferred)  # noqa: B010  (mypy knows the module of this name alone)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keeps what TensorFlow's C++ part writes to stderr while it starts off the terminal, unless the block fails.

    It writes half a dozen lines before its own log level is read, on every start and also where nothing is wrong
    (github.com/tensorflow/tensorflow/issues/100442). `DLCLI_VERBOSE=1` shows them.
    """
    from tempfile import TemporaryFile

    if os.environ.get(VERBOSE) or not _is_open(2):
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    stderr_copy = os.dup(2)
    with TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(stderr_copy, captured.read())
            raise
        finally:
            os.dup2(stderr_copy, 2)
            os.close(stderr_copy)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Makes the import of some packages fail inside the block, unless they are loaded already."""
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@contextmanager
def plain_settings() -> Iterator[None]:
    """Lets Keras be imported inside the block with its own defaults: TensorFlow, float32, channels last.

    Keras reads its backend and limits from the environment, and the rest from `keras.json`, which may hold anything
    (github.com/keras-team/keras `src/backend/config.py`). Where they differ one line on stderr reports it. Files
    that Keras downloads stay in the user's folder.
    """
    from tempfile import TemporaryDirectory

    for line in _ignored_variables():
        print(line, file=sys.stderr)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    home, folder = os.environ.get("KERAS_HOME"), _keras_folder()
    line = _ignored_json(folder / "keras.json")
    if line and _NOTED not in os.environ:
        os.environ[_NOTED] = "1"
        print(line, file=sys.stderr)
    with TemporaryDirectory() as empty:
        os.environ["KERAS_HOME"] = empty
        try:
            yield
        finally:
            del os.environ["KERAS_HOME"]
            if home is not None:
                os.environ["KERAS_HOME"] = home
    from keras.src.backend import config

    config._KERAS_DIR = str(folder)


def _ignored_variables() -> list[str]:
    """Removes variables that would change what a spec means from the environment, and returns a line on each."""
    lines = []
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        lines.append(f"note: KERAS_BACKEND={backend[:40]!a} is ignored: dlcli uses tensorflow")
    for name, reason in _IGNORED.items():
        value = os.environ.pop(name, "")
        if value:
            lines.append(f"note: {name}={value[:40]!a} is ignored: {reason}")
    return lines


def _keras_folder() -> Path:
    """Returns the folder of Keras's own files, by its own rule."""
    home = os.environ.get("KERAS_HOME")
    if home is not None:
        return Path(home)
    base = os.path.expanduser("~")
    return Path(base if os.access(base, os.W_OK) else "/tmp") / ".keras"


def _ignored_json(path: Path) -> str:
    """Returns a line on how `keras.json` differs from Keras's defaults; empty where it does not."""
    import json

    try:
        if not path.is_file():
            return ""
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""  # Keras takes its defaults too
    if not isinstance(content, dict):
        return f"note: {path} is ignored: it is not a JSON object"
    differing = [f"{name} {content[name]!r:.40}" for name, usual in _KERAS_JSON.items() if content.get(name, usual) != usual]
    return f"note: {path} is ignored ({', '.join(differing)}): the spec and Keras's defaults apply" if differing else ""
