"""What a spec says of the inputs of its model before the data is opened."""

from __future__ import annotations

from dlcli.spec.base import Shape
from dlcli.spec.data.sources import Facts
from dlcli.spec.experiment import Experiment


def input_shape(experiment: Experiment, facts: Facts) -> Shape | None:
    """Returns the shape of one example as the model sees it; None where the data must be opened first."""
    image = experiment.data.image
    shape = facts.shape
    if not facts.image:
        return shape
    size = image.size or (shape[:2] if shape else None)
    channels = image.channels or (shape[2] if shape else 3)
    return (*size, channels) if size else None
