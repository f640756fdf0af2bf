"""Exhausted memory: the batch size to try, from TensorFlow's own error."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from trainings import CIRCLES, trained, write_spec

from dlcli.errors import DataError, RunFailed
from dlcli.runs import all_runs
from dlcli.runtime.engine import tf
from dlcli.runtime.steps import GatheredSteps

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def lack_of_memory() -> tf.errors.ResourceExhaustedError:
    """TensorFlow's own error, for which it tries for ten seconds to have so much memory."""
    with pytest.raises(tf.errors.ResourceExhaustedError) as error:
        tf.zeros((2**20, 2**20, 2**10))  # four petabytes
    return error.value


@pytest.mark.parametrize(("size", "words"), [("32", "32 examples in a batch; try --set data.batch_size=16"), ("full", "=42 ")])
def test_lack_of_memory_tells_the_batch_size_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lack_of_memory: tf.errors.ResourceExhaustedError, size: str, words: str
) -> None:
    def too_large(_steps: GatheredSteps, _first: int, _end: int) -> None:
        raise lack_of_memory

    monkeypatch.setattr(GatheredSteps, "run", too_large)
    with pytest.raises(RunFailed, match=r"out of memory with .* in a batch") as told:
        trained(write_spec(tmp_path, CIRCLES, data=f"batch_size: {size}"))
    assert words in str(told.value)
    (run,) = all_runs(tmp_path / "runs")
    assert run.status().state == "failed"
    assert words in run.status().error


def test_data_that_claims_to_be_larger_than_the_memory_is_not_about_the_batch(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }"
    header += b" " * (117 - len(header)) + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "rows.npz", "w") as archive:
        archive.writestr("x.npy", array)
        archive.writestr("y.npy", array)
    with pytest.raises(DataError) as told:
        trained(write_spec(tmp_path, "{kind: npz, path: rows.npz}"))
    words = "there is too little memory to read it: it is too large, or damaged"
    assert str(told.value) == f"{tmp_path / 'rows.npz'}: {words}"
    (run,) = all_runs(tmp_path / "runs")
    assert run.status().error == str(told.value)
