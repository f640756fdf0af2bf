"""An earlier run's model as a backbone: everything before its head, or up to a layer of choice."""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from dlcli.errors import DamagedFile, DataError, SpecError
from dlcli.runtime.keras_file import load_keras_file, read_config
from dlcli.runtime.layers import single_layers
from dlcli.spec.base import OneOf, Shape
from dlcli.spec.document import parse
from dlcli.spec.model.backbones.base import TARGET_UNITS, BackboneSpec, blocks_of
from dlcli.spec.model.layers import ShapeError
from dlcli.spec.paths import FilePath
from dlcli.spec.run_files import MODEL, SPEC, STATUS

# `spec` must not import `runs`, so the files of a run that this module reads are named here a second time.
_LONGEST = 2**20
"""The bytes that are read of a status or a spec."""


def run_folder(path: str) -> Path | None:
    """Returns the folder of a run with a model: `path` itself, or of a folder of runs the latest completed one.

    Where none is completed, it is the latest with a model.
    """
    folder = Path(path)
    if (folder / MODEL).is_file():
        return folder
    runs = sorted(file.parent for file in folder.glob(f"[!.]*/{MODEL}"))
    return max(runs, key=lambda run: (_is_completed(run), run.name), default=None)


def _is_completed(run: Path) -> bool:
    """Whether a run's status says so."""
    try:
        status = json.loads(_start_of(run / STATUS))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(status, dict) and status.get("state") == "completed"


def _start_of(path: Path) -> bytes:
    """Returns the first bytes of a file; of what is no file nothing is read, since a pipe would never end."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_LONGEST)


def model_of_run(run: Path) -> Any:
    """Returns the `ModelSpec` of a run; None if its spec cannot be read."""
    try:
        section = parse(_start_of(run / SPEC).decode(), SPEC).data["model"]
        return OneOf.registry["Model"].validate(section, {"folder": str(run)})
    except (SpecError, OSError, KeyError, ValueError):  # pydantic's errors are a ValueError
        return None


def _reason_against(run: Path) -> str:
    """Returns why no training may start from a run, by its model kind; empty if one may, or if its spec cannot be read."""
    model = model_of_run(run)
    reason: str = "" if model is None else model.reason_against("finetune")
    return f"`model.kind: {model.kind}`: {reason}" if reason else ""


class RunBackbone(BackboneSpec):
    """The model of an earlier run without its head. It includes its input scaling and takes the same inputs as that run."""

    kind: Literal["run"]
    run: FilePath = Field(description="Folder of a run, or of all runs of a name (the latest completed run is used).")
    until: str | None = Field(
        default=None,
        description=(
            "The last layer that is used, such as `dense`, or `backbone/dense` where a model inside the run's has one of that"
            " name too; the last before the output layer, or before the head, if not set."
        ),
    )

    @property
    def takes_images(self) -> bool:
        """Whether the run was trained on images."""
        return self._entry()[0] == "image"

    def example_shape(self) -> Shape | None:
        """Returns the shape of the run's examples; None while there is no such run."""
        return self._entry()[1]

    def features(self, shape: Shape) -> Shape | None:
        """Returns the output shape of the last layer that is used, where the saved model's description contains it."""
        config, entry = self._config(), self.example_shape()
        if config is None or entry is None:
            return None  # `faults` speaks of these
        if len(shape) != len(entry) or (len(entry) != 3 and tuple(shape) != entry):  # the rules speak of images' sizes
            raise ShapeError(f"the run was trained on examples of shape {entry}, but gets shape {tuple(shape)}")
        try:
            tensor = _described_tensor(config, _path_of(config, self.until))
            return None if tensor is None else tuple(int(side) for side in tensor["shape"][1:])
        except (DataError, AttributeError, KeyError, TypeError, ValueError):  # `faults` speaks of a wrong `until`
            return None

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a run that is missing or unfit, and a layer that it does not have."""
        folder = run_folder(self.run)
        if folder is None:
            reason = "it contains no run with a model" if Path(self.run).is_dir() else "there is no such folder"
            yield "run", f"expected the folder of a completed run; {self.run}: {reason}"
            return
        if reason := _reason_against(folder):
            yield "run", f"{folder}/{MODEL} is not a model from examples to an output; {reason}"
            return
        config = self._config()
        if config is None:
            yield "run", f"{folder}/{MODEL} cannot be read as a Keras model"
            return
        if self.example_shape() is None:
            yield "run", "the run was trained on a table of named columns; a backbone takes images or rows of numbers"
            return
        try:
            _path_of(config, self.until)
        except DataError as error:
            yield "until", str(error)

    def resolved(self, *, offline: bool) -> Self:
        """Returns the spec with the exact run."""
        folder = run_folder(self.run)
        if folder is None:
            raise DataError(f"model.backbone.run: {self.run} contains no run with a model")
        return self.model_copy(update={"run": str(folder.absolute())})

    def build(self, shape: Shape, *, load_weights: bool = True, offline: bool = False) -> Any:
        """Returns the run's model up to the chosen layer."""
        folder, config = run_folder(self.run), self._config()
        if folder is None or config is None:
            raise DataError(f"model.backbone.run: {self.run} contains no run with a model that can be read")
        try:
            path = _path_of(config, self.until)
        except DataError as error:
            raise DataError(f"model.backbone.until: {error}") from None
        try:
            model = load_keras_file(folder / MODEL)
        except DamagedFile as error:
            raise DataError(f"model.backbone.run: {error}") from None
        return type(model)(model.input, _tensor(model, path), name="backbone")

    def blocks(self, backbone: Any) -> list[tuple[str, list[Any]]]:
        """Returns a block for every layer with weights, and with it those without that follow."""
        return blocks_of(single_layers(backbone))

    def _config(self) -> Any:
        """Returns the saved model's description, read without Keras; None where it cannot be read."""
        folder = run_folder(self.run)
        try:
            config = read_config(Path(folder or self.run, MODEL))
            list(_layer_paths(config))  # raises where it is no description of layers
            return config
        except (DamagedFile, AttributeError, KeyError, TypeError, ValueError, RecursionError):
            return None

    def _entry(self) -> tuple[str, Shape | None]:
        """Returns the name and the shape of the model's only input; no shape where it has several or cannot be read."""
        config = self._config()
        layers = config["config"]["layers"] if config else []
        try:
            inputs = [layer["config"] for layer in layers if layer.get("class_name") == "InputLayer"]
            if len(inputs) != 1:
                return "", None
            return str(inputs[0]["name"]), tuple(int(side) for side in inputs[0]["batch_shape"][1:])
        except (AttributeError, KeyError, TypeError, ValueError):
            return "", None


def _layer_paths(config: Any, above: str = "") -> Iterator[str]:
    """Yields the layers of a saved model, those of a model inside it as `model/layer`."""
    for layer in config["config"]["layers"]:
        if layer["class_name"] != "InputLayer":
            yield f"{above}{layer['name']}"
        if layer["class_name"] == "Functional":
            yield from _layer_paths(layer, f"{above}{layer['name']}/")


def _path_of(config: Any, until: str | None) -> list[str]:
    """Returns the names of the models that a layer is in, and its own; an empty list where none is chosen.

    Raises:
        DataError: there is no such layer, or more than one.
    """
    if until is None:
        return []
    paths = list(_layer_paths(config))
    matching = [path for path in paths if path == until] or [path for path in paths if path.endswith(f"/{until}")]
    if len(matching) == 1:
        return matching[0].split("/")
    if matching:
        raise DataError(f"the run's model has more than one layer {until!r}: {', '.join(matching)}")
    by_name = {name: path for path in reversed(paths) for name in (path, path.rpartition("/")[2])}
    near = dict.fromkeys(by_name[name] for name in get_close_matches(until, by_name, 3, cutoff=0.5))
    guess = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(paths[:20])}"
    raise DataError(f"the run's model has no layer {until!r}; {guess}")


def _described_tensor(config: Any, path: list[str]) -> Any:
    """Returns the description (with its `shape`) of what leaves a layer; None where no layer takes it.

    An empty path means what the last layer takes.
    """
    layers = config["config"]["layers"]
    if len(path) > 1:
        return _described_tensor(next(layer for layer in layers if layer["name"] == path[0]), path[1:])
    last = config["config"]["output_layers"][0]
    if not path and last == TARGET_UNITS:
        return _described_tensor(_without_units(config, layers), path)
    takers = layers if path else [layer for layer in layers if layer["name"] == last]
    for tensor in (tensor for layer in takers for node in layer["inbound_nodes"] for tensor in _tensors_in(node["args"])):
        if not path or tensor["keras_history"][0] == path[0]:
            return tensor
    return None


def _without_units(config: Any, layers: list[Any]) -> Any:
    """Returns the description of a model up to its output layer, without the scaling of its targets."""
    units = next(layer for layer in layers if layer["name"] == TARGET_UNITS)
    before = next(tensor["keras_history"] for node in units["inbound_nodes"] for tensor in _tensors_in(node["args"]))
    return config | {"config": config["config"] | {"output_layers": before}}


def _tensors_in(described: Any) -> Iterator[Any]:
    if isinstance(described, list):
        for entry in described:
            yield from _tensors_in(entry)
    elif isinstance(described, dict) and described.get("class_name") == "__keras_tensor__":
        yield described["config"]


def _tensor(model: Any, path: list[str]) -> Any:
    """Returns what leaves a layer of a model; with an empty path, what its last layer takes."""
    from dlcli.upstream.keras import maker_of, nodes_of

    every = nodes_of(model)
    name = path[0] if path else model.output_names[0]
    nodes = [node for node in every if node.operation.name == name]
    if not path:
        tensor = nodes[0].input_tensors[0]
        if name != TARGET_UNITS:
            return tensor
        return next(node.input_tensors[0] for node in every if node.operation.name == maker_of(tensor).name)
    if len(path) == 1:
        return nodes[0].output_tensors[0]
    inner = nodes[0].operation
    return type(model)(inner.input, _tensor(inner, path[1:]), name=inner.name)(nodes[0].input_tensors[0])
