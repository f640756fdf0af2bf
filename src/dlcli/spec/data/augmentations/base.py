"""The base class of augmentations, and the types that their fields share."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.spec.base import KerasSpec, Shape, Share, keras_attribute

NumberFeatures = Mapping[str, tuple[int, float]]
"""The place of the feature of each column of numbers in an encoded row, and its deviation in the training split."""


def _range(value: Any, *, lowest: float, what: str) -> float | tuple[float, float]:
    ends = value if isinstance(value, (list, tuple)) else [value]
    numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends)
    # `not <=` also refuses NaN.
    if (
        not numbers
        or not all(lowest <= end <= 1 for end in ends)
        or (ends is value and (len(value) != 2 or value[0] > value[1]))
    ):
        raise PydanticCustomError("expected", "expected {what}", {"what": f"{what} or [lowest, highest]"})
    return (float(ends[0]), float(ends[1])) if ends is value else float(value)


def _above_minus_one(value: float | tuple[float, float]) -> float | tuple[float, float]:
    if min(value if isinstance(value, tuple) else (value,)) <= -1:
        raise PydanticCustomError("expected", "expected {what}", {"what": "a number above -1 (-1 would leave an empty image)"})
    return value


def rising(value: tuple[float, float]) -> tuple[float, float]:
    """Returns the range, whose first end must not be above the second."""
    if value[0] > value[1]:
        raise PydanticCustomError("expected", "expected {what}", {"what": "[lowest, highest]"})
    return value


def as_tuple(value: Any) -> Any:
    """Returns a list as a tuple, and every other value as it is."""
    return tuple(value) if isinstance(value, list) else value


_ENDS = float | list[float]
Range = Annotated[
    float | tuple[float, float],
    PlainValidator(lambda value: _range(value, lowest=-1, what="a number from -1 to 1"), json_schema_input_type=_ENDS),
]
ZoomRange = Annotated[Range, AfterValidator(_above_minus_one)]
Strength = Annotated[
    float | tuple[float, float],
    PlainValidator(lambda value: _range(value, lowest=0, what="a number from 0 to 1"), json_schema_input_type=_ENDS),
]
"""A number s for values from 0 to s, or [lowest, highest]."""
ShareRange = Annotated[
    tuple[Share, Share],
    BeforeValidator(as_tuple, json_schema_input_type=list[Share]),
    AfterValidator(rising),
]
FillMode = Literal["reflect", "wrap", "constant", "nearest"]
Interpolation = Literal["bilinear", "nearest"]
Motion = Literal["mirrored", "upside_down", "quarter_turn", "half_turn"]
FILL_MODE = "How pixels from outside the image are filled."
FILL_VALUE = "Fill value of `constant`."
INTERPOLATION = "Interpolation between pixels."


class AugmentationSpec(KerasSpec):
    """One random change of a batch of training examples. Images have values 0 to 255.

    Attributes:
        inputs: what it changes: images, or rows of a table.
        mixes_labels: whether it mixes examples, so that labels become shares of several classes (`mix`).
        moves_pixels: whether pixels change their places, so that a mask must follow (`augment_pair`).
        needs_colour: whether images must have three channels.

    >>> from dlcli.spec.data.augmentations.geometry import RandomRotation
    >>> RandomRotation(kind="random_rotation", factor=0.1).fault((32, 32, 3))
    ''
    """

    kind: str
    inputs: ClassVar[Literal["images", "columns"]] = "images"
    mixes_labels: ClassVar[bool] = False
    moves_pixels: ClassVar[bool] = False
    needs_colour: ClassVar[bool] = False

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns changed float32 images `(batch, height, width, channels)`; all randomness comes from `seed`.

        Args:
            images: float32, 0 to 255.
            seed: a Keras seed generator.
        """
        layer = self.layer()
        transformation = layer.get_random_transformation(images, training=True, seed=seed)
        return layer.transform_images(images, transformation, training=True)

    def layer(self, **changes: Any) -> Any:
        """Returns the Keras layer of the augmentation, with `changes` to its arguments."""
        import tensorflow as tf

        with tf.Graph().as_default():  # holds the layer's own seed, a variable that is never used and tf.data forbids
            # float32 also under mixed precision: pixels keep their bits, and Keras mixes no types in its arithmetic.
            return keras_attribute(self.keras_class)(**self.arguments() | changes, dtype="float32")

    def augment_pair(self, images: Any, masks: Any, seed: Any, *, ignored: int = 0) -> tuple[Any, Any]:
        """Returns changed images, the same as of `augment`, and masks that have moved with them.

        Args:
            images: float32 `(batch, height, width, channels)`, 0 to 255.
            masks: the class number of each pixel, integers `(batch, height, width, 1)`; no two numbers are blended.
            seed: a Keras seed generator.
            ignored: the class of pixels from outside the image, where `fill_mode` is `constant`.

        Raises:
            ValueError: the augmentation mixes images, so that a pixel would have several classes.
        """
        if self.moves_pixels:
            raise ValueError(f"{type(self).__name__} moves pixels, but has no method for masks")
        return self.augment(images, seed), masks

    def mix(self, images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
        """Returns mixed images and labels, float32 `(batch, units)`; only where `mixes_labels`."""
        raise NotImplementedError

    def fault(self, shape: Shape) -> str:
        """Returns why images of a shape `(height, width, channels)` cannot be changed; empty if they can."""
        if self.needs_colour and len(shape) == 3 and shape[2] != 3:
            return f"`{self.kind}` needs images in colour, but these are grey"
        return ""

    @property
    def motions(self) -> frozenset[Motion]:
        """The motions that can make another character of a digit or letter."""
        return frozenset()

    def fitted(self, features: NumberFeatures, width: int) -> Any:
        """Returns the augmentation for encoded rows `(batch, width)`; only where `inputs` is `columns`.

        Raises:
            DataError: it names a column that is not there.
        """
        raise NotImplementedError


def turns(factor: float | tuple[float, float]) -> frozenset[Motion]:
    """Returns the motions of a rotation by a number of full turns, or by those of a range."""
    largest = max(abs(end) for end in (factor if isinstance(factor, tuple) else (factor,)))
    return frozenset({"quarter_turn", "half_turn"} if largest >= 0.5 else {"quarter_turn"} if largest >= 0.25 else ())


def two_ends(value: float | tuple[float, float], lowest: float = 0.0) -> tuple[float, float]:
    """Returns both ends of a range: a single number is the highest value."""
    return value if isinstance(value, tuple) else (lowest, value)


def drawn(images: Any, ends: tuple[float, float], seed: Any, shape: tuple[int, ...] = ()) -> Any:
    """Returns a number between two ends for each image, float32 `(batch, *shape)`."""
    import keras

    return keras.random.uniform((keras.ops.shape(images)[0], *shape), ends[0], ends[1], seed=seed, dtype="float32")


def per_image(values: Any) -> Any:
    """Returns numbers `(batch,)` as `(batch, 1, 1, 1)`, which multiply all values of an image."""
    return values[:, None, None, None]


def only_in(share: float, changed: Any, images: Any, seed: Any) -> Any:
    """Returns the changed images in a random share of the images, and the others as they were."""
    import keras

    return changed if share == 1 else keras.ops.where(per_image(drawn(images, (0.0, 1.0), seed) < share), changed, images)


def moved_masks(move: Any, masks: Any) -> Any:
    """Returns masks after a function of float32 masks that takes nearest pixels; the dtype stays."""
    import keras

    return keras.ops.cast(keras.ops.round(move(keras.ops.cast(masks, "float32"))), masks.dtype)
