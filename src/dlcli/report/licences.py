"""Under which licence pretrained weights were given away, as far as Keras's own documentation says it."""

from __future__ import annotations

from typing import Any

_APACHE, _MIT, _BSD, _CC = "Apache License 2.0", "MIT license", "BSD 3-clause license", "Creative Commons Attribution 4.0"
_TENSORFLOW, _HE = "the TensorFlow models repository", "Kaiming He's deep-residual-networks"
# From the section "License" of each model in Keras's documentation of its applications (keras-team/keras, release 2.2,
# docs/templates/applications.md). What is not told there is not known here: MobileNetV3, EfficientNet, ResNetV2, ConvNeXt.
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


def licence_of(model: Any, initial: str | None) -> str:
    """Returns in words where a model's first weights came from and under which licence they were.

    Args:
        model: the spec's model.
        initial: the file or run that the training started from, if any.
    """
    backbone = getattr(model, "backbone", None)
    if initial:
        return f"The training started from {initial}; the licence of those weights is not known to dlcli."
    if backbone is None:
        return "All weights were trained here, from scratch: what licence they have is the author's to say."
    weights = getattr(backbone, "weights", None)
    if weights == "none":
        return "All weights were trained here, from scratch: what licence they have is the author's to say."
    if weights == "imagenet":
        return _imagenet(backbone.kind)
    return f"The backbone ({backbone.kind}) brought weights of its own; their licence is not known to dlcli."


def _imagenet(kind: str) -> str:
    images = (
        "They were learned on ImageNet, whose images may be used for research that is not commercial; whether that binds what"
        " was learned from them is not settled."
    )
    if kind not in ORIGINS:
        return f"The backbone ({kind}) has Keras's ImageNet weights; their licence is not known to dlcli. {images}"
    origin, licence = ORIGINS[kind]
    given = f"which come from {origin}, by Keras's documentation under the {licence}"
    return f"The backbone ({kind}) has Keras's ImageNet weights, {given}. {images}"
