"""A module of TensorFlow Hub as a backbone: a folder, an archive or an address of a SavedModel."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from dlcli.errors import DataError
from dlcli.runtime.saved_layers import SavedLayers
from dlcli.spec.addresses import address_or_path, is_address
from dlcli.spec.base import Pair, Shape, keras_attribute
from dlcli.spec.model.backbones.base import BackboneSpec

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")


def _handle(value: str, info: ValidationInfo) -> str:
    text = address_or_path(value, info)
    if is_address(text) and not text.startswith(("https://", "http://")):
        raise PydanticCustomError("address", "expected a folder, an archive or an address with https")
    return text


def _refusal(config: Mapping[str, Any]) -> str:
    """Returns why a saved layer is not loaded: its module must be in the model's file."""
    return "its Hub layer refers to a folder outside the model" if config.get("folder") is not None else ""


class Hub(BackboneSpec):
    """A SavedModel of TensorFlow Hub that turns images into features. Only reusable modules can be trained."""

    has_blocks: ClassVar[bool] = False
    saved_layers: ClassVar[SavedLayers | None] = SavedLayers(
        ("dlcli>HubLayer",), "dlcli.runtime.hub_layer", "a TensorFlow Hub module", _refusal
    )
    kind: Literal["hub"]
    handle: Annotated[str, AfterValidator(_handle)] = Field(
        description=(
            "Folder, archive (.tar.gz, .tgz, .tar, .zip) or https address of the module; an address is downloaded once."
        )
    )
    input_size: Pair | None = Field(
        default=None, description="Height and width of the input images; those of the module if it defines them."
    )
    input_range: tuple[float, float] = Field(
        default=(0.0, 1.0),
        description="Range of the pixel values: [0, 1] by the convention of TensorFlow Hub; modules with integer inputs get"
        " 0 to 255.",
        strict=False,
    )
    signature: str | None = Field(default=None, description="Signature to call; the module itself if not set and callable.")
    output: str | None = Field(default=None, description="Output to use, if there are several.")

    def example_shape(self) -> Shape | None:
        """Returns height, width and 3 channels, once the size is known."""
        return (*self.input_size, 3) if self.input_size else None

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a missing module, one of an unknown sort, and a range without width."""
        path = Path(self.handle)
        if not self.handle.startswith(("https://", "http://")):
            if path.is_dir() and not (path / "saved_model.pb").is_file():
                yield "handle", f"{path} is not a SavedModel: it has no saved_model.pb"
            elif not path.exists():
                yield "handle", f"no such folder or archive: {path}"
            elif path.is_file() and not self.handle.endswith(ARCHIVES):
                yield "handle", f"expected a folder or an archive ({', '.join(ARCHIVES)}), found the file {path.name}"
        if self.input_range[0] >= self.input_range[1]:
            yield "input_range", f"expected [low, high], found {list(self.input_range)}"

    def resolved(self, *, offline: bool) -> Self:
        """Returns the spec with the image size that the module requires, and its range where it takes whole numbers.

        Raises:
            DataError: the module cannot be fetched or opened, or requires another size or range.
        """
        layer = self._layer(offline=offline)
        required, usual = _size(layer.asked_shape()), _size(layer.usual_shape())
        if self.input_size and required and tuple(self.input_size) != required:
            raise DataError(
                f"model.backbone.input_size: the module takes {list(required)}, the spec says {list(self.input_size)}"
            )
        updates = {"input_size": self.input_size or required or usual, "input_range": self._range(layer)}
        return self.model_copy(update=updates)

    def _range(self, layer: Any) -> tuple[float, float]:
        """Returns the range of pixels; images of whole numbers would be black in [0, 1]."""
        if not layer.takes_whole_numbers() or self.input_range == (0.0, 255.0):
            return self.input_range
        if "input_range" in self.model_fields_set:
            listed = list(self.input_range)
            raise DataError(f"model.backbone.input_range: the module takes integers, [0, 255]; the spec says {listed}")
        return (0.0, 255.0)

    def preprocess(self, tensor: Any) -> Any:
        """Returns pixels brought to the module's range, in float32."""
        low, high = self.input_range
        return keras_attribute("layers.Rescaling")((high - low) / 255, offset=low, name="normalize", dtype="float32")(tensor)

    def build(self, shape: Shape, *, load_weights: bool = True, offline: bool = False) -> Any:
        """Returns the layer around the module."""
        layer = self._layer(offline=offline)
        layer.measure(tuple(shape))
        return layer

    def blocks(self, backbone: Any) -> list[tuple[str, list[Any]]]:
        """Returns the module as one block: it does not say what it is made of."""
        return [(backbone.name, [backbone])]

    def _layer(self, *, offline: bool) -> Any:
        from dlcli.runtime.hub_files import module_folder
        from dlcli.runtime.hub_layer import HubLayer

        folder = module_folder(self.handle, offline=offline)
        return HubLayer(str(folder), signature=self.signature, output=self.output, name="hub_module")


def _size(shape: tuple[int | None, ...] | None) -> tuple[int, int] | None:
    """Returns height and width of an image's shape where both are fixed."""
    if shape is None or len(shape) != 3 or shape[0] is None or shape[1] is None:
        return None
    return shape[0], shape[1]
