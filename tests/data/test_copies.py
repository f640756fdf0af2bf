"""Near copies, shared stems of names, and images with two labels are found; images that are alike by nature are not."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from trainings import bright_quarters

from dlcli.data.leaks import leak_facts
from dlcli.data.splits import Splits
from dlcli.runtime.inputs import array_inputs
from dlcli.spec.data.sources import Examples
from dlcli.tasks import TASKS

Array = np.ndarray[Any, Any]


def _splits(train: Array, test: Array, names: tuple[list[str], list[str]] | None = None, labels: Any = None) -> Splits:
    splits = {}
    for index, (split, images) in enumerate((("train", train), ("test", test))):
        ids = names[index] if names else [f"{split}/{number}.png" for number in range(len(images))]
        splits[split] = Examples(array_inputs(images), np.zeros(len(images), "int64") if labels is None else labels[index], ids)
    return Splits(**splits, classes=("ants", "bees"), task=TASKS["classification"])


def _photos(count: int, seed: int = 0) -> list[Image.Image]:
    """Returns independent images of smooth colours with fine noise."""
    random = np.random.default_rng(seed)
    photos = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (7, 7, 3)).astype("uint8")).resize((64, 64), Image.Resampling.BICUBIC)
        photos.append(
            Image.fromarray(np.clip(np.asarray(coarse) * 0.8 + random.normal(0, 8, (64, 64, 3)), 0, 255).astype("uint8"))
        )
    return photos


def _pixels(images: list[Image.Image]) -> Array:
    return np.stack([np.asarray(image.resize((64, 64))) for image in images])


@pytest.mark.parametrize(
    "change",
    [ImageOps.mirror, lambda photo: ImageEnhance.Brightness(photo).enhance(1.2), lambda photo: photo.crop((1, 1, 63, 63))],
)
def test_altered_copies_of_training_photos_are_near_copies(change: Any) -> None:
    photos = _photos(40)
    others = [change(photo) for photo in photos[:8]] + _photos(12, seed=1)
    facts = leak_facts(_splits(_pixels(photos), _pixels(others)))["near_copies"]["test"]
    assert facts["of"] == 20
    assert facts["examples"] >= 8
    assert facts["some"][:3] == [[f"test/{number}.png", f"train/{number}.png"] for number in range(3)]


def test_images_that_are_alike_by_nature_are_no_copies() -> None:
    for side in (32, 64):
        images, labels = bright_quarters(200, side=side, channels=3)
        splits = _splits(images[:150], images[150:], labels=(labels[:150] % 2, labels[150:] % 2))
        assert leak_facts(splits)["near_copies"]["test"]["examples"] == 0


def test_names_of_altered_copies_share_their_stem() -> None:
    images = _pixels(_photos(60))
    names = [f"{label}/{number:03}_{tag}.jpg" for label in ("ants", "bees") for number in range(10) for tag in "abc"]
    random = np.random.default_rng(0).permutation(60)
    train, test = [names[index] for index in random[:45]], [names[index] for index in random[45:]]
    facts = leak_facts(_splits(images[:45], images[45:], (train, test)))["stems"]["test"]
    stems = {name.rpartition("_")[0] for name in train}
    assert facts["examples"] == sum(name.rpartition("_")[0] in stems for name in test)
    ours, theirs = facts["some"][0]
    assert ours.rpartition("_")[0] == theirs.rpartition("_")[0]


@pytest.mark.parametrize(
    "name",
    ["ants/ants.{}.jpg", "ants/IMG_{:04}.jpg", "bees/20200101_12{:04}.jpg", "ants/{0}_{0:x}77.jpg", "{}", "bees/img ({}).png"],
)
def test_numbered_names_share_no_stem(name: str) -> None:
    images = _pixels(_photos(40))
    names = [name.format(number) for number in range(40)]
    assert leak_facts(_splits(images[:30], images[30:], (names[:30], names[30:])))["stems"] == {}


def test_an_image_with_two_labels_is_reported_with_both() -> None:
    images = _pixels(_photos(12))
    images[7] = images[2]
    images[10] = images[0]
    labels = (np.array([0, 0, 0, 0, 0, 1, 1, 1, 1]), np.array([1, 0, 1]))
    facts = leak_facts(_splits(images[:9], images[9:], labels=labels))
    assert facts["contradictions"] == {
        "examples": 2,
        "of": 12,
        "some": [["train/2.png", "ants", "train/7.png", "bees"]],
    }
    assert facts["duplicates"]["test"]["same_label"] == 1


def test_an_image_in_two_formats_with_two_labels_is_reported_with_both() -> None:
    photos = _photos(12)
    content = BytesIO()
    photos[3].save(content, "JPEG", quality=80)
    photos[8] = Image.open(content)
    images, labels = _pixels(photos), (np.array([0] * 6 + [1] * 3), np.array([1, 0, 1]))
    facts = leak_facts(_splits(images[:9], images[9:], labels=labels))
    assert facts["contradictions"]["examples"] == 0
    assert facts["same_look"] == {"examples": 2, "of": 12, "some": [["train/3.png", "ants", "train/8.png", "bees"]]}
