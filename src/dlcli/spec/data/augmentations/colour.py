"""Augmentations that change the colours of pixels, and leave them in their places."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.spec.base import Fraction, Shape, Share
from dlcli.spec.data.augmentations.base import AugmentationSpec, Range, Strength, drawn, only_in, per_image, two_ends


def _bits(value: Any) -> int | tuple[int, int]:
    ends = value if isinstance(value, (list, tuple)) else [value]
    numbers = all(isinstance(end, int) and not isinstance(end, bool) for end in ends)
    if not numbers or not all(1 <= end <= 8 for end in ends) or (ends is value and (len(value) != 2 or value[0] > value[1])):
        raise PydanticCustomError("expected", "expected {what}", {"what": "an integer from 1 to 8 or [lowest, highest]"})
    return (ends[0], ends[1]) if ends is value else value


Bits = Annotated[int | tuple[int, int], PlainValidator(_bits, json_schema_input_type=int | list[int])]


class RandomContrast(AugmentationSpec):
    """Changes the contrast."""

    keras_class: ClassVar[str] = "layers.RandomContrast"
    kind: Literal["random_contrast"]
    factor: Fraction = Field(description="Largest change in either direction, as a fraction.")


class RandomBrightness(AugmentationSpec):
    """Changes the brightness."""

    keras_class: ClassVar[str] = "layers.RandomBrightness"
    kind: Literal["random_brightness"]
    factor: Range = Field(
        description="Largest change in either direction, as a fraction of the full range; or [lowest, highest]."
    )


class RandomDarken(AugmentationSpec):
    """Makes images darker, as with less light: all values are multiplied."""

    kind: Literal["random_darken"]
    factor: Strength = Field(description="Largest fraction of the brightness that is taken away; or [lowest, highest].")

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns darker images."""
        return images * (1.0 - per_image(drawn(images, two_ends(self.factor), seed)))


class IlluminationGradient(AugmentationSpec):
    """Makes one side of images brighter and the other darker, in a random direction, as with a lamp at one side."""

    kind: Literal["illumination_gradient"]
    factor: Strength = Field(description="Largest change of the brightness at the border, as a fraction; or [lowest, highest].")

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns images multiplied by a slope from `1 - strength` to `1 + strength`."""
        import keras

        strength = per_image(drawn(images, two_ends(self.factor), seed))
        angle = per_image(drawn(images, (0.0, 6.283185307179586), seed))
        down = keras.ops.linspace(-1.0, 1.0, images.shape[1])[None, :, None, None]
        right = keras.ops.linspace(-1.0, 1.0, images.shape[2])[None, None, :, None]
        sine, cosine = keras.ops.sin(angle), keras.ops.cos(angle)
        slope = (cosine * right + sine * down) / (keras.ops.absolute(cosine) + keras.ops.absolute(sine))
        return keras.ops.clip(images * (1.0 + strength * slope), 0.0, 255.0)


class RandomHue(AugmentationSpec):
    """Turns all hues in the circle of colours."""

    needs_colour: ClassVar[bool] = True
    keras_class: ClassVar[str] = "layers.RandomHue"
    kind: Literal["random_hue"]
    factor: Strength = Field(description="Largest turn in either direction: 1 is half of the circle; or [lowest, highest].")


class RandomSaturation(AugmentationSpec):
    """Changes the saturation of colours.

    The Keras layer gives values outside of 0 to 255 (Keras 3.15.1).
    """

    needs_colour: ClassVar[bool] = True
    keras_class: ClassVar[str] = "layers.RandomSaturation"
    kind: Literal["random_saturation"]
    factor: Strength = Field(
        description=(
            "0 is grey, 0.5 leaves images as they are, 1 is fully saturated. A number s for values from 0 to s, or"
            " [lowest, highest]."
        )
    )

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns images whose saturation (of hue, saturation and value) is multiplied by factor / (1 - factor)."""
        import keras

        factor = drawn(images, two_ends(self.factor), seed)
        ratio = (factor / (1.0 - factor + keras.backend.epsilon()))[:, None, None]
        hue, saturation, value = keras.ops.unstack(keras.ops.image.rgb_to_hsv(images / 255.0), axis=-1)
        colours = keras.ops.stack([hue, keras.ops.clip(saturation * ratio, 0.0, 1.0), value], axis=-1)
        return keras.ops.clip(keras.ops.image.hsv_to_rgb(colours) * 255.0, 0.0, 255.0)


class RandomColorJitter(AugmentationSpec):
    """Changes brightness, contrast, saturation and hue, each image by its own draws.

    The Keras layer ignores the seed that it is given (Keras 3.15.1).
    """

    keras_class: ClassVar[str] = "layers.RandomColorJitter"
    kind: Literal["random_color_jitter"]
    brightness_factor: Range | None = Field(default=None, description="`factor` of `random_brightness`.")
    contrast_factor: Fraction | None = Field(default=None, description="`factor` of `random_contrast`.")
    saturation_factor: Strength | None = Field(
        default=None, description="`factor` of `random_saturation`: [0.3, 0.7] is moderate."
    )
    hue_factor: Strength | None = Field(default=None, description="`factor` of `random_hue`.")

    def fault(self, shape: Shape) -> str:
        """Returns why grey images cannot be changed; empty if they can."""
        is_coloured = self.saturation_factor is not None or self.hue_factor is not None
        return (
            "`saturation_factor` and `hue_factor` need images in colour, but these are grey"
            if is_coloured and (len(shape) == 3 and shape[2] != 3)
            else ""
        )

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns the images after each change whose factor is set."""
        if self.brightness_factor is not None:
            images = RandomBrightness(kind="random_brightness", factor=self.brightness_factor).augment(images, seed)
        if self.contrast_factor is not None:
            images = RandomContrast(kind="random_contrast", factor=self.contrast_factor).augment(images, seed)
        if self.saturation_factor is not None:
            images = RandomSaturation(kind="random_saturation", factor=self.saturation_factor).augment(images, seed)
        if self.hue_factor is not None:
            images = RandomHue(kind="random_hue", factor=self.hue_factor).augment(images, seed)
        return images


class RandomGrayscale(AugmentationSpec):
    """Makes some images grey."""

    needs_colour: ClassVar[bool] = True
    keras_class: ClassVar[str] = "layers.RandomGrayscale"
    kind: Literal["random_grayscale"]
    factor: Share = Field(default=0.5, description="Fraction of images that become grey.")


class RandomPosterization(AugmentationSpec):
    """Leaves each value few levels."""

    keras_class: ClassVar[str] = "layers.RandomPosterization"
    kind: Literal["random_posterization"]
    factor: Bits = Field(description="Bits that a value keeps: 8 is no change; or [lowest, highest], both included.")

    def arguments(self) -> dict[str, Any]:
        """Returns the Keras arguments; Keras never draws the highest number of bits."""
        bits = self.factor
        return {"factor": (bits[0], bits[1] + 1) if isinstance(bits, tuple) else bits}


class Solarization(AugmentationSpec):
    """Inverts the values above a threshold, after a number was added.

    The Keras layer draws from another range if the lowest value is above 0 (Keras 3.15.1).
    """

    keras_class: ClassVar[str] = "layers.Solarization"
    kind: Literal["solarization"]
    addition_factor: Strength = Field(
        default=0.0, description="Largest added number, as a fraction of the full range; or [lowest, highest]."
    )
    threshold_factor: Strength = Field(
        default=0.0,
        description="Largest threshold, as a fraction of the full range: 0 inverts whole images; or [lowest, highest].",
    )

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns images whose values from the threshold on are inverted."""
        import keras

        addition = per_image(255.0 * drawn(images, two_ends(self.addition_factor), seed))
        threshold = per_image(255.0 * drawn(images, two_ends(self.threshold_factor), seed))
        images = keras.ops.clip(images + addition, 0.0, 255.0)
        return keras.ops.where(images < threshold, images, 255.0 - images)


class AutoContrast(AugmentationSpec):
    """Stretches the values of each channel to the range 0 to 255, in some images.

    The Keras layer has no `factor`: it changes every image, also at inference.
    """

    keras_class: ClassVar[str] = "layers.AutoContrast"
    kind: Literal["auto_contrast"]
    factor: Share = Field(default=0.5, description="Fraction of images that are changed.")

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns stretched images; a channel with a single value keeps it."""
        from dlcli.spec.data.augmentations.pixels import stretched

        return only_in(self.factor, stretched(images), images, seed)


class Equalization(AugmentationSpec):
    """Equalises the histogram of each channel, in some images.

    The Keras layer has no `factor`, and uses one histogram for all images of a batch (Keras 3.15.1).
    """

    keras_class: ClassVar[str] = "layers.Equalization"
    kind: Literal["equalization"]
    factor: Share = Field(default=0.5, description="Fraction of images that are changed.")

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns equalised images; a channel with a single value keeps it."""
        from dlcli.spec.data.augmentations.pixels import equalised

        return only_in(self.factor, equalised(images), images, seed)


class RandomSharpness(AugmentationSpec):
    """Sharpens or smooths images.

    The Keras layer darkens the border when it smooths (Keras 3.15.1).
    """

    keras_class: ClassVar[str] = "layers.RandomSharpness"
    kind: Literal["random_sharpness"]
    factor: Strength = Field(
        description=(
            "0 smooths, 0.5 leaves images as they are, 1 sharpens. A number s for values from 0 to s, or [lowest, highest]."
        )
    )

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns images extrapolated from, or interpolated with, their smoothed versions."""
        from dlcli.spec.data.augmentations.pixels import blended, smoothed

        return blended(images, smoothed(images), 2.0 * drawn(images, two_ends(self.factor), seed))
