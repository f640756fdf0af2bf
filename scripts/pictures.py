"""Draws the pictures of the documents anew: .venv/bin/python scripts/pictures.py [terminal] [augmentations]

`terminal` shows a real training, `augmentations` the photos that come with scikit-learn; both are drawn if none is named.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import tempfile
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SPEC = "configs/digits_cnn.yaml"


SIDE = 160
"""The side of a photo before it is augmented, in pixels."""
SETTINGS: dict[str, dict[str, Any]] = {
    "random_flip": {"mode": "horizontal"},
    "random_rotation": {"factor": [0.06, 0.1]},
    "random_translation": {"height_factor": [0.1, 0.2], "width_factor": [0.1, 0.2]},
    "random_zoom": {"height_factor": [-0.4, -0.3]},
    "random_rescale": {"scale": [0.6, 0.7]},
    "random_crop": {"height": 110, "width": 110},
    "random_padding": {"factor": 0.2},
    "random_shear": {"x_factor": [0.2, 0.3]},
    "random_affine": {"rotation_factor": [-0.08, -0.05], "shear_factor": 0.2, "scale": [0.7, 1.3]},
    "random_perspective": {"scale": 0.4},
    "random_brightness": {"factor": [0.2, 0.3]},
    "random_darken": {"factor": [0.4, 0.6]},
    "random_contrast": {"factor": 0.6},
    "illumination_gradient": {"factor": [0.6, 0.8]},
    "random_hue": {"factor": [0.3, 0.6]},
    "random_saturation": {"factor": [0.7, 0.8]},
    "random_color_jitter": {"brightness_factor": 0.2, "saturation_factor": [0.2, 0.4], "hue_factor": 0.2},
    "random_grayscale": {"factor": 1.0},
    "random_posterization": {"factor": [1, 2]},
    "solarization": {"threshold_factor": [0.5, 0.6]},
    "equalization": {"factor": 1.0},
    "auto_contrast": {"factor": 1.0},
    "random_sharpness": {"factor": [0.95, 1.0]},
    "random_gaussian_blur": {"kernel_size": 9, "sigma": [2.0, 3.0]},
    "gaussian_noise": {"stddev": 30.0},
    "salt_and_pepper": {"factor": 0.08},
    "rand_augment": {"factor": [0.6, 0.9]},
    "aug_mix": {"factor": [0.5, 0.9]},
    "mix_up": {"alpha": 50.0},
}


def main() -> None:
    """Draws the pictures that are named, or all."""
    pictures = {"terminal": draw_terminal, "augmentations": draw_augmentations}
    for name in sys.argv[1:] or pictures:
        pictures[name]()


def draw_augmentations() -> None:
    """Draws one image of every kind of augmentation."""
    from dlcli.charts.contact_sheet import contact_sheet
    from dlcli.runtime.engine import tf
    from dlcli.runtime.stream import augmented
    from dlcli.spec.base import OneOf
    from dlcli.spec.experiment import Experiment  # noqa: F401  (registers the union)

    union, photos = OneOf.registry["Augmentation"], _photos()
    images, captions = [photos[0], photos[1]], ["original", "original"]
    for number, (kind, member) in enumerate(union.kinds.items()):
        if getattr(member, "inputs", "") != "images":
            continue
        spec: Any = union.validate({"kind": kind} | SETTINGS.get(kind, {}))
        photo = photos[number % 2]
        variants = np.asarray(augmented(np.stack(photos * 4), [spec], 3, tf.constant(1, tf.int64)))[number % 2 :: 2]
        changes = np.abs(variants - photo).mean(axis=(1, 2, 3))
        # Some variants hardly differ from the photo: the picture shows one with a large change, of a policy not the largest.
        place = np.argsort(changes)[-2 if "augment" in kind else -1]
        images.append(np.clip(np.round(variants[place]), 0, 255).astype("uint8"))
        captions.append(kind)
    starts = range(0, len(images), 6)
    (IMAGES / "augmentations.png").unlink(missing_ok=True)
    rows = [("", images[start : start + 6], captions[start : start + 6]) for start in starts]
    contact_sheet(rows, IMAGES / "augmentations.png", colours=96)


def _photos() -> list[Any]:
    """Returns the middle of both photos that come with scikit-learn, uint8 `(SIDE, SIDE, 3)`."""
    from sklearn.datasets import load_sample_images

    photos = []
    for pixels in load_sample_images().images:
        height, width = pixels.shape[:2]
        middle = pixels[:, (width - height) // 2 : (width + height) // 2]
        photos.append(np.asarray(Image.fromarray(middle).resize((SIDE, SIDE))))
    return photos


def draw_terminal() -> None:
    """Trains the first spec, and keeps what the terminal shows and the confusion matrix."""
    from dlcli.cli import console as shown
    from dlcli.spec.load import load
    from dlcli.training.train import train

    screen = Console(record=True, width=128, file=io.StringIO(), color_system="truecolor", highlight=False)
    shown.results_console = lambda: screen
    display = shown.TrainingDisplay(quiet=False)
    display._console = screen
    with tempfile.TemporaryDirectory() as folder:
        run = train(load(ROOT / SPEC), Path(folder) / "runs", display)
        shown.show_result(run)
        picture = without_folder(screen.export_svg(title=f"dlcli train {SPEC}"), folder)
        # The fonts that rich names are fetched from a host; any monospaced font will do.
        picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
        (IMAGES / "terminal.svg").write_text(picture, encoding="utf-8")
        shutil.copyfile(run.evaluation("test") / "confusion_matrix.png", IMAGES / "confusion_matrix.png")


def without_folder(svg: str, folder: str) -> str:
    """Returns rich's SVG without a folder in its texts, each of which is as much narrower: rich states the width of a text."""

    def shortened(match: re.Match[str]) -> str:
        width, attributes, text = match.groups()
        short = text.replace(f"{folder}/", "")
        return f'textLength="{float(width) * len(unescape(short)) / max(1, len(unescape(text))):g}"{attributes}>{short}<'

    return re.sub(r'textLength="([\d.]+)"([^>]*)>([^<]*)<', shortened, svg)


if __name__ == "__main__":
    main()
