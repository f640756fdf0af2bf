"""The licences of pretrained weights, as far as Keras's documentation states them."""

from __future__ import annotations

from dlcli.spec.model.base import ModelSpec

_APACHE, _MIT, _BSD, _CC = "Apache License 2.0", "MIT license", "BSD 3-clause license", "Creative Commons Attribution 4.0"
_TENSORFLOW, _HE = "the TensorFlow models repository", "Kaiming He's deep-residual-networks"
# From the section "License" of each model in Keras's documentation of its applications (keras-team/keras, release 2.2,
# docs/templates/applications.md). It does not state those of MobileNetV3, EfficientNet, ResNetV2 and ConvNeXt.
ORIGINS: dict[str, tuple[str, str]] = {
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


def licence_of(model: ModelSpec, initial: str | None) -> str:
    """Returns a sentence on the origin of a model's initial weights and on their licence.

    Args:
        model: the spec's model.
        initial: the file or run that the training started from, if any.
    """
    if initial:
        return f"The training started from {initial}; dlcli does not know the licence of these weights."
    source = model.weights_source()
    if source is None:
        return "All weights were trained here from scratch; the author decides on their licence."
    kind, weights = source
    if weights == "imagenet":
        return _imagenet(kind)
    return f"The backbone ({kind}) has its own weights; dlcli does not know their licence."


def _imagenet(kind: str) -> str:
    images = (
        "They were trained on ImageNet, whose images may be used for non-commercial research; whether this restricts the"
        " trained weights is an open question."
    )
    if kind not in ORIGINS:
        return f"The backbone ({kind}) has Keras's ImageNet weights; dlcli does not know their licence. {images}"
    origin, licence = ORIGINS[kind]
    terms = f"which come from {origin} and, according to Keras's documentation, are under the {licence}"
    return f"The backbone ({kind}) has Keras's ImageNet weights, {terms}. {images}"
