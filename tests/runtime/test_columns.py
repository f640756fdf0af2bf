from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run_plain

from dlcli.runtime import columns as module
from dlcli.runtime.column_kinds import Encoding, Normalize
from dlcli.runtime.columns import InputLayout, input_names
from dlcli.runtime.inputs import TableColumns
from dlcli.spec.data.sources.column_kinds import kinds_of
from dlcli.upstream.keras import import_keras

keras = import_keras()
TRAIN = {
    "Age": np.array([22, np.nan, 47, 31], "float32"),
    "Fare, €": np.array([7e6 + 1, 7e6 + 2, 7e6 + 3, 7e6 + 6], "float32"),
    "length/m": np.array([1e-9, 2e-9, 3e-9, 4e-9], "float32"),
    "constant": np.array([3, 3, 3, 3], "float32"),
    "Home Town": np.array(["Köln", "", "a b", "Köln"], dtype=object),
    "cast": np.array(["x", "[UNK]", "line\nbreak", "x"], dtype=object),
}
LATER = {
    "Age": np.array([np.nan, 100], "float32"),
    "Fare, €": np.array([7e6, np.nan], "float32"),
    "length/m": np.array([2.5e-9, 0], "float32"),
    "constant": np.array([3, 5], "float32"),
    "Home Town": np.array(["Paris", "a b"], dtype=object),
    "cast": np.array(["x", ""], dtype=object),
}
SCALES: tuple[Normalize, ...] = ("unit", "symmetric", "standard", "none")


def column_inputs(
    columns: dict[str, np.ndarray], normalize: Normalize, *, unseen_as_zeros: bool = True
) -> tuple[dict[str, Any], Any]:
    """Returns the inputs and the encoding of columns of numbers and categories."""
    encoded = module.column_inputs(columns, InputLayout.of(kinds_of(columns)), Encoding(normalize, unseen_as_zeros))
    return encoded.inputs, encoded.features


def rows(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns columns of numbers and categories as the model takes them."""
    return InputLayout.of(kinds_of(columns)).tensors(columns)


def by_numpy(columns: dict[str, np.ndarray], normalize: Normalize, *, unseen: bool = False) -> np.ndarray:
    """Returns the expected encoding of `columns` with layers fitted on TRAIN; `unseen` marks categories not in TRAIN."""
    scaled, marks, categories = [], [], []
    for name, train in TRAIN.items():
        values = columns[name]
        if train.dtype == object:
            vocabulary = sorted(set(train))
            categories += [[unseen and value not in vocabulary for value in values]]
            categories += [[value == category for value in values] for category in vocabulary]
            continue
        present, values = train[~np.isnan(train)].astype("float64"), values.astype("float64")
        offset, spread = {
            "unit": (present.min(), np.ptp(present)),
            "symmetric": ((present.min() + present.max()) / 2, np.ptp(present) / 2),
            "standard": (present.mean(), present.std()),
            "none": (0.0, 1.0),
        }[normalize]
        scaled.append((np.where(np.isnan(values), present.mean(), values) - offset) / (spread or 1))
        if np.isnan(train).any():
            marks.append(np.isnan(values))
    return np.array([*scaled, *marks, *categories], "float64").T


@pytest.mark.parametrize("normalize", SCALES)
@pytest.mark.parametrize("columns", [TRAIN, LATER], ids=["train", "later"])
def test_encoding_equals_a_numpy_computation(normalize: Normalize, columns: dict[str, np.ndarray]) -> None:
    inputs, encoded = column_inputs(TRAIN, normalize)
    values = keras.Model(inputs, encoded)(rows(columns)).numpy()
    expected = by_numpy(columns, normalize)
    assert encoded.shape == (None, expected.shape[1])
    assert values.dtype == np.float32
    # The fares are whole numbers near 7 million, of which float32 keeps about half a unit after subtracting the mean.
    assert np.allclose(values, expected, rtol=1e-6, atol=1e-6 if normalize == "none" else 0.15)
    assert np.allclose(np.delete(values, 1, 1), np.delete(expected, 1, 1), rtol=1e-5, atol=1e-6)


def test_gaps_become_the_mean_and_are_marked_if_training_had_gaps() -> None:
    inputs, encoded = column_inputs({name: TRAIN[name] for name in ("Age", "constant")}, "standard")
    later = {"Age": np.array([np.nan, 22], "float32"), "constant": np.array([np.nan, 3], "float32")}
    values = keras.Model(inputs, encoded)(rows(later)).numpy()
    assert values[0].tolist() == [0, 0, 1]
    assert values[1, 1:].tolist() == [0, 0]


def test_a_column_of_gaps_only_and_a_single_column_can_be_encoded() -> None:
    inputs, encoded = column_inputs({"x": np.full(3, np.nan, "float32")}, "standard")
    values = keras.Model(inputs, encoded)(rows({"x": np.array([np.nan, 2], "float32")})).numpy()
    assert values.tolist() == [[0, 1], [2, 0]]
    inputs, encoded = column_inputs({"x": np.array(["b", "a"], dtype=object)}, "unit")
    assert keras.Model(inputs, encoded)(rows({"x": np.array(["b", "z"], dtype=object)})).numpy().tolist() == [
        [0, 0, 1],
        [0, 0, 0],
    ]


def test_runs_of_revision_1_keep_their_feature_of_unseen_categories() -> None:
    inputs, encoded = column_inputs(TRAIN, "standard", unseen_as_zeros=False)
    values = keras.Model(inputs, encoded)(rows(LATER)).numpy()
    expected = by_numpy(LATER, "standard", unseen=True)
    assert np.allclose(np.delete(values, 1, 1), np.delete(expected, 1, 1), rtol=1e-5, atol=1e-6)


def test_columns_are_encoded_in_float32_under_half_precision() -> None:
    expected = by_numpy(TRAIN, "standard")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs, encoded = column_inputs(TRAIN, "standard")
        values = keras.Model(inputs, encoded)(rows(TRAIN)).numpy()
    finally:
        keras.config.set_dtype_policy("float32")
    assert values.dtype == np.float32
    assert np.allclose(np.delete(values, 1, 1), np.delete(expected, 1, 1), rtol=1e-5, atol=1e-6)


def test_input_names_are_column_names_with_forbidden_characters_replaced() -> None:
    columns = ["Age", "a b", "a/b", "A_B", "Größe", "年", "_x", "", "cast", "dense_1", "output", "1st"]
    names = list(input_names(columns).values())
    assert names == [
        "Age",
        "a_b",
        "a_b_",
        "A_B__",
        "Gro_e",
        "column_5",
        "x_x",
        "column_7",
        "cast_",
        "dense_1_",
        "output_",
        "1st",
    ]
    assert len({name.lower() for name in names}) == len(columns)


def test_columns_with_names_of_layers_fit_into_a_model_with_those_layers() -> None:
    columns = {name: np.array([1, np.nan], "float32") for name in ("dense", "dense_1", "where", "concatenate", "rescaling")}
    inputs, encoded = column_inputs(columns, "standard")
    output = keras.layers.Dense(1, name="output")(keras.layers.Dense(2)(encoded))
    assert keras.Model(inputs, output)(rows(columns)).shape == (2, 1)


def test_batches_of_columns_reach_the_right_inputs() -> None:
    from dlcli.runtime.stream import ordered_batches

    inputs, encoded = column_inputs(TRAIN, "standard")
    model = keras.Model(inputs, encoded)
    batches = ordered_batches(TableColumns(TRAIN, kinds_of(TRAIN)), examples=4, batch_size=3)
    assert np.array_equal(model.predict(batches, verbose=0), model(rows(TRAIN)).numpy())


LOADER = """
import json, sys
import keras, numpy as np, tensorflow as tf
columns = json.load(open("rows.json"))
rows = {name: tf.constant([[np.nan if v is None else v] for v in values]) for name, values in columns.items()}
model, exported = keras.saving.load_model("model.keras"), tf.saved_model.load("exported")
np.save("found.npy", [model(rows).numpy(), exported.serve(rows).numpy()])
print([name for name in sys.modules if name.startswith("dlcli")])
"""


# Keras turns variables into arrays in a way that NumPy 2 warns of.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_saved_and_exported_models_take_raw_columns_without_dlcli(tmp_path: Path) -> None:
    import json

    inputs, encoded = column_inputs(TRAIN, "standard")
    model = keras.Model(inputs, keras.layers.Dense(3)(encoded))
    expected = model(rows(LATER)).numpy()
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    names = input_names(LATER)
    plain = {names[name]: [None if value != value else value for value in values.tolist()] for name, values in LATER.items()}
    (tmp_path / "rows.json").write_text(json.dumps(plain))
    loaded = run_plain(LOADER, cwd=tmp_path)
    assert (loaded.returncode, loaded.stdout.strip()) == (0, "[]"), loaded.stderr
    assert np.array_equal(np.load(tmp_path / "found.npy"), [expected, expected])
    assert np.array_equal(model.predict(rows(LATER), verbose=0), expected)


def numbers(count: int) -> dict[str, np.ndarray]:
    """Returns columns of numbers, a fifth of which have gaps."""
    values = np.random.default_rng(0).normal(size=(6, count)).astype("float32")
    values[1, ::5] = np.nan
    return {f"gene {place}": column for place, column in enumerate(values.T)}


def test_as_many_columns_as_the_limit_have_an_input_each_and_more_share_one() -> None:
    few, many = numbers(module.MOST_SEPARATE), numbers(module.MOST_SEPARATE + 1)
    town = {"town": np.array(["b", "a"] * 3, dtype=object)}
    layout = InputLayout.of(kinds_of(few | town))
    assert layout.shared == {}
    assert list(layout.columns) == [*(f"gene_{place}" for place in range(len(few))), "town"]
    layout = InputLayout.of(kinds_of(town | many))
    assert layout.columns == {"town": ("town",), "numbers": tuple(many)}
    assert layout.names == {"town": "town"} | dict.fromkeys(many, "numbers")
    assert len(InputLayout.of(kinds_of(dict.fromkeys(many, town["town"]))).columns) == len(many)


def test_the_size_of_a_model_does_not_grow_with_the_columns_of_a_shared_input() -> None:
    """Time and memory of Keras and TensorFlow are proportional to the number of operations and inputs."""
    models = [keras.Model(*column_inputs(numbers(count), "standard")) for count in (300, 5000)]
    assert [len(model.inputs) for model in models] == [1, 1]
    assert len(models[0].operations) == len(models[1].operations) < 12


def test_columns_of_a_shared_input_are_encoded_as_columns_with_inputs_of_their_own() -> None:
    columns = numbers(20) | {"town": np.array(["b", "a", "c"] * 2, dtype=object)}
    kinds = kinds_of(columns)
    shared = {"numbers": tuple(name for name, kind in kinds.items() if kind.is_numeric)}
    encoded = []
    for layout in (InputLayout(kinds), InputLayout(kinds, shared)):
        features = module.column_inputs(columns, layout, Encoding("standard"))
        encoded.append(keras.Model(features.inputs, features.features)(layout.tensors(columns)).numpy())
    assert np.array_equal(*encoded)


def test_a_shared_input_has_a_name_that_no_column_has() -> None:
    columns = numbers(module.MOST_SEPARATE) | {
        "Numbers": np.ones(6, "float32"),
        "numbers ": np.array(["b", "a"] * 3, dtype=object),
    }
    (name,) = InputLayout.of(kinds_of(columns)).shared
    assert name == "numbers__"
    keras.Model(*column_inputs(columns, "standard"))


@pytest.mark.parametrize("normalize", ["none", "standard", "unit", "symmetric"])
@pytest.mark.parametrize("columns", [1, 2, 7])
def test_the_scale_of_blocks_of_rows_has_the_bits_of_that_of_the_whole_table(
    normalize: Any, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlcli.spec.data.sources.column_kinds import number

    random = np.random.default_rng(columns)
    table = [
        np.where(random.random(2001) < 0.1, np.nan, 1e3 * random.normal(size=2001)).astype("float32") for _ in range(columns)
    ]
    monkeypatch.setattr(number, "_BLOCK_ROWS", 10**9)
    whole = number._scale(table, normalize)
    monkeypatch.setattr(number, "_BLOCK_ROWS", 500)
    for ours, theirs in zip(number._scale(table, normalize), whole, strict=True):
        assert ours.tobytes() == theirs.tobytes()
