"""An earlier run's model as a backbone: everything before its head, or up to a layer of choice."""

import json
import zipfile
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from dlcli.spec.backbones.base import BackboneSpec
from dlcli.spec.layers import Shape
from dlcli.spec.sources.base import FilePath

MODEL = "model.keras"
_LARGEST_CONFIG = 64 * 2**20


def run_folder(path: str) -> Path | None:
    """Returns the folder of a run with a model: `path` itself, or the latest run in a folder of runs of one name."""
    folder = Path(path)
    if (folder / MODEL).is_file():
        return folder
    runs = sorted(file.parent for file in folder.glob(f"[!.]*/{MODEL}"))
    return runs[-1] if runs else None


class RunBackbone(BackboneSpec):
    """The model of an earlier run without its head. It brings its own scaling, and takes examples as that run did."""

    kind: Literal["run"]
    run: FilePath = Field(description="The run's folder, or the folder of all runs of one name: the latest is taken.")
    until: str | None = Field(
        default=None,
        description="The last layer that is used; the last before the output layer, or before the head, if not given.",
    )

    @property
    def takes_images(self) -> bool:
        """Whether the run was trained on images."""
        return self._entry()[0] == "image"

    def example_shape(self) -> Shape | None:
        """Returns the shape of the run's examples; None while there is no such run."""
        return self._entry()[1]

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a run that is missing or unfit, and a layer that it does not have."""
        if run_folder(self.run) is None:
            found = "it holds no run with a model" if Path(self.run).is_dir() else "there is no such folder"
            yield "run", f"expected the folder of a finished run; {self.run}: {found}"
            return
        config = self._config()
        if config is None:
            yield "run", f"{run_folder(self.run)}/{MODEL} cannot be read as a Keras model"
            return
        if self.example_shape() is None:
            yield "run", "the run was trained on a table of named columns; a backbone takes images or rows of numbers"
            return
        names = list(_layer_names(config))
        if self.until is not None and self.until not in names:
            near = get_close_matches(self.until, names, 3, cutoff=0.5)
            guess = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(names[:20])}"
            yield "until", f"the run's model has no layer {self.until!r}; {guess}"

    def resolved(self, *, offline: bool) -> Self:
        """Returns the spec with the exact run."""
        from dlcli.errors import DataError

        folder = run_folder(self.run)
        if folder is None:
            raise DataError(f"model.backbone.run: {self.run} holds no run with a model")
        return self.model_copy(update={"run": str(folder.absolute())})

    def build(self, shape: Shape, *, load_weights: bool = True, offline: bool = False) -> Any:
        """Returns the run's model up to the chosen layer."""
        import dlcli.spec.backbones.hub_layer  # noqa: F401  (a run may stand on a Hub module)
        from dlcli.errors import DataError
        from dlcli.upstream import import_keras

        keras = import_keras()
        folder = run_folder(self.run)
        try:
            model = keras.saving.load_model(folder / MODEL, compile=False) if folder else None
        except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"model.backbone.run: {folder}/{MODEL} cannot be loaded: {str(error).splitlines()[0]}") from None
        if model is None:
            raise DataError(f"model.backbone.run: {self.run} holds no run with a model")
        return keras.Model(model.input, _cut(model, self.until), name="backbone")

    def blocks(self, backbone: Any) -> list[tuple[str, list[Any]]]:
        """Returns a block for every layer with weights, and with it those without that follow."""
        blocks: list[tuple[str, list[Any]]] = []
        for layer in _single_layers(backbone):
            if not blocks or (layer.weights and any(one.weights for one in blocks[-1][1])):
                blocks.append((layer.name, []))
            blocks[-1][1].append(layer)
        named = [(next((one.name for one in layers if one.weights), name), layers) for name, layers in blocks]
        return [(name, layers) for name, layers in named if layers]

    def _config(self) -> Any:
        """Returns the saved model's description, read without Keras; None where it cannot be read."""
        folder = run_folder(self.run)
        try:
            with zipfile.ZipFile(Path(folder or self.run, MODEL)) as archive:
                if archive.getinfo("config.json").file_size > _LARGEST_CONFIG:
                    return None
                found = json.loads(archive.read("config.json"))
            return found if isinstance(found["config"]["layers"], list) else None
        except (OSError, KeyError, TypeError, ValueError, RecursionError, zipfile.BadZipFile):
            return None

    def _entry(self) -> tuple[str, Shape | None]:
        """Returns the name and the shape of the model's only input; no shape where it has several or cannot be read."""
        config = self._config()
        layers = config["config"]["layers"] if config else []
        try:
            inputs = [one["config"] for one in layers if one.get("class_name") == "InputLayer"]
            if len(inputs) != 1:
                return "", None
            return str(inputs[0]["name"]), tuple(int(side) for side in inputs[0]["batch_shape"][1:])
        except (AttributeError, KeyError, TypeError, ValueError):
            return "", None


def _layer_names(config: Any) -> Iterator[str]:
    """Yields the names of a saved model's layers, those of models inside it among them."""
    for layer in config["config"]["layers"]:
        inner = layer.get("config") or {}
        if layer.get("class_name") != "InputLayer":
            yield str(inner.get("name", ""))
        if isinstance(inner.get("layers"), list):
            yield from _layer_names(layer)


def _cut(model: Any, until: str | None) -> Any:
    """Returns the output tensor of a layer of a model, also of a model inside it."""
    if until is None:
        return model.layers[-1].input if model.layers[-1].name in ("output", "head") else model.layers[-2].output
    for layer in model.layers:
        if layer.name == until:
            return layer.output
    for layer in model.layers:
        if hasattr(layer, "layers") and any(one.name == until for one in layer.layers):
            inner = type(model)(layer.input, layer.get_layer(until).output)
            return inner(_fed_by(layer))
    from dlcli.errors import DataError

    raise DataError(f"model.backbone.until: the run's model has no layer {until!r}")


def _fed_by(layer: Any) -> Any:
    """Returns the tensor that a model inside another is called on."""
    own = layer.input
    tensors = (node.input_tensors[0] for node in layer._inbound_nodes if node.input_tensors)
    return next(tensor for tensor in tensors if tensor is not own)


def _single_layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _single_layers(layer)
        elif type(layer).__name__ != "InputLayer":
            yield layer
