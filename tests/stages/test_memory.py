"""Exhausted memory: the batch size to try, from TensorFlow's own error."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlcli.errors import RunFailed
from dlcli.runs import all_runs
from dlcli.runtime.engine import keras, tf
from stages.trainings import CIRCLES, trained, write_spec

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.mark.parametrize(("size", "words"), [("32", "32 examples in a batch; try --set data.batch_size=16"), ("full", "=42 ")])
def test_lack_of_memory_tells_the_batch_size_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str, words: str
) -> None:
    def too_large(_model: keras.Model, _batches: object) -> None:
        tf.zeros((2**20, 2**20, 2**10))  # four petabytes

    def make(model: keras.Model, force: bool = False) -> None:
        model.train_function = lambda batches: too_large(model, batches)

    monkeypatch.setattr(keras.Model, "make_train_function", make)
    with pytest.raises(RunFailed, match=r"out of memory with .* in a batch") as told:
        trained(write_spec(tmp_path, CIRCLES, data=f"batch_size: {size}"))
    assert words in str(told.value)
    (run,) = all_runs(tmp_path / "runs")
    assert run.status().state == "failed"
    assert words in run.status().error
