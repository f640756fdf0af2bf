"""Which model a new spec begins with, and its section of the spec."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from dlcli.cli.scaffold.plan import DataPlan, Pictures
from dlcli.cli.scaffold.questions import Options, Questions, refuse_unknown
from dlcli.errors import UsageError
from dlcli.spec.model.backbones.applications import ROWS, Application, MobileNets

KINDS = ("transfer", "cnn", "mlp")
_SMALL = 64
"""Images with a shorter side of at most this, in pixels, are no photos: a small CNN learns them."""
_SIDES = (96, 128, 160, 192, 224)
"""Sides of images that MobileNets were trained on."""
_MEGABYTES = {"mobilenet": 2, "mobilenet_v2": 9, "efficientnet_b0": 16}
"""Size of the weights that are downloaded, in MB: MobileNet's at alpha 0.25."""
_FEW, _MANY = 1000, 10_000
_FILES = (
    (re.compile(r"mobilenet_([0-9_]+)_(\d+)_tf_no_top\.h5"), "mobilenet"),
    (re.compile(r"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_([0-9.]+)_(\d+)_no_top\.h5"), "mobilenet_v2"),
    (re.compile(r"efficientnet(b\d)_notop\.h5"), "efficientnet_"),
    (re.compile(r"efficientnetv2-(b\d|s|m|l)_notop\.h5"), "efficientnet_v2_"),
)
"""Names of Keras's own files of weights, with the backbones that they are for."""
_ALPHAS = {"1_0": 1.0, "7_5": 0.75, "5_0": 0.5, "2_5": 0.25}
"""Alphas as the names of MobileNet's files write them."""


@dataclass(frozen=True)
class Backbone:
    """A backbone of the new spec.

    Attributes:
        kind: its kind.
        alpha: the share of its filters; None where it has no such setting.
        side: the side of its input images, in pixels.
        weights: a file; "" for Keras's own, which are downloaded.
    """

    kind: str
    alpha: float | None
    side: int
    weights: str = ""

    def fields(self, weights: str) -> str:
        """Returns its mapping in YAML; `weights` is how the spec names the file."""
        words = [f"kind: {self.kind}"]
        words += [f"alpha: {self.alpha:g}"] if self.alpha not in (None, 1.0) else []
        words += [f"input_size: [{self.side}, {self.side}]"] if self.side != ROWS[self.kind].size else []
        words += [f"weights: {weights}"] if weights else []
        return f"{{{', '.join(words)}}}"

    def download(self) -> str:
        """Returns a sentence on what is downloaded."""
        size = _MEGABYTES.get(self.kind) if self.alpha in (None, 0.25, 1.0) else None
        about = f", about {size} MB" if size else ""
        return f"the weights of {ROWS[self.kind].name} for ImageNet{about}"


def chosen_model(plan: DataPlan, options: Options, questions: Questions) -> tuple[str, Backbone | None]:
    """Returns the kind of model, and the backbone of a transfer model.

    Raises:
        UsageError: there is no such model, or it does not fit the data.
    """
    if plan.sequences is not None:
        return _sequence_model(plan, options), None
    words = (*(KINDS if plan.pictures else ("mlp",)), *(_backbones() if plan.pictures else ()))
    likely = _likely(plan.pictures)
    unknown_set = plan.source["kind"] == "tfds" and plan.pictures is None and bool(plan.doubt)
    if options.model is not None:
        refuse_unknown("--model", options.model, (*KINDS, *_backbones()))
        if options.model != "mlp" and plan.pictures is None and not unknown_set:
            raise UsageError(f"--model: {options.model} needs images, and {plan.label} has none; omit --model, or use mlp")
    requested = options.model or ("transfer" if options.weights else None)
    model = requested or questions.choice("--model", "Model", KINDS if plan.pictures else words, likely)
    if model in ("mlp", "cnn"):
        if options.weights:
            raise UsageError(f"--weights: a {model} has no backbone; omit --weights, or use --model transfer")
        return model, None
    return "transfer", _backbone(None if model == "transfer" else model, plan.pictures or Pictures(), options.weights)


def _sequence_model(plan: DataPlan, options: Options) -> str:
    """Returns the kind of model for texts or series.

    Raises:
        UsageError: another one is requested.
    """
    if options.model not in (None, "sequence") or options.weights:
        raise UsageError(f"--model: {plan.label} has texts or series, which `sequence` reads; omit --model and --weights")
    return "sequence"


def _backbones() -> tuple[str, ...]:
    return (*get_args(MobileNets.model_fields["kind"].annotation), *get_args(Application.model_fields["kind"].annotation))


def _likely(pictures: Pictures | None) -> str:
    if pictures is None:
        return "mlp"
    shape_is_given = pictures.shape is not None
    return "cnn" if shape_is_given or (pictures.side is not None and pictures.side <= _SMALL) else "transfer"


def _backbone(kind: str | None, pictures: Pictures, weights: str | None) -> Backbone:
    """Returns the backbone: the one named, the one of the file of weights, or a small one by the number of images."""
    named, alpha = _of_file(weights) if weights else (None, None)
    if named and kind and named != kind:
        raise UsageError(f"--weights: {weights} contains weights of {named}, not of {kind}")
    count = pictures.count
    kind = kind or named or ("mobilenet_v2" if count is None or count >= _FEW else "mobilenet")
    kind = "efficientnet_b0" if not named and kind == "mobilenet_v2" and (count or 0) >= _MANY else kind
    if alpha is None and kind in get_args(MobileNets.model_fields["kind"].annotation):
        alpha = 0.25 if kind == "mobilenet" else 1.0
    return Backbone(kind, alpha, _side(kind, pictures), weights or "")


def _side(kind: str, pictures: Pictures) -> int:
    """Returns the backbone's own side, or for smaller images one of those that MobileNets were trained on."""
    usual = ROWS[kind].size
    if pictures.side is None or pictures.side >= usual or not kind.startswith("mobilenet"):
        return usual
    return max(side for side in _SIDES if side <= max(pictures.side, _SIDES[0]))


def _of_file(path: str) -> tuple[str | None, float | None]:
    """Returns backbone, and alpha from the name of a weights file.

    Raises:
        UsageError: there is no such file.
    """
    if not Path(path).expanduser().is_file():
        raise UsageError(f"--weights: there is no file {path}")
    name = Path(path).name
    for pattern, kind in _FILES:
        match = pattern.search(name)
        if match and kind.endswith("_"):
            return kind + match.group(1), None
        if match:
            alpha = _ALPHAS.get(match.group(1)) if kind == "mobilenet" else float(match.group(1))
            return kind, alpha
    return None, None
