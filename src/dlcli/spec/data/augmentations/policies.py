"""Policies: each image is changed by separate operations, which are drawn from a list."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, Positive
from dlcli.spec.data.augmentations.base import (
    INTERPOLATION,
    AugmentationSpec,
    Interpolation,
    Strength,
    drawn,
    per_image,
    two_ends,
)

Drawn = tuple[Any, Any]
"""The number of each image's operation, int32 `(batch,)`, and its strength, float32 `(batch,)`."""
_PLAIN = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "posterize", "solarize", "auto_contrast", "equalize")
_ENHANCEMENTS = ("brightness", "color", "contrast", "sharpness")


def _operations(count: Any, names: Sequence[str], ends: tuple[float, float], seed: Any) -> Drawn:
    """Returns an operation of the list and a strength for each of `count` images; directions are drawn too."""
    import keras
    import tensorflow as tf

    from dlcli.spec.data.augmentations.operations import SIGNED, number_of

    choice, strength, direction = (keras.random.uniform((count,), seed=seed, dtype="float32") for _ in range(3))
    places = tf.minimum(tf.cast(choice * len(names), tf.int32), len(names) - 1)
    numbers = tf.gather(tf.constant([number_of(name) for name in names], tf.int32), places)
    is_signed = tf.gather(tf.constant([name in SIGNED for name in names]), places)
    strength = ends[0] + (ends[1] - ends[0]) * strength
    return numbers, tf.where(is_signed & (direction < 0.5), -strength, strength)


class Policy(AugmentationSpec):
    """A sequence of steps, in each of which an image gets a separate operation."""

    moves_pixels: ClassVar[bool] = True
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)

    def steps(self, count: Any, seed: Any) -> list[Drawn]:
        """Returns the operations of each step for `count` images."""
        raise NotImplementedError

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns the images after all steps."""
        import tensorflow as tf

        return self._after(images, self.steps(tf.shape(images)[0], seed))

    def augment_pair(self, images: Any, masks: Any, seed: Any, *, ignored: int = 0) -> tuple[Any, Any]:
        """Returns the images after all steps, and masks that have moved with them; outside, images and masks are reflected."""
        import tensorflow as tf

        from dlcli.spec.data.augmentations.operations import moved_with

        steps = self.steps(tf.shape(images)[0], seed)
        for numbers, strengths in steps:
            masks = moved_with(masks, numbers, strengths)
        return self._after(images, steps), masks

    def _after(self, images: Any, steps: list[Drawn]) -> Any:
        from dlcli.spec.data.augmentations.operations import applied

        for numbers, strengths in steps:
            images = applied(images, numbers, strengths, interpolation=self.interpolation)
        return images


class RandAugment(Policy):
    """Changes each image by `num_ops` random operations of 14 (Cubuk et al. 2020).

    The operations are shear, shift (each in both directions), rotation, brightness, colour, contrast, sharpness,
    posterisation, solarisation, automatic contrast, equalisation, and none. The Keras layer draws one operation for a whole
    batch and ignores the seed that it is given (Keras 3.15.1).
    """

    keras_class: ClassVar[str] = "layers.RandAugment"
    kind: Literal["rand_augment"]
    num_ops: Count = Field(default=2, description="Number of operations for each image.")
    factor: Strength = Field(
        default=0.5, description="Strength of the operations: a number s for values from 0 to s, or [lowest, highest]."
    )

    def steps(self, count: Any, seed: Any) -> list[Drawn]:
        """Returns `num_ops` random operations for each image."""
        names = ("identity", *_PLAIN, *_ENHANCEMENTS)
        return [_operations(count, names, two_ends(self.factor), seed) for _ in range(self.num_ops)]


class AutoAugment(Policy):
    """Changes each image by one of the 25 sub-policies that were learned on a set of images (Cubuk et al. 2019).

    Each of its two operations has a probability and a strength. Larger magnitudes are stronger.
    """

    kind: Literal["auto_augment"]
    policy: Literal["imagenet", "cifar10", "svhn"] = Field(
        default="imagenet", description="Set on which the policy was learned: photos, small photos, or house numbers."
    )

    def steps(self, count: Any, seed: Any) -> list[Drawn]:
        """Returns both operations of each image's sub-policy; those that are not drawn are `identity`."""
        import keras
        import tensorflow as tf

        from dlcli.spec.data.augmentations.published_policies import POLICIES

        policy = POLICIES[self.policy]
        choice = keras.random.uniform((count,), seed=seed, dtype="float32")
        sub_policy = tf.minimum(tf.cast(choice * len(policy), tf.int32), len(policy) - 1)
        return [_published_step([steps[place] for steps in policy], sub_policy, count, seed) for place in range(2)]


def _published_step(steps: Sequence[tuple[str, float, int]], sub_policy: Any, count: Any, seed: Any) -> Drawn:
    """Returns the operation of each image in one step of a published policy."""
    import keras
    import tensorflow as tf

    from dlcli.spec.data.augmentations.operations import GEOMETRIC, number_of

    chance, direction = (keras.random.uniform((count,), seed=seed, dtype="float32") for _ in range(2))
    # Brightness, colour, contrast and sharpness are multiplied by 0.1 (magnitude 0) to 1.9 (magnitude 9).
    strengths = [2 * magnitude / 9 - 1 if name in _ENHANCEMENTS else magnitude / 9 for name, _, magnitude in steps]
    numbers, is_moved = [number_of(name) for name, _, _ in steps], [name in GEOMETRIC for name, _, _ in steps]
    probabilities = [probability for _, probability, _ in steps]
    number, strength = tf.gather(tf.constant(numbers, tf.int32), sub_policy), tf.gather(tf.constant(strengths), sub_policy)
    is_drawn = chance < tf.gather(tf.constant(probabilities), sub_policy)
    is_reversed = tf.gather(tf.constant(is_moved), sub_policy) & (direction < 0.5)
    return tf.where(is_drawn, number, number_of("identity")), tf.where(is_reversed, -strength, strength)


class AugMix(AugmentationSpec):
    """Mixes each image with versions of it that went through chains of random operations (Hendrycks et al. 2020).

    Each chain has 1 to `chain_depth` operations, as in the paper. The Keras layer uses the same operations for a whole batch
    and draws them from Python's `random` (Keras 3.15.1).
    """

    moves_pixels: ClassVar[bool] = True
    keras_class: ClassVar[str] = "layers.AugMix"
    kind: Literal["aug_mix"]
    num_chains: Count = Field(default=3, description="Number of chains.")
    chain_depth: Count = Field(default=3, description="Largest number of operations of a chain.")
    factor: Strength = Field(
        default=0.3, description="Strength of the operations: a number s for values from 0 to s, or [lowest, highest]."
    )
    alpha: Positive = Field(default=1.0, description="Parameter of the distributions of the shares: smaller is less even.")
    all_ops: bool = Field(
        default=True, description="Whether brightness, colour, contrast and sharpness are among the operations."
    )
    interpolation: Interpolation = Field(default="bilinear", description=INTERPOLATION)

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns the mixed images; every image has its own operations and shares."""
        import keras
        import tensorflow as tf

        count = tf.shape(images)[0]
        shares = keras.random.gamma((self.num_chains, count), self.alpha, seed=seed)
        shares = (shares / tf.reduce_sum(shares, axis=0, keepdims=True))[:, :, None, None, None]
        own_share = per_image(keras.random.beta((count,), self.alpha, self.alpha, seed=seed))
        chains = self._changed(tf.tile(images, [self.num_chains, 1, 1, 1]), seed)
        mixed = tf.reduce_sum(tf.reshape(chains, [self.num_chains, count, *images.shape[1:]]) * shares, axis=0)
        return tf.clip_by_value(own_share * images + (1.0 - own_share) * mixed, 0.0, 255.0)

    def augment_pair(self, images: Any, masks: Any, seed: Any, *, ignored: int = 0) -> tuple[Any, Any]:
        """Raises ValueError: a pixel would have the classes of several places."""
        raise ValueError("aug_mix blends pixels of several places, so a mask cannot follow")

    def _changed(self, images: Any, seed: Any) -> Any:
        """Returns the images after a chain each; each has its own length."""
        import tensorflow as tf

        from dlcli.spec.data.augmentations.operations import applied, number_of

        names = (*_PLAIN, *(_ENHANCEMENTS if self.all_ops else ()))
        depth = 1 + tf.cast(drawn(images, (0.0, 1.0), seed) * self.chain_depth, tf.int32)
        for place in range(self.chain_depth):
            numbers, strengths = _operations(tf.shape(images)[0], names, two_ends(self.factor), seed)
            numbers = tf.where(place < depth, numbers, number_of("identity"))
            images = applied(images, numbers, strengths, interpolation=self.interpolation)
        return images
