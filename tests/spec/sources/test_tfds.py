import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.errors import DataError
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources import Request
from dlcli.spec.data.sources.tfds import Tfds
from dlcli.tasks import TASKS
from spec.sources.opening import opened, request

DATA = os.environ.get("DLCLI_TEST_DATA", "")
real = pytest.mark.skipif(not DATA, reason="DLCLI_TEST_DATA is not set")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from spec.sources.tiny_sets import prepare

    folder = tmp_path_factory.mktemp("tiny_sets")
    prepare(folder)
    return folder


@pytest.fixture
def tiny(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny_folder))
    return tiny_folder


@pytest.fixture
def mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", f"{DATA}/tensorflow_datasets")


def tfds(name: str, **settings: Any) -> Tfds:
    return Tfds(kind="tfds", name=name, **settings)


def refused(source: Tfds, task: str = "classification", **image: Any) -> str:
    with pytest.raises(DataError) as caught:
        source.open(request(task, **image))
    return str(caught.value)


@real
@pytest.mark.usefixtures("mnist")
def test_a_feature_is_a_side_column_in_the_order_of_the_examples() -> None:
    source = tfds("mnist", train="train[:50]", test=None)
    assert source.side_columns() == ("image", "label")
    examples = source.open(replace(request(), side_columns=("label", "other"))).parts["train"]
    assert list(examples.side_columns) == ["label"]
    assert np.array_equal(examples.side_columns["label"], examples.targets.astype(str))
    assert Tfds(kind="tfds", name="no_such_set").side_columns() is None


@real
@pytest.mark.usefixtures("mnist")
def test_mnist_is_read_whole_and_in_order() -> None:
    found = opened(tfds("mnist", version="3.*.*"))
    train, test = found.parts["train"], found.parts["test"]
    images, others = train.inputs.values, test.inputs.values
    assert (images.shape, images.dtype, others.shape) == ((60_000, 28, 28, 1), np.uint8, (10_000, 28, 28, 1))
    assert train.targets[:8].tolist() == [4, 1, 0, 7, 8, 1, 2, 7]
    assert int(images.sum(dtype="int64")) == 1_567_298_545
    assert int(others.sum(dtype="int64")) == 264_923_200
    assert np.bincount(test.targets).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert found.classes == tuple("0123456789")


@real
@pytest.mark.usefixtures("mnist")
def test_split_expressions_cut_and_join() -> None:
    source = tfds("mnist", train="train[:100]+test[:10]", validation="train[100:150]", test=None)
    found = opened(source)
    assert {part: len(examples) for part, examples in found.parts.items()} == {"train": 110, "validation": 50}
    whole = opened(tfds("mnist", train="train[:150]", test=None)).parts["train"]
    assert np.array_equal(found.parts["validation"].inputs.values, whole.inputs.values[100:])
    assert "[:abc]" in refused(tfds("mnist", train="train[:abc]"))


@real
def test_facts_and_faults_need_neither_tfds_nor_numpy() -> None:
    program = (
        "import sys; from dlcli.spec.data.sources.tfds import Tfds; s = Tfds(kind='tfds', name='mnist', train='trian');"
        "f = s.facts('classification'); print(f.shape, f.outputs, f.has_test, list(s.faults()));"
        "print([m for m in ('tensorflow_datasets', 'tensorflow', 'numpy', 'PIL', 'pandas') if m in sys.modules])"
    )
    environment = os.environ | {"TFDS_DATA_DIR": f"{DATA}/tensorflow_datasets", "PYTHONPATH": "src"}
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.splitlines() == [
        "(28, 28, 1) 10 True [('train', 'the set has no split `trian`; it has train, test')]",
        "[]",
    ]


@pytest.mark.usefixtures("tiny")
def test_photos_of_many_sizes_come_in_the_size_asked_for() -> None:
    source = tfds("tiny_photos")
    facts = source.facts(TASKS["classification"])
    assert (facts.shape, facts.classes, facts.image, facts.has_test) == (None, ("cat", "dog"), True, True)
    train = opened(source, size=(4, 6)).parts["train"]
    assert (train.inputs.values.shape, train.inputs.values.dtype) == ((4, 4, 6, 3), np.uint8)
    assert train.inputs.values[:, 0, 0, 0].tolist() == [
        10 * (value // 10) for value in train.inputs.values[:, 1, 1, 1].tolist()
    ]
    assert train.targets.tolist() == [value // 10 % 2 for value in train.inputs.values[:, 0, 0, 0].tolist()]
    assert "set one size: `data.image.size" in refused(source)


@pytest.mark.usefixtures("tiny")
def test_images_of_16_bits_keep_the_range_of_the_training_part() -> None:
    source = tfds("tiny_scans", test="train[:50%]")
    found = opened(source, size=(4, 6))
    levels = sorted(found.parts["train"].inputs.values[:, 1, 1, 0].tolist())
    assert (found.value_range, levels) == ((100, 4095), [0, 64, 191, 255])
    assert found.parts["train"].inputs.values.dtype == np.uint8
    assert found.notes == ("images have more than 8 bits: values from 100 to 4,095 become 0 to 255 (data.image.value_range)",)
    again = opened(source, size=(4, 6), value_range=(0, 8000))
    assert (again.value_range, sorted(again.parts["train"].inputs.values[:, 1, 1, 0].tolist())) == (None, [3, 35, 99, 131])
    shallow = opened(source, size=(4, 6), value_range="uint8")
    assert sorted(shallow.parts["train"].inputs.values[:, 1, 1, 0].tolist()) == [0, 4, 12, 16]
    before = replace(request(size=(4, 6)), revision=1)
    assert sorted(source.open(before).parts["train"].inputs.values[:, 1, 1, 0].tolist()) == [0, 4, 12, 16]


@pytest.mark.usefixtures("tiny")
def test_named_inputs_are_columns() -> None:
    found = opened(tfds("tiny_table"), "binary")
    columns = found.parts["train"].inputs.columns
    order = columns["age"].argsort()
    assert columns["age"][order].tolist() == [0, 10, 20, 30]
    assert columns["town"][order].tolist() == ["", "Köln", "Köln", "Köln"]
    assert columns["sex"][order].tolist() == ["male", "female", "male", "female"]
    assert (found.classes, found.parts["train"].targets[order].tolist()) == (("no", "yes"), [0, 1, 0, 1])


@pytest.mark.usefixtures("tiny")
def test_rows_with_a_number_as_label_are_a_regression() -> None:
    found = opened(tfds("tiny_rows"), "regression")
    train = found.parts["train"]
    assert (train.inputs.values.shape, train.inputs.values.dtype, train.targets.shape) == ((4, 3), np.float32, (4, 1))
    assert np.array_equal(train.inputs.values[:, 0], train.targets[:, 0] * 2)
    assert found.classes == ("price",)


def test_the_highest_fitting_version_is_taken(tiny: Path) -> None:
    for wanted, version in ((None, "10.0.0"), ("1.*.*", "1.0.0"), ("10.0.0", "10.0.0")):
        assert tfds("tiny_rows", version=wanted)._folder() == tiny / "tiny_rows" / version
    message = refused(tfds("tiny_rows", version="3.*.*"), "regression")
    assert "tiny_rows in version 3.*.* is not available" in message
    assert "1.0.0, 10.0.0" in message


@pytest.mark.usefixtures("tiny")
def test_sets_that_cannot_be_trained_on_say_why() -> None:
    assert "1 of 1 examples have no label" in refused(tfds("tiny_unlabelled"))
    assert "has no supervised keys" in refused(tfds("tiny_keyless"))
    assert list(tfds("tiny_rows", validation="valid").faults()) == [
        ("validation", "the set has no split `valid`; it has train, test")
    ]


def test_reading_twice_gives_the_same_order(tiny: Path) -> None:
    first, again = (opened(tfds("tiny_photos"), size=(4, 4)).parts["test"] for _ in range(2))
    assert np.array_equal(first.inputs.values, again.inputs.values)
    assert first.ids == again.ids == ["test/0", "test/1", "test/2", "test/3"]


def test_well_known_sets_are_checked_before_they_are_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    facts = tfds("cifar10").facts(TASKS["classification"])
    assert (facts.shape, facts.outputs, facts.has_test) == ((32, 32, 3), 10, True)
    assert tfds("caltech101").facts(TASKS["classification"]).has_test is None


def test_offline_refuses_to_download_and_names_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    message = refused(tfds("fashion_mnist"))
    assert "--offline forbids a download" in message
    assert str(tmp_path / "fashion_mnist") in message
    assert "configs/digits_cnn.yaml trains on real images without any download" in message


def test_without_a_network_an_absent_set_fails_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    # A proxy at a port where nothing listens: no network, on any machine.
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        tfds("fashion_mnist").open(Request(TASKS["classification"], ImageSettings(), 0))
    assert time.monotonic() - started < 120  # an attempt without an answer ends after minutes
    assert "no answer from http" in str(caught.value)
    assert "is there a network?" in str(caught.value)
    assert "configs/digits_cnn.yaml" in str(caught.value)
    output = capfd.readouterr()
    assert output.out == ""
    assert "Retrying" not in output.err


def test_a_name_that_tfds_does_not_know_gets_its_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match=r"Dataset mnst not found.*mnist"):
        tfds("mnst").open(Request(TASKS["classification"], ImageSettings(), 0))


def test_a_prepared_folder_is_read_without_its_name(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    for folder in (tiny_folder / "tiny_photos", tiny_folder / "tiny_photos" / "1.0.0"):
        source = Tfds(kind="tfds", path=str(folder))
        assert source.facts(TASKS["classification"]).classes == ("cat", "dog")
        data = opened(source, size=(4, 4))
        assert sorted(data.parts["train"].targets.tolist()) == [0, 0, 1, 1]
    versions = Tfds(kind="tfds", path=str(tiny_folder / "tiny_rows"), version="1.*.*")
    assert len(opened(versions, "regression").parts["train"]) == 4
    other = source.elsewhere(str(tiny_folder / "tiny_unlabelled"))
    assert other is not None
    assert "have no label" in refused(other)


def test_either_the_name_or_the_folder_of_a_set_is_needed(tmp_path: Path) -> None:
    assert dict(Tfds(kind="tfds").faults()) == {"name": "set `name`, or `path` for a prepared folder"}
    both = Tfds(kind="tfds", name="mnist", path=str(tmp_path))
    assert dict(both.faults()) == {"name": "set either `name` or `path`, not both"}
    assert dict(Tfds(kind="tfds", path=str(tmp_path / "none")).faults()) == {"path": f"no folder {tmp_path / 'none'}"}
    empty = Tfds(kind="tfds", path=str(tmp_path))
    assert dict(empty.faults())["path"].startswith(f"{tmp_path} holds no prepared TFDS set: it has no dataset_info.json")
    assert refused(empty).startswith(f"{tmp_path} holds no prepared TFDS set")
