"""A pretrained network of KerasHub as a backbone, for texts or images: a preset, or a folder of Hugging Face."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from dlcli.errors import DataError
from dlcli.runtime.presets import CONFIG, PresetFacts, preset_facts
from dlcli.runtime.saved_layers import SavedLayers
from dlcli.spec.addresses import address_or_path, is_address
from dlcli.spec.base import Pair, Shape, keras_attribute
from dlcli.spec.model.backbones.base import BackboneSpec
from dlcli.spec.model.layers import ShapeError

if TYPE_CHECKING:
    from dlcli.runtime.tokens import OwnTokenizer

ADDRESSES = ("kaggle://", "hf://")


def _preset(value: str, info: ValidationInfo) -> str:
    text = address_or_path(value, info)
    if is_address(text) and not text.startswith(ADDRESSES):
        raise PydanticCustomError("address", "expected a folder, or an address that begins with kaggle:// or hf://")
    return text


class KerasHub(BackboneSpec):
    """A pretrained network of KerasHub for texts or images. It brings its own tokenizer, or its own scaling of pixels."""

    saved_layers: ClassVar[SavedLayers | None] = SavedLayers(
        ("keras_hub>*Backbone", "keras_hub>*Tokenizer", "keras_hub>*Preprocessor", "keras_hub>*ImageConverter"),
        "keras_hub",
        "a KerasHub network",
        requirements=("keras-hub", "tensorflow-text"),
        operations="tensorflow-text",
    )
    kind: Literal["keras_hub"]
    preset: Annotated[str, AfterValidator(_preset)] = Field(
        description="Folder of a KerasHub preset, or of a model of Hugging Face (config.json, model.safetensors and the files"
        " of its tokenizer); or an address, kaggle:// or hf://, which is downloaded once."
    )
    pooling: Literal["avg", "max", "first", "none"] = Field(
        default="avg",
        description="What the vectors of tokens or of places become: their mean, their largest values, the vector of the first"
        " token, or for images `none`.",
    )
    input_size: Pair | None = Field(
        default=None, description="Height and width of the input images; those of the preset if not set."
    )

    @property
    def takes_images(self) -> bool | None:
        """Whether it is a network for images; None while its preset is not fetched."""
        facts = self._facts()
        return None if facts is None else facts.reads == "images"

    @property
    def takes_texts(self) -> bool | None:
        """Whether it is a network for texts; None while its preset is not fetched."""
        facts = self._facts()
        return None if facts is None else facts.reads == "texts"

    def licence(self) -> str:
        """Returns where the weights come from."""
        return f"The backbone has the weights of the preset {Path(self.preset).name}; dlcli does not know their licence."

    def example_shape(self) -> Shape | None:
        """Returns height, width and 3 channels of images; None for texts."""
        facts = self._facts()
        if facts is None or facts.reads == "texts":
            return None
        size = self.input_size or facts.image_size
        return None if size is None else (*size, 3)

    def features(self, shape: Shape) -> Shape | None:
        """Returns the size of the vector of a text; None for images, whose network must be built first."""
        facts = self._facts()
        return (facts.channels,) if facts is not None and facts.reads == "texts" and facts.channels else None

    def check_texts(self, max_length: int) -> None:
        """Raises ShapeError if the network has no positions for so many tokens."""
        facts = self._facts()
        if facts is not None and facts.longest is not None and max_length > facts.longest:
            raise ShapeError(f"takes texts of at most {facts.longest} tokens", ("preset",))

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a folder that is no preset, and settings that do not fit what the network takes."""
        if is_address(self.preset):
            return
        if not Path(self.preset, CONFIG).is_file():
            reason = f"it has no {CONFIG}" if Path(self.preset).is_dir() else "there is no such folder"
            yield "preset", f"expected the folder of a preset; {self.preset}: {reason}"
            return
        try:
            facts = preset_facts(Path(self.preset))
        except DataError as error:
            yield "preset", str(error)
            return
        if facts.reads == "texts":
            if self.pooling == "none":
                yield "pooling", "texts have different lengths; expected avg, max or first"
            if self.input_size is not None:
                yield "input_size", f"has no effect: {facts.name} takes texts"
        elif self.input_size is not None and not facts.any_size and tuple(self.input_size) != facts.image_size:
            yield "input_size", f"{facts.name} takes images of {facts.image_size}; remove this field"

    def resolved(self, *, offline: bool) -> Self:
        """Returns the spec with the folder of a preset in place of its address.

        Raises:
            DataError: it cannot be fetched or read, or a package is missing.
        """
        from dlcli.upstream.keras_hub import fetched_preset, import_keras_hub, import_tokenizers

        folder = fetched_preset(self.preset, offline=offline) if is_address(self.preset) else Path(self.preset)
        if preset_facts(folder).reads == "texts":
            import_tokenizers()
        else:
            import_keras_hub()
        return self.model_copy(update={"preset": str(folder)})

    def tokenizer(self) -> "OwnTokenizer | None":
        """Returns the preset's tokenizer; None for a network for images."""
        from dlcli.runtime.preset_tokens import PresetTokenizer

        facts = self._facts()
        return PresetTokenizer(Path(self.preset), facts.longest) if facts is not None and facts.reads == "texts" else None

    def preprocess(self, tensor: Any) -> Any:
        """Returns images scaled as the preset says, in float32; numbers of tokens as integers."""
        if self.takes_texts:
            return keras_attribute("ops.cast")(tensor, "int32")
        from dlcli.spec.model.backbones.preset_network import image_scaling

        scale, offset = image_scaling(Path(self.preset))
        return keras_attribute("layers.Rescaling")(scale, offset=offset, name="normalize", dtype="float32")(tensor)

    def build(self, shape: Shape, *, load_weights: bool = True, offline: bool = False) -> Any:
        """Returns the network from numbers of tokens, 0 for padding, or from scaled images, to features."""
        from dlcli.spec.model.backbones.preset_network import image_network, text_network

        folder = Path(self.preset)
        facts = preset_facts(folder)
        if facts.reads == "texts":
            return text_network(folder, self.pooling, load_weights=load_weights)
        return image_network(folder, tuple(shape), self.pooling, load_weights=load_weights, any_size=facts.any_size)

    def blocks(self, backbone: Any) -> list[tuple[str, list[Any]]]:
        """Returns the network's layers by the blocks of their names; those before the first block are the stem."""
        from dlcli.spec.model.backbones.preset_network import network_blocks

        return network_blocks(backbone)

    def _facts(self) -> PresetFacts | None:
        """Returns what the preset's files say; None where they cannot be read, or are not fetched."""
        try:
            return None if is_address(self.preset) else preset_facts(Path(self.preset))
        except DataError:  # `faults` speaks of it
            return None
