"""Random changes of training images: Keras's own layers, drawn from (seed, step), absent at inference."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.spec.base import Count, Fraction, KerasSpec, NotNegative, OneOf, Share


def _as_range(value: Any) -> float | tuple[float, float]:
    ends = value if isinstance(value, (list, tuple)) else [value]
    numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends)
    # `not <=` also refuses NaN.
    if not numbers or not all(-1 <= end <= 1 for end in ends) or (ends is value and (len(value) != 2 or value[0] > value[1])):
        raise PydanticCustomError("expected", "expected {what}", {"what": "a number from -1 to 1 or [lowest, highest]"})
    return (float(ends[0]), float(ends[1])) if ends is value else float(value)


def _above_minus_one(value: float | tuple[float, float]) -> float | tuple[float, float]:
    if min(value if isinstance(value, tuple) else (value,)) <= -1:
        raise PydanticCustomError("expected", "expected {what}", {"what": "a number above -1 (-1 would leave an empty image)"})
    return value


Range = Annotated[float | tuple[float, float], PlainValidator(_as_range, json_schema_input_type=float | list[float])]


def _as_rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise PydanticCustomError("expected", "expected {what}", {"what": "[lowest, highest]"})
    return value


ShareRange = Annotated[
    tuple[Share, Share],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value, json_schema_input_type=list[Share]),
    AfterValidator(_as_rising),
]
ZoomRange = Annotated[Range, AfterValidator(_above_minus_one)]
FillMode = Literal["reflect", "wrap", "constant", "nearest"]
Interpolation = Literal["bilinear", "nearest"]
_FILL = "How pixels from outside the image are filled."


class AugmentationSpec(KerasSpec):
    """One random change of a batch of images with values 0 to 255."""

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns changed float32 images `(batch, height, width, channels)`; all randomness comes from `seed`."""
        import tensorflow as tf

        with tf.Graph().as_default():  # holds the layer's own seed, a variable that is never used and tf.data forbids
            # float32 also under mixed precision: pixels keep their bits, and Keras mixes no types in its arithmetic.
            layer = self.build(dtype="float32")
        transformation = layer.get_random_transformation(images, training=True, seed=seed)
        return layer.transform_images(images, transformation, training=True)


class RandomFlip(AugmentationSpec):
    """Mirrors images."""

    keras_class: ClassVar[str] = "layers.RandomFlip"
    kind: Literal["random_flip"]
    mode: Literal["horizontal", "vertical", "horizontal_and_vertical"] = Field(
        default="horizontal_and_vertical", description="Direction of the flip."
    )


class RandomRotation(AugmentationSpec):
    """Rotates images."""

    keras_class: ClassVar[str] = "layers.RandomRotation"
    kind: Literal["random_rotation"]
    factor: Range = Field(
        description="Largest rotation in either direction, in full turns (0.1 is 36 degrees); or [lowest, highest]."
    )
    fill_mode: FillMode = Field(default="reflect", description=_FILL)
    interpolation: Interpolation = Field(default="bilinear", description="Interpolation between pixels.")
    fill_value: float = Field(default=0.0, description="Fill value of `constant`.")


class RandomTranslation(AugmentationSpec):
    """Shifts images."""

    keras_class: ClassVar[str] = "layers.RandomTranslation"
    kind: Literal["random_translation"]
    height_factor: Range = Field(description="Largest shift up or down, as a fraction of the height; or [lowest, highest].")
    width_factor: Range = Field(description="Largest shift left or right, as a fraction of the width; or [lowest, highest].")
    fill_mode: FillMode = Field(default="reflect", description=_FILL)
    interpolation: Interpolation = Field(default="bilinear", description="Interpolation between pixels.")
    fill_value: float = Field(default=0.0, description="Fill value of `constant`.")


class RandomZoom(AugmentationSpec):
    """Zooms in and out."""

    keras_class: ClassVar[str] = "layers.RandomZoom"
    kind: Literal["random_zoom"]
    height_factor: ZoomRange = Field(description="Largest zoom of the height; negative values zoom in; or [lowest, highest].")
    width_factor: ZoomRange | None = Field(default=None, description="Largest zoom of the width; as the height if not set.")
    fill_mode: FillMode = Field(default="reflect", description=_FILL)
    interpolation: Interpolation = Field(default="bilinear", description="Interpolation between pixels.")
    fill_value: float = Field(default=0.0, description="Fill value of `constant`.")


class RandomCrop(AugmentationSpec):
    """Crops a random window and resizes it to the size of the images."""

    kind: Literal["random_crop"]
    height: Count = Field(description="Height of the window, in pixels.")
    width: Count = Field(description="Width of the window, in pixels.")

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns the resized windows: one place for each image."""
        import keras

        batch, height, width, _ = keras.ops.shape(images)
        corners = keras.random.uniform((batch, 2), seed=seed)
        room = keras.ops.cast([height - self.height, width - self.width], "float32")
        corners = keras.ops.cast(keras.ops.floor(corners * (room + 1.0)), "int32")
        rows = corners[:, :1] + keras.ops.arange(self.height, dtype="int32")
        columns = corners[:, 1:] + keras.ops.arange(self.width, dtype="int32")
        windows = keras.ops.take_along_axis(images, rows[:, :, None, None], axis=1)
        windows = keras.ops.take_along_axis(windows, columns[:, None, :, None], axis=2)
        return keras.ops.image.resize(windows, (height, width))


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


class ImageNoise(AugmentationSpec):
    """Adds random noise to every pixel."""

    kind: Literal["gaussian_noise"]
    stddev: NotNegative = Field(description="Standard deviation of the noise, in pixel values (0 to 255).")

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns noisy images, kept within 0 to 255."""
        import keras

        noise = keras.random.normal(keras.ops.shape(images), stddev=self.stddev, seed=seed)
        return keras.ops.clip(images + noise, 0.0, 255.0)


class RandomErasing(AugmentationSpec):
    """Covers a random rectangle with noise or a value (Zhong et al. 2017).

    `factor` is the exact fraction; the Keras layer erases in half as many images.
    """

    keras_class: ClassVar[str] = "layers.RandomErasing"
    kind: Literal["random_erasing"]
    factor: Share = Field(default=1.0, description="Fraction of images in which a rectangle is erased.")
    scale: ShareRange = Field(default=(0.02, 0.33), description="Smallest and largest area, as a fraction of the image.")
    fill_value: float | None = Field(default=None, description="Value of the rectangle; noise if not set.")

    def arguments(self) -> dict[str, Any]:
        """Returns the Keras arguments; a single factor f is drawn from [0, f] by Keras, so that f/2 of images would change."""
        return super().arguments() | {"factor": (self.factor, self.factor)}


Augmentation = Annotated[
    RandomFlip
    | RandomRotation
    | RandomTranslation
    | RandomZoom
    | RandomCrop
    | RandomContrast
    | RandomBrightness
    | ImageNoise
    | RandomErasing,
    OneOf("Augmentation"),
]
