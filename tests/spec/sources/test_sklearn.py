"""The sets that scikit-learn fetches, from its data home: as scikit-learn reads them, and without unpickling other objects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn import datasets

from dlcli.errors import DataError
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources import Request
from dlcli.spec.data.sources.sklearn import Sklearn
from dlcli.tasks import TASKS
from spec.sources.fetched_sets import write_connections, write_faces, write_forests, write_houses
from spec.sources.opening import opened, request


def source(home: Path, name: str, **fields: Any) -> Sklearn:
    return Sklearn.model_validate({"kind": "sklearn", "name": name, "data_home": str(home), **fields}, context={"folder": "/"})


def test_houses_are_those_of_scikit_learn(tmp_path: Path) -> None:
    write_houses(tmp_path)
    expected = datasets.fetch_california_housing(data_home=tmp_path)
    made = source(tmp_path, "california_housing")
    assert made.header() == (*expected.feature_names, *expected.target_names)
    data = opened(made, "regression")
    train = data.parts["train"]
    assert data.classes == ("MedHouseVal",)
    np.testing.assert_array_equal(np.stack(list(train.inputs.columns.values()), axis=1), expected.data.astype("float32"))
    np.testing.assert_array_equal(train.targets[:, 0], expected.target.astype("float32"))
    assert data.lines[0] == "table: sklearn california_housing, 60 rows"


def test_forests_are_those_of_scikit_learn_and_their_classes_have_names(tmp_path: Path) -> None:
    write_forests(tmp_path)
    expected = datasets.fetch_covtype(data_home=tmp_path)
    made = source(tmp_path, "covtype")
    assert made.header() == (*expected.feature_names, *expected.target_names)
    data = opened(made)
    train = data.parts["train"]
    np.testing.assert_array_equal(np.stack(list(train.inputs.columns.values()), axis=1), expected.data)
    np.testing.assert_array_equal(train.targets + 1, expected.target)
    assert made.facts(TASKS["classification"]).classes == data.classes
    assert data.classes[0] == "Spruce/Fir"


def test_connections_have_texts_numbers_and_the_names_of_their_classes(tmp_path: Path) -> None:
    write_connections(tmp_path)
    expected = datasets.fetch_kddcup99(data_home=tmp_path)
    made = source(tmp_path, "kddcup99")
    assert made.header() == (*expected.feature_names, *expected.target_names)
    data = opened(made)
    columns = data.parts["train"].inputs.columns
    for place, (name, values) in enumerate(columns.items()):
        cells = [cell.decode() if isinstance(cell, bytes) else cell for cell in expected.data[:, place]]
        assert (name, values.tolist()) == (expected.feature_names[place], cells)
    assert data.classes == ("normal.", "smurf.")
    assert [data.classes[label].encode() for label in data.parts["train"].targets] == expected.target.tolist()


def test_faces_are_images_of_people(tmp_path: Path) -> None:
    write_faces(tmp_path)
    expected = datasets.fetch_olivetti_faces(data_home=tmp_path)
    made = source(tmp_path, "olivetti_faces")
    train = opened(made).parts["train"]
    images = train.inputs.read(np.arange(400))
    assert train.inputs.kind == "images"
    assert images.shape[1:] == made.facts(TASKS["classification"]).shape == (64, 64, 1)
    np.testing.assert_allclose(images[..., 0] / 255, expected.images, atol=1e-6)
    assert train.targets.tolist() == expected.target.tolist()
    assert made.side_columns() == ()


def test_columns_are_chosen_and_side_columns_are_no_inputs(tmp_path: Path) -> None:
    write_connections(tmp_path)
    chosen = source(tmp_path, "kddcup99", features=["service", "count"])
    assert list(opened(chosen).parts["train"].inputs.columns) == ["service", "count"]
    without = source(tmp_path, "kddcup99").without_inputs(("duration", "service"))
    asked = Request(TASKS["classification"], ImageSettings(), 0, offline=True, side_columns=("duration", "service"))
    train = without.open(asked).parts["train"]
    assert not {"duration", "service"} & {*train.inputs.columns}
    assert train.side_columns["duration"].tolist() == list(range(60))
    assert train.side_columns["service"].tolist()[:2] == ["http", "smtp"]


def test_the_environment_names_the_data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_houses(tmp_path)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    made = Sklearn(kind="sklearn", name="california_housing")
    assert (made.home, list(made.notes())) == (tmp_path, [])
    assert len(opened(made, "regression").parts["train"]) == 60
    assert made.stored_bytes() == (tmp_path / "cal_housing_py3.pkz").stat().st_size


def test_a_set_that_is_not_cached_is_not_downloaded_offline(tmp_path: Path) -> None:
    made = source(tmp_path, "covtype")
    assert list(made.notes()) == [f"the set covtype is not in {tmp_path}; a training downloads it"]
    with pytest.raises(DataError) as error:
        made.open(request())
    assert str(error.value) == (
        "the sklearn set covtype is not available: it is not cached there, and --offline forbids a download\n"
        f"  cached data is looked for in {tmp_path} (SCIKIT_LEARN_DATA, or `data.source.data_home`, names another place)\n"
        "  configs/digits_cnn.yaml trains on real images without any download"
    )


def test_scikit_learn_downloads_a_set_into_the_data_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(data_home: str, n_retries: int) -> None:
        print("downloading")
        write_houses(Path(data_home))

    monkeypatch.setattr(datasets, "fetch_california_housing", fetch)
    asked = Request(TASKS["regression"], ImageSettings(), 0, offline=False)
    assert len(source(tmp_path, "california_housing").open(asked).parts["train"]) == 60
    assert (capsys.readouterr().out, tmp_path / "cal_housing_py3.pkz" in tmp_path.iterdir()) == ("", True)
    monkeypatch.setattr(datasets, "fetch_covtype", lambda **_: (_ for _ in ()).throw(OSError("no answer")))
    with pytest.raises(DataError, match=r"covtype is not available: its download failed: no answer; is there a network\?"):
        source(tmp_path, "covtype").open(Request(TASKS["classification"], ImageSettings(), 0, offline=False))


class Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("california_housing", "cal_housing_py3.pkz"),
        ("covtype", "covertype/targets_py3"),
        ("kddcup99", "kddcup99_10-py3/samples"),
        ("olivetti_faces", "olivetti_py3.pkz"),
    ],
)
def test_a_hostile_cache_runs_no_code(tmp_path: Path, name: str, file: str) -> None:
    for write in (write_houses, write_forests, write_connections, write_faces):
        write(tmp_path)
    for content in (Trap(tmp_path / "mark"), np.array([[Trap(tmp_path / "mark")] * 41], dtype=object)):
        joblib.dump(content, tmp_path / file, compress=3)
        with pytest.raises(DataError) as error:
            source(tmp_path, name).open(request("regression" if name == "california_housing" else "classification"))
        expected = f"{tmp_path / file}: the file asks for `posix.mkdir`, which is not read: only arrays are"
        assert str(error.value) == expected
    assert not (tmp_path / "mark").exists()


def test_half_a_set_is_not_completed_by_scikit_learn_which_would_unpickle_the_other_half(tmp_path: Path) -> None:
    write_connections(tmp_path)
    (tmp_path / "kddcup99_10-py3" / "targets").unlink()
    joblib.dump(Trap(tmp_path / "mark"), tmp_path / "kddcup99_10-py3" / "samples")
    with pytest.raises(DataError, match=r"targets is missing beside the set's other file; delete that one too"):
        source(tmp_path, "kddcup99").open(Request(TASKS["classification"], ImageSettings(), 0, offline=False))
    assert not (tmp_path / "mark").exists()


def test_arrays_of_other_shapes_and_unknown_columns_are_named(tmp_path: Path) -> None:
    joblib.dump(np.zeros((5, 3)), tmp_path / "cal_housing_py3.pkz", compress=6)
    with pytest.raises(DataError, match=r"expected rows of 9 columns, found shape \(5, 3\)"):
        source(tmp_path, "california_housing").open(request("regression"))
    joblib.dump(np.zeros((5, 3)), tmp_path / "olivetti_py3.pkz", compress=6)
    with pytest.raises(DataError, match="expected 400 images of 64x64 in uint8, found float64"):
        source(tmp_path, "olivetti_faces").open(request())
    write_forests(tmp_path)
    joblib.dump(np.full(70, 8, "int32"), tmp_path / "covertype" / "targets_py3", compress=9)
    with pytest.raises(DataError, match="samples_py3: expected the classes 1 to 7"):
        source(tmp_path, "covtype").open(request())
    faults = list(source(tmp_path, "california_housing", drop=["MedInk"], features=["MedHouseVal"]).faults())
    assert faults == [
        ("drop", "the set has no column `MedInk`; did you mean `MedInc`?"),
        ("features", "`MedHouseVal` is the target; it cannot be an input"),
    ]
    assert list(source(tmp_path, "olivetti_faces", drop=["x"]).faults()) == [
        ("drop", "the set has no column `x`; it has no columns")
    ]
