"""Augmentations that move pixels: flips, rotations, crops, distortions."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from dlcli.spec.base import Count, Positive, Shape, Share
from dlcli.spec.data.augmentations.base import (
    FILL_MODE,
    FILL_VALUE,
    INTERPOLATION,
    AugmentationSpec,
    FillMode,
    Interpolation,
    Motion,
    Range,
    Strength,
    ZoomRange,
    as_tuple,
    drawn,
    moved_masks,
    rising,
    turns,
    two_ends,
)

Scale = Annotated[
    tuple[Positive, Positive],
    BeforeValidator(as_tuple, json_schema_input_type=list[Positive]),
    AfterValidator(rising),
]
Border = Annotated[float, Field(ge=0, lt=0.5)]


class KerasGeometry(AugmentationSpec):
    """A Keras layer that moves pixels. The nearest pixel of a mask is taken, with the same transformation.

    The mask method of Keras's layers fills outside pixels of a mask with the colour of those of the image.
    """

    moves_pixels: ClassVar[bool] = True

    def augment_pair(self, images: Any, masks: Any, seed: Any, *, ignored: int = 0) -> tuple[Any, Any]:
        """Returns changed images, and masks that have moved with them."""
        layer = self.layer()
        changes = {"interpolation": "nearest", "fill_value": float(ignored)}
        of_masks = self.layer(**{name: value for name, value in changes.items() if name in type(self).model_fields})
        transformation = layer.get_random_transformation(images, training=True, seed=seed)
        moved = moved_masks(lambda values: of_masks.transform_images(values, transformation, training=True), masks)
        return layer.transform_images(images, transformation, training=True), moved


class RandomFlip(KerasGeometry):
    """Mirrors images."""

    keras_class: ClassVar[str] = "layers.RandomFlip"
    kind: Literal["random_flip"]
    mode: Literal["horizontal", "vertical", "horizontal_and_vertical"] = Field(
        default="horizontal_and_vertical",
        description=(
            "Direction of the flip. With `horizontal_and_vertical` an image is flipped in both directions or in none, which is"
            " half a turn; list two flips for independent ones."
        ),
    )

    @property
    def motions(self) -> frozenset[Motion]:
        """The motion of the mode; Keras draws once for both directions (Keras 3.15.1), which is half a turn."""
        motions: dict[str, frozenset[Motion]] = {
            "horizontal": frozenset({"mirrored"}),
            "vertical": frozenset({"upside_down"}),
            "horizontal_and_vertical": frozenset({"half_turn"}),
        }
        return motions[self.mode]


class RandomRotation(KerasGeometry):
    """Rotates images."""

    keras_class: ClassVar[str] = "layers.RandomRotation"
    kind: Literal["random_rotation"]
    factor: Range = Field(
        description="Largest rotation in either direction, in full turns (0.1 is 36 degrees); or [lowest, highest]."
    )
    fill_mode: FillMode = Field(default="reflect", description=FILL_MODE)
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_value: float = Field(default=0.0, description=FILL_VALUE)

    @property
    def motions(self) -> frozenset[Motion]:
        """The motions of the largest rotation."""
        return turns(self.factor)


class RandomTranslation(KerasGeometry):
    """Shifts images."""

    keras_class: ClassVar[str] = "layers.RandomTranslation"
    kind: Literal["random_translation"]
    height_factor: Range = Field(description="Largest shift up or down, as a fraction of the height; or [lowest, highest].")
    width_factor: Range = Field(description="Largest shift left or right, as a fraction of the width; or [lowest, highest].")
    fill_mode: FillMode = Field(default="reflect", description=FILL_MODE)
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_value: float = Field(default=0.0, description=FILL_VALUE)


class RandomZoom(KerasGeometry):
    """Zooms in and out."""

    keras_class: ClassVar[str] = "layers.RandomZoom"
    kind: Literal["random_zoom"]
    height_factor: ZoomRange = Field(description="Largest zoom of the height; negative values zoom in; or [lowest, highest].")
    width_factor: ZoomRange | None = Field(default=None, description="Largest zoom of the width; as the height if not set.")
    fill_mode: FillMode = Field(default="reflect", description=FILL_MODE)
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_value: float = Field(default=0.0, description=FILL_VALUE)


class RandomShear(KerasGeometry):
    """Slants images: rows move sideways, columns up or down, the more the farther they are from the upper left corner."""

    keras_class: ClassVar[str] = "layers.RandomShear"
    kind: Literal["random_shear"]
    x_factor: Strength = Field(
        default=0.0,
        description="Largest shift of a row in either direction, as a fraction of its distance; or [lowest, highest].",
    )
    y_factor: Strength = Field(
        default=0.0,
        description="Largest shift of a column in either direction, as a fraction of its distance; or [lowest, highest].",
    )
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_mode: FillMode = Field(default="reflect", description=FILL_MODE)
    fill_value: float = Field(default=0.0, description=FILL_VALUE)


class RandomPerspective(KerasGeometry):
    """Shows images as if from the side: their corners move.

    `factor` is the exact fraction; the Keras layer changes half as many images.
    """

    keras_class: ClassVar[str] = "layers.RandomPerspective"
    kind: Literal["random_perspective"]
    factor: Share = Field(default=1.0, description="Fraction of images that are changed.")
    scale: Share = Field(default=1.0, description="Largest move of a corner: 1 is half of the height and width.")
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_value: float = Field(default=0.0, description="Value of pixels from outside the image.")

    def arguments(self) -> dict[str, Any]:
        """Returns the Keras arguments; a single factor f is drawn from [0, f] by Keras, so that f/2 of images would change."""
        return super().arguments() | {"factor": (self.factor, self.factor)}


class RandomCrop(AugmentationSpec):
    """Crops a random window and resizes it to the size of the images."""

    moves_pixels: ClassVar[bool] = True
    kind: Literal["random_crop"]
    height: Count = Field(description="Height of the window, in pixels.")
    width: Count = Field(description="Width of the window, in pixels.")

    def fault(self, shape: Shape) -> str:
        """Returns why a window does not fit into the images; empty if it does."""
        if self.height > shape[0] or self.width > shape[1]:
            return f"a crop of {self.height}x{self.width} is larger than the images ({shape[0]}x{shape[1]})"
        return ""

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns the resized windows: one place for each image."""
        return self._window(images, self._corners(images, seed), "bilinear")

    def augment_pair(self, images: Any, masks: Any, seed: Any, *, ignored: int = 0) -> tuple[Any, Any]:
        """Returns the same windows of images and masks."""
        corners = self._corners(images, seed)
        moved = moved_masks(lambda values: self._window(values, corners, "nearest"), masks)
        return self._window(images, corners, "bilinear"), moved

    def _corners(self, images: Any, seed: Any) -> Any:
        """Returns the upper left corner of each window, int32 `(batch, 2)`."""
        import keras

        batch, height, width, _ = keras.ops.shape(images)
        corners = keras.random.uniform((batch, 2), seed=seed)
        room = keras.ops.cast([height - self.height, width - self.width], "float32")
        return keras.ops.cast(keras.ops.floor(corners * (room + 1.0)), "int32")

    def _window(self, images: Any, corners: Any, interpolation: str) -> Any:
        import keras

        _, height, width, _ = keras.ops.shape(images)
        rows = corners[:, :1] + keras.ops.arange(self.height, dtype="int32")
        columns = corners[:, 1:] + keras.ops.arange(self.width, dtype="int32")
        windows = keras.ops.take_along_axis(images, rows[:, :, None, None], axis=1)
        windows = keras.ops.take_along_axis(windows, columns[:, None, :, None], axis=2)
        return keras.ops.image.resize(windows, (height, width), interpolation=interpolation)


class MatrixGeometry(AugmentationSpec):
    """An augmentation that resamples each image by a separate matrix."""

    moves_pixels: ClassVar[bool] = True
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)
    fill_mode: FillMode = Field(default="reflect", description=FILL_MODE)
    fill_value: float = Field(default=0.0, description=FILL_VALUE)

    def matrix(self, images: Any, seed: Any) -> Any:
        """Returns the matrix of each image, `(batch, 8)` (`resampling`)."""
        raise NotImplementedError

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns the resampled images."""
        return self._moved(images, self.matrix(images, seed))

    def augment_pair(self, images: Any, masks: Any, seed: Any, *, ignored: int = 0) -> tuple[Any, Any]:
        """Returns the resampled images and masks."""
        from dlcli.spec.data.augmentations.resampling import resampled

        matrix = self.matrix(images, seed)

        def moved(values: Any) -> Any:
            return resampled(values, matrix, interpolation="nearest", fill_mode=self.fill_mode, fill_value=float(ignored))

        return self._moved(images, matrix), moved_masks(moved, masks)

    def _moved(self, images: Any, matrix: Any) -> Any:
        from dlcli.spec.data.augmentations.resampling import resampled

        return resampled(images, matrix, interpolation=self.interpolation, fill_mode=self.fill_mode, fill_value=self.fill_value)


class RandomAffine(MatrixGeometry):
    """Rotates, shifts, shears and scales images at once: pixels are interpolated only once."""

    kind: Literal["random_affine"]
    rotation_factor: Range = Field(
        default=0.0, description="Largest rotation in either direction, in full turns; or [lowest, highest]."
    )
    height_factor: Range = Field(
        default=0.0, description="Largest shift up or down, as a fraction of the height; or [lowest, highest]."
    )
    width_factor: Range = Field(
        default=0.0, description="Largest shift left or right, as a fraction of the width; or [lowest, highest]."
    )
    shear_factor: Range = Field(
        default=0.0, description="Largest shear in either direction, about the centre; or [lowest, highest]."
    )
    scale: Scale = Field(default=(1.0, 1.0), description="Smallest and largest scale of the content.")

    @property
    def motions(self) -> frozenset[Motion]:
        """The motions of the largest rotation."""
        return turns(self.rotation_factor)

    def matrix(self, images: Any, seed: Any) -> Any:
        """Returns the matrix of each image."""
        import keras

        from dlcli.spec.data.augmentations.resampling import about_centre, linear_map

        factors = (self.rotation_factor, self.width_factor, self.height_factor, self.shear_factor)
        turn, right, down, shear = (drawn(images, _both_ways(factor), seed) for factor in factors)
        scale = drawn(images, self.scale, seed)
        linear = linear_map(turn, scale, shear, keras.ops.zeros_like(shear))
        return about_centre(images, linear, (right * images.shape[2], down * images.shape[1]))


class RandomRescale(MatrixGeometry):
    """Enlarges or shrinks the content of images about their centre; its aspect ratio is kept."""

    kind: Literal["random_rescale"]
    scale: Scale = Field(description="Smallest and largest scale, such as [0.8, 1.25].")

    def matrix(self, images: Any, seed: Any) -> Any:
        """Returns the matrix of each image."""
        import keras

        from dlcli.spec.data.augmentations.resampling import about_centre

        scale = drawn(images, self.scale, seed)
        zeros = keras.ops.zeros_like(scale)
        return about_centre(images, (1 / scale, zeros, zeros, 1 / scale), (zeros, zeros))


class RandomPadding(MatrixGeometry):
    """Adds a border of a random width to each side, and resizes the result to the size of the images."""

    kind: Literal["random_padding"]
    factor: Border = Field(description="Largest border on each side, as a fraction of the result.")
    fill_mode: FillMode = Field(default="constant", description="How the border is filled.")

    def matrix(self, images: Any, seed: Any) -> Any:
        """Returns the matrix of each image."""
        import keras

        left, right, top, bottom = (drawn(images, (0.0, self.factor), seed) for _ in range(4))
        zeros = keras.ops.zeros_like(left)
        height, width = images.shape[1:3]
        # Places are those of the centres of pixels: the left edge of the image is at -0.5.
        x, y = 1 / (1 - left - right), 1 / (1 - top - bottom)
        a2, b2 = x * (0.5 - left * width) - 0.5, y * (0.5 - top * height) - 0.5
        return keras.ops.stack([x, zeros, a2, zeros, y, b2, zeros, zeros], axis=1)


def _both_ways(value: float | tuple[float, float]) -> tuple[float, float]:
    return two_ends(value, -value if isinstance(value, float) else 0.0)
