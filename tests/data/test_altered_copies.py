"""60 photos with four altered copies each: the score of a random split is that of known photos, that of a grouped one holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageOps
from trainings import trained

from dlcli.data.open_run import open_run
from dlcli.data.other_data import open_other
from dlcli.runs import RunFolder
from dlcli.score.evaluate import EvaluateOptions, ScoredData, score_data

DATA = Path(os.environ.get("DLCLI_TEST_DATA", ""))
SPEC = """\
name: copies
task: classification
data: {{source: {{kind: folder, path: photos}}, split: {split}, batch_size: 16}}
model: {{kind: transfer, backbone: {{kind: mobilenet, alpha: 0.25, input_size: [96, 96], weights: {weights}}}}}
training: {{stages: [{{name: head, train: head, epochs: 20, optimizer: {{kind: adam, learning_rate: 3e-3}}}}]}}
"""


def altered(photo: Image.Image) -> list[Image.Image]:
    """Returns a photo, its mirror image, and brighter, smaller and cropped copies."""
    width, height = photo.size
    margins = (width // 50, height // 50, width * 49 // 50, height * 49 // 50)
    brighter = ImageEnhance.Brightness(photo).enhance(1.3)
    return [photo, ImageOps.mirror(photo), brighter, photo.resize((width // 2, height // 2)), photo.crop(margins)]


def accuracy(run: RunFolder, untouched: Path) -> tuple[float, tuple[float, float], float]:
    """Returns the accuracy of the test split with its interval, and that on untouched photos."""
    score = run.metrics("test")["metrics"]["accuracy"]
    with open_run(run) as opened:
        other = open_other(opened.experiment, run, untouched, offline=True)
        scored = ScoredData(other.name, other.examples, other.classes, other.source)
        scores = score_data(opened.experiment, run, scored, run.data(), EvaluateOptions())
    return score["value"], tuple(score["interval"]), scores.metrics["accuracy"]


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
@pytest.mark.skipif(not os.environ.get("DLCLI_TEST_DATA"), reason="DLCLI_TEST_DATA is not set")
def test_a_grouped_score_holds_on_untouched_photos_and_a_random_one_does_not(tmp_path: Path) -> None:
    source = DATA / "images" / "ants_bees"
    for name in ("ants", "bees"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for path in sorted((source / "train" / name).glob("*.jpg"))[:30]:
            for number, copy in enumerate(altered(Image.open(path).convert("RGB"))):
                copy.save(tmp_path / "photos" / name / f"{path.stem.replace('_', '-')}_{number}.jpg", quality=88)
    weights = DATA / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    results = {}
    for split in ("{}", "{group: {name: '^(.*)_'}}"):
        (tmp_path / "spec.yaml").write_text(SPEC.format(split=split, weights=weights))
        results[split] = accuracy(trained(tmp_path / "spec.yaml"), source / "val")
    value, interval, untouched = results["{}"]
    assert value > 0.95
    assert interval[0] > untouched + 0.1
    value, interval, untouched = results["{group: {name: '^(.*)_'}}"]
    assert interval[0] <= untouched <= interval[1]
    assert value < 0.9
