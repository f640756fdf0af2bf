"""A trainable Keras 3 layer around a SavedModel of TensorFlow Hub.

`hub.KerasLayer` is Keras 2, and a plain Keras 3 layer that calls `hub.load(...)` does not track the module's variables, which
are then silently never trained. Here they are weights of the layer, and a saved model contains the module itself.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dlcli.errors import DataError, Interrupted
from dlcli.runtime.backbone_layer import BackboneLayer
from dlcli.runtime.hub_graph import refused_operation
from dlcli.upstream.keras import add_variables, import_keras

keras: Any = import_keras()


@keras.saving.register_keras_serializable(package="dlcli")
class HubLayer(BackboneLayer, keras.layers.Layer):  # type: ignore[misc]
    """Features of a SavedModel. Its variables are weights of the layer; a saved model contains the module.

    With `inference_mode`, batch statistics stay fixed while weights are trained. A module that has only signatures cannot
    be trained at all, which `why_frozen` explains.

    Args:
        folder: the SavedModel; None when Keras loads a saved model, whose assets contain it.
        signature: the signature to call; None for the module itself if it is callable, else its only signature.
        output: the key of the output if there are several.
        features: the shape of one output, as recorded in a saved model.
    """

    def __init__(
        self,
        folder: str | None = None,
        *,
        signature: str | None = None,
        output: str | None = None,
        features: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**{**options, "dtype": "float32"})
        self.signature, self.output_key = signature, output
        self.features = tuple(features) if features else None
        self.inference_mode = True
        self.why_frozen = ""
        self.files: dict[str, bytes] = {}
        self._waiting: list[Any] = []
        if folder is not None:
            self._open(Path(folder))

    def measure(self, shape: tuple[int, ...]) -> None:
        """Runs the module once on zeros of a shape and records the shape of its features.

        Raises:
            DataError: the module does not accept the shape.
        """
        try:
            features = self._run(tf.zeros((2, *shape), tf.float32), learning=False)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            shape_of_module = self.asked_shape()
            why = f"it takes {shape_of_module}" if shape_of_module not in (None, shape) else _first_line(error)
            raise DataError(f"model.backbone: the Hub module cannot take examples of shape {shape}: {why}") from None
        self.features = tuple(features.shape[1:])
        self.built = True

    def asked_shape(self) -> tuple[int | None, ...] | None:
        """Returns the required shape of one example, with None for any size; None if the module does not define it."""
        shapes = {_example_shape(spec) for spec in self._input_specs()}
        return shapes.pop() if len(shapes) == 1 else None

    def usual_shape(self) -> tuple[int | None, ...] | None:
        """Returns the shape of one example in the module's signature; the module may accept other shapes too."""
        function = next(iter(self._module.signatures.values()), None)
        specs = _tensor_specs(function) if function is not None else []
        return _example_shape(specs[0]) if len(specs) == 1 else None

    def takes_whole_numbers(self) -> bool:
        """Whether the module takes images of whole numbers from 0 to 255."""
        return any(spec.dtype.is_integer for spec in self._input_specs())

    def untracked_variables(self) -> list[Any]:
        """Returns the module's variables that are not weights of the layer; empty unless there is a defect."""
        own = {id(weight.value) for weight in self.weights}
        return [variable for variable in self._variables() if id(variable) not in own]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the features, float32; adds the module's regularisation losses in training."""
        learning = bool(training) and self.trainable and not self.why_frozen
        if learning:
            for loss in self._regularization_losses():
                self.add_loss(loss())
        return self._run(tf.cast(inputs, tf.float32), learning=learning and not self.inference_mode)

    @property
    def has_penalties(self) -> bool:
        """Whether the module adds a penalty to the loss while it is trained."""
        return bool(self._regularization_losses())

    def penalty(self) -> float:
        """Returns the penalty that the module adds to the loss; 0 while it is frozen."""
        learning = self.trainable and not self.why_frozen
        return float(sum(float(loss()) for loss in self._regularization_losses())) if learning else 0.0

    def _regularization_losses(self) -> list[Any]:
        return list(getattr(self._module, "regularization_losses", None) or [])

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the shape of the features without the module, which Keras loads after the layers."""
        assert self.features is not None
        return keras.KerasTensor((inputs.shape[0], *self.features), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the layer's settings; the module itself is among the assets."""
        own = {"signature": self.signature, "output": self.output_key, "features": list(self.features or ())}
        return {**super().get_config(), **own}

    def save_own_variables(self, store: Any) -> None:
        """Stores all variables in the module's order."""
        for index, variable in enumerate(self._in_order()):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Loads all variables; Keras passes them before the module, so they may have to wait for it."""
        self._waiting = [np.array(store[str(index)]) for index in range(len(store.keys()))]
        if self.files:
            self._take_waiting()

    def save_assets(self, dir_path: str) -> None:
        """Writes the files of the SavedModel."""
        for name, content in self.files.items():
            path = Path(dir_path, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def load_assets(self, dir_path: str) -> None:
        """Opens the SavedModel inside a saved model."""
        if not self.files:
            self._open(Path(dir_path))
            self.built = True
        self._take_waiting()

    def _open(self, folder: Path) -> None:
        tags = _tags(folder)
        try:
            module = tf.saved_model.load(str(folder), tags=tags)
        except Interrupted:
            raise
        except Exception as error:  # TensorFlow has no common class for a damaged SavedModel
            raise DataError(f"model.backbone.handle: {folder} cannot be opened: {_first_line(error)}") from None
        self.files = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }
        self._module = module
        reusable = callable(module) and self.signature is None
        self._takes_training = reusable and _has_training_argument(module)
        if not reusable:
            self.why_frozen = "it only has signatures, which cannot be trained; use `train: head`"
            self.signature = _signature(module, self.signature, folder)
        named = getattr(module, "trainable_variables", None)
        learning = [variable for variable in self._variables() if variable.trainable] if named is None else named
        if not self.why_frozen and not learning:
            self.why_frozen = "it has no trainable variables; use `train: head`"
        learnable = set() if self.why_frozen else {id(variable) for variable in learning}
        add_variables(self, (_shared(variable, trainable=id(variable) in learnable) for variable in self._variables()))

    def _take_waiting(self) -> None:
        for variable, value in zip(self._in_order(), self._waiting, strict=True):
            variable.assign(value)
        self._waiting = []

    def _variables(self) -> list[Any]:
        """Returns the variables that the module lists; for a module without a list, those that its functions use."""
        variables = getattr(self._module, "variables", None)
        if variables is not None:
            return list(variables)
        used = {id(variable): variable for function in self._functions() for variable in function.graph.variables}
        return list(used.values())

    def _in_order(self) -> list[Any]:
        """Returns the Keras variables of the module, in the module's order."""
        own = {id(weight.value): weight for weight in self.weights}
        return [own[id(variable)] for variable in self._variables() if id(variable) in own]

    def _signature_function(self) -> Any:
        return self._module.signatures[self.signature] if self.signature else None

    def _functions(self) -> list[Any]:
        function = self._signature_function()
        return [function] if function is not None else list(getattr(self._module.__call__, "concrete_functions", ()))

    def _input_specs(self) -> list[Any]:
        """Returns the specs of the image input of each callable function; empty if the module does not define them."""
        return [specs[0] for specs in map(_tensor_specs, self._functions()) if len(specs) == 1]

    def _run(self, inputs: Any, *, learning: bool) -> Any:
        specs, function = self._input_specs(), self._signature_function()
        if specs:
            dtype = specs[0].dtype
            inputs = tf.cast(tf.round(inputs) if dtype.is_integer else inputs, dtype)
        if function is not None:
            name = next(iter(function.structured_input_signature[1]), None)
            outputs = function(**{str(name): inputs}) if name else function(inputs)
        elif self._takes_training:
            outputs = self._module(inputs, training=learning)
        else:
            outputs = self._module(inputs)
        return tf.cast(self._chosen(outputs), tf.float32)

    def _chosen(self, outputs: Any) -> Any:
        if not isinstance(outputs, dict):
            if self.output_key or not tf.is_tensor(outputs):
                what = "one output without a name" if tf.is_tensor(outputs) else "outputs without names"
                raise DataError(f"model.backbone.output: the Hub module gives {what}; a `signature` may name them")
            return outputs
        key = self.output_key or ("default" if "default" in outputs else next(iter(outputs)) if len(outputs) == 1 else "")
        if key not in outputs:
            raise DataError(f"model.backbone.output: the Hub module gives {', '.join(outputs)}; name one of them")
        return outputs[key]


def _shared(variable: Any, *, trainable: bool) -> Any:
    """Returns a Keras variable that shares the memory of a TensorFlow variable (as `keras.layers.TFSMLayer` does)."""
    name = variable.name.split(":")[0].replace("/", "_")
    return keras.Variable(initializer=variable, shape=variable.shape, dtype=variable.dtype.name, trainable=trainable, name=name)


def _has_training_argument(module: Any) -> bool:
    spec = inspect.getfullargspec(module.__call__)
    return "training" in (*spec.args, *spec.kwonlyargs)


def _signature(module: Any, name: str | None, folder: Path) -> str:
    """Returns the signature to call: the named one, else one with a usual name, else the only one."""
    names = list(module.signatures)
    usual = ("serving_default", "serve", "default")
    candidates = [signature for signature in ((name,) if name else usual) if signature in names]
    if not candidates and (name or len(names) != 1):
        raise DataError(f"model.backbone.signature: {folder} has the signatures {', '.join(names) or 'none'}; name one of them")
    return str((candidates or names)[0])


def _tensor_specs(function: Any) -> list[Any]:
    """Returns the specs of a function's inputs without a `training` flag."""
    specs = tf.nest.flatten(function.structured_input_signature)
    return [spec for spec in specs if isinstance(spec, tf.TensorSpec) and spec.dtype != tf.bool]


def _example_shape(spec: Any) -> tuple[int | None, ...] | None:
    return tuple(spec.shape[1:]) if spec.shape.rank is not None else None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _tags(folder: Path) -> list[str] | None:
    """Returns the tags of the graph for predictions if a SavedModel has several graphs; None if it has one.

    Raises:
        DataError: the folder is no SavedModel, cannot be read, has no graph for predictions, or would access files or
            run Python.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = folder / "saved_model.pb"
    if not path.is_file():
        raise DataError(f"model.backbone.handle: {folder} is not a SavedModel: it has no saved_model.pb")
    try:
        saved = SavedModel.FromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError has no public home
        raise DataError(f"model.backbone.handle: {path} cannot be read: {error}") from None
    if operation := refused_operation(saved):
        raise DataError(f"model.backbone.handle: {folder} would call {operation}, so it is not opened")
    graph_tags = [list(meta.meta_info_def.tags) for meta in saved.meta_graphs]
    if len(graph_tags) == 1:
        return None
    for tags in ([], ["serve"]):  # the tags of TensorFlow Hub for TensorFlow 1, and the usual ones
        if tags in graph_tags:
            return tags
    raise DataError(f"model.backbone.handle: {folder} has no graph for predictions, only {graph_tags}")
