"""What every test may use: real test data where it is at hand, and `dlcli` in a process of its own."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from forking import PLAIN_KERAS, ForkedProcess, without_fsync
from hypothesis import given, settings, strategies
from pictures import drawn_pictures, empty_pictures

REPOSITORY = Path(__file__).parents[1]
gc.set_threshold(100_000, 20, 20)  # as in dlcli's own process
without_fsync()
# Several threads of OpenMP (scikit-learn) wait for each other in busy loops, which takes the cores from other tests: a small
# gradient boosting takes 0.14 to 1.4 s then, and 0.1 s with one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
for ignored, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(ignored) is signal.SIG_IGN:  # so a shell starts background commands, and `nohup`; children inherit it
        signal.signal(ignored, handler)
Dlcli = Callable[..., "subprocess.CompletedProcess[str]"]


AT_START = dict(os.environ)
"""The environment of this process before TensorFlow was imported."""
SET_BY_IMPORTS = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF2_BEHAVIOR": "1",
    "GRPC_VERBOSITY": "ERROR",
    "HDF5_PLUGIN_PATH": "disable",
    "ENABLE_RUNTIME_UPTIME_TELEMETRY": "1",
}
"""Variables that TensorFlow, h5py and dlcli set when they are imported."""


def environment(**changes: str) -> dict[str, str]:
    """Returns this process's environment for a child that runs this checkout: no colours, no runs folder of the user's.

    What imports have set in this process is left out, as a user's shell does not have it.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DLCLI_", "FORCE_COLOR", "PYTEST_", "TPU_ML_"))
        and (name in AT_START or SET_BY_IMPORTS.get(name) != value)
    }
    own = {"PYTHONPATH": str(REPOSITORY / "src"), "PYTHONFAULTHANDLER": "1", "DLCLI_COMMAND": "dlcli"}
    return inherited | own | changes


TEMPLATE_ENVIRONMENT = environment()
"""The environment of the process that others are forked from."""


def command(*arguments: str | Path) -> list[str]:
    """Returns the command line of a `dlcli` call."""
    return [sys.executable, "-m", "dlcli", *map(str, arguments)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the folders of the longest tests first: in the end, no process works on one of them while the others are idle."""
    longest = ("cli", "training", "tasks", "models", "runtime", "export")

    def place(item: pytest.Item) -> int:
        folder = item.path.parent.name
        return longest.index(folder) if folder in longest else len(longest)

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Takes what the imports made out of the reach of the garbage collector.

    TensorFlow leaves millions of objects. Keras's `clear_session` has all of them looked at before each training, which was
    30 % of the time of a small one.
    """
    _warm_hypothesis_up()
    gc.collect()
    gc.freeze()


@settings(database=None, max_examples=1)
@given(strategies.none())
def _warm_hypothesis_up(_: None) -> None:
    """Lets Hypothesis find NumPy's generator of random numbers: it asks the garbage collector who refers to it."""


def start_process(arguments: list[str], *, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
    """Starts a Python process, forked from one that has TensorFlow loaded where possible; options are those of Popen."""
    return ForkedProcess(arguments, env=env or environment(), template_env=TEMPLATE_ENVIRONMENT, **options)


def run_process(
    arguments: list[str],
    *,
    timeout: float | None = None,
    input: str | None = None,
    start: Callable[..., subprocess.Popen[str]] = start_process,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Runs a process that `start` starts to its end, and returns what it wrote to stdout and stderr."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with start(arguments, **options) as process:
        try:
            output, errors = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def run_plain(code: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process that has Keras and TensorFlow and nothing of dlcli.

    It uses oneDNN as dlcli does, so that results can be compared bit for bit: TensorFlow uses it by itself only on processors
    with AVX-512.
    """
    env = {name: value for name, value in environment().items() if name != "PYTHONPATH"} | {"TF_ENABLE_ONEDNN_OPTS": "1"}
    start = partial(ForkedProcess, env=env, template_env=env, preloaded=PLAIN_KERAS)
    return run_process([sys.executable, "-c", code, *map(str, arguments)], start=start, cwd=cwd, timeout=120)


@contextmanager
def restored_environment() -> Iterator[None]:
    """Restores the environment at the end of the block, except what imports set: other tests start children of their own.

    A call inside this process sets `PYTHONPATH` for its children, Ray sets `PYTHONBREAKPOINT`, and tf2onnx a log level.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in {name for name, _ in before.items() ^ os.environ.items()} - {"PYTEST_CURRENT_TEST"}:
            if name in before:
                os.environ[name] = before[name]
            elif SET_BY_IMPORTS.get(name) != os.environ[name]:
                del os.environ[name]


@pytest.fixture(autouse=True)
def _environment_of_a_test() -> Iterator[None]:
    with restored_environment():
        yield


@pytest.fixture(autouse=True, scope="module")
def _environment_of_a_module() -> Iterator[None]:
    """Restores what fixtures of a module change, too."""
    with restored_environment():
        yield


@pytest.fixture
def dlcli(tmp_path: Path) -> Dlcli:
    """Calls `dlcli` in a process of its own, in the test's folder."""

    def call(
        *arguments: str | Path, timeout: float = 120, cwd: Path = tmp_path, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        return run_process(command(*arguments), cwd=cwd, env=environment(**changes), timeout=timeout)

    return call


@pytest.fixture(autouse=True)
def _lasting_objects() -> None:
    """Takes what the tests before have left for good out of the reach of the garbage collector, too.

    Imports leave 100,000 objects, and every training some thousand in the registries of TensorFlow and Keras: to search them
    before each training was a fifth of the suite's time.
    """
    if len(gc.get_objects()) > 30_000:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="module")
def without_pictures() -> Iterator[None]:
    """Writes empty pictures, in forked processes too: drawing is a third of the time of a small training.

    `test_charts.py` and others draw them.
    """
    with empty_pictures():
        yield


@pytest.fixture
def with_pictures() -> Iterator[None]:
    """Draws pictures in one test of a module that is `without_pictures`."""
    with drawn_pictures():
        yield


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real datasets that DLCLI_TEST_DATA names."""
    folder = os.environ.get("DLCLI_TEST_DATA")
    if not folder:
        pytest.skip("DLCLI_TEST_DATA names no folder of real datasets")
    return Path(folder)


@pytest.fixture
def shipped_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Points the variables of the shipped specs to what a check looks for: a table's columns, class folders, a run's layers."""
    columns = "PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked"
    (tmp_path / "titanic.csv").write_text(f"{columns}\n1,0,3,A,male,22,1,0,T,7.25,,S\n")
    monkeypatch.setenv("TITANIC_CSV", str(tmp_path / "titanic.csv"))
    for variable, splits, classes in (
        ("ANTS_BEES", ("train", "val"), ("ants", "bees")),
        ("CIFAR_PHOTOS", ("train", "test"), ("cat", "dog")),
    ):
        for split, name in product(splits, classes):
            (tmp_path / variable / split / name).mkdir(parents=True)
            (tmp_path / variable / split / name / "1.jpg").write_bytes(b"")
        monkeypatch.setenv(variable, str(tmp_path / variable))
    for variable, name, columns in (
        ("RT_POLARITY_CSV", "polarity.csv", "label,text\nnegative,a film\npositive,a film\n"),
        ("WAIMAI_CSV", "meals.csv", "label,review\n1,a meal\n0,a meal\n"),
        ("GLOVE_TXT", "vectors.txt", "film 0.1 0.2\n"),
        ("BBC_NEWS", "news/train/sport/1.txt", "a text"),
        ("BBC_NEWS", "news/train/politics/1.txt", "a text"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(columns, encoding="utf-8")
        monkeypatch.setenv(variable, str(tmp_path / name.partition("/")[0]))
    _write_preset(tmp_path / "preset")
    monkeypatch.setenv("MINILM", str(tmp_path / "preset"))
    _write_series(tmp_path / "series.npz")
    monkeypatch.setenv("GUNPOINT_NPZ", str(tmp_path / "series.npz"))
    _write_low(tmp_path / "low")
    monkeypatch.setenv("DIGITS_RUN", str(tmp_path / "low"))
    for name, columns in (("ETT_CSV", "date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT"), ("TEMPERATURES_CSV", "Date,Temp")):
        rows = [",".join(["2016-07-01", *("1" for _ in columns.split(",")[1:])])] * 150
        (tmp_path / f"{name}.csv").write_text("\n".join([columns, *rows]) + "\n")
        monkeypatch.setenv(name, str(tmp_path / f"{name}.csv"))


def _write_preset(folder: Path) -> None:
    """Writes what a check reads of a preset of KerasHub: its network and its tokenizer."""
    folder.mkdir()
    settings = {"hidden_dim": 8, "max_sequence_length": 64}
    network = {"class_name": "BertBackbone", "registered_name": "keras_hub>BertBackbone", "config": settings}
    tokenizer = {"class_name": "BertTokenizer", "registered_name": "keras_hub>BertTokenizer", "config": {}}
    (folder / "config.json").write_text(json.dumps(network), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def _write_series(path: Path) -> None:
    """Writes a few series with their classes."""
    import numpy as np

    arrays = {f"x_{part}": np.zeros((4, 150, 1), "float32") for part in ("train", "test")}
    np.savez(path, **arrays, y_train=np.arange(4) % 2, y_test=np.arange(4) % 2)


def _write_low(folder: Path) -> None:
    """Writes what a check reads of a run's model: its layers and its input."""
    layers, before, shape = [], "", [None, 8, 8, 1]
    for name, kind in (("image", "InputLayer"), ("flatten", "Flatten"), ("output", "Dense")):
        taken = {"class_name": "__keras_tensor__", "config": {"shape": shape, "keras_history": [before, 0, 0]}}
        nodes = [{"args": [taken], "kwargs": {}}] if before else []
        layers.append(
            {"class_name": kind, "name": name, "config": {"name": name, "batch_shape": shape}, "inbound_nodes": nodes}
        )
        before, shape = name, [None, 8, 8, 1] if kind == "InputLayer" else [None, 64]
    config = {"layers": layers, "input_layers": ["image", 0, 0], "output_layers": ["output", 0, 0]}
    folder.mkdir()
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": config}))
