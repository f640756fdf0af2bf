"""Charts: one function draws a PNG file and inline SVG, without a display, for any number of classes and any names."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import environment
from matplotlib.figure import Figure
from PIL import Image
from runs.making import make_run

from dlcli.charts.chart import PAGE, PNG, Chart, save_charts
from dlcli.charts.clusters import Group, group_chart
from dlcli.charts.confusion import draw_confusion_matrix
from dlcli.charts.learning import learning_charts, save_curves
from dlcli.charts.ranking import pr_chart, roc_chart

UNUSUAL_NAMES = (
    "hello world",
    "a/b\\c",
    "[red]bold[/red]",
    "żółć 猫",
    "$x^2$",
    "$",
    ":apple:",
    "_",
    "a very long name of a class",
    "",
)


def _matrix(count: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(0)
    matrix = random.poisson(0.3, (count, count))
    matrix[np.diag_indices(count)] += random.integers(5, 200, count)
    matrix[0] = 0  # a class without an example
    return matrix


@pytest.mark.parametrize("count", [2, 10, 100, 300])
def test_a_confusion_matrix_is_drawn_for_any_number_of_classes_and_any_names(tmp_path: Path, count: int) -> None:
    names = tuple(UNUSUAL_NAMES[index % 10] + ("" if index < 10 else str(index)) for index in range(count))
    draw_confusion_matrix(_matrix(count), names, tmp_path / "matrix.png")
    with Image.open(tmp_path / "matrix.png") as picture:
        width, height = picture.size
        assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 10
    assert 400 < height < 2500
    assert 400 < width < 3000


def test_learning_curves_are_drawn_for_one_epoch_and_for_nan(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    save_curves(run)
    first = (run.path / "curves.png").stat().st_size
    row = {"stage": "train", "epoch": 1, "loss": float("nan"), "val_auc": float("nan"), "learning_rate": 0.1}
    run.write_history([row, row | {"epoch": 2, "loss": 0.5}])
    save_curves(run)
    assert first > 5000
    assert (run.path / "curves.png").stat().st_size > 5000


def _rates(axes: Any, medium: Any) -> None:
    axes.plot([1, 2, 3], [0.001, 0.01, 1], color=medium.series[1])
    axes.set_yscale("log")


def test_logarithmic_axes_have_plain_tick_labels() -> None:
    svg = Chart("rates", "", _rates).inline("key").svg
    assert "mathdefault" not in svg
    assert {"0.001", "0.01", "0.1", "1"} <= set(re.findall(r">([\d.]+)</text>", svg))


def test_a_chart_has_the_colours_of_its_medium(tmp_path: Path) -> None:
    chart = Chart("$rates$", "Rates.", _rates)
    chart.save(tmp_path / "rates.png")
    with Image.open(tmp_path / "rates.png") as picture:
        colours = {f"#{red:02x}{green:02x}{blue:02x}" for _, (red, green, blue) in picture.convert("RGB").getcolors(1 << 20)}
    assert PNG.series[1] in colours
    inline = chart.inline("key")
    assert "var(--series-2)" in inline.svg
    assert not any(colour in inline.svg for colour in (*PAGE.series, *PNG.series))
    assert "$rates$" in inline.svg
    assert (inline.title, inline.text) == ("$rates$", "Rates.")


def test_charts_share_one_picture_of_at_most_99_panels(tmp_path: Path) -> None:
    sizes = []
    for count in (1, 2, 4, 500):
        save_charts([Chart(str(number), "", lambda *_: None, (1.0, 1.0)) for number in range(count)], tmp_path / "all.png")
        with Image.open(tmp_path / "all.png") as picture:
            sizes.append(picture.size)
    assert sizes == [(150, 150), (300, 150), (450, 300), (450, 33 * 150)]


@dataclass(frozen=True)
class _Curve:
    name: str
    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    area: float


def _curves(count: int) -> list[_Curve]:
    ends = np.array([0.0, 1.0])
    return [_Curve(f"class {number}", ends, ends, area=(number * 7 % count) / count) for number in range(count)]


def test_of_many_classes_the_curves_with_the_smallest_areas_are_drawn() -> None:
    chart = roc_chart(_curves(12))
    assert chart.title == "ROC, the 10 smallest of 12 areas"
    assert chart.text == "Curves of the 10 of 12 classes with the least area, with the area below each; the least is 0.000."
    legend = re.findall(r">(class \d+)  (\d\.\d+)<", chart.inline("key").svg)
    assert [area for _, area in legend] == [f"{number / 12:.3f}" for number in range(10)]


def test_up_to_ten_classes_are_drawn_in_their_order() -> None:
    chart = pr_chart(_curves(10))
    assert chart.title == "Precision and recall"
    assert re.findall(r">class (\d+)  ", chart.inline("key").svg) == [str(number) for number in range(10)]


def test_a_curve_without_finite_values_is_omitted() -> None:
    rows = [{"stage": "train", "epoch": str(epoch), "loss": "0.5", "auc": "", "val_auc": "nan"} for epoch in (1, 2)]
    loss, auc = learning_charts(rows, best=2)
    assert loss.text == "loss over 2 epochs: training from 0.5 to 0.5; the best epoch is 2."
    assert auc.text == "auc over 2 epochs: no numbers; the best epoch is 2."
    assert ">validation<" not in auc.inline("key").svg


def test_drawing_needs_neither_a_display_nor_pyplot(tmp_path: Path) -> None:
    code = """
import sys, numpy as np
from pathlib import Path
from dlcli.charts.clusters import Group, group_chart
from dlcli.charts.confusion import draw_confusion_matrix
draw_confusion_matrix(np.eye(2, dtype=int), ("a", "b"), Path(sys.argv[1]))
assert "matplotlib.pyplot" not in sys.modules
"""
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.png")], capture_output=True, text=True, env=environment(), check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""


def test_a_chart_is_drawn_once_and_its_labels_have_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """matplotlib by itself draws a figure twice where it has to compute a layout."""
    figures: list[Figure] = []
    draw = Figure.draw

    def noted(figure: Figure, renderer: Any) -> None:
        figures.append(figure)
        draw(figure, renderer)

    def plot(axes: Any, _: Any) -> None:
        axes.plot([0, 1], [0, 1e6])
        axes.set_ylabel("a label beside very wide numbers")

    monkeypatch.setattr(Figure, "draw", noted)
    chart = Chart("title", "text", plot)
    chart.save(tmp_path / "chart.png")
    chart.inline("chart")
    assert len(figures) == 2
    for figure in figures:
        box = figure.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.get_figwidth()
        assert box.y1 <= figure.get_figheight()


def test_groups_of_points_beyond_the_tenth_share_a_colour_and_noise_has_crosses() -> None:
    points = np.random.default_rng(0).normal(size=(120, 2))
    numbers = np.arange(120) % 13
    groups = [Group(f"group {number}", numbers == number) for number in range(12)]
    figure = Figure()
    axes = figure.subplots()
    chart = group_chart("By cluster", points, [*groups, Group("noise", numbers == 12, is_noise=True)], ("x", "y"))
    chart.draw_on(axes, PNG)
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == [*(f"group {number}" for number in range(10)), "others (2)", "noise"]
    assert len({line.get_color() for line in axes.lines}) == 11
    assert sum(len(line.get_xdata()) for line in axes.lines) == 120
    assert {name for name, line in lines.items() if line.get_marker() == "x"} == {"noise"}
