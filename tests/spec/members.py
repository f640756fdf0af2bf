"""One small valid YAML for every kind of every union, and the unions themselves."""

from __future__ import annotations

from typing import Any

import dlcli.spec.load  # noqa: F401  (registers every union)
from dlcli.spec.base import KerasSpec, OneOf, Spec
from dlcli.spec.document import parse_value

UNIONS = OneOf.registry

_FIELDS = {
    ("Layer", "dense"): "units: 3",
    ("Layer", "maxout"): "units: 3",
    ("Layer", "conv2d"): "filters: 2, kernel_size: 3",
    ("Layer", "depthwise_conv2d"): "kernel_size: 3",
    ("Layer", "separable_conv2d"): "filters: 2, kernel_size: 3",
    ("Layer", "conv1d"): "filters: 2, kernel_size: 3",
    ("Layer", "conv3d"): "filters: 2, kernel_size: 2",
    ("Layer", "reshape"): "target_shape: [-1]",
    ("Layer", "rescaling"): "scale: 2.0",
    ("Layer", "dropout"): "rate: 0.5",
    ("Layer", "spatial_dropout1d"): "rate: 0.5",
    ("Layer", "spatial_dropout2d"): "rate: 0.5",
    ("Layer", "simple_rnn"): "units: 3",
    ("Layer", "lstm"): "units: 3",
    ("Layer", "gru"): "units: 3",
    ("Layer", "bidirectional"): "layer: {kind: gru, units: 2}",
    ("Layer", "multi_head_attention"): "num_heads: 2, key_dim: 3",
    ("Layer", "transformer_encoder"): "intermediate_dim: 5, num_heads: 1",
    ("Recurrent", "simple_rnn"): "units: 3",
    ("Recurrent", "lstm"): "units: 3",
    ("Recurrent", "gru"): "units: 3",
    ("Embedding", "pretrained"): "path: /vectors.txt",
    ("Layer", "gaussian_noise"): "stddev: 0.1",
    ("Layer", "activation"): "activation: relu",
    ("Layer", "residual"): "layers: [{kind: conv2d, filters: 2, kernel_size: 3, padding: same}]",
    ("Layer", "branches"): "branches: [[], [{kind: conv2d, filters: 2, kernel_size: 1}]]",
    ("LearningRate", "exponential_decay"): "initial_learning_rate: 0.1, decay_rate: 0.5, decay_steps: 10",
    ("LearningRate", "inverse_time_decay"): "initial_learning_rate: 0.1, decay_rate: 0.5, decay_steps: 10",
    ("LearningRate", "piecewise_constant_decay"): "boundaries: [5], values: [0.1, 0.01]",
    ("LearningRate", "polynomial_decay"): "initial_learning_rate: 0.1, decay_steps: 10",
    ("LearningRate", "cosine_decay"): "initial_learning_rate: 0.1, decay_steps: 10",
    ("LearningRate", "cosine_decay_restarts"): "initial_learning_rate: 0.1, first_decay_steps: 5",
    ("LearningRate", "warmup"): "learning_rate: 0.1, warmup_steps: 5",
    ("LearningRate", "one_cycle"): "max_learning_rate: 0.1, decay_steps: 10",
    ("Augmentation", "random_rotation"): "factor: 0.1",
    ("Augmentation", "random_translation"): "height_factor: 0.2, width_factor: [-0.1, 0.2]",
    ("Augmentation", "random_zoom"): "height_factor: 0.2",
    ("Augmentation", "random_crop"): "height: 12, width: 10",
    ("Augmentation", "random_contrast"): "factor: 0.5",
    ("Augmentation", "random_brightness"): "factor: 0.3",
    ("Augmentation", "gaussian_noise"): "stddev: 10.0",
    ("Augmentation", "random_rescale"): "scale: [0.8, 1.25]",
    ("Augmentation", "random_padding"): "factor: 0.2",
    ("Augmentation", "random_shear"): "x_factor: 0.3, y_factor: [0.0, 0.2]",
    ("Augmentation", "random_affine"): "rotation_factor: 0.1, width_factor: 0.1, scale: [0.8, 1.2]",
    ("Augmentation", "random_darken"): "factor: 0.5",
    ("Augmentation", "illumination_gradient"): "factor: 0.5",
    ("Augmentation", "random_hue"): "factor: 0.5",
    ("Augmentation", "random_saturation"): "factor: [0.1, 0.9]",
    ("Augmentation", "random_color_jitter"): (
        "brightness_factor: 0.2, contrast_factor: 0.2, saturation_factor: [0.3, 0.7], hue_factor: 0.1"
    ),
    ("Augmentation", "random_posterization"): "factor: [2, 4]",
    ("Augmentation", "solarization"): "threshold_factor: [0.2, 0.8]",
    ("Augmentation", "random_sharpness"): "factor: 1.0",
    ("Augmentation", "salt_and_pepper"): "factor: 0.1",
    ("Augmentation", "column_noise"): "stddev: 0.1",
    ("Callback", "time_limit"): "minutes: 1",
    ("Callback", "target_reached"): "value: 0.9",
    ("LearningRate", "by_part"): "backbone: 0.01, head: {kind: warmup, learning_rate: 0.1, warmup_steps: 5}",
    ("Model", "sequence"): "layers: [{kind: gru, units: 3}]",
    ("Model", "transfer"): "backbone: mobilenet_v2",
    ("Model", "ensemble"): "runs: [/runs/first, /runs/second]",
    ("Backbone", "hub"): "handle: /module",
    ("Backbone", "run"): "run: /runs/low",
    ("Backbone", "keras_hub"): "preset: /presets/bert",
    ("Source", "builtin"): "name: iris",
    ("Source", "sklearn"): "name: california_housing",
    ("Source", "openml"): "name: credit-g, version: 1",
    ("Source", "playground"): "name: spiral",
    ("Source", "tfds"): "name: mnist",
    ("Source", "folder"): "path: /photos",
    ("Source", "image_table"): "path: /labels.csv, image: file, target: label",
    ("Source", "text_folder"): "path: /texts",
    ("Source", "csv"): "path: /rows.csv, target: price",
    ("Source", "parquet"): "path: /rows.parquet, target: price",
    ("Source", "huggingface"): "path: /set, target: label",
    ("Source", "npz"): "path: /arrays.npz",
    ("Source", "ts"): "path: /series.ts",
    ("Source", "series"): "path: /rows.csv, target: price, window: 8",
}


def sample(union: str, kind: str, fields: str = "") -> Any:
    """Returns the spec of a kind, with its required fields and those given as flow YAML."""
    given = ", ".join(part for part in (f"kind: {kind}", fields or _FIELDS.get((union, kind), "")) if part)
    return UNIONS[union].validate(parse_value(f"{{{given}}}"), {"folder": "/"})


def kinds(*unions: str) -> list[tuple[str, str]]:
    """Returns (union, kind) for every kind of the unions, or of all."""
    return [(name, kind) for name in (unions or UNIONS) for kind in UNIONS[name].kinds]


def keras_members() -> list[type[KerasSpec]]:
    """Returns every spec class that stands for one Keras class."""
    members = {member for union in UNIONS.values() for member in union.members}
    return sorted((one for one in members if issubclass(one, KerasSpec) and one.keras_class), key=lambda one: one.__name__)


def all_members() -> list[type[Spec]]:
    """Returns every spec class of every union."""
    return sorted({member for union in UNIONS.values() for member in union.members}, key=lambda one: one.__name__)
