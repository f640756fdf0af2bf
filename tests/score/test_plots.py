"""The pictures of a run: drawn without a display, readable for 2 and for 100 classes, whatever the names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import environment
from PIL import Image
from runs.making import make_run

from dlcli.score.plots import draw_confusion_matrix, draw_curves

ODD = ("hello world", "a/b\\c", "[red]bold[/red]", "żółć 猫", "$x^2$", "$", ":apple:", "_", "a very long name of a class", "")


def _matrix(count: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(0)
    matrix = random.poisson(0.3, (count, count))
    matrix[np.diag_indices(count)] += random.integers(5, 200, count)
    matrix[0] = 0  # a class without an example
    return matrix


@pytest.mark.parametrize("count", [2, 10, 100, 300])
def test_a_confusion_matrix_is_drawn_for_any_number_of_classes_and_any_names(tmp_path: Path, count: int) -> None:
    names = tuple(ODD[index % 10] + ("" if index < 10 else str(index)) for index in range(count))
    draw_confusion_matrix(_matrix(count), names, tmp_path / "matrix.png")
    with Image.open(tmp_path / "matrix.png") as picture:
        width, height = picture.size
        assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 10
    assert 400 < height < 2500
    assert 400 < width < 3000


def test_curves_are_drawn_for_one_epoch_and_for_values_that_are_no_numbers(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    draw_curves(run)
    first = (run.path / "curves.png").stat().st_size
    row = {"stage": "train", "epoch": 1, "loss": float("nan"), "val_auc": float("nan"), "learning_rate": 0.1}
    run.write_history([row, row | {"epoch": 2, "loss": 0.5}])
    draw_curves(run)
    assert first > 5000
    assert (run.path / "curves.png").stat().st_size > 5000


def test_drawing_needs_no_display_and_not_pyplot(tmp_path: Path) -> None:
    code = """
import sys, numpy as np
from pathlib import Path
from dlcli.score.plots import draw_confusion_matrix
draw_confusion_matrix(np.eye(2, dtype=int), ("a", "b"), Path(sys.argv[1]))
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.png")], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
