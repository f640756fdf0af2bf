import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import write_spec

from dlcli.errors import DataError, SpecError
from dlcli.spec.data.sources.npz import Npz
from dlcli.spec.load import load
from dlcli.tasks import TASKS
from spec.sources.opening import opened, request


def saved(folder: Path, **arrays: Any) -> Npz:
    np.savez(folder / "data.npz", **arrays)
    return Npz(kind="npz", path=str(folder / "data.npz"))


def test_rows_series_and_images_keep_their_shape(tmp_path: Path) -> None:
    labels = np.array([3, 1, 3, 7])
    for raw, shape, dtype in (
        (np.ones((4, 5)), (4, 5), "float32"),
        (np.ones((4, 6, 2), "int16"), (4, 6, 2), "float32"),
        (np.ones((4, 8, 8), "uint8"), (4, 8, 8, 1), "uint8"),
        (np.ones((4, 8, 8, 3), "uint8"), (4, 8, 8, 3), "uint8"),
        (np.ones(4, bool), (4, 1), "float32"),
    ):
        source = saved(tmp_path, x=raw, y=labels)
        found, facts = opened(source), source.facts(TASKS["classification"])
        train = found.parts["train"]
        assert (facts.shape, facts.image) == (shape[1:], dtype == "uint8")  # known by the header, before training
        assert (train.inputs.values.shape, train.inputs.values.dtype) == (shape, dtype)
        assert train.targets.tolist() == [1, 0, 1, 2]
        assert found.classes == ("1", "3", "7")


def test_settings_of_images_are_accepted_for_rows_as_in_earlier_versions(tmp_path: Path) -> None:
    saved(tmp_path, x=np.ones((20, 3)), y=np.arange(20) % 2)
    spec = write_spec(tmp_path, "{kind: npz, path: data.npz}", data="image: {size: [8, 8]}", model="{kind: mlp, units: [2]}")
    assert load(spec).experiment.data.image.size == (8, 8)
    with pytest.raises(SpecError, match="`random_flip` is for images, but the source gives rows of numbers"):
        load(spec, ["data.augment=[random_flip]"])


def test_the_shape_is_unknown_where_opening_the_file_must_decide(tmp_path: Path) -> None:
    for raw in (np.ones((4, 8, 8, 5), "uint8"), np.array(["a", "b", "c", "d"]), np.array(3.0)):
        facts = saved(tmp_path, x=raw, y=[0, 1, 0, 1]).facts(TASKS["classification"])
        assert (facts.shape, facts.image) == (None, False)


def test_parts_are_found_by_their_suffixes(tmp_path: Path) -> None:
    x, y = np.zeros((3, 2)), np.array(["b", "a", "b"])
    source = saved(tmp_path, x_train=x, y_train=y, x_val=x[:2], y_val=y[:2], x_test=x[:1], y_test=y[:1])
    facts = source.facts(TASKS["classification"])
    found = opened(source)
    assert (facts.has_validation, facts.has_test) == (True, True)
    assert {part: len(examples) for part, examples in found.parts.items()} == {"train": 3, "validation": 2, "test": 1}
    assert found.parts["test"].targets.tolist() == [1]
    assert found.parts["test"].ids == ["test/0"]


def test_images_come_in_the_size_asked_for(tmp_path: Path) -> None:
    source = saved(tmp_path, x=np.full((2, 8, 8), 200, "uint8"), y=[0, 1])
    inputs = opened(source, size=(4, 6), channels=3).parts["train"].inputs.values
    assert (inputs.shape, inputs.min(), inputs.max()) == ((2, 4, 6, 3), 200, 200)


def test_one_hot_labels_are_classes(tmp_path: Path) -> None:
    found = opened(saved(tmp_path, x=np.zeros((3, 2)), y=np.eye(3)[[2, 0, 1]]))
    assert found.parts["train"].targets.tolist() == [2, 0, 1]


def test_multilabel_and_regression_targets_are_float32_columns(tmp_path: Path) -> None:
    for task in ("multilabel", "regression"):
        found = opened(saved(tmp_path, x=np.zeros((2, 2)), y=np.array([[0, 1, 1], [1, 1, 0]])), task)
        assert found.parts["train"].targets.dtype == np.float32
        assert found.parts["train"].targets.shape == (2, 3)
        assert found.classes == ("y_0", "y_1", "y_2")


@pytest.mark.parametrize(
    ("arrays", "task", "message"),
    [
        ({"x": np.zeros((3, 2)), "y": np.zeros(2)}, "regression", "one row per example"),
        ({"x": np.zeros((2, 2)), "y": np.array([1.0, np.nan])}, "regression", "example 1 (counted from 0) has a label"),
        ({"x": np.zeros((2, 2)), "y": np.array([1.0, np.nan])}, "classification", "example 1 (counted from 0) has no label"),
        ({"x": np.zeros((2, 2)), "y": np.array(["a", "b"])}, "regression", "needs numeric labels, found 'a'"),
        ({"x": np.zeros((2, 2)), "y": np.array([[0, 2], [1, 0]])}, "multilabel", "one column of 0 and 1 per label"),
        ({"x": np.zeros((2, 2)), "y": np.ones((2, 3))}, "classification", "not one-hot"),
        ({"x": np.zeros((200, 2)), "y": np.arange(200) / 7}, "classification", "use `task: regression`"),
        ({"x": np.array(["a", "b"]), "y": np.zeros(2)}, "regression", "is not a numeric type"),
        ({"x": np.array([[1.0], [np.inf]]), "y": np.zeros(2)}, "regression", "1 row of `x` holds NaN or infinite"),
        ({"x": np.float32(1), "y": np.float32(1)}, "regression", "has shape ()"),
        ({"x": np.zeros((2, 1)), "y": np.array([0, 1]), "x_test": np.zeros((1, 1)), "y_test": [9]}, "binary", "class '9'"),
        (
            {"x": np.zeros((2, 3, 8, 8), "uint8"), "y": [0, 1]},
            "binary",
            "with the channels first; save it with the channels last",
        ),
        ({"x": np.zeros((2, 1, 28, 28)), "y": [0, 1]}, "binary", "channels last: np.moveaxis(x, 1, -1)"),
        (
            {"x": np.array([{}, {}], dtype=object), "y": np.zeros(2)},
            "regression",
            "`x` contains Python objects, which are not read",
        ),
    ],
)
def test_unfit_arrays_are_refused_with_the_files_name(tmp_path: Path, arrays: Any, task: str, message: str) -> None:
    source = saved(tmp_path, **arrays)
    with pytest.raises(DataError) as caught:
        source.open(request(task))
    assert message in str(caught.value)
    assert source.path in str(caught.value)


def test_missing_arrays_and_files_are_faults(tmp_path: Path) -> None:
    assert list(Npz(kind="npz", path=str(tmp_path / "no.npz")).faults()) == [("path", f"no file {tmp_path / 'no.npz'}")]
    source = saved(tmp_path, images=np.zeros(2), labels=np.zeros(2))
    assert [key for key, _ in source.faults()] == ["features", "target"]
    assert "it holds images, labels" in next(source.faults())[1]
    (tmp_path / "data.npz").write_bytes(b"not a zip")
    assert "is not a NumPy .npz file" in next(source.faults())[1]


PARTS = {"train": 3, "validation": 2, "test": 1}


@pytest.mark.parametrize(
    ("features", "target", "names"),
    [
        ("x_train", "y_train", ("x_train", "x_val", "x_test")),
        ("X_train", "y_train", ("X_train", "X_valid", "X_test")),
        ("x", "y", ("x_train", "x_dev", "x_eval")),
        ("train_images", "train_labels", ("train_images", "val_images", "test_images")),
        ("images-training", "labels-training", ("images-training", "images-validation", "images-testing")),
        ("x", "y", ("x", "x_eval", "x_test")),
    ],
)
def test_parts_are_found_whichever_array_is_named(tmp_path: Path, features: str, target: str, names: Any) -> None:
    labels = [name.replace("x", "y").replace("X", "y").replace("images", "labels") for name in names]
    rows = {name: np.zeros((count, 2)) for name, count in zip(names, PARTS.values(), strict=True)}
    truth = {name: np.arange(count) % 2 for name, count in zip(labels, PARTS.values(), strict=True)}
    source = saved(tmp_path, **rows, **truth).model_copy(update={"features": features, "target": target})
    found = opened(source)
    facts = source.facts(TASKS["classification"])
    assert {part: len(examples) for part, examples in found.parts.items()} == PARTS
    assert (facts.has_validation, facts.has_test) == (True, True)
    assert found.notes == ()


def test_arrays_that_are_not_used_are_named(tmp_path: Path) -> None:
    x, y = np.zeros((2, 2)), np.array([0, 1])
    source = saved(tmp_path, x_train=x, y_train=y, x=x, weights=y, x_test=x, y_val=y)
    source = source.model_copy(update={"features": "x_train", "target": "y_train"})
    assert opened(source).notes == (
        "`x_test` has no labels (y_test) and is not used; to predict on it:"
        " np.save('x_test.npy', np.load('data.npz')['x_test'])",
        "the file's arrays `weights`, `x`, `y_val` are not used",
    )
    assert source.facts(TASKS["binary"]).has_test is False
    assert list(source.notes()) == list(opened(source).notes)


def test_two_arrays_for_one_part_and_usual_names_are_faults(tmp_path: Path) -> None:
    x, y = np.zeros((2, 2)), np.array([0, 1])
    source = saved(tmp_path, x=x, y=y, x_val=x, x_valid=x, y_val=y)
    assert list(source.faults()) == [
        ("features", "the file contains two arrays for one split, validation: x_val and x_valid; keep one of them")
    ]
    source = saved(tmp_path, train_images=x, train_labels=y)
    assert next(source.faults())[1].endswith("; set `features: train_images, target: train_labels`")


def test_another_file_need_not_name_a_part(tmp_path: Path) -> None:
    x, y = np.zeros((2, 2)), np.array([0, 1])
    source = saved(tmp_path, x=x, y=y).model_copy(update={"features": "x_train", "target": "y_train"})
    assert [key for key, _ in source.faults()] == ["features", "target"]
    assert len(opened(source.elsewhere(source.path)).parts["train"]) == 2


@pytest.mark.parametrize(
    ("values", "shape", "said"),
    [
        (255.0, (2, 8, 8, 3), "`x` is read as numbers, not as images; for images, save x.astype('uint8')"),
        (
            0.3,
            (2, 8, 8, 1),
            "`x` is read as numbers, not as grey images; for images, save np.round(x * 255).ast",
        ),
        (200, (2, 8, 8), "`x` is read as series of 8 steps, not as grey images; for images, save x.astype('uint8')"),
        (16, (2, 8, 8), "`x` is read as series of 8 steps, not as grey images;"),
        (-1.0, (2, 8, 8, 3), ""),
        (65535, (2, 8, 8, 3), "`x` is read as numbers, not as images; for images, save np.round(x * (255 / 65535)).ast"),
        (0.5, (2, 8, 6), ""),
        (0.5, (2, 8), ""),
    ],
)
def test_numbers_that_are_pixels_come_with_the_line_that_makes_them_images(
    tmp_path: Path, values: float, shape: tuple[int, ...], said: str
) -> None:
    found = opened(saved(tmp_path, x=np.full(shape, values), y=[0, 1]))
    assert found.parts["train"].inputs.values.shape == shape
    assert found.notes[0].startswith(said) if said else found.notes == (), found.notes


def test_labels_are_equal_however_their_accents_are_stored_and_bytes_are_text(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "pâté") for form in ("NFC", "NFD")]
    found = opened(saved(tmp_path, x=np.zeros((3, 1)), y=np.array([*names, "pz"])))
    assert found.classes == ("pz", names[0])
    assert found.parts["train"].targets.tolist() == [1, 1, 0]
    assert opened(saved(tmp_path, x=np.zeros((2, 1)), y=np.array([b"dog", b"cat"]))).classes == ("cat", "dog")


def test_ten_thousand_classes_and_a_hundred_thousand_rows_open_at_once(tmp_path: Path) -> None:
    labels = np.arange(100_000) % 10_000
    found = opened(saved(tmp_path, x=np.zeros((100_000, 1), "float32"), y=labels, x_test=np.zeros((1, 1)), y_test=[9_999]))
    assert len(found.classes) == 10_000
    assert np.array_equal(found.parts["train"].targets, labels)
    assert found.parts["test"].targets.tolist() == [9_999]


def test_arrays_that_do_not_fit_are_faults_by_their_headers(tmp_path: Path) -> None:
    source = saved(tmp_path, x=np.zeros((3, 2)), y=np.zeros(2), x_test=np.zeros((1, 2)), y_test=np.array([None]))
    assert [key for key, _ in source.faults()] == ["path", "path"]
    lengths, objects = (message for _, message in source.faults())
    assert "`x` has shape (3, 2), but `y` (2,); both need one row per example" in lengths
    assert "`y_test` contains Python objects, which are not read" in objects


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4"])
def test_rows_without_values_are_faults_before_the_training(tmp_path: Path, order: Any, dtype: str) -> None:
    x = np.ones((6, 4), dtype)
    x[1, 2], x[1, 3], x[4, 0] = np.nan, np.inf, np.nan
    source = saved(tmp_path, x=np.asarray(x, order=order), y=np.array([0, 1, np.nan, 1, 0, 1]))
    inputs, labels = (message for _, message in source.faults())
    assert "2 rows of `x` hold NaN or infinite values; only CSV tables may have missing values" in inputs
    assert "1 row of `y` holds NaN or infinite values; remove the examples without a label" in labels
    assert list(saved(tmp_path, x=np.ones((6, 4), dtype), y=np.arange(6)).faults()) == []


def test_channels_first_is_a_fault_before_the_training(tmp_path: Path) -> None:
    ((key, message),) = saved(tmp_path, x=np.zeros((2, 3, 8, 8), "uint8"), y=[0, 1]).faults()
    assert key == "path"
    assert (
        "`x` has shape (2, 3, 8, 8) with the channels first; save it with the channels last: np.moveaxis(x, 1, -1)" in message
    )


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (np.full(5, 3.5), ["`y` is 3.5"]),
        (np.full((5, 1), 7), ["`y` is 7"]),
        (np.c_[np.arange(5), np.ones(5)], ["column 1 of `y` is 1"]),
        (np.asfortranarray(np.c_[np.ones(5), np.arange(5)]), ["column 0 of `y` is 1"]),
        (np.arange(5), []),
        (np.array([2.0]), []),
    ],
)
def test_a_target_of_a_single_value_is_reported_before_the_training(tmp_path: Path, targets: Any, said: list[str]) -> None:
    notes = list(saved(tmp_path, x=np.zeros((len(targets), 2)), y=targets).notes())
    assert notes == [f"the target {words} in all rows, so there is nothing to predict" for words in said]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (np.ones((4, 5)), np.ones((2, 6)), "`x_train` has shape (4, 5), but `x_test` (2, 6); the examples of all splits need"),
        (
            np.ones((4, 5)),
            np.ones((2, 5, 1)),
            "`x_train` has shape (4, 5), but `x_test` (2, 5, 1); the examples of all splits need",
        ),
        (
            np.ones((4, 8, 8), "u1"),
            np.ones((2, 8, 8)),
            "`x_train` is uint8 (images), but `x_test` another type (numbers); save",
        ),
    ],
)
def test_parts_of_another_shape_or_type_are_faults_by_their_headers(
    tmp_path: Path, train: Any, test: Any, message: str
) -> None:
    source = saved(tmp_path, x_train=train, y_train=np.arange(4), x_test=test, y_test=np.arange(2))
    assert [text.partition("npz: ")[2].startswith(message) for _, text in source.faults()] == [True]


def test_a_column_and_a_row_of_single_numbers_are_one_shape(tmp_path: Path) -> None:
    source = saved(tmp_path, x_train=np.ones(4), y_train=np.arange(4), x_test=np.ones((2, 1)), y_test=np.arange(2))
    assert not list(source.faults())
    assert opened(source).parts["test"].inputs.values.shape == (2, 1)


def test_images_of_another_size_need_a_size_and_targets_are_equally_many(tmp_path: Path) -> None:
    images = {"x_train": np.ones((4, 8, 8), "u1"), "x_test": np.ones((2, 9, 9), "u1")}
    source = saved(tmp_path, **images, y_train=np.arange(4), y_test=np.arange(2))
    assert opened(source, size=(4, 4)).parts["test"].inputs.values.shape == (2, 4, 4, 1)
    with pytest.raises(DataError, match=r"have shape \(8, 8, 1\), those of `x_test` \(9, 9, 1\); `data.image.size` brings"):
        opened(source)
    rows = {"x_train": np.ones((4, 2)), "x_test": np.ones((2, 2))}
    source = saved(tmp_path, **rows, y_train=np.ones(4), y_test=np.ones((2, 3)))
    with pytest.raises(DataError, match="`y_test` has 3 targets per example, but the training split has 1"):
        opened(source, "regression")
