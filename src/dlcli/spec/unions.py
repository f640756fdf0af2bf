"""The unions of the specs' language: the one list of them, which loads nothing."""

from __future__ import annotations

UNION_TITLES = {
    "Source": "Sources",
    "Augmentation": "Augmentations",
    "Balance": "Balance",
    "Model": "Models",
    "Backbone": "Backbones",
    "Head": "Heads",
    "Embedding": "Embeddings",
    "Layer": "Layers",
    "Recurrent": "Recurrent",
    "Activation": "Activations",
    "Regularizer": "Regularizers",
    "Initializer": "Initializers",
    "Constraint": "Constraints",
    "Loss": "Losses",
    "Optimizer": "Optimizers",
    "LearningRate": "Schedules",
    "Metric": "Metrics",
    "Callback": "Callbacks",
}
"""The unions by their title, in the order of a spec."""
TOPICS = {title.lower(): union for union, title in UNION_TITLES.items()}
"""The unions by what `dlcli list` calls them."""
