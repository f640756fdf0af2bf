"""Augmentations that disturb images: noise, blur, covered parts."""

from math import isfinite
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.spec.base import NotNegative, Shape, Share
from dlcli.spec.data.augmentations.base import AugmentationSpec, ShareRange, drawn, only_in, two_ends


def _odd(value: Any) -> tuple[int, int]:
    sizes = value if isinstance(value, (list, tuple)) else [value, value]
    integers = all(isinstance(size, int) and not isinstance(size, bool) for size in sizes)
    if not integers or len(sizes) != 2 or any(size < 1 or size % 2 == 0 for size in sizes):
        raise PydanticCustomError("expected", "expected {what}", {"what": "an odd integer or two of them"})
    return (sizes[0], sizes[1])


def _sigma(value: Any) -> float | tuple[float, float]:
    ends = value if isinstance(value, (list, tuple)) else [value]
    numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) and isfinite(end) for end in ends)
    if not numbers or min(ends, default=-1) < 0 or (ends is value and (len(value) != 2 or value[0] > value[1])):
        raise PydanticCustomError("expected", "expected {what}", {"what": "a number from 0 on or [lowest, highest]"})
    return (float(ends[0]), float(ends[1])) if ends is value else float(value)


OddSize = Annotated[tuple[int, int], PlainValidator(_odd, json_schema_input_type=int | list[int])]
Sigma = Annotated[
    float | tuple[float, float],
    PlainValidator(_sigma, json_schema_input_type=Annotated[float, Field(ge=0)] | list[float]),
]


class ImageNoise(AugmentationSpec):
    """Adds random noise to every pixel."""

    kind: Literal["gaussian_noise"]
    stddev: NotNegative = Field(description="Standard deviation of the noise, in pixel values (0 to 255).")

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns noisy images, kept within 0 to 255."""
        import keras

        noise = keras.random.normal(keras.ops.shape(images), stddev=self.stddev, seed=seed)
        return keras.ops.clip(images + noise, 0.0, 255.0)


class SaltAndPepper(AugmentationSpec):
    """Makes random pixels white or black, as many of each."""

    kind: Literal["salt_and_pepper"]
    factor: Share = Field(description="Fraction of the pixels that become white or black.")

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns images with white and black pixels."""
        import keras

        draws = drawn(images, (0.0, 1.0), seed, (images.shape[1], images.shape[2], 1))
        with_white = keras.ops.where(draws < self.factor / 2, 255.0, images)
        return keras.ops.where(draws >= 1.0 - self.factor / 2, 0.0, with_white)


class RandomGaussianBlur(AugmentationSpec):
    """Blurs images.

    The Keras layer draws one `sigma` for a whole batch, darkens the border, and blurs half as many images (Keras 3.15.1).
    """

    keras_class: ClassVar[str] = "layers.RandomGaussianBlur"
    kind: Literal["random_gaussian_blur"]
    factor: Share = Field(default=1.0, description="Fraction of images that are blurred.")
    kernel_size: OddSize = Field(default=(3, 3), description="Height and width of the kernel in pixels, odd.")
    sigma: Sigma = Field(
        default=1.0, description="Largest deviation of the kernel in pixels; it is drawn from 0 on; or [lowest, highest]."
    )

    def fault(self, shape: Shape) -> str:
        """Returns why the kernel does not fit the images; empty if it does."""
        height, width = self.kernel_size
        if height // 2 > shape[0] or width // 2 > shape[1]:
            return f"a kernel of {height}x{width} is too large for images of {shape[0]}x{shape[1]}"
        return ""

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns blurred images."""
        from dlcli.spec.data.augmentations.pixels import blurred

        sigma = drawn(images, two_ends(self.sigma), seed)
        return only_in(self.factor, blurred(images, self.kernel_size, sigma), images, seed)


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
