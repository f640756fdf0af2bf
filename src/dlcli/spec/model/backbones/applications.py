"""The backbones of `keras.applications`: a table with one row for each."""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import AfterValidator, Field, ValidationInfo

from dlcli.runtime.layers import single_layers
from dlcli.spec.base import Pair, Positive, Shape, keras_attribute
from dlcli.spec.model.backbones.base import BackboneSpec
from dlcli.spec.model.layers import ShapeError
from dlcli.spec.paths import as_path, with_environment

Scaling = Literal["symmetric", "caffe", "torch", "inside"]
"""What images 0 to 255 become: `symmetric` [-1, 1]; `caffe` BGR less ImageNet's means; `torch` ImageNet's mean 0 and
deviation 1; `inside`: the model contains its scaling (Keras's `preprocess_input` then does nothing)."""


class Row(NamedTuple):
    """One backbone.

    `module` is the one under `keras.applications` whose `preprocess_input` it agrees with; `size` the side of the images
    it was trained on, `smallest` the least that Keras takes; `features` its channels (at alpha 1); `batch_norms` the number
    of its BatchNorm layers. `block` finds a block's name in a layer's: the block starts with the first such layer, or,
    with `ends`, ends with it. Every block holds weights besides those of BatchNorms, which stages leave frozen: `{blocks: 1}`
    always trains something.
    """

    name: str
    module: str
    scaling: Scaling
    size: int
    features: int
    batch_norms: int
    block: str
    smallest: int = 32
    ends: bool = False


_V2 = r"^(expanded_conv|block_\d+|Conv_1)(?:_|$)"
_V3 = r"^(expanded_conv(?:_\d+)?|conv_1)(?:_|$)"
_EFFICIENT = r"^(block\d+[^_]|top)_"
_RES = r"^(conv\d_block\d+)_"
_DENSE = r"^(conv\d_block\d+|pool[2-4])(?:_|$)"
_BLOCK = r"^(block\d+)_"
_NAS = r"^((?:normal|reduction)_concat_.+)$"
_NEXT = r"_(stage_\d+_block_\d+|downsampling_block_\d+)(?:_|$)"

ROWS = {
    "mobilenet": Row("MobileNet", "mobilenet", "symmetric", 224, 1024, 27, r"^(conv_(?:pad|dw|pw)_\d+)(?:_|$)"),
    "mobilenet_v2": Row("MobileNetV2", "mobilenet_v2", "symmetric", 224, 1280, 52, _V2),
    "mobilenet_v3_small": Row("MobileNetV3Small", "mobilenet_v3", "inside", 224, 576, 34, _V3),
    "mobilenet_v3_large": Row("MobileNetV3Large", "mobilenet_v3", "inside", 224, 960, 46, _V3),
    "efficientnet_b0": Row("EfficientNetB0", "efficientnet", "inside", 224, 1280, 49, _EFFICIENT),
    "efficientnet_b1": Row("EfficientNetB1", "efficientnet", "inside", 240, 1280, 69, _EFFICIENT),
    "efficientnet_b2": Row("EfficientNetB2", "efficientnet", "inside", 260, 1408, 69, _EFFICIENT),
    "efficientnet_b3": Row("EfficientNetB3", "efficientnet", "inside", 300, 1536, 78, _EFFICIENT),
    "efficientnet_b4": Row("EfficientNetB4", "efficientnet", "inside", 380, 1792, 96, _EFFICIENT),
    "efficientnet_b5": Row("EfficientNetB5", "efficientnet", "inside", 456, 2048, 116, _EFFICIENT),
    "efficientnet_b6": Row("EfficientNetB6", "efficientnet", "inside", 528, 2304, 134, _EFFICIENT),
    "efficientnet_b7": Row("EfficientNetB7", "efficientnet", "inside", 600, 2560, 163, _EFFICIENT),
    "efficientnet_v2_b0": Row("EfficientNetV2B0", "efficientnet_v2", "inside", 224, 1280, 59, _EFFICIENT),
    "efficientnet_v2_b1": Row("EfficientNetV2B1", "efficientnet_v2", "inside", 240, 1280, 73, _EFFICIENT),
    "efficientnet_v2_b2": Row("EfficientNetV2B2", "efficientnet_v2", "inside", 260, 1408, 76, _EFFICIENT),
    "efficientnet_v2_b3": Row("EfficientNetV2B3", "efficientnet_v2", "inside", 300, 1536, 88, _EFFICIENT),
    "efficientnet_v2_s": Row("EfficientNetV2S", "efficientnet_v2", "inside", 384, 1280, 110, _EFFICIENT),
    "efficientnet_v2_m": Row("EfficientNetV2M", "efficientnet_v2", "inside", 480, 1280, 157, _EFFICIENT),
    "efficientnet_v2_l": Row("EfficientNetV2L", "efficientnet_v2", "inside", 480, 1280, 217, _EFFICIENT),
    "resnet50": Row("ResNet50", "resnet", "caffe", 224, 2048, 53, _RES),
    "resnet101": Row("ResNet101", "resnet", "caffe", 224, 2048, 104, _RES),
    "resnet152": Row("ResNet152", "resnet", "caffe", 224, 2048, 155, _RES),
    "resnet50_v2": Row("ResNet50V2", "resnet_v2", "symmetric", 224, 2048, 49, _RES),
    "resnet101_v2": Row("ResNet101V2", "resnet_v2", "symmetric", 224, 2048, 100, _RES),
    "resnet152_v2": Row("ResNet152V2", "resnet_v2", "symmetric", 224, 2048, 151, _RES),
    "vgg16": Row("VGG16", "vgg16", "caffe", 224, 512, 0, _BLOCK),
    "vgg19": Row("VGG19", "vgg19", "caffe", 224, 512, 0, _BLOCK),
    "densenet121": Row("DenseNet121", "densenet", "torch", 224, 1024, 121, _DENSE),
    "densenet169": Row("DenseNet169", "densenet", "torch", 224, 1664, 169, _DENSE),
    "densenet201": Row("DenseNet201", "densenet", "torch", 224, 1920, 201, _DENSE),
    "inception_v3": Row("InceptionV3", "inception_v3", "symmetric", 299, 2048, 94, r"^(mixed\d+)$", 75, ends=True),
    "inception_resnet_v2": Row(
        "InceptionResNetV2",
        "inception_resnet_v2",
        "symmetric",
        299,
        1536,
        204,
        r"^(mixed_\d[ab]|block\d+_\d+)(?:_ac)?$",
        75,
        ends=True,
    ),
    "xception": Row("Xception", "xception", "symmetric", 299, 2048, 40, _BLOCK, 71),
    "nasnet_mobile": Row("NASNetMobile", "nasnet", "symmetric", 224, 1056, 192, _NAS, ends=True),
    "nasnet_large": Row("NASNetLarge", "nasnet", "symmetric", 331, 4032, 264, _NAS, ends=True),
    "convnext_tiny": Row("ConvNeXtTiny", "convnext", "inside", 224, 768, 0, _NEXT),
    "convnext_small": Row("ConvNeXtSmall", "convnext", "inside", 224, 768, 0, _NEXT),
    "convnext_base": Row("ConvNeXtBase", "convnext", "inside", 224, 1024, 0, _NEXT),
    "convnext_large": Row("ConvNeXtLarge", "convnext", "inside", 224, 1536, 0, _NEXT),
    "convnext_xlarge": Row("ConvNeXtXLarge", "convnext", "inside", 224, 2048, 0, _NEXT),
}

_APACHE, _MIT, _BSD, _CC = "Apache License 2.0", "MIT license", "BSD 3-clause license", "Creative Commons Attribution 4.0"
_TENSORFLOW, _HE = "the TensorFlow models repository", "Kaiming He's deep-residual-networks"
# From the section "License" of each model in Keras's documentation of its applications (keras-team/keras, release 2.2,
# docs/templates/applications.md). It does not state those of MobileNetV3, EfficientNet, ResNetV2 and ConvNeXt.
ORIGINS = {
    "vgg16": ("the Visual Geometry Group at Oxford", _CC),
    "vgg19": ("the Visual Geometry Group at Oxford", _CC),
    "resnet50": (_HE, _MIT),
    "inception_v3": (_TENSORFLOW, _APACHE),
    "inception_resnet_v2": (_TENSORFLOW, _APACHE),
    "mobilenet": (_TENSORFLOW, _APACHE),
    "mobilenet_v2": (_TENSORFLOW, _APACHE),
    "nasnet_mobile": (_TENSORFLOW, _APACHE),
    "nasnet_large": (_TENSORFLOW, _APACHE),
    "densenet121": ("the authors of DenseNet", _BSD),
    "densenet169": ("the authors of DenseNet", _BSD),
    "densenet201": ("the authors of DenseNet", _BSD),
}
_IMAGES = (
    "They were trained on ImageNet, whose images may be used for non-commercial research; whether this restricts the"
    " trained weights is an open question."
)
WEIGHT_FILES = (".h5", ".keras")
_CAFFE_MEANS = [103.939, 116.779, 123.68]
_TORCH_MEAN, _TORCH_DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def _weights(value: str, info: ValidationInfo) -> str:
    text = with_environment(value)
    return text if text in ("imagenet", "none") else as_path(text, info)


Weights = Annotated[str, AfterValidator(_weights)]


class Keras(BackboneSpec):
    """What every backbone of `keras.applications` takes."""

    weights: Weights = Field(
        default="imagenet",
        description="`imagenet`: the weights of Keras, downloaded once; a file .h5, .weights.h5 or .keras; or `none`.",
    )
    input_size: Pair | None = Field(
        default=None, description="Height and width of the input images; those of the pretraining if not set."
    )
    pooling: Literal["avg", "max", "none"] = Field(
        default="avg", description="Pooling of the feature maps into a vector; `none`: no pooling."
    )

    @property
    def row(self) -> Row:
        """The backbone's row of the table."""
        return ROWS[self.kind]

    @property
    def pretrained(self) -> bool:
        """Whether it brings weights."""
        return self.weights != "none"

    def licence(self) -> str:
        """Returns the origin of ImageNet's weights and their licence, as far as Keras's documentation states them."""
        if self.weights != "imagenet":
            return super().licence()
        if self.kind not in ORIGINS:
            return f"The backbone ({self.kind}) has Keras's ImageNet weights; dlcli does not know their licence. {_IMAGES}"
        origin, licence = ORIGINS[self.kind]
        terms = f"which come from {origin} and, according to Keras's documentation, are under the {licence}"
        return f"The backbone ({self.kind}) has Keras's ImageNet weights, {terms}. {_IMAGES}"

    def example_shape(self) -> Shape | None:
        """Returns height, width and 3 channels."""
        return (*(self.input_size or (self.row.size, self.row.size)), 3)

    def features(self, shape: Shape) -> Shape | None:
        """Returns the pooled features; None for maps, whose sides are known only once it is built."""
        smallest = self.row.smallest
        if len(shape) != 3 or (min(shape[:2]) < smallest and not self.input_size):  # `faults` speaks of `input_size`
            raise ShapeError(f"needs images of at least {smallest}x{smallest}, but gets shape {shape}")
        return None if self.pooling == "none" else (self.channels(),)

    def channels(self) -> int:
        """Returns the number of features."""
        return self.row.features

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a missing or unreadable file of weights, and images that are too small."""
        if self.weights not in ("imagenet", "none"):
            if not self.weights.endswith(WEIGHT_FILES):
                yield (
                    "weights",
                    f"expected imagenet, none, or a file .h5, .weights.h5 or .keras; found {Path(self.weights).name!r}",
                )
            elif not Path(self.weights).is_file():
                yield "weights", f"no file {self.weights}"
        if self.input_size and min(self.input_size) < self.row.smallest:
            yield (
                "input_size",
                f"{self.kind} needs at least {self.row.smallest}x{self.row.smallest}, found {list(self.input_size)}",
            )

    def preprocess(self, tensor: Any) -> Any:
        """Returns images 0 to 255 as the backbone was trained on them, in float32."""
        scaling = self.row.scaling
        if scaling == "symmetric":
            return keras_attribute("layers.Rescaling")(1 / 127.5, offset=-1.0, name="normalize", dtype="float32")(tensor)
        normalization = keras_attribute("layers.Normalization")
        if scaling == "torch":
            mean = [255 * value for value in _TORCH_MEAN]
            variance = [(255 * value) ** 2 for value in _TORCH_DEVIATION]
            return normalization(mean=mean, variance=variance, name="normalize", dtype="float32")(tensor)
        if scaling == "caffe":
            flipped = keras_attribute("ops.flip")(tensor, axis=-1)
            return normalization(mean=_CAFFE_MEANS, variance=[1.0] * 3, name="normalize", dtype="float32")(flipped)
        return tensor

    def build(self, shape: Shape, *, load_weights: bool = True, offline: bool = False) -> Any:
        """Returns the Keras model without its top, its weights in place."""
        from dlcli.upstream.keras import imagenet_graph, keras_weights

        constructor = keras_attribute(f"applications.{self.row.name}")
        fetched = load_weights and self.weights == "imagenet"
        # EfficientNet has another graph with ImageNet's weights than without any, wherever they come from.
        other = self.kind.startswith("efficientnet_b") and self.pretrained and not fetched
        with keras_weights(self.kind, offline=offline), imagenet_graph() if other else nullcontext():
            model = constructor(
                include_top=False,
                weights="imagenet" if fetched or other else None,
                input_shape=tuple(shape),
                pooling=None if self.pooling == "none" else self.pooling,
                **self.options(),
            )
        if load_weights and not fetched and self.weights != "none":
            from dlcli.spec.model.backbones.weights import load_file

            load_file(model, Path(self.weights), self.kind)
        return model

    def options(self) -> dict[str, Any]:
        """Returns the constructor's other arguments."""
        return {}

    def blocks(self, backbone: Any) -> list[tuple[str, list[Any]]]:
        """Returns the layers by the blocks of the table's pattern; layers before the first block are the stem."""
        pattern = re.compile(self.row.block)
        blocks: dict[str, list[Any]] = {}
        name = "stem"
        waiting: list[Any] | None = [] if self.row.ends else None
        for layer in backbone.layers:
            if type(layer).__name__ == "InputLayer":
                continue
            match = pattern.search(layer.name)
            if waiting is not None:  # a block has its name once it ends
                waiting += single_layers(layer)
                if match:
                    blocks.setdefault(match.group(1), []).extend(waiting)
                    waiting = []
                continue
            name = _block_name(match.group(1)) if match else name
            blocks.setdefault(name, []).extend(single_layers(layer))
        if waiting:
            last = "top" if any(layer.weights for layer in waiting) else next(reversed(blocks))
            blocks.setdefault(last, []).extend(waiting)
        return list(blocks.items())


def _block_name(prefix: str) -> str:
    """Returns a block's name; the three layers of a MobileNet block are one."""
    return re.sub(r"^conv_(?:pad|dw|pw)_", "block_", prefix)


class MobileNets(Keras):
    """MobileNets: small and fast; `alpha` makes them narrower."""

    meanings: ClassVar[dict[str, str]] = {
        "mobilenet": "MobileNet (Howard et al. 2017): 3.2 million weights at alpha 1, 0.2 million at 0.25.",
        "mobilenet_v2": "MobileNet V2 (Sandler et al. 2018): 2.3 million weights; the usual first backbone.",
        "mobilenet_v3_small": "MobileNet V3 small (Howard et al. 2019): 0.9 million weights.",
        "mobilenet_v3_large": "MobileNet V3 large (Howard et al. 2019): 3.0 million weights.",
    }
    kind: Literal["mobilenet", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"]
    alpha: Positive = Field(
        default=1.0, description="Width multiplier of the filters; ImageNet weights exist for some values only."
    )

    def channels(self) -> int:
        """Returns the number of features, which not every MobileNet scales."""
        if self.kind == "mobilenet":
            return int(1024 * self.alpha)
        if self.kind == "mobilenet_v2":
            return _round_to_8(1280 * self.alpha) if self.alpha > 1 else 1280
        return 6 * _round_to_8({"mobilenet_v3_small": 96, "mobilenet_v3_large": 160}[self.kind] * self.alpha)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields also an alpha that Keras has no ImageNet weights for."""
        yield from super().faults()
        alphas = _ALPHAS[self.kind]
        if self.weights == "imagenet" and self.alpha not in alphas:
            listed = ", ".join(f"{alpha:g}" for alpha in alphas)
            yield "alpha", f"ImageNet weights exist for {listed}; for other values, use `weights: none` or a file"

    def options(self) -> dict[str, Any]:
        """Returns alpha."""
        return {"alpha": self.alpha}


_ALPHAS = {
    "mobilenet": (0.25, 0.5, 0.75, 1.0),
    "mobilenet_v2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    "mobilenet_v3_small": (0.75, 1.0),
    "mobilenet_v3_large": (0.75, 1.0),
}


def _round_to_8(value: float) -> int:
    """Returns the nearest multiple of 8 that is not below nine tenths (MobileNet's `_make_divisible`)."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


class Application(Keras):
    """A backbone of `keras.applications` without further settings."""

    kind: Literal[
        "efficientnet_b0",
        "efficientnet_b1",
        "efficientnet_b2",
        "efficientnet_b3",
        "efficientnet_b4",
        "efficientnet_b5",
        "efficientnet_b6",
        "efficientnet_b7",
        "efficientnet_v2_b0",
        "efficientnet_v2_b1",
        "efficientnet_v2_b2",
        "efficientnet_v2_b3",
        "efficientnet_v2_s",
        "efficientnet_v2_m",
        "efficientnet_v2_l",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnet50_v2",
        "resnet101_v2",
        "resnet152_v2",
        "vgg16",
        "vgg19",
        "densenet121",
        "densenet169",
        "densenet201",
        "inception_v3",
        "inception_resnet_v2",
        "xception",
        "nasnet_mobile",
        "nasnet_large",
        "convnext_tiny",
        "convnext_small",
        "convnext_base",
        "convnext_large",
        "convnext_xlarge",
    ]
    meanings: ClassVar[dict[str, str]] = {
        kind: f"{row.name}: {row.features:,} features of images of {row.size}x{row.size}."
        for kind, row in ROWS.items()
        if kind not in _ALPHAS
    }


assert {*get_args(Application.model_fields["kind"].annotation), *_ALPHAS} == set(ROWS)
