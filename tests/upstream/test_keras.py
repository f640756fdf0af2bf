"""Each workaround of `upstream/keras.py` against its defect: a test of the defect fails once it is fixed upstream."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dlcli.runtime.engine import keras
from dlcli.upstream.keras import weights_watched
from upstream.programs import run


class TooLarge(Exception):
    """Stops the loading of a model."""


def _declaring(path: Path, units: int) -> Path:
    """Saves a model whose description declares a layer of other units than its weights are of."""
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1]["config"]["units"] = units
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, content)
    return path


def test_keras_makes_room_for_declared_weights_before_it_reads_any(tmp_path: Path) -> None:
    sizes: list[int] = []
    path = _declaring(tmp_path / "model.keras", 5000)
    with weights_watched(lambda layer, numbers: sizes.append(numbers)), pytest.raises(ValueError, match="shape"):
        keras.saving.load_model(path, compile=False)
    assert sizes == [10_000, 5000]


def test_a_watched_weight_can_be_refused_before_it_takes_memory(tmp_path: Path) -> None:
    def refuse(layer: object, numbers: int) -> None:
        if numbers > 10**9:
            raise TooLarge(type(layer).__name__)

    with weights_watched(refuse), pytest.raises(TooLarge, match="Dense"):
        keras.saving.load_model(_declaring(tmp_path / "model.keras", 10**12), compile=False)
    assert keras.layers.Dense(2)(keras.ops.ones((1, 3))).shape == (1, 2)


def test_keras_imports_scikit_learn_and_matplotlib_by_itself() -> None:
    assert run("import sys, keras; print('sklearn' in sys.modules, 'matplotlib' in sys.modules)") == "True True"


def test_import_keras_leaves_both_out_and_importable_afterwards() -> None:
    program = (
        "import sys; from dlcli.upstream.keras import import_keras; keras = import_keras();"
        "print([n for n in sys.modules if n.split('.')[0] in ('sklearn', 'matplotlib')]);"
        "import sklearn.linear_model, matplotlib.figure;"
        "print(keras.layers.Dense(2)(keras.ops.ones((1, 3))).shape, bool(sklearn.__version__ and matplotlib.__version__))"
    )
    assert run(program) == "[]\n(1, 2) True"


def test_keras_fetches_weights_without_a_time_limit_and_fails_with_a_bare_exception(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import inspect

    from dlcli.upstream.keras import import_keras

    keras = import_keras()
    from keras.src.utils import file_utils

    monkeypatch.setenv("no_proxy", "*")
    assert "timeout" not in inspect.signature(file_utils.urlretrieve).parameters
    with pytest.raises(Exception, match="URL fetch failure") as raised:
        keras.utils.get_file("weights.h5", "http://127.0.0.1:9/weights.h5", cache_dir=str(tmp_path))
    assert type(raised.value) is Exception


def test_weights_are_fetched_with_a_time_limit_only_inside_the_block() -> None:
    import socket

    from dlcli.upstream.keras import import_keras, keras_weights

    import_keras()
    from keras.src.utils import file_utils

    fetch = file_utils.urlretrieve
    with keras_weights("vgg16", offline=True):
        assert file_utils.urlretrieve is not fetch
        assert socket.getdefaulttimeout() == 20
    assert file_utils.urlretrieve is fetch
    assert socket.getdefaulttimeout() is None
