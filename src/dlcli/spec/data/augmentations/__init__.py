"""Random changes of training examples, drawn from (seed, step), absent at inference: a kind is a class and an entry here."""

from typing import Annotated

from pydantic import BeforeValidator

from dlcli.spec.base import OneOf
from dlcli.spec.data.augmentations.base import AugmentationSpec, NumberFeatures
from dlcli.spec.data.augmentations.colour import (
    AutoContrast,
    Equalization,
    IlluminationGradient,
    RandomBrightness,
    RandomColorJitter,
    RandomContrast,
    RandomDarken,
    RandomGrayscale,
    RandomHue,
    RandomPosterization,
    RandomSaturation,
    RandomSharpness,
    Solarization,
)
from dlcli.spec.data.augmentations.geometry import (
    RandomAffine,
    RandomCrop,
    RandomFlip,
    RandomPadding,
    RandomPerspective,
    RandomRescale,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
)
from dlcli.spec.data.augmentations.mixing import CutMix, MixUp
from dlcli.spec.data.augmentations.noise import ImageNoise, RandomErasing, RandomGaussianBlur, SaltAndPepper
from dlcli.spec.data.augmentations.policies import AugMix, AutoAugment, RandAugment
from dlcli.spec.data.augmentations.presets import Preset, written_out
from dlcli.spec.data.augmentations.tables import ColumnNoise

Augmentation = Annotated[
    RandomFlip
    | RandomRotation
    | RandomTranslation
    | RandomZoom
    | RandomRescale
    | RandomCrop
    | RandomPadding
    | RandomShear
    | RandomAffine
    | RandomPerspective
    | RandomBrightness
    | RandomDarken
    | RandomContrast
    | IlluminationGradient
    | RandomHue
    | RandomSaturation
    | RandomColorJitter
    | RandomGrayscale
    | RandomPosterization
    | Solarization
    | Equalization
    | AutoContrast
    | RandomSharpness
    | RandomGaussianBlur
    | ImageNoise
    | SaltAndPepper
    | RandomErasing
    | RandAugment
    | AutoAugment
    | AugMix
    | MixUp
    | CutMix
    | ColumnNoise,
    OneOf("Augmentation"),
]
Augmentations = Annotated[list[Augmentation], BeforeValidator(written_out, json_schema_input_type=list[Augmentation] | Preset)]
StageAugmentations = Annotated[
    list[Augmentation] | None, BeforeValidator(written_out, json_schema_input_type=list[Augmentation] | Preset | None)
]

__all__ = ["Augmentation", "AugmentationSpec", "Augmentations", "NumberFeatures", "StageAugmentations"]
