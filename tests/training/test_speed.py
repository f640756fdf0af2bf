"""What a training reports on the limit of its speed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import MLP, SMALL_CNN, Heard, column, save_images, trained, write_pngs, write_spec

from dlcli.errors import DamagedFile
from dlcli.report.story import read_story
from dlcli.runs import RunFolder
from dlcli.runs.speed import StageSpeed, stage_speeds, write_stage_speed
from dlcli.runtime import images
from dlcli.runtime.free_memory import MemoryShare
from dlcli.runtime.inputs import Arrays
from dlcli.runtime.pixel_cache import PixelCache
from dlcli.spec.data.data import ImageSettings
from dlcli.training import speed
from dlcli.training.speed import Measured, StageFacts, line_of, speed_of

pytestmark = pytest.mark.usefixtures("without_pictures")
FACTS = StageFacts(
    stage="train",
    several=False,
    inputs=Arrays(np.zeros((320, 4), "float32")),
    augment=(),
    batch_size=32,
    on_gpu=False,
    precision="float32",
    epoch_steps=10,
    cores=2,
)


class Flip:
    """An augmentation by name."""

    kind = "random_flip"

    def augment(self, images: Any, seed: Any) -> Any:
        """Returns the images."""
        return images


def bound_lines(reporter: Heard) -> list[str]:
    return [line for line in reporter.lines if "-bound: " in line]


@pytest.fixture
def slow_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every read of a file take 10 ms, keeps no pixels in memory, and measures at least one epoch."""
    read = images.read_image

    def slow_read(*arguments: Any) -> Any:
        time.sleep(0.01)
        return read(*arguments)

    monkeypatch.setattr("dlcli.data.memory_limit.MEMORY_SHARE", 0.0)
    monkeypatch.setattr(speed, "MEMORY_SHARE", 0.0)
    monkeypatch.setattr(images, "read_image", slow_read)
    monkeypatch.setattr(speed, "ENOUGH", 0.02)


def photos(folder: Path, training: str) -> Path:
    source = f"{{kind: folder, path: {write_pngs(folder / 'photos', each=24)}}}"
    data = "batch_size: 8, image: {size: [8, 8]}, split: {validation: 0.1, test: 0}"
    return write_spec(folder, source, model=SMALL_CNN, data=data, training=training)


@pytest.mark.usefixtures("slow_files")
def test_a_training_that_waits_for_files_is_input_bound(tmp_path: Path) -> None:
    reporter = Heard()
    run = trained(photos(tmp_path, "epochs: 4"), reporter=reporter)
    (line,) = bound_lines(reporter)
    assert line.startswith("input-bound: ")
    assert "of the training time was spent waiting for batches, a step of 8 examples takes" in line
    assert "the files are decoded in every epoch, since the pixels of all 86 need" in line
    (found,) = stage_speeds(run)
    assert (found.stage, found.bound) == ("train", "input-bound")
    assert found.waiting > 1 / 3
    assert found.reading is not None
    assert found.steps >= found.calls > 0


def test_the_advice_counts_the_files_that_are_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = tuple(str(path) for path in sorted(write_pngs(tmp_path / "photos", each=6).rglob("*.png")))
    monkeypatch.setattr(speed, "fits_in_memory", lambda _: False)
    monkeypatch.setattr("dlcli.runtime.pixel_cache.BLOCK_BYTES", 4 * 8 * 8 * 3)
    grants = iter([True, False])
    monkeypatch.setattr(MemoryShare, "grant", lambda *_: next(grants))
    files = images.ImageFiles(paths, ImageSettings(size=(8, 8)))
    files = replace(files, cache=PixelCache(len(files), files.shape, files.dtype, MemoryShare(0.0)))
    files.expect_repeats()
    files.read(np.arange(len(files)))
    measured = Measured(seconds=2.0, waiting=1.0, steps=100, calls=10, reading=0.03)
    advice = speed_of(measured, replace(FACTS, inputs=files)).advice
    assert advice[0].startswith(
        "the files that are not kept in memory (4 are) are decoded in every epoch, since the pixels of all"
    )


@pytest.mark.usefixtures("slow_files")
def test_the_only_epoch_is_measured_without_its_first_calls(tmp_path: Path) -> None:
    reporter = Heard()
    run = trained(photos(tmp_path, "epochs: 1"), reporter=reporter)
    assert [line.partition(":")[0] for line in bound_lines(reporter)] == ["input-bound"]
    assert stage_speeds(run)[0].steps == 11 - 3


def test_a_convnet_on_arrays_in_memory_is_compute_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "ENOUGH", 0.1)
    source = f"{{kind: npz, path: {save_images(tmp_path / 'images.npz', side=24)}}}"
    model = "{kind: cnn, layers: [{kind: conv2d, filters: 48, kernel_size: 5}, {kind: conv2d, filters: 16, kernel_size: 5}]}"
    reporter = Heard()
    run = trained(write_spec(tmp_path, source, model=model, training="epochs: 25"), reporter=reporter)
    (line,) = bound_lines(reporter)
    assert line.startswith("compute-bound: ")
    assert line.endswith("the time is that of the model: a faster input would not help")
    assert stage_speeds(run)[0].reading is None


def test_the_measurement_changes_no_bit_and_a_short_training_reports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_spec(tmp_path, model=MLP, training="epochs: 6")
    reporter = Heard()
    short = trained(spec, reporter=reporter)
    assert not bound_lines(reporter)
    assert stage_speeds(short) == []
    monkeypatch.setattr(speed, "ENOUGH", 0.0)
    measured = trained(spec)
    assert stage_speeds(measured)
    for name in ("loss", "val_loss", "accuracy"):
        assert column(measured, name) == column(short, name)


def test_python_between_short_calls_is_overhead() -> None:
    measured = Measured(seconds=2.0, waiting=0.1, between=1.0, steps=1000, calls=1000)
    assert line_of(speed_of(measured, FACTS), FACTS) == (
        "overhead-bound: 50 % of the training time was spent in Python, between the calls of the device, 5 % of the training"
        " time was spent waiting for batches, a step of 32 examples takes 2 ms; a call runs 1 steps: a larger"
        " `hardware.steps_per_execution`, up to the 10 steps of an epoch, needs fewer calls and gives the same results"
    )
    whole_epochs = replace(measured, calls=100)
    assert speed_of(whole_epochs, FACTS).advice == ["an epoch is a single call: no setting makes it faster"]


def test_augmentation_that_costs_most_is_named_first() -> None:
    facts = replace(FACTS, augment=[Flip()])
    measured = Measured(seconds=2.0, waiting=1.0, steps=100, calls=10, augmenting=0.03)
    found = speed_of(measured, facts)
    assert found.bound == "input-bound"
    assert found.text.endswith("augmenting it 30 ms of CPU time, on 2 cores")
    assert found.advice == ["fewer augmentations (`data.augment`: random_flip); this changes results"]


def test_preparation_on_the_cores_of_the_model_is_advised_on_even_without_waiting() -> None:
    facts = replace(FACTS, augment=[Flip()])
    measured = Measured(seconds=2.0, waiting=0.0, steps=100, calls=10, augmenting=0.03)
    assert speed_of(measured, facts).bound == "compute-bound"
    assert speed_of(measured, facts).advice == ["fewer augmentations (`data.augment`: random_flip); this changes results"]
    assert speed_of(measured, replace(facts, cores=16)).advice == [
        "the time is that of the model: a faster input would not help"
    ]


def test_waiting_on_a_gpu_is_an_upper_limit() -> None:
    facts = replace(FACTS, on_gpu=True)
    measured = Measured(seconds=2.0, waiting=1.0, steps=100, calls=10)
    found = speed_of(measured, facts)
    assert found.bound == "compute-bound"
    assert found.text.startswith("up to 50 % of the training time")
    assert found.advice == ["`hardware.precision: mixed_float16` may be faster; it changes results"]
    assert speed_of(replace(measured, waiting=1.6), facts).bound == "input-bound"


def test_the_report_shows_what_limits_each_stage(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, training="epochs: 1"))
    for stage in ("head", "all", "head"):  # a resumed run measures a stage again
        write_stage_speed(run, speed_of(Measured(seconds=1.0, steps=10, calls=1), replace(FACTS, stage=stage)))
    assert [found.stage for found in stage_speeds(run)] == ["all", "head"]
    facts = dict(read_story(run, "run").facts)
    assert facts["Speed of stage all"].startswith("compute-bound: 0 % of the training time")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.speed_path.write_text('[{"stage": "train"}]')
    with pytest.raises(DamagedFile, match=r"speed\.json: 0\.bound: is missing"):
        stage_speeds(run)


def test_a_later_version_may_write_more(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    found = speed_of(Measured(seconds=1.0, steps=10, calls=1), FACTS)
    write_stage_speed(run, StageSpeed.model_validate(found.model_dump() | {"more": 1}))
    assert stage_speeds(run)[0].stage == "train"


def test_rows_on_the_disk_have_advice_of_their_own() -> None:
    class OnDisk(Arrays):
        @property
        def on_disk(self) -> bool:
            return True

    measured = Measured(seconds=2.0, waiting=1.0, steps=100, calls=10)
    found = speed_of(measured, replace(FACTS, inputs=OnDisk(np.zeros((320, 4), "float32"))))
    assert found.bound == "input-bound"
    assert found.advice[0].endswith("`data.cache: memory` keeps them, if they fit")
