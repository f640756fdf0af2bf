"""Checks a `.keras` file before Keras opens it: only layers of Keras or a declared backbone, and arrays of the declared sizes.

Keras itself refuses Python code in a model (`safe_mode`) and checks the file of weights. Models written by dlcli or plain
Keras are accepted; otherwise the message names the refused member.
"""

from __future__ import annotations

import importlib
import json
import math
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from dlcli.errors import DamagedFile, DlcliError
from dlcli.runtime.saved_layers import saved_layers
from dlcli.upstream.keras import all_layers, import_keras
from dlcli.upstream.keras_hub import saved_vocabularies

_LARGEST_CONFIG = 64 * 2**20
_EXPANSION = 20
"""Maximum ratio of unpacked to packed size. Keras does not compress members; other programs may compress the file."""
_CODE = ("Lambda", "__lambda__", "__typespec__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
"""Keras classes that run arbitrary code or read arbitrary files."""
_FUNCTIONS = (None, "builtins", "keras.activations", "keras.initializers", "keras.ops")
"""Keras modules whose functions only compute. Functions of other modules access files, the network or Keras's settings."""
_HALVES = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
_BROKEN = (OSError, EOFError, RuntimeError, NotImplementedError, ValueError, zipfile.BadZipFile, zlib.error)
"""Exceptions of damaged archives; RuntimeError and NotImplementedError mean an encrypted or unknown compression."""


def load_keras_file(path: Path) -> Any:
    """Returns the model of a `.keras` file, not compiled.

    Raises:
        DamagedFile: it is damaged, too large for what it holds, or holds what is not a layer of Keras's or of a backbone.
    """
    from dlcli.upstream.keras import weights_watched

    config = read_config(path)
    refuse_code(config, path)
    for description in _classes(config):
        _register(description, path)
    try:
        with warnings.catch_warnings(), weights_watched(_Weights(path).count):
            warnings.simplefilter("ignore")  # Keras warns about a faulty object before it raises an exception
            model = import_keras().saving.load_model(path, compile=False, safe_mode=True)
    except DlcliError:
        raise
    except MemoryError:
        raise DamagedFile(f"{path}: there is too little memory to load it: it is too large, or damaged") from None
    except Exception as error:  # h5py, Keras, TensorFlow and zipfile have no common class
        if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's lack of memory
            raise
        raise DamagedFile(f"{path}: cannot be loaded as a Keras model: {_in_one_line(error)}") from None
    _refuse_large_outputs(model, path)
    return model


def save_keras_file(model: Any, path: Path) -> None:
    """Saves a model that computes in float32, whatever the precision of its training.

    Mixed precision keeps weights in float32, so nothing is lost, and the file predicts alike on every device.
    """
    with saved_vocabularies():
        model.save(path)
    config = read_config(path) if any(layer.compute_dtype in _HALVES for layer in all_layers(model)) else None
    if set_float32(config):
        _replace_config(path, config)


def write_in_float32(source: Path, path: Path) -> None:
    """Writes a copy of a `.keras` file whose model computes in float32: files of earlier versions may have mixed precision."""
    shutil.copyfile(source, path)
    config = read_config(path)
    set_float32(config)
    _replace_config(path, config)


def set_float32(config: Any) -> bool:
    """Replaces every half precision in a model's configuration; returns whether there was one."""
    has_half_precision, waiting = False, [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("dtype", "name") and value in _HALVES:
                    node[key], has_half_precision = "float32", True
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return has_half_precision


def _replace_config(path: Path, config: Any) -> None:
    """Replaces the configuration in a `.keras` file."""
    copy = path.with_name(f".{path.name}.tmp")
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as written:
            for member in archive.infolist():
                if member.filename == "config.json":
                    written.writestr("config.json", json.dumps(config))
                    continue
                with archive.open(member) as content, written.open(member.filename, "w", force_zip64=True) as target:
                    shutil.copyfileobj(content, target)
        copy.replace(path)
    finally:
        copy.unlink(missing_ok=True)


def read_config(path: Path) -> Any:
    """Returns a model's configuration, read without Keras.

    Raises:
        DamagedFile: the file is no `.keras` file, or its members are invalid.
    """
    if not path.is_file():
        raise DamagedFile(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_odd_members(archive.infolist(), path)
            config = json.loads(archive.read("config.json"))
    except KeyError:
        raise DamagedFile(f"{path}: not a Keras model: it holds no config.json") from None
    except RecursionError:
        raise DamagedFile(f"{path}: its config.json is nested too deep") from None
    except _BROKEN as error:
        raise DamagedFile(f"{path}: not a Keras model, or damaged: {_in_one_line(error)}") from None
    if not isinstance(config, dict):
        raise DamagedFile(f"{path}: its config.json does not describe a model")
    return config


def _refuse_odd_members(members: list[zipfile.ZipInfo], path: Path) -> None:
    names = [member.filename for member in members]
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in name:
            raise DamagedFile(f"{path}: holds {name!r}, which is outside its folder")
    if len(names) != len(set(names)):
        raise DamagedFile(f"{path}: contains a member twice")
    is_large = any(member.filename == "config.json" and member.file_size > _LARGEST_CONFIG for member in members)
    size = sum(member.file_size for member in members)
    if is_large or size > _EXPANSION * path.stat().st_size + _LARGEST_CONFIG:
        raise DamagedFile(f"{path}: would unpack to {size:,} bytes: more than a model of its size contains")


def refuse_code(config: Any, path: Path) -> None:
    """Raises DamagedFile if a configuration from a file has an object that is not a class of Keras or of a backbone."""
    for entry in _classes(config):
        _refuse_foreign(entry, path)


def _classes(config: Any) -> Iterator[dict[str, Any]]:
    """Yields the configuration of every object inside that of a model, at any depth."""
    waiting = [config]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            if "class_name" in entry:
                yield entry
            waiting += entry.values()
        elif isinstance(entry, list):
            waiting += entry


def _refuse_foreign(entry: dict[str, Any], path: Path) -> None:
    """Raises DamagedFile for an object that is not a Keras class, or that runs arbitrary code."""
    name, module, registered = entry["class_name"], entry.get("module"), entry.get("registered_name")
    layers = saved_layers(registered)
    if layers is not None and name != "function" and name not in _CODE:
        config = entry.get("config")
        refusal = layers.refusal(config) if isinstance(config, dict) else ""
        if refusal:
            raise DamagedFile(f"{path}: {refusal}: it is not loaded")
        return
    is_keras = module in (None, "builtins", "keras") or (isinstance(module, str) and module.startswith("keras."))
    computes = name != "function" or module in _FUNCTIONS
    if not isinstance(name, str) or not (is_keras and computes) or name in _CODE or ">" in str(registered):
        member = entry.get("config") if name == "function" else name
        raise DamagedFile(f"{path}: holds {str(member)[:80]!r} of {str(module)[:80]!r}, which may run code: it is not loaded")


def _register(entry: dict[str, Any], path: Path) -> None:
    """Imports the module of a backbone's layer, which registers the layer with Keras."""
    layers = saved_layers(entry.get("registered_name"))
    if layers is None:
        return
    try:
        importlib.import_module(layers.module)
    except ModuleNotFoundError as error:
        raise DamagedFile(f"{path}: contains {layers.noun}, which needs the package {error.name}") from None
    name = entry["registered_name"]
    if import_keras().saving.get_registered_object(name) is None:  # Keras would look for it in the module that the file names
        raise DamagedFile(f"{path}: contains {str(name)[:80]!r}, which {layers.package} does not have: it is not loaded")


class _Weights:
    """Compares the sizes of the weights that a model's layers declare with those that its file stores."""

    def __init__(self, path: Path) -> None:
        self._path, self._declared = path, 0
        with zipfile.ZipFile(path) as archive:
            stored = sum(member.file_size for member in archive.infolist() if member.filename != "config.json")
        self._most = 2 * stored  # some formats hold two weights in a byte

    def count(self, layer: Any, numbers: int) -> None:
        """Adds a declared weight with its count of numbers.

        Raises:
            DamagedFile: the file stores fewer numbers than the layers have declared so far.
        """
        self._declared += numbers
        if self._declared > self._most:
            raise DamagedFile(
                f"{self._path}: stores fewer weights than its {type(layer).__name__} layer declares: it is not loaded"
            )


def _refuse_large_outputs(model: Any, path: Path) -> None:
    """Checks that the output of each layer for one example fits in the free memory."""
    from dlcli.runtime.free_memory import free_memory

    free = free_memory()
    for operation in getattr(model, "operations", ()):
        for output in _tensors(getattr(operation, "output", None)):
            size = 4 * math.prod(side or 1 for side in output.shape)
            if size > free:
                need = f"{size / 2**30:,.0f} GiB for one example, and {free / 2**30:,.0f} GiB are free"
                raise DamagedFile(f"{path}: the output of its layer {operation.name!r} takes {need}")


def _tensors(output: Any) -> list[Any]:
    if isinstance(output, dict):
        output = list(output.values())
    tensors = output if isinstance(output, (list, tuple)) else [output]
    return [tensor for tensor in tensors if hasattr(tensor, "shape")]


def _in_one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:400]
