"""`doctor`: checks whether this machine can train, with a remedy for each problem."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from dlcli import __version__
from dlcli.program import command, install_command, requirements
from dlcli.runtime.gpus import find_gpus, visible_gpus

PYTHONS = ((3, 11), (3, 14))
"""The first supported version, and the first unsupported one (`requires-python` in pyproject.toml)."""
LEAST_DISK, LEAST_MEMORY, LEAST_SHARED = 2.0, 2.0, 0.06
"""Sizes in GiB below which there is a warning; a container has 64 MB of /dev/shm by default."""
SELF_TEST_SECONDS = 3.0


@dataclass(frozen=True)
class Check:
    """The result of one check: its status, finding and, if there is a problem, remedy."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def examine(runs: Path) -> Iterator[Check]:
    """Yields the result of every check of this machine, quick checks first; only a `fail` prevents training."""
    yield check_python(sys.version_info[:3])
    yield check_packages()
    yield check_bytecode()
    yield check_processors()
    yield check_half_precision()
    yield check_memory()
    yield check_shared_memory()
    yield check_folder("runs folder", runs, "set another folder with --runs or DLCLI_RUNS")
    yield check_folder("datasets", _data_sets(), "existing datasets can be read; set TFDS_DATA_DIR to prepare others")
    yield check_folder("pretrained weights", _keras_home(), "existing files can be read; set KERAS_HOME to download others")
    yield check_disk(runs)
    yield from check_tensorflow()


def check_python(version: tuple[int, int, int]) -> Check:
    """Checks whether TensorFlow supports this Python."""
    finding = ".".join(map(str, version))
    if PYTHONS[0] <= version[:2] < PYTHONS[1]:
        return Check("Python", "ok", f"{finding} at {sys.executable}")
    return Check("Python", "fail", finding, "install Python 3.11, 3.12 or 3.13")


def check_packages() -> Check:
    """Compares the installed packages with the requirements of this dlcli."""
    from packaging.requirements import Requirement

    lines = requirements()
    if lines is None:
        return Check("packages", "warn", "dlcli is not installed here, so its requirements are unknown", install_command())
    required = [Requirement(line) for line in lines]
    needed = [item for item in required if item.marker is None or item.marker.evaluate({"extra": ""})]
    wrong = [text for text in map(_mismatch, needed) if text]
    if wrong:
        return Check("packages", "fail", "; ".join(wrong), f"in a checkout: scripts/dlcli, or {install_command()}")
    main = ", ".join(f"{name} {metadata.version(name)}" for name in ("tensorflow", "keras", "numpy"))
    return Check("packages", "ok", f"dlcli {__version__}, {main}; all {len(needed)} as required")


def _mismatch(requirement: Any) -> str:
    """Returns the fault of one required package; empty if there is none."""
    name, specifier = requirement.name, requirement.specifier
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    return "" if specifier.contains(version, prereleases=True) else f"{name} is {version}, required {specifier}"


def check_bytecode() -> Check:
    """Checks whether TensorFlow, Keras and dlcli are byte-compiled; importing their sources takes 7 s more each time."""
    from importlib.util import cache_from_source, find_spec

    sources: list[Path] = []
    for name in ("tensorflow", "keras", "dlcli"):
        spec = find_spec(name)
        sources += [path for place in (spec and spec.submodule_search_locations) or () for path in Path(place).rglob("*.py")]
    compiled = sum(Path(cache_from_source(str(path))).is_file() for path in sources)
    share = compiled / max(len(sources), 1)
    finding = f"{share:.0%} of {len(sources):,} files of tensorflow, keras and dlcli"
    if share >= 0.95:
        return Check("bytecode", "ok", finding)
    return Check("bytecode", "warn", finding, f"{sys.executable} -m compileall -qq -j 0 {sys.prefix}/lib")


def check_processors() -> Check:
    """Counts the cores that this process may use, within the limits of its affinity and its container."""
    cores = os.cpu_count() or 1
    usable = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores)
    quota = _container_cores()
    if quota and quota < usable:
        return Check("processors", "ok", f"{quota:g} of {cores} cores (limit of the container)")
    return Check("processors", "ok", f"{usable:g} of {cores} cores")


def _container_cores() -> float | None:
    """Returns the limit of the control group on processor time, in cores; None if there is no limit."""
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if not quota:
        quota, period = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def check_half_precision() -> Check:
    """Names the processor's unit for bfloat16, with which `hardware.precision: auto` trains large networks faster."""
    from dlcli.runtime.precision import half_unit

    unit = half_unit()
    finding = f"{unit}: large networks train in bfloat16" if unit else "no unit of the processor: networks train in float32"
    return Check("bfloat16", "ok", finding)


def check_memory() -> Check:
    """Checks the memory of the machine, or of the container if that is less."""
    import psutil

    from dlcli.runtime.free_memory import container_limit, free_memory

    total, free, limit = psutil.virtual_memory().total, free_memory(), container_limit()
    finding = f"{_gib(free)} free of {_gib(total)}"
    if limit is not None and limit < total:
        finding = f"{_gib(free)} free of {_gib(limit)} (limit of the container)"
    if free < LEAST_MEMORY * 2**30:
        return Check("memory", "warn", finding, "close other programs, or choose a smaller batch_size")
    return Check("memory", "ok", finding)


def check_shared_memory() -> Check:
    """Checks the size of /dev/shm, through which several GPUs exchange gradients."""
    if not Path("/dev/shm").is_dir():
        return Check("shared memory", "ok", "no /dev/shm on this system; none is needed")
    import shutil

    total = shutil.disk_usage("/dev/shm").total
    if total <= LEAST_SHARED * 2**30:
        remedy = "only runs on several GPUs need more: docker run --shm-size=1g"
        return Check("shared memory", "warn", f"/dev/shm has {_gib(total)}", remedy)
    return Check("shared memory", "ok", f"/dev/shm has {_gib(total)}")


def check_folder(name: str, folder: Path, remedy: str) -> Check:
    """Checks whether a folder, or its nearest existing parent, can be written to, by writing a file."""
    import tempfile

    existing = _existing(folder)
    place = str(folder) if existing == folder.expanduser().absolute() else f"{folder} (does not exist; created in {existing})"
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"dlcli")
    except OSError as error:
        return Check(name, "fail" if name == "runs folder" else "warn", f"{place}: {error.strerror}", remedy)
    return Check(name, "ok", place)


def check_disk(folder: Path) -> Check:
    """Checks the free disk space of the runs folder."""
    import shutil

    free = shutil.disk_usage(_existing(folder)).free
    finding = f"{_gib(free)} free for runs"
    if free < LEAST_DISK * 2**30:
        remedy = f"`{command()} runs rm` removes old runs; --runs selects a folder on another disk"
        return Check("disk", "warn", finding, remedy)
    return Check("disk", "ok", finding)


def check_tensorflow() -> Iterator[Check]:
    """Imports TensorFlow, looks for GPUs and trains for three seconds; a failed import ends the checks."""
    from time import perf_counter

    from dlcli.upstream.keras import import_keras

    start = perf_counter()
    try:
        keras = import_keras()
        import tensorflow as tf
    except Exception as error:  # the check reports any failure of the import, such as a missing library or a wrong NumPy
        text = f"import failed: {type(error).__name__}: {error}".splitlines()[0]
        yield Check("TensorFlow", "fail", text, "reinstall the packages; `python -c 'import tensorflow'` shows the whole error")
        return
    yield Check("TensorFlow", "ok", f"{tf.__version__}, Keras {keras.__version__}, imported in {perf_counter() - start:.1f} s")
    status, finding, remedy = find_gpus().verdict()
    yield Check("GPU", status, finding, remedy)
    _leave_memory_to_others(tf)
    yield self_test(keras)


def _leave_memory_to_others(tf: Any) -> None:
    """Lets TensorFlow allocate GPU memory as needed; by default it takes all, and fails beside a running training."""
    for gpu in visible_gpus(tf):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # TensorFlow has already started in this process
            return


def self_test(keras: Any, seconds: float = SELF_TEST_SECONDS) -> Check:
    """Trains a small CNN on generated images for a few seconds and checks that the loss falls; reports the speed."""
    try:
        first, last, rate = _train(keras, seconds)
    except Exception as error:  # such as an unsuitable driver or too little memory: the check reports TensorFlow's message
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        return Check("self-test", "fail", text, f"CUDA_VISIBLE_DEVICES=-1 {command()} doctor tests without the GPU")
    finding = f"loss {first:.2f} -> {last:.2f} in {seconds:g} s, {rate:,.0f} images/s (28x28, small CNN)"
    if last < 0.5 * first:
        return Check("self-test", "ok", finding)
    return Check("self-test", "fail", finding, "the loss should halve: this TensorFlow computes wrong results; reinstall it")


def _train(keras: Any, seconds: float) -> tuple[float, float, float]:
    """Returns the loss of the first step, the mean of the last ten, and images per second without the first step.

    The model predicts which quarter of a 28x28 image is bright.
    """
    from time import perf_counter

    import numpy as np

    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 64)
    images = random.normal(0, 0.3, (64, 28, 28, 1)).astype("float32")
    for image, label in zip(images, labels, strict=True):
        top, left = 14 * (label // 2), 14 * (label % 2)
        image[top : top + 14, left : left + 14] += 1
    model = _small_cnn(keras)
    losses = [float(model.train_on_batch(images, labels))]
    start = perf_counter()
    while perf_counter() - start < seconds or len(losses) < 11:
        losses.append(float(model.train_on_batch(images, labels)))
    rate = (len(losses) - 1) * len(images) / (perf_counter() - start)
    return losses[0], sum(losses[-10:]) / 10, rate


def _small_cnn(keras: Any) -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(4),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


def _data_sets() -> Path:
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser().absolute()


def _keras_home() -> Path:
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser().absolute()


def _existing(folder: Path) -> Path:
    """Returns the folder, or its nearest existing parent."""
    folder = folder.expanduser().absolute()
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))  # Path.exists may raise


def _read(path: str) -> str:
    """Returns the text of a small system file; empty if it does not exist."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
