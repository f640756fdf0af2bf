"""The same spec again gives the same bits; a kept run gives the same scores, wherever it is moved."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import command, environment, run_process
from trainings import save_images, save_rows, trained, write_pngs, write_spec

from dlcli.errors import DataError, UsageError
from dlcli.runs import RunFolder
from dlcli.score.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("without_pictures")

CNN = """{kind: cnn, layers: [{kind: conv2d, filters: 4, kernel_size: 3, activation: relu}, {kind: batch_normalization},
  {kind: spatial_dropout2d, rate: 0.2}, {kind: gaussian_noise, stddev: 0.1}, flatten, {kind: dropout, rate: 0.3}]}"""
AUGMENT = (
    "augment: [{kind: random_flip}, {kind: random_translation, height_factor: 0.1, width_factor: 0.1}, {kind: random_erasing}]"
)


def _in_new_processes(lines: list[list[str]], folder: Path) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            command(*line), cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for line in lines
    ]


def _weights(run: RunFolder) -> list[Any]:
    import keras

    return [np.asarray(value) for value in keras.saving.load_model(run.model_path, compile=False).get_weights()]


def test_two_processes_give_the_same_bits(tmp_path: Path) -> None:
    save_images(tmp_path / "images.npz")
    spec = write_spec(
        tmp_path, "{kind: npz, path: images.npz}", model=CNN, data=f"batch_size: 16, {AUGMENT}", training="epochs: 3"
    )
    processes = _in_new_processes([["train", "-q", str(spec)]] * 2, tmp_path)
    ended = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended[0][1]
    first, second = (RunFolder(Path(out.strip())) for out, _ in ended)
    for ours, theirs in zip(_weights(first), _weights(second), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    times = ("seconds", "examples_per_second")
    rows = [
        [{key: value for key, value in row.items() if key not in times} for row in run.history()] for run in (first, second)
    ]
    assert rows[0] == rows[1]
    for name in ("evaluation/test/predictions.csv", "evaluation/test/metrics.json", "split.csv", "data.json", "spec.yaml"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes(), name


EVALUATE = """
import json, sys
from pathlib import Path
from dlcli.runs import RunFolder
from dlcli.score.evaluate import evaluate

print(json.dumps({path: evaluate(RunFolder(Path(path)), "").metrics for path in sys.argv[1:]}))
"""


def test_evaluate_gives_the_trainings_scores_in_a_new_process_also_where_the_run_was_moved(tmp_path: Path) -> None:
    write_pngs(tmp_path / "photos")
    save_rows(tmp_path / "rows.npz")
    table = tmp_path / "rows.csv"
    with np.load(tmp_path / "rows.npz") as arrays:
        lines = [f"{a:.4f},{'x' if b > 0 else 'y'},{t:.3f}" for (a, b, _), t in zip(arrays["x"], arrays["y"], strict=True)]
    table.write_text("\n".join(["a,b,target", *lines]))
    quick = "epochs: 1"
    runs = [
        trained(write_spec(tmp_path, training=quick, name="iris")),
        trained(
            write_spec(tmp_path, "{kind: csv, path: rows.csv, target: target}", task="regression", training=quick, name="csv")
        ),
        trained(write_spec(tmp_path, "{kind: folder, path: photos}", data="image: {size: 8}", training=quick, name="folder")),
    ]
    moved = RunFolder(tmp_path / "elsewhere" / "kept run")
    shutil.copytree(runs[1].path, moved.path)
    shutil.rmtree(runs[1].path)
    wanted = {
        str(run.path): {name: entry["value"] for name, entry in run.metrics()["metrics"].items()}
        for run in (runs[0], moved, runs[2])
    }
    before = {path: (Path(path) / "evaluation/test/predictions.csv").read_bytes() for path in wanted}
    done = run_process([sys.executable, "-c", EVALUATE, *wanted], cwd="/")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == wanted
    assert {path: (Path(path) / "evaluation/test/predictions.csv").read_bytes() for path in wanted} == before


def test_evaluate_scores_any_split_and_refuses_one_that_is_not_there(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, training="epochs: 1"))
    for split in ("train", "validation"):
        assert evaluate(run, split).examples == run.data()["examples"][split]
        assert (run.evaluation(split) / "confusion_matrix.png").exists()
    assert run.scored_splits() == ["test", "train", "validation"]
    with pytest.raises(UsageError, match="has no tset split; it has train, validation, test"):
        evaluate(run, "tset")


def test_changed_data_is_refused(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npz")
    run = trained(write_spec(tmp_path, "{kind: npz, path: rows.npz}", task="regression", training="epochs: 1"))
    save_rows(tmp_path / "rows.npz", seed=1)
    with pytest.raises(DataError, match="the data is not what tiny/"):
        evaluate(run, "")


def test_a_changed_image_of_the_same_length_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    write_pngs(tmp_path / "photos", each=6)
    for file in sorted((tmp_path / "photos").rglob("*.png")):
        Image.open(file).save(file.with_suffix(".bmp"))
        file.unlink()
    spec = write_spec(tmp_path, "{kind: folder, path: photos}", data="image: {size: 8}", training="epochs: 1")
    run = trained(spec)
    file = next(iter(sorted((tmp_path / "photos").rglob("*.bmp"))))
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 0xFF
    file.write_bytes(raw)
    with pytest.raises(DataError, match="the data is not what tiny/"):
        evaluate(run, "")


def _keep_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a training keep two blocks of four images of 8 x 8 pixels in memory."""
    grants = iter([True, True])
    monkeypatch.setattr("dlcli.runtime.pixel_cache.BLOCK_BYTES", 4 * 8 * 8 * 3)
    monkeypatch.setattr("dlcli.runtime.free_memory.MemoryShare.grant", lambda *_: next(grants, False))


@pytest.mark.parametrize("normalize", ["unit", pytest.param("standard", marks=pytest.mark.slow)])
def test_images_read_from_their_files_give_the_bits_of_images_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalize: str
) -> None:
    write_pngs(tmp_path / "photos", each=10)
    data = f"image: {{size: 8}}, batch_size: 8, normalize: {normalize}, augment: [{{kind: random_flip}}]"
    spec = write_spec(tmp_path, "{kind: folder, path: photos}", model=CNN, data=data, training="epochs: 2")
    kept = trained(spec)
    monkeypatch.setattr("dlcli.data.memory_limit.MEMORY_SHARE", 0.0)
    streamed = trained(spec)
    assert kept.data() == streamed.data()
    _keep_a_part(monkeypatch)
    for run in (streamed, trained(spec)):
        for ours, theirs in zip(_weights(kept), _weights(run), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    same = "evaluation/test/predictions.csv"
    assert (kept.path / same).read_bytes() == (streamed.path / same).read_bytes()
    assert evaluate(kept, "").metrics == evaluate(streamed, "").metrics
