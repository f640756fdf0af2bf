"""Augmentations that mix two examples of a batch: labels become shares of several classes."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Positive, Share
from dlcli.spec.data.augmentations.base import AugmentationSpec


class Mixing(AugmentationSpec):
    """Mixes each image of a batch with another one, and their labels in the same shares."""

    mixes_labels: ClassVar[bool] = True

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns mixed images alone, for pictures and for measuring the cost: a training needs `mix`."""
        layer = self.layer()
        return layer.transform_images(images, self._transformation(layer, images, seed), training=True)

    def mix(self, images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
        """Returns mixed images, and mixed labels, float32 `(batch, units)`."""
        import keras

        layer = self.layer()
        transformation = self._transformation(layer, images, seed)
        labels = layer.transform_labels(keras.ops.cast(labels, "float32"), transformation, training=True)
        return layer.transform_images(images, transformation, training=True), labels

    def augment_pair(self, images: Any, masks: Any, seed: Any, *, ignored: int = 0) -> tuple[Any, Any]:
        """Raises ValueError: a pixel would have two classes."""
        raise ValueError(f"{self.kind} mixes two images, so a pixel of a mask would have two classes")

    def _transformation(self, layer: Any, images: Any, seed: Any) -> Any:
        return layer.get_random_transformation(images, training=True, seed=seed)


class MixUp(Mixing):
    """Blends each image of a batch with another one, and their labels in the same shares (Zhang et al. 2018)."""

    keras_class: ClassVar[str] = "layers.MixUp"
    kind: Literal["mix_up"]
    alpha: Positive = Field(
        default=0.2,
        description="Parameter of the distribution of the shares: 0.2 seldom blends evenly, 1 draws all shares alike.",
    )


class CutMix(Mixing):
    """Replaces a rectangle of each image by that of another one, and mixes their labels by area (Yun et al. 2019).

    `factor` is the parameter of the distribution of the areas itself; the Keras layer draws it from 0 to `factor`.
    """

    keras_class: ClassVar[str] = "layers.CutMix"
    kind: Literal["cut_mix"]
    factor: Share = Field(default=1.0, description="Parameter of the distribution of the areas: 1 draws all areas alike.")

    def arguments(self) -> dict[str, Any]:
        """Returns the Keras arguments; a single number would be the highest of those that are drawn."""
        return {"factor": (self.factor, self.factor)}

    def _transformation(self, layer: Any, images: Any, seed: Any) -> Any:
        """Returns Keras's transformation, with the share of labels that is the share of the pixels.

        Keras computes it from the sides of the rectangle before they are rounded to pixels.
        """
        import keras

        transformation = layer.get_random_transformation(images, training=True, seed=seed)
        covered = keras.ops.mean(keras.ops.cast(transformation["batch_masks"], "float32"), axis=(1, 2, 3))
        return transformation | {"mix_weight": 1.0 - covered}
