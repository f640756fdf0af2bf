"""Random changes of training examples, drawn from (seed, step), absent at inference: a kind is a class and an entry here."""

from typing import Annotated

from pydantic import BeforeValidator

from dlcli.spec.base import OneOf
from dlcli.spec.data.augmentations.base import AugmentationSpec, NumberFeatures
from dlcli.spec.data.augmentations.presets import Preset, written_out

_PLACES = {
    "random_flip": f"{__name__}.geometry:RandomFlip",
    "random_rotation": f"{__name__}.geometry:RandomRotation",
    "random_translation": f"{__name__}.geometry:RandomTranslation",
    "random_zoom": f"{__name__}.geometry:RandomZoom",
    "random_rescale": f"{__name__}.geometry:RandomRescale",
    "random_crop": f"{__name__}.geometry:RandomCrop",
    "random_padding": f"{__name__}.geometry:RandomPadding",
    "random_shear": f"{__name__}.geometry:RandomShear",
    "random_affine": f"{__name__}.geometry:RandomAffine",
    "random_perspective": f"{__name__}.geometry:RandomPerspective",
    "random_brightness": f"{__name__}.colour:RandomBrightness",
    "random_darken": f"{__name__}.colour:RandomDarken",
    "random_contrast": f"{__name__}.colour:RandomContrast",
    "illumination_gradient": f"{__name__}.colour:IlluminationGradient",
    "random_hue": f"{__name__}.colour:RandomHue",
    "random_saturation": f"{__name__}.colour:RandomSaturation",
    "random_color_jitter": f"{__name__}.colour:RandomColorJitter",
    "random_grayscale": f"{__name__}.colour:RandomGrayscale",
    "random_posterization": f"{__name__}.colour:RandomPosterization",
    "solarization": f"{__name__}.colour:Solarization",
    "equalization": f"{__name__}.colour:Equalization",
    "auto_contrast": f"{__name__}.colour:AutoContrast",
    "random_sharpness": f"{__name__}.colour:RandomSharpness",
    "random_gaussian_blur": f"{__name__}.noise:RandomGaussianBlur",
    "gaussian_noise": f"{__name__}.noise:ImageNoise",
    "salt_and_pepper": f"{__name__}.noise:SaltAndPepper",
    "random_erasing": f"{__name__}.noise:RandomErasing",
    "rand_augment": f"{__name__}.policies:RandAugment",
    "auto_augment": f"{__name__}.policies:AutoAugment",
    "aug_mix": f"{__name__}.policies:AugMix",
    "mix_up": f"{__name__}.mixing:MixUp",
    "cut_mix": f"{__name__}.mixing:CutMix",
    "column_noise": f"{__name__}.tables:ColumnNoise",
}
"""Each kind's module and class, in the order of the reference. A check of a spec imports those that it uses."""
Augmentation = Annotated[AugmentationSpec, OneOf("Augmentation", places=_PLACES)]
Augmentations = Annotated[list[Augmentation], BeforeValidator(written_out, json_schema_input_type=list[Augmentation] | Preset)]
StageAugmentations = Annotated[
    list[Augmentation] | None, BeforeValidator(written_out, json_schema_input_type=list[Augmentation] | Preset | None)
]

__all__ = ["Augmentation", "AugmentationSpec", "Augmentations", "NumberFeatures", "StageAugmentations"]
