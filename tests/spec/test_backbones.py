"""What a spec's backbone tells without TensorFlow: features, the examples it wants, and what is wrong with its files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dlcli.spec.model.layers import ShapeError
from spec.members import UNIONS, sample


def tensor(name: str, shape: list[int]) -> dict[str, Any]:
    """Returns what Keras writes of a tensor that a layer is called on."""
    config = {"shape": [None, *shape], "dtype": "float32", "keras_history": [name, 0, 0]}
    return {"args": [{"class_name": "__keras_tensor__", "config": config}], "kwargs": {}}


def described(layers: list[dict[str, Any]], output: str = "output") -> dict[str, Any]:
    """Returns the description of a model of layers."""
    return {"layers": layers, "output_layers": [output, 0, 0]}


def run_like(folder: Path, config: Any) -> Path:
    """Writes a folder with a `model.keras` that holds a description alone."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps({"config": config}))
    return folder


def nested(side: int = 8) -> dict[str, Any]:
    """Returns the description of a model `backbone` (conv2d, dense) and two layers on it."""
    entry = {"class_name": "InputLayer", "name": "image", "config": {"name": "image", "batch_shape": [None, side, side, 1]}}
    convolution = {"class_name": "Conv2D", "name": "conv2d", "inbound_nodes": [tensor("image", [side, side, 1])]}
    inner = {"class_name": "Dense", "name": "dense", "inbound_nodes": [tensor("conv2d", [6, 6, 4])]}
    backbone = {
        "class_name": "Functional",
        "name": "backbone",
        "config": described([{**entry, "inbound_nodes": []}, convolution, inner], "dense"),
        "inbound_nodes": [tensor("image", [side, side, 1])],
    }
    dense = {"class_name": "Dense", "name": "dense_1", "inbound_nodes": [tensor("backbone", [6, 6, 5])]}
    output = {"class_name": "Dense", "name": "output", "inbound_nodes": [tensor("dense_1", [7])]}
    return described([{**entry, "inbound_nodes": []}, backbone, dense, output])


def run_backbone(folder: Path, until: str | None = None) -> Any:
    """Returns the spec of a run as backbone."""
    return UNIONS["Backbone"].validate({"kind": "run", "run": str(folder), "until": until})


@pytest.mark.parametrize(
    ("fields", "features"),
    [
        ("kind: mobilenet, alpha: 0.25", (256,)),
        ("kind: mobilenet_v2, alpha: 0.35", (1280,)),
        ("kind: mobilenet_v2, alpha: 1.4", (1792,)),
        ("kind: mobilenet_v3_small, alpha: 0.75", (432,)),
        ("kind: mobilenet_v3_large", (960,)),
        ("kind: vgg16, pooling: max", (512,)),
        ("kind: resnet50, pooling: none", None),
    ],
)
def test_features_are_known_before_anything_is_built(fields: str, features: Any) -> None:
    assert sample("Backbone", fields.split(",")[0].split()[1], fields.partition(", ")[2]).features((224, 224, 3)) == features


def test_images_below_the_smallest_size_are_refused() -> None:
    with pytest.raises(ShapeError, match="at least 71x71"):
        sample("Backbone", "xception").features((70, 70, 3))


def test_none_and_imagenet_are_words_and_anything_else_a_path_beside_the_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_WEIGHTS", "/elsewhere/own.keras")
    given = {
        "none": "none",
        "imagenet": "imagenet",
        "own.weights.h5": "/own.weights.h5",
        '"${MY_WEIGHTS}"': "/elsewhere/own.keras",
    }
    for text, weights in given.items():
        spec = sample("Backbone", "vgg16", f"weights: {text}")
        assert (spec.weights, spec.pretrained) == (weights, weights != "none")


def test_a_run_tells_its_examples_and_features(tmp_path: Path) -> None:
    folder = run_like(tmp_path / "run", nested())
    assert run_backbone(folder).takes_images
    assert run_backbone(folder).example_shape() == (8, 8, 1)
    wanted = {None: (7,), "dense_1": (7,), "backbone": (6, 6, 5), "backbone/conv2d": (6, 6, 4), "conv2d": (6, 6, 4)}
    for until, features in wanted.items():
        assert list(run_backbone(folder, until).faults()) == []
        assert run_backbone(folder, until).features((8, 8, 1)) == features
    assert run_backbone(folder, "output").features((8, 8, 1)) is None


def test_a_run_on_rows_refuses_rows_of_another_length(tmp_path: Path) -> None:
    entry = {"class_name": "InputLayer", "name": "features", "config": {"name": "features", "batch_shape": [None, 4]}}
    output = {"class_name": "Dense", "name": "output", "inbound_nodes": [tensor("features", [4])]}
    spec = run_backbone(run_like(tmp_path / "run", described([{**entry, "inbound_nodes": []}, output])))
    assert not spec.takes_images
    assert spec.features((4,)) == (4,)
    with pytest.raises(ShapeError, match=r"trained on examples of shape \(4,\), but gets shape \(3,\)"):
        spec.features((3,))


def test_the_latest_run_of_a_name_is_taken_and_pinned(tmp_path: Path) -> None:
    run_like(tmp_path / "low" / "20250101-000000-zzzz", nested(8))
    latest = run_like(tmp_path / "low" / "20250202-000000-aaaa", nested(16))
    (tmp_path / "low" / "20250303-000000-bbbb").mkdir()  # has no model yet
    run_like(tmp_path / "low" / ".20250404-000000-cccc.tmp", nested(4))
    spec = run_backbone(tmp_path / "low")
    assert spec.example_shape() == (16, 16, 1)
    resolved = spec.resolved(offline=True)
    assert resolved.run == str(latest)
    assert resolved.resolved(offline=True) == resolved
    for folder, state in ((latest, "running"), (latest.with_name("20250101-000000-zzzz"), "completed")):
        (folder / "status.json").write_text(f'{{\n  "state": "{state}"\n}}')
    assert spec.example_shape() == (8, 8, 1), "a completed run stands before a later one that is not"


WRONG_UNTIL = {
    "conv2dd": "no layer 'conv2dd'; did you mean backbone/conv2d?",
    "xyz": "it has backbone, backbone/conv2d, backbone/dense, dense_1, output",
    "backbone/output": "no layer 'backbone/output'",
    "image": "no layer 'image'",
}


@pytest.mark.parametrize("until", WRONG_UNTIL)
def test_a_layer_that_the_run_lacks_is_named_with_those_it_has(tmp_path: Path, until: str) -> None:
    ((field, message),) = run_backbone(run_like(tmp_path / "run", nested()), until).faults()
    assert field == "until"
    assert WRONG_UNTIL[until] in message


def test_a_name_that_two_models_in_the_run_share_asks_for_more(tmp_path: Path) -> None:
    config = nested()
    (head,) = (json.loads(json.dumps(layer)) for layer in config["layers"] if layer["name"] == "backbone")
    head["name"] = "head"
    config["layers"].append(head)
    folder = run_like(tmp_path / "run", config)
    ((field, message),) = run_backbone(folder, "dense").faults()
    assert (field, message) == ("until", "the run's model has more than one layer 'dense': backbone/dense, head/dense")
    assert list(run_backbone(folder, "head/dense").faults()) == []


@pytest.mark.parametrize("config", ["{", "[]", '{"config": 3}', '{"config": {"layers": 3}}', "[" * 100_000])
def test_a_model_that_cannot_be_read_is_a_fault(tmp_path: Path, config: str) -> None:
    spec = run_backbone(run_like(tmp_path / "run", config), "dense")
    ((field, message),) = spec.faults()
    assert field == "run"
    assert "cannot be read as a Keras model" in message
    assert (spec.example_shape(), spec.features((8, 8, 1))) == (None, None)


@pytest.mark.parametrize("layers", [3, [3], [{}], [{"class_name": "InputLayer"}], [{"class_name": "Functional", "name": "a"}]])
def test_a_model_of_strange_layers_is_a_fault(tmp_path: Path, layers: Any) -> None:
    spec = run_backbone(run_like(tmp_path / "run", described(layers)), "dense")
    ((field, _),) = spec.faults()
    assert field == "run"
    assert spec.features((8, 8, 1)) is None


def test_a_run_of_several_inputs_is_refused_with_the_reason(tmp_path: Path) -> None:
    entries = [
        {"class_name": "InputLayer", "name": name, "config": {"name": name, "batch_shape": [None, 1]}, "inbound_nodes": []}
        for name in ("age", "town")
    ]
    ((field, message),) = run_backbone(run_like(tmp_path / "run", described(entries))).faults()
    assert (field, "named columns" in message) == ("run", True)


def test_a_folder_without_a_model_and_no_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert [message.partition(": ")[2] for _, message in run_backbone(tmp_path / "empty").faults()] == [
        "it contains no run with a model"
    ]
    assert [message.partition(": ")[2] for _, message in run_backbone(tmp_path / "nowhere").faults()] == [
        "there is no such folder"
    ]
