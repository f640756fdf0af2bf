"""Every shipped spec: it passes the check, trains if its data is available, and its head comment has all entries."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY
from presets import HAS_TEXT

from dlcli.spec.load import load

pytestmark = pytest.mark.usefixtures("without_pictures")

CONFIGS = REPOSITORY / "configs"
SPECS = sorted(path for ending in ("yaml", "yml") for path in CONFIGS.rglob(f"*.{ending}"))
COUNT = 30
HEAD = ("Data", "Command", "Result", "Hardware", "Time")
SLICES = ["data.source.train='train[:640]'", "data.source.test='test[:200]'"]
UNAVAILABLE = {
    "cifar10_cnn": 10,
    "fashion_mnist_cnn": 10,
    "flowers_mobilenet_v2": 5,
    "flowers_hub": 5,
    "cats_vs_dogs_efficientnet": 2,
}
"""Specs whose data is not among the test data, with the number of their classes."""
NEEDS_TEXT = ("text_minilm",)
"""Specs that need the extra `text`."""
VARIABLES = (
    "TITANIC_CSV",
    "ANTS_BEES",
    "CIFAR_PHOTOS",
    "RT_POLARITY_CSV",
    "BBC_NEWS",
    "WAIMAI_CSV",
    "GUNPOINT_NPZ",
    "ETT_CSV",
    "TEMPERATURES_CSV",
)
each_spec = pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def _files(shipped_files: None) -> None:
    """The files that a check of a shipped spec needs."""


@pytest.fixture
def _data_sets(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, path: Path) -> None:
    """Points the environment variables of the spec to the real data, or skips if the data is not available."""
    text = path.read_text(encoding="utf-8")
    if path.stem in NEEDS_TEXT and not HAS_TEXT:
        pytest.skip("the extra `text` is not installed: no keras_hub or tensorflow_text")
    if "DIGITS_RUN" in text:
        _a_run_on_low_digits(monkeypatch, request.getfixturevalue("tmp_path"))
    elif path.stem not in UNAVAILABLE and ("kind: tfds" in text or any(name in text for name in VARIABLES)):
        folder: Path = request.getfixturevalue("test_data")
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "tensorflow_datasets"))
        monkeypatch.setenv("TITANIC_CSV", str(folder / "tabular" / "titanic_train.csv"))
        monkeypatch.setenv("ETT_CSV", str(folder / "series" / "etth1.csv"))
        monkeypatch.setenv("TEMPERATURES_CSV", str(folder / "series" / "daily_min_temperatures.csv"))
        for variable, name in (("ANTS_BEES", "ants_bees"), ("CIFAR_PHOTOS", "cifar10_subset")):
            few = _few_photos(folder / "images" / name, request.getfixturevalue("tmp_path") / name)
            monkeypatch.setenv(variable, str(few))
        few_rows = _few_rows(folder, request.getfixturevalue("tmp_path"))
        for variable, path in few_rows.items():
            monkeypatch.setenv(variable, str(path))
        monkeypatch.setenv("MINILM", str(folder / "keras_hub" / "minilm_l3_en"))
        monkeypatch.setenv("MOBILENET_WEIGHTS", str(folder / "weights" / "mobilenet_2_5_224_tf_no_top.h5"))


def _few_rows(data: Path, folder: Path) -> dict[str, Path]:
    """Copies the first rows of each set of texts, on which a network trains in seconds; returns the variables of the specs."""
    tables = {"RT_POLARITY_CSV": data / "tabular/text/rt_polarity.csv", "WAIMAI_CSV": data / "text/waimai_zh.csv"}
    paths = {"GLOVE_TXT": data / "vectors/glove.6B.50d.20k.txt", "GUNPOINT_NPZ": data / "series/gunpoint.npz"}
    for variable, table in tables.items():
        lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
        paths[variable] = folder / table.name
        paths[variable].write_text("".join([*lines[:60], *lines[-60:]]), encoding="utf-8")
    for text in sorted((data / "text/bbc").glob("*/*/*0.txt")):
        copy = folder / "bbc" / text.relative_to(data / "text/bbc")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(text, copy)
    return paths | {"BBC_NEWS": folder / "bbc"}


def _few_photos(photos: Path, folder: Path) -> Path:
    """Copies the first 10 photos of each class of each split, which a network is trained on in seconds."""
    for of_class in photos.glob("*/*"):
        copies = folder / of_class.relative_to(photos)
        copies.mkdir(parents=True)
        for photo in sorted(of_class.iterdir())[:10]:
            shutil.copy(photo, copies)
    return folder


def _a_run_on_low_digits(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Trains the backbone of digits_transfer_run for an epoch."""
    from dlcli.runs.reporter import Reporter
    from dlcli.training.train import train

    train(load(CONFIGS / "digits_low.yaml", ["training.epochs=1"]), folder, Reporter())
    monkeypatch.setenv("DIGITS_RUN", str(folder / "digits_low"))


def test_no_spec_is_missing_from_these_tests() -> None:
    assert len(SPECS) == COUNT
    assert len({load(path).experiment.name for path in SPECS}) == COUNT


@each_spec
def test_it_is_named_by_its_file(path: Path) -> None:
    assert load(path).experiment.name == path.stem


@each_spec
def test_its_head_names_purpose_data_command_result_hardware_and_time(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line for line in lines[: lines.index("version: 1")] if line.startswith("#")]
    assert comment[0] == "# yaml-language-server: $schema=../docs/schema.json"
    assert re.match(r"# [A-Z].*[.:]", comment[1]), "the purpose, in a sentence"
    entries = dict(re.findall(r"^# ([A-Z][a-z]+): +(.+)$", "\n".join(comment), re.MULTILINE))
    assert tuple(entries) == HEAD
    assert entries["Result"] != "RESULT"
    assert re.search(r"\d", entries["Result"]) or "not measured" in entries["Result"], (
        "a measured score, or that it was not measured"
    )
    assert re.search(r"\d", entries["Time"]) or entries["Time"] == "not measured"
    assert entries["Hardware"] != "HARDWARE"


@each_spec
def test_the_command_in_its_head_is_valid(path: Path) -> None:
    from typer.main import get_command

    from dlcli.cli.app import app

    (line,) = re.findall(r"^# Command: +(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    words = [word for word in shlex.split(line) if not re.match(r"^[A-Z_]+=", word)]
    assert words[0] in ("dlcli", "scripts/dlcli")
    train = get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    context = train.make_context(words[1], words[2:])
    assert REPOSITORY / (context.params.get("spec") or context.params["what"]) == path


@each_spec
@pytest.mark.usefixtures("_data_sets")
def test_it_trains_an_epoch_if_its_data_is_available(path: Path, tmp_path: Path) -> None:
    from dlcli.models.network import shape_model
    from dlcli.runs.reporter import Reporter
    from dlcli.runtime.engine import keras
    from dlcli.spec.rules.rules import input_shape
    from dlcli.training.train import train

    keras.utils.clear_session()
    if path.stem in UNAVAILABLE:
        experiment = load(path).experiment
        facts = experiment.data.source.facts(experiment.task)
        classes = UNAVAILABLE[path.stem]
        assert facts.outputs == classes
        shape = input_shape(experiment, facts)
        if path.stem != "flowers_hub":  # its module is not available either
            assert shape is not None
            outputs = 1 if experiment.task.name == "binary" else classes
            assert shape_model(experiment, shape, outputs).whole.output.shape == (None, outputs)
        pytest.skip(f"the model was built; the data of {path.stem} is not among the test data")
    slices = SLICES if "kind: tfds" in path.read_text(encoding="utf-8") else []
    loaded = load(path)
    stages = [f"training.stages.{index}.epochs=1" for index, _ in enumerate(loaded.experiment.training.stages)]
    run = train(load(path, ["training.epochs=1", *stages, *slices]), tmp_path, Reporter(), offline=True)
    assert run.status().state == "completed"
    assert run.metrics()["metrics"]
