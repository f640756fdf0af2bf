"""Folders of Hugging Face's `datasets`: images, columns, splits; nothing is fetched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.errors import DataError
from dlcli.spec.data.sources.huggingface import Huggingface
from dlcli.tasks import TASKS
from dlcli.upstream.huggingface import import_datasets
from spec.sources.opening import opened, request

datasets = pytest.importorskip("datasets", reason="the extra `huggingface` is not installed")


def photos(count: int = 6) -> Any:
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]), "age": datasets.Value("float32")}
    content = {
        "image": [np.full((5 + number, 7, 3), 10 * number, "uint8") for number in range(count)],
        "label": [number % 2 for number in range(count)],
        "age": [None if number == 5 else float(number) for number in range(count)],
    }
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


def saved(folder: Path, **splits: Any) -> str:
    import_datasets()
    if len(splits) == 1:
        next(iter(splits.values())).save_to_disk(folder)
    else:
        datasets.DatasetDict(splits).save_to_disk(folder)
    return str(folder)


def source(path: str, target: str | list[str] = "label", **fields: Any) -> Huggingface:
    data = {"kind": "huggingface", "path": path, "target": target, **fields}
    return Huggingface.model_validate(data, context={"folder": "/"})


def test_images_have_the_names_of_their_classes_and_splits_are_parts(tmp_path: Path) -> None:
    made = source(saved(tmp_path / "set", train=photos(), test=photos(3), unsupervised=photos(2)))
    facts = made.facts(TASKS["classification"])
    assert (facts.classes, facts.has_test, facts.has_validation, facts.image) == (("cat", "dog"), True, False, True)
    data = opened(made, size=(4, 4))
    train = data.parts["train"]
    assert {part: len(examples) for part, examples in data.parts.items()} == {"train": 6, "test": 3}
    assert train.inputs.kind == "images"
    assert train.inputs.read(np.arange(6))[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert train.targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.notes == ("column not used: age", "split not used: unsupervised")


def test_images_are_read_from_their_files_too(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (4, 4), (9, 0, 0)).save(tmp_path / "a.png")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    content = {"image": [str(tmp_path / "a.png")] * 2, "label": ["x", "y"]}
    path = saved(tmp_path / "set", train=datasets.Dataset.from_dict(content, features=features))
    assert opened(source(path), size=(2, 2)).parts["train"].inputs.read(np.array([1]))[0, 0, 0].tolist() == [9, 0, 0]


def test_columns_are_numbers_and_categories(tmp_path: Path) -> None:
    content = {
        "x": [1.5, None, 3.0, 4.0],
        "town": ["a", "b", None, "a"],
        "is_new": [True, False, True, False],
        "y": [1, 2, 3, 4],
    }
    table = datasets.Dataset.from_dict(content)
    path = saved(tmp_path / "set", train=table.select([3, 0, 1, 2]))  # an indices mapping
    train = opened(source(path, "y"), "regression").parts["train"]
    columns = train.inputs.columns
    np.testing.assert_array_equal(columns["x"], np.array([4, 1.5, np.nan, 3], "float32"))
    assert columns["town"].tolist() == ["a", "a", "b", ""]
    assert columns["is_new"].tolist() == ["False", "True", "False", "True"]
    assert train.targets.tolist() == [[4], [1], [2], [3]]
    labels = opened(source(path, "town", features=["x"]).model_copy(update={"target": "is_new"})).parts["train"]
    assert labels.targets.tolist() == [0, 1, 0, 1]


def test_examples_without_a_label_and_damaged_images_are_refused(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    content = {"image": [{"bytes": b"no image", "path": None}] * 2, "label": [0, 1]}
    path = saved(tmp_path / "damaged", train=datasets.Dataset.from_dict(content, features=features))
    with pytest.raises(DataError, match="the image of example 0: not an image of a supported type"):
        source(path).open(request(size=(2, 2)))
    content["label"] = [0, -1]
    path = saved(tmp_path / "unlabelled", train=datasets.Dataset.from_dict(content, features=features))
    with pytest.raises(DataError, match="1 of 2 examples have no label"):
        source(path).open(request(size=(2, 2)))


def test_the_decimals_of_images_with_more_than_8_bits_are_not_lost_silently(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((2, 2), 300, "uint16")).save(tmp_path / "deep.png")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    content = {"image": [str(tmp_path / "deep.png")], "label": ["x"]}
    made = source(saved(tmp_path / "set", train=datasets.Dataset.from_dict(content, features=features)))
    for value_range in ("auto", (0.0, 2000.0)):
        with pytest.raises(
            DataError, match=r"the image of example 0 has more than 8 bits; with `data\.image\.value_range: uint8`"
        ):
            made.open(request(size=(2, 2), value_range=value_range))
    images = opened(made, size=(2, 2), value_range="uint8").parts["train"].inputs
    assert images.read(np.array([0])).max() == 1


def test_images_that_do_not_fit_are_refused_with_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "set", train=photos())
    monkeypatch.setattr("dlcli.runtime.free_memory.free_memory", lambda: 1000)
    with pytest.raises(DataError, match=r"6 images of 4x4x3 take 288 bytes in memory; 1\.0 KB are free, of which 250 bytes"):
        source(path).open(request(size=(4, 4)))


def test_wrong_folders_and_columns_are_named(tmp_path: Path) -> None:
    assert dict(source(str(tmp_path / "none")).faults()) == {"path": f"no folder {tmp_path / 'none'}"}
    assert "is no folder of `save_to_disk`" in dict(source(str(tmp_path)).faults())["path"]
    path = saved(tmp_path / "set", train=photos())
    assert dict(source(path, "lable").faults()) == {"target": "the dataset has no column `lable`; did you mean `label`?"}


def test_nothing_is_fetched(tmp_path: Path) -> None:
    import_datasets()
    assert (os.environ["HF_HUB_OFFLINE"], os.environ["HF_DATASETS_OFFLINE"]) == ("1", "1")
