"""Each workaround of `upstream/__init__.py` against its defect: a test of the defect fails once it is fixed upstream."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dlcli.upstream import steady_options

DATA = os.environ.get("DLCLI_TEST_DATA", "")


def run(program: str) -> str:
    """Returns what a Python program prints in a process of its own."""
    environment = os.environ | {"PYTHONPATH": "src", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    ).stdout.strip()


def test_keras_imports_scikit_learn_and_matplotlib_by_itself() -> None:
    assert run("import sys, keras; print('sklearn' in sys.modules, 'matplotlib' in sys.modules)") == "True True"


def test_import_keras_leaves_both_out_and_importable_afterwards() -> None:
    program = (
        "import sys; from dlcli.upstream import import_keras; keras = import_keras();"
        "print([n for n in sys.modules if n.split('.')[0] in ('sklearn', 'matplotlib')]);"
        "import sklearn.linear_model, matplotlib.figure;"
        "print(keras.layers.Dense(2)(keras.ops.ones((1, 3))).shape, bool(sklearn.__version__ and matplotlib.__version__))"
    )
    assert run(program) == "[]\n(1, 2) True"


def test_steady_options_leave_nothing_to_the_autotuner() -> None:
    options = steady_options()
    assert options.autotune.enabled is False
    assert options.deterministic is True


def test_keras_fetches_weights_without_a_time_limit_and_fails_with_a_bare_exception(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import inspect

    from dlcli.upstream import import_keras

    keras = import_keras()
    from keras.src.utils import file_utils

    monkeypatch.setenv("no_proxy", "*")
    assert "timeout" not in inspect.signature(file_utils.urlretrieve).parameters
    with pytest.raises(Exception, match="URL fetch failure") as raised:
        keras.utils.get_file("weights.h5", "http://127.0.0.1:9/weights.h5", cache_dir=str(tmp_path))
    assert type(raised.value) is Exception


def test_weights_are_fetched_with_a_time_limit_only_inside_the_block() -> None:
    import socket

    from dlcli.upstream import import_keras, keras_weights

    import_keras()
    from keras.src.utils import file_utils

    fetch = file_utils.urlretrieve
    with keras_weights("vgg16", offline=True):
        assert file_utils.urlretrieve is not fetch
        assert socket.getdefaulttimeout() == 20
    assert file_utils.urlretrieve is fetch
    assert socket.getdefaulttimeout() is None


def test_tensorflow_hub_warns_when_imported_and_fetches_without_a_time_limit_into_the_temporary_folder() -> None:
    program = (
        "import tempfile, urllib.request, warnings\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    import tensorflow_hub\n"
        "from tensorflow_hub import resolver\n"
        "urllib.request.urlopen = lambda request, **options: sorted(options)\n"
        "print(any('pkg_resources' in str(one.message) for one in seen))\n"
        "print(resolver.HttpResolverBase()._call_urlopen('request'))\n"
        "print(resolver.tfhub_cache_dir(use_temp=True).startswith(tempfile.gettempdir()))"
    )
    assert run(program).splitlines() == ["True", "['context']", "True"]


def test_a_hub_module_is_fetched_with_a_time_limit_only_inside_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    from dlcli.errors import DataError
    from dlcli.upstream import resolve_hub

    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        with pytest.raises(DataError, match="timed out"):
            resolve_hub(f"http://127.0.0.1:{silent.getsockname()[1]}/module", tmp_path, offline=False, limit=1)
        assert time.monotonic() - before < 10
    assert socket.getdefaulttimeout() is None


def test_tf2onnx_takes_constants_for_inputs_and_knows_no_gelu_nor_groups_which_to_onnx_mends(tmp_path: Path) -> None:
    program = f"""
import numpy as np, onnx, onnxruntime
from dlcli.upstream import import_keras, quiet_start, to_onnx
keras, path = import_keras(), {str(tmp_path / "model.onnx")!r}
entry = keras.Input((5, 5, 2), name="x")
normalized = keras.layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0])(entry)
model = keras.Model(entry, keras.layers.Conv2D(4, 3, groups=2, activation="gelu")(normalized))
x = np.linspace(-3, 3, 200, dtype="float32").reshape(4, 5, 5, 2)
expected = np.asarray(model(x))
with quiet_start():
    model.export(path, format="onnx", verbose=False)
    ours = to_onnx(model, "answers", opset=17)
theirs = onnx.load(path).graph
print(len(theirs.input), *sorted(one.op_type for one in theirs.node if one.op_type in ("Erfc", "StatefulPartitionedCall")))
session = onnxruntime.InferenceSession(ours.SerializeToString())
gap = np.abs(session.run(["answers"], {{"x": x}})[0] - expected).max()
print([(one.name, one.shape) for one in session.get_inputs()], gap < 1e-6)
"""
    assert run(program) == "3 Erfc StatefulPartitionedCall\n[('x', ['batch', 5, 5, 2])] True"


def test_the_names_of_tfds_sets_are_known_without_importing_it() -> None:
    # In a process of its own: TFDS lists also the sets that other tests define, and those are on no list of ours.
    program = """
import sys
from dlcli.upstream.tfds_names import tfds_names
names, imported = tfds_names(), "tensorflow_datasets" in sys.modules
from dlcli.upstream.tfds import import_tfds
sets = set(import_tfds().list_builders(with_community_datasets=False))
print(imported, len(sets) > 100, sorted(sets - names), len(names) < 500)
"""
    assert run(program) == "False True [] True"
