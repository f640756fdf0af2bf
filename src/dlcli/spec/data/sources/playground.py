"""The two-dimensional sets of the TensorFlow playground, generated from the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dlcli.spec.base import Share
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, row_ids
from dlcli.tasks import Task

if TYPE_CHECKING:
    import numpy as np

    from dlcli.arrays import Array

    Random = np.random.Generator

_CLASSES = ("orange", "blue")


class Playground(SourceSpec):
    """A two-dimensional dataset of the TensorFlow playground (github.com/tensorflow/playground, `src/dataset.ts`).

    circles, xor, gaussians and spiral have two classes; plane and multi_gaussian are regressions. Points lie about
    within -6 and 6 on both axes.
    """

    kind: Literal["playground"]
    name: Literal["circles", "xor", "gaussians", "spiral", "plane", "multi_gaussian"] = Field(
        description="Name of the dataset."
    )
    examples: int = Field(default=500, description="Number of points.", ge=10, le=1_000_000)
    noise: Share = Field(default=0.0, description="Noise, from 0 (none) to 1; the slider of the playground ends at 0.5.")

    def facts(self, task: Task) -> Facts:
        """Returns two features, and two classes or one number."""
        if self.name in ("plane", "multi_gaussian"):
            return Facts((2,), 1, (), ("regression",))
        return Facts((2,), 2, _CLASSES, ("binary", "classification"))

    def stored_bytes(self) -> int:
        """Returns 0: the points are generated."""
        return 0

    def open(self, request: Request) -> Opened:
        """Returns the generated points `(n, 2)` and their labels."""
        import numpy as np

        from dlcli.runtime.inputs import Arrays

        random = np.random.default_rng(request.seed)
        points, labels = _GENERATORS[self.name](random, self.examples, self.noise)
        regression = self.name in ("plane", "multi_gaussian")
        targets = labels.astype("float32")[:, None] if regression else labels.astype("int64")
        ids = row_ids("train", self.examples)
        return Opened(
            {"train": Examples(Arrays(points.astype("float32")), targets, ids)}, ("target",) if regression else _CLASSES
        )


def _halves(random: Random, examples: int) -> Array:
    """Returns 0/1 labels, half each, in random order."""
    import numpy as np

    return random.permutation(np.arange(examples) % 2)


def _circles(random: Random, examples: int, noise: float) -> tuple[Array, Array]:
    import numpy as np

    inside = _halves(random, examples)
    radius = np.where(inside == 1, random.uniform(0, 2.5, examples), random.uniform(3.5, 5, examples))
    angle = random.uniform(0, 2 * np.pi, examples)
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    shifted = points + random.uniform(-5, 5, (examples, 2)) * noise
    return points, (np.hypot(shifted[:, 0], shifted[:, 1]) < 2.5).astype("int64")


def _xor(random: Random, examples: int, noise: float) -> tuple[Array, Array]:
    import numpy as np

    points = random.uniform(-5, 5, (examples, 2))
    points += np.where(points > 0, 0.3, -0.3)
    shifted = points + random.uniform(-5, 5, (examples, 2)) * noise
    return points, (shifted[:, 0] * shifted[:, 1] >= 0).astype("int64")


def _gaussians(random: Random, examples: int, noise: float) -> tuple[Array, Array]:
    import numpy as np

    labels = _halves(random, examples)
    centre = np.where(labels == 1, 2.0, -2.0)[:, None]
    deviation = np.sqrt(0.5 + 7.0 * noise)
    return centre + random.normal(0, deviation, (examples, 2)), labels


def _spiral(random: Random, examples: int, noise: float) -> tuple[Array, Array]:
    import numpy as np

    order = random.permutation(examples)
    labels, along = order % 2, (order // 2) / (examples / 2)
    angle = 1.75 * along * 2 * np.pi + np.where(labels == 1, 0.0, np.pi)
    points = np.stack([5 * along * np.sin(angle), 5 * along * np.cos(angle)], axis=1)
    return points + random.uniform(-1, 1, (examples, 2)) * noise, labels


def _plane(random: Random, examples: int, noise: float) -> tuple[Array, Array]:
    points = random.uniform(-6, 6, (examples, 2))
    shifted = points + random.uniform(-6, 6, (examples, 2)) * noise
    return points, shifted.sum(axis=1) / 10


def _multi_gaussian(random: Random, examples: int, noise: float) -> tuple[Array, Array]:
    import numpy as np

    bumps = np.array([[-4, 2.5, 1], [0, 2.5, -1], [4, 2.5, 1], [-4, -2.5, -1], [0, -2.5, 1], [4, -2.5, -1]])
    points = random.uniform(-6, 6, (examples, 2))
    shifted = points + random.uniform(-6, 6, (examples, 2)) * noise
    distance = np.hypot(*(shifted[:, None, :] - bumps[None, :, :2]).transpose(2, 0, 1))
    heights = bumps[:, 2] * np.clip(1 - distance / 2, 0, 1)
    strongest = np.abs(heights).argmax(axis=1)
    return points, heights[np.arange(examples), strongest]


_GENERATORS = {
    "circles": _circles,
    "xor": _xor,
    "gaussians": _gaussians,
    "spiral": _spiral,
    "plane": _plane,
    "multi_gaussian": _multi_gaussian,
}
