"""Saved models that would run code, unpack elsewhere or fill the memory: refused in words, with nothing done."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import save_rows, trained, write_spec

from dlcli.errors import DamagedFile, DataError
from dlcli.runs import RunFolder
from dlcli.runtime.engine import keras
from dlcli.runtime.loading import load_model
from hostile.calling import call, refuse_crash, told

Member = dict[str, bytes]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of rows with three features and three classes."""
    folder = tmp_path_factory.mktemp("archives")
    save_rows(folder / "rows.npz", examples=60)
    return trained(write_spec(folder, "{kind: npz, path: rows.npz, target: kinds}", training="epochs: 1"))


@pytest.fixture
def path(run: RunFolder, tmp_path: Path) -> Path:
    """A copy of the run's model, to be spoiled."""
    path = tmp_path / "model.keras"
    path.write_bytes(run.model_path.read_bytes())
    return path


def changed(path: Path, change: Callable[[Any], Any]) -> Path:
    """Changes the description of a saved model."""
    members = members_of(path)
    config = json.loads(members["config.json"])
    change(config)
    return packed(path, members | {"config.json": json.dumps(config).encode()})


def members_of(path: Path) -> Member:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, members: Member, how: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def layer(config: Any, kind: str) -> Any:
    """Returns the description of a model's last layer of a kind."""
    return next(one for one in reversed(config["config"]["layers"]) if one["class_name"] == kind)


def refused(path: Path, *words: str) -> None:
    """Expects a model to be refused in one line that names its file."""
    with pytest.raises(DamagedFile) as caught:
        load_model(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    for word in words:
        assert word in text


def test_the_untouched_model_loads(path: Path) -> None:
    assert load_model(path, output=(3,)).output_shape == (None, 3)


def test_a_lambda_layer_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.keras"
    inputs = keras.Input((3,))

    def open_a_file(x: Any) -> Any:
        from pathlib import Path

        Path("EVIL").touch()
        return x

    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Lambda(open_a_file)(inputs)))
    model.save(path)
    Path("EVIL").unlink(missing_ok=True)
    refused(path, "'Lambda'", "may run code")
    assert not Path("EVIL").exists()


FOREIGN: dict[str, Callable[[Any], Any]] = {
    "a class of another package": lambda config: layer(config, "Dense").update(module="os", class_name="system"),
    "a class of Python's": lambda config: layer(config, "Dense").update(module="subprocess", class_name="Popen"),
    "someone's own class": lambda config: layer(config, "Dense").update(registered_name="evil>Dense", module="evil"),
    "a SavedModel from elsewhere": lambda config: layer(config, "Dense").update(
        class_name="TFSMLayer", config={"name": "x", "filepath": "/elsewhere", "call_endpoint": "serve"}
    ),
    "a pickled module": lambda config: layer(config, "Dense").update(
        class_name="TorchModuleWrapper", config={"name": "x", "module": "gASV"}
    ),
    "a function as an activation": lambda config: layer(config, "Dense")["config"].update(
        activation={"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}}
    ),
    "a function of another module": lambda config: layer(config, "Dense")["config"].update(
        activation={"class_name": "function", "config": "system", "module": "os", "registered_name": "system"}
    ),
    "a type of TensorFlow's": lambda config: layer(config, "Dense").update(class_name="__typespec__"),
    "a function of Keras's that sets a seed": lambda config: layer(config, "Dense")["config"].update(
        activation={
            "class_name": "function",
            "config": "set_random_seed",
            "module": "keras.utils",
            "registered_name": "set_random_seed",
        }
    ),
    "a class that is no word": lambda config: layer(config, "Dense").update(class_name=["Dense"]),
    "a Hub layer that opens a folder": lambda config: layer(config, "Dense").update(
        module=None, class_name="HubLayer", registered_name="dlcli>HubLayer", config={"name": "x", "folder": "/etc"}
    ),
    "a function under the name of a Hub layer": lambda config: layer(config, "Dense")["config"].update(
        activation={
            "class_name": "function",
            "config": "set_random_seed",
            "module": "keras.utils",
            "registered_name": "dlcli>HubLayer",
        }
    ),
    "a Lambda under the name of a Hub layer": lambda config: layer(config, "Dense").update(
        class_name="Lambda", registered_name="dlcli>HubLayer", config={"name": "x"}
    ),
    "the whole model": lambda config: config.update(module="builtins", class_name="Lambda"),
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_class_is_not_loaded(path: Path, change: Callable[[Any], Any]) -> None:
    refused(changed(path, change), "it is not loaded")


ODD: dict[str, Callable[[Any], Any]] = {
    "keras.utils.get_file": lambda config: layer(config, "Dense")["config"].update(
        activation={
            "class_name": "function",
            "config": "get_file",
            "module": "keras.utils",
            "registered_name": "get_file",
        }
    ),
    "an activation that there is not": lambda config: layer(config, "Dense")["config"].update(activation="evil"),
    "other units": lambda config: layer(config, "Dense")["config"].update(units=7),
    "units that are no number": lambda config: layer(config, "Dense")["config"].update(units="many"),
    "negative units": lambda config: layer(config, "Dense")["config"].update(units=-3),
    "no layers": lambda config: config["config"].update(layers=[]),
    "no config": lambda config: config.pop("config"),
    "layers that are no list": lambda config: config["config"].update(layers={"a": 1}),
    "a class that Keras does not have": lambda config: layer(config, "Dense").update(class_name="Densest"),
    "an inner class of Keras's that is no layer": lambda config: layer(config, "Dense").update(
        module="keras.src.saving.saving_lib", class_name="zipfile"
    ),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_an_odd_description_is_told_in_words(path: Path, change: Callable[[Any], Any]) -> None:
    refused(changed(path, change))


@pytest.mark.parametrize("name", ["../evil", "/evil", "assets/../../evil", "..\\evil", "C:evil"])
def test_a_member_that_would_leave_the_folder_is_refused(path: Path, name: str) -> None:
    refused(packed(path, members_of(path) | {name: b"evil"}), "is outside its folder")


def test_a_member_that_stands_twice_is_refused(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", "{}")
    refused(path, "twice")


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "assets/more"])
def test_a_bomb_is_refused_before_it_is_unpacked(path: Path, name: str) -> None:
    packed(path, members_of(path) | {name: bytes(200 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    refused(path, "would unpack to")


@pytest.mark.parametrize("units", [10**7, 10**12, 10**30])
def test_a_layer_larger_than_the_weights_is_refused_before_it_takes_memory(path: Path, units: int) -> None:
    refused(
        changed(path, lambda config: layer(config, "Dense")["config"].update(units=units)),
        "stores fewer weights than its Dense layer declares",
    )


HUGE: dict[str, Callable[[], Any]] = {
    "Conv2D": lambda: keras.layers.Conv2D(1, (3, 3)),
    "DepthwiseConv2D": lambda: keras.layers.DepthwiseConv2D((3, 3)),
    "EinsumDense": lambda: keras.layers.EinsumDense("abcd,de->abce", output_shape=(8, 8, 7)),
    "MultiHeadAttention": lambda: keras.layers.MultiHeadAttention(1, 7),
}
SIZES: dict[str, dict[str, Any]] = {
    "Conv2D": {"kernel_size": [30_000, 30_000], "padding": "same"},
    "DepthwiseConv2D": {"kernel_size": [30_000, 30_000], "padding": "same"},
    "EinsumDense": {"output_shape": [8, 8, 10**10]},
    "MultiHeadAttention": {"key_dim": 10**10},
}


@pytest.mark.parametrize("kind", HUGE)
def test_sizes_of_every_kind_of_layer_are_compared_with_what_is_stored(tmp_path: Path, kind: str) -> None:
    entry = keras.Input((8, 8, 2))
    made = HUGE[kind]()
    tensor = made(entry, entry) if kind == "MultiHeadAttention" else made(entry)
    keras.Model(entry, keras.layers.Dense(3)(keras.layers.Flatten()(tensor))).save(tmp_path / "model.keras")
    path = changed(tmp_path / "model.keras", lambda config: layer(config, kind)["config"].update(SIZES[kind]))
    refused(path, "stores fewer weights than its", "it is not loaded")


def test_a_layer_whose_output_fills_the_memory_is_refused(tmp_path: Path) -> None:
    entry = keras.Input((8, 8, 2))
    padded = keras.layers.ZeroPadding2D(10**6)(entry)
    keras.Model(entry, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(padded))).save(tmp_path / "model.keras")
    refused(tmp_path / "model.keras", "the output of its layer 'zero_padding2d", "GiB for one example")


def test_a_description_nested_without_end_is_refused(path: Path) -> None:
    refused(packed(path, members_of(path) | {"config.json": b'{"a":' * 100_000 + b"1" + b"}" * 100_000}), "nested too deep")


BROKEN: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "no archive": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(4000)),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-300]),
    "no description": lambda path: packed(path, {"model.weights.h5": b""}),
    "a list": lambda path: packed(path, {"config.json": b"[]"}),
    "no JSON": lambda path: packed(path, members_of(path) | {"config.json": b"\xff\xfe"}),
    "no weights": lambda path: packed(path, {"config.json": members_of(path)["config.json"]}),
    "weights that are no file of weights": lambda path: packed(path, members_of(path) | {"model.weights.h5": b"weights"}),
    "a changed byte": lambda path: path.write_bytes(path.read_bytes().replace(b"Dense", b"Dance", 1)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "nothing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
def test_a_damaged_file_is_told_in_words(path: Path, spoil: Callable[[Path], Any]) -> None:
    spoil(path)
    refused(path)


def other_model(path: Path, inputs: tuple[int, ...], outputs: int) -> None:
    """Puts a sound model of other shapes in a model's place."""
    tensor = keras.Input(inputs)
    flat = keras.layers.Flatten()(tensor) if len(inputs) > 1 else tensor
    keras.Model(tensor, keras.layers.Dense(outputs)(flat)).save(path)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ((3,), 5, "has 5 outputs, not the 3 of the run's data"),
        ((4,), 3, "takes inputs of shape (None, 4), not the (3,) of the run's data"),
        ((8, 8, 1), 3, "takes inputs of shape (None, 8, 8, 1), not the (3,)"),
    ],
)
def test_evaluate_refuses_the_model_of_other_data(
    run: RunFolder, tmp_path: Path, inputs: tuple[int, ...], outputs: int, words: str
) -> None:
    run = _copied(run, tmp_path)
    other_model(run.model_path, inputs, outputs)
    called = call("evaluate", run.path)
    refuse_crash(called, codes=(1,))
    assert words in told(called)
    assert "model.keras" in told(called)


def _copied(run: RunFolder, folder: Path) -> RunFolder:
    import shutil

    return RunFolder(Path(shutil.copytree(run.path, folder / run.name / run.path.name)))


def test_weights_that_are_no_numbers_give_scores_or_words(run: RunFolder, tmp_path: Path) -> None:
    run = _copied(run, tmp_path)
    model = load_model(run.model_path)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    model.save(run.model_path)
    called = call("evaluate", run.path)
    refuse_crash(called, codes=(0, 1))
    refuse_crash(call("runs", "show", run.path), codes=(0,))


def test_a_run_as_a_backbone_is_looked_at_in_the_same_way(run: RunFolder, tmp_path: Path) -> None:
    from dlcli.spec.model.backbones.run import RunBackbone

    run = _copied(run, tmp_path)
    changed(run.model_path, FOREIGN["a class of Python's"])
    backbone = RunBackbone(kind="run", run=str(run.path))
    with pytest.raises(DataError, match="it is not loaded"):
        backbone.build((3,))
