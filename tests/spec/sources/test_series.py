"""Series: windows after a split by time, several series, gaps, known and static columns, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlcli.errors import DataError
from dlcli.runtime.windows import Windows
from dlcli.spec.data.sources import Opened
from dlcli.spec.data.sources.part_names import SPLITS
from dlcli.spec.data.sources.series import Series
from dlcli.spec.data.sources.series_splits import Bounds, WindowForm, row_splits, window_starts
from dlcli.spec.data.sources.series_windows import last_windows
from dlcli.tasks import TASKS, Forecasts
from spec.sources.opening import request


def source(path: Path, **fields: Any) -> Series:
    data = {"kind": "series", "path": str(path), "target": "y", "window": 4, "validation": 6, "test": 6, **fields}
    return Series.model_validate(data, context={"folder": "/"})


def opened(series: Series, quantiles: tuple[float, ...] = ()) -> Opened:
    assert list(series.faults()) == []
    asked = request("forecast")
    return series.open(replace(asked, task=replace(TASKS["forecast"], output=series.output(quantiles))))


def refusal(series: Series) -> str:
    with pytest.raises(DataError) as error:
        opened(series)
    return str(error.value)


def daily(path: Path, rows: int = 40, *, skipped: tuple[int, ...] = (), **columns: Any) -> Path:
    """Writes days with the columns of the same length, without some rows; `y` counts from 0 unless it is given."""
    columns = {"y": [float(number) for number in range(rows)], **columns}
    lines = [",".join(["day", *columns])]
    for number in (number for number in range(rows) if number not in skipped):
        day = datetime(2020, 1, 1) + timedelta(days=number)
        lines.append(",".join([f"{day:%Y-%m-%d}", *(str(values[number]) for values in columns.values())]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def windows_of(opened_source: Opened, part: str) -> Windows:
    inputs = opened_source.parts[part].inputs
    assert isinstance(inputs, Windows)
    return inputs


@st.composite
def _series(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Bounds, WindowForm, np.ndarray[Any, Any]]:
    """Draws series of several lengths, each with its own gaps in time, and a split of them."""
    sizes = draw(st.lists(st.integers(1, 60), min_size=1, max_size=4))
    codes = np.repeat(np.arange(len(sizes)), sizes)
    times = np.concatenate([np.cumsum(draw(st.lists(st.integers(1, 3), min_size=size, max_size=size))) for size in sizes])
    bounds = sorted(draw(st.lists(st.integers(2, 120), min_size=3, max_size=3)))
    chosen = [bound if draw(st.booleans()) else None for bound in bounds]
    form = WindowForm(draw(st.integers(1, 8)), draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(0, 4)))
    is_read = np.array(draw(st.lists(st.sampled_from([True] * 9 + [False]), min_size=len(codes), max_size=len(codes))))
    return codes, times.astype("float64"), Bounds(*chosen), form, is_read


@given(_series())
@settings(max_examples=300, deadline=None)
def test_no_row_is_in_windows_of_two_splits(drawn: Any) -> None:
    codes, times, bounds, form, is_read = drawn
    splits = row_splits(codes, times, bounds, form)
    breaks = np.append(False, np.diff(codes) != 0)
    starts = window_starts(splits, breaks, is_read, is_read, form)
    rows = {name: {row for start in starts[name] for row in range(start, start + form.span)} for name in SPLITS}
    for name, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not rows[name] & rows[other]
        for code in np.unique(codes):  # and the later split begins after the gap
            own, later = ([row for row in rows[part] if codes[row] == code] for part in (name, other))
            assert not own or not later or min(later) - max(own) > form.gap
    for name, bound in (("validation", bounds.validation), ("test", bounds.test)):
        for start in starts[name]:
            forecast = times[start + form.window : start + form.span]
            assert bound is not None
            assert forecast.min() >= bound
            assert bounds.end is None or forecast.max() < bounds.end
    for start in np.concatenate(list(starts.values())):
        assert len(set(codes[start : start + form.span])) == 1
        assert is_read[start : start + form.span].all()


def test_a_split_forecasts_all_its_steps_and_reads_those_before(tmp_path: Path) -> None:
    found = opened(source(daily(tmp_path / "days.csv"), time="day", horizon=2))
    test, validation, train = (found.parts[part] for part in ("test", "validation", "train"))
    assert test.targets.tolist() == [[float(step), step + 1.0] for step in range(34, 39)]
    assert test.inputs.read(np.array([0]))[0, :, 0].tolist() == [30.0, 31.0, 32.0, 33.0]
    assert validation.targets.tolist() == [[28.0, 29.0]]  # the steps from 30 on are read by the test split
    assert train.targets[-1].tolist() == [22.0, 23.0]
    assert test.ids[0] == "2020-02-03"
    assert found.classes == ("y+1", "y+2")


def test_shares_dates_an_end_and_a_gap_decide_the_splits(tmp_path: Path) -> None:
    path = daily(tmp_path / "days.csv", 100)
    shares = opened(source(path, time="day", validation=0.1, test=0.2))
    assert shares.parts["test"].targets[0] == 80
    assert shares.parts["validation"].targets[:, 0].tolist() == [70, 71, 72, 73, 74, 75]
    dates = opened(source(path, time="day", validation="2020-03-01", test="2020-03-11", end="2020-03-21", gap=2))
    assert dates.parts["test"].targets[:, 0].tolist() == list(range(70, 80))
    assert dates.parts["validation"].targets[:, 0].tolist() == [60, 61, 62, 63]
    assert dates.parts["train"].targets[-1] == 53


def test_missing_days_are_reported_and_may_cut_windows(tmp_path: Path) -> None:
    path = daily(tmp_path / "days.csv", 60, skipped=(20, 21, 35))
    found = opened(source(path, time="day"))
    note = "2 steps are not 1 day long, 3 time steps missing: 2020-01-20 to 2020-01-23; 2020-02-04 to 2020-02-06"
    assert found.notes == (f"{note}; rows count as steps (`time_gaps`)",)
    cut = opened(source(path, time="day", time_gaps="cut"))
    assert cut.notes == (f"{note}; no window contains one (`time_gaps`)",)
    for part in cut.parts:
        inputs = windows_of(cut, part)
        values = np.concatenate([inputs.read(np.arange(len(inputs)))[..., 0], cut.parts[part].targets], axis=1)
        assert (np.diff(values) == 1).all()


def test_a_repeated_time_is_refused_and_unsorted_rows_are_sorted(tmp_path: Path) -> None:
    path = daily(tmp_path / "days.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *lines[:0:-1]]), encoding="utf-8")
    found = opened(source(path, time="day"))
    assert found.notes == ("the rows are not in the order of time; they are sorted",)
    assert found.parts["test"].targets[:, 0].tolist() == [34, 35, 36, 37, 38, 39]
    path.write_text("\n".join([*lines, lines[7]]), encoding="utf-8")
    hint = "if there are several series, `data.source.entity` names their column"
    assert refusal(source(path, time="day")) == f"{path}: 1 time has two rows, first 2020-01-07; {hint}"


def _shops(path: Path, rows: int = 40) -> Path:
    """Two shops of different size, of which the larger one opened ten days later, in the order of time."""
    lines = ["shop,day,y,holiday,area"]
    for number in range(rows):
        for shop, first, factor in (("small", 0, 1), ("large", 10, 100)):
            if number >= first:
                lines.append(f"{shop},{number},{factor * (number % 7)},{int(number % 7 == 0)},{factor}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_each_series_has_its_own_windows_and_ids(tmp_path: Path) -> None:
    found = opened(source(_shops(tmp_path / "shops.csv"), time="day", entity="shop", drop=["holiday", "area"]))
    test = found.parts["test"]
    assert test.ids[:2] == ["small/33", "small/34"]
    assert test.ids[-1] == "large/38"
    assert sorted({name.partition("/")[0] for name in found.parts["train"].ids}) == ["large", "small"]
    assert set(test.targets[:6, 0]) <= set(range(7))
    assert set(test.targets[6:, 0]) <= {100.0 * number for number in range(7)}


def test_known_columns_are_read_ahead_and_static_ones_are_channels(tmp_path: Path) -> None:
    path = _shops(tmp_path / "shops.csv")
    series = source(path, time="day", entity="shop", known=["holiday"], static=["area"], horizon=2)
    found = opened(series)
    window = found.parts["test"].inputs.read(np.array([0]))[0]  # of the days 30 to 33
    assert window[:, 0].tolist() == [2, 3, 4, 5]
    assert window[:, 1].tolist() == [0, 0, 0, 0]  # holidays of these days
    assert window[:, 2].tolist() == [0, 0, 0, 1]  # and of the days 32 to 35
    assert window[:, 3].tolist() == [1, 1, 1, 1]
    assert series.facts(TASKS["forecast"]).shape == found.parts["train"].inputs.shape == (4, 4)
    path.write_text(path.read_text(encoding="utf-8").replace("large,12,500,0,100", "large,12,500,0,90"), encoding="utf-8")
    reason = "the static column `area` changes at large/12; list it in `known` or `features`"
    assert refusal(series) == f"{path}: {reason}"


def test_scales_are_those_of_the_training_rows_of_each_series(tmp_path: Path) -> None:
    path = _shops(tmp_path / "shops.csv")
    series = source(path, time="day", entity="shop", drop=["holiday", "area"], scale_by_entity=True)
    scales = windows_of(opened(series), "test").scales
    rows = [number % 7 for number in range(40 - 6 - 6 - 4)]
    assert scales["small"][0] == [pytest.approx(np.mean(rows))]
    assert scales["large"][1] == [pytest.approx(100 * np.std(rows[10:]), rel=1e-6)]
    window = windows_of(opened(series), "test").read(np.array([0]))[0]
    assert window[0, 1:].tolist() == pytest.approx([scales["small"][0][0], scales["small"][1][0]])


def test_plain_scaling_counts_training_rows_once() -> None:
    series = np.arange(20, dtype="float32")[:, None]
    windows = Windows(series, np.array([0, 1, 2]), 4, horizon=1, targets=1, measured=1)
    mean, deviation = windows.scale("standard")
    assert (mean[0], deviation[0]) == (2.5, pytest.approx(np.std(np.arange(6))))
    assert windows.scale("unit")[1].tolist() == [5.0]


def test_empty_cells_are_refused_read_from_before_or_omitted(tmp_path: Path) -> None:
    values: list[Any] = [float(number) for number in range(40)]
    values[12] = ""
    path = daily(tmp_path / "days.csv", y=values)
    remedy = "set `missing_values: previous` or `drop`"
    assert refusal(source(path, time="day")) == f"{path}: empty cells in the time steps that are used: `y` 1; {remedy}"
    filled = opened(source(path, time="day", missing_values="previous")).parts["train"]
    assert 12 not in filled.targets
    assert filled.inputs.read(np.array([filled.ids.index("2020-01-13")]))[0, :, 0].tolist() == [9, 10, 11, 11]
    omitted = opened(source(path, time="day", missing_values="drop")).parts["train"]
    assert not np.isnan(omitted.inputs.read(np.arange(len(omitted)))).any()
    assert len(omitted) < len(filled)


def test_labels_are_repeated_for_each_quantile(tmp_path: Path) -> None:
    found = opened(source(daily(tmp_path / "days.csv"), horizon=2, time="day"), (0.1, 0.5, 0.9))
    assert found.classes == ("y+1", "y+2", "y+1@0.1", "y+2@0.1", "y+1@0.9", "y+2@0.9")
    assert found.parts["test"].targets[0].tolist() == [34, 35] * 3


def test_the_memory_follows_the_series(tmp_path: Path) -> None:
    found = opened(source(daily(tmp_path / "days.csv", 400), time="day", window=100, validation=120, test=50))
    inputs = windows_of(found, "train")
    assert len(inputs) == 400 - 50 - 120 - 100 - 100
    assert inputs.memory_bytes == 400 * 4 + 30 * 8
    assert windows_of(found, "test").series is inputs.series


def test_the_last_window_of_each_series_is_found(tmp_path: Path) -> None:
    path = _shops(tmp_path / "shops.csv", 13)
    series = source(path, time="day", entity="shop", drop=["holiday", "area"])
    last = last_windows(series, {})
    assert last.ids == ["small/12"]
    assert last.windows.read(np.array([0]))[0, :, 0].tolist() == [2, 3, 4, 5]
    assert last.skipped == {"large": "has 3 rows with values, and the model reads 4"}
    with_holidays = source(path, time="day", entity="shop", drop=["area"], known=["holiday"])
    assert "need 1" in last_windows(with_holidays, {}).skipped["small"]
    path.write_text(path.read_text(encoding="utf-8") + "small,13,,1,1\n", encoding="utf-8")
    assert last_windows(with_holidays, {}).windows.read(np.array([0]))[0, -1].tolist() == [5, 0, 1]


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"target": "z"}, "target", "the file has no column `z`; it has day, y"),
        ({"time": "dy"}, "time", "the file has no column `dy`; did you mean `day`?"),
        ({"time": "y"}, "target", "`y` is listed twice, as target, time, entity, known or static column"),
        ({"time": "day", "features": ["day"]}, "features", "`day` is the time, the entity, known or static; it is no measured"),
        ({"window": 99, "time": "day"}, "window", "window and horizon need 100 rows; the file has 40"),
        ({"known": ["x"], "horizon": 9}, "window", "known columns need a window of at least the horizon, 9"),
        ({"validation": 0.5, "test": 0.5}, "test", "the shares of test and validation are 1, which leaves no training rows"),
    ],
)
def test_wrong_settings_are_found_before_the_training(fields: dict[str, Any], field: str, message: str, tmp_path: Path) -> None:
    faults = list(source(daily(tmp_path / "days.csv"), **fields).faults())
    assert any(place == field and text.startswith(message) for place, text in faults), faults


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test": 40}, "data.source.test: 40 leaves no time steps for a split; the file has 40 to use"),
        ({"test": "soon"}, "data.source.test: 'soon' is not a time of the time column"),
        (
            {"validation": 3},
            "PATH: the validation split has no windows: window and horizon need 5 rows in sequence without gaps, and it has 3"
            " rows; set `validation` to more time steps: the test split reads the 4 before it",
        ),
    ],
)
def test_splits_without_windows_are_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = daily(tmp_path / "days.csv")
    assert refusal(source(path, time="day", **fields)) == message.replace("PATH", str(path))


def test_a_column_of_words_is_refused(tmp_path: Path) -> None:
    path = daily(tmp_path / "days.csv", 40, note=["calm"] * 40)
    reason = "column `note` holds 'calm', which is no number; list the column in `drop`, or name it as `time` or `entity`"
    assert refusal(source(path, time="day")) == f"{path}: {reason}"


@pytest.mark.parametrize(
    ("first", "distance", "season", "words"),
    [
        ("%Y-%m-%d %H:00:00", timedelta(hours=1), 24, "1 hour"),
        ("%Y-%m-%d", timedelta(days=7), 52, "7 days"),
        ("%Y-%m-%d %H:%M:%S", timedelta(minutes=15), 96, "15 minutes"),
    ],
)
def test_the_season_follows_from_the_distance_of_the_rows(
    first: str, distance: timedelta, season: int, words: str, tmp_path: Path
) -> None:
    rows = [f"{datetime(2020, 1, 1) + number * distance:{first}},{number}" for number in range(40)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["day,y", *rows]), encoding="utf-8")
    series = source(path, time="day").resolved()
    assert series.season == season
    assert f"one row each {words}" in opened(series).lines[1]


def test_months_are_regular_though_their_lengths_differ(tmp_path: Path) -> None:
    rows = [f"{2000 + number // 12}-{number % 12 + 1:02d}-01,{number}" for number in range(60)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["day,y", *rows]), encoding="utf-8")
    series = source(path, time="day").resolved()
    assert series.season == 12
    assert opened(series).notes == ()


def test_a_parquet_file_is_read_like_a_csv_file(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    path = daily(tmp_path / "days.csv")
    parquet.write_table(csv.read_csv(path), tmp_path / "days.parquet")
    assert isinstance(pa.__version__, str)
    first, second = (opened(source(tmp_path / name, time="day")) for name in ("days.csv", "days.parquet"))
    assert first.parts["test"].ids == second.parts["test"].ids
    assert first.parts["test"].targets.tolist() == second.parts["test"].targets.tolist()


def test_forecasts_read_back_from_their_table(tmp_path: Path) -> None:
    from dlcli.tasks.columns import PredictionColumns

    output = Forecasts(2, ("a", "b"), (0.1, 0.5, 0.9))
    truth = np.tile(np.arange(8, dtype="float32").reshape(2, 4), (1, 3))
    scores = np.arange(24, dtype="float32").reshape(2, 12)
    columns = output.columns(truth, scores, output.column_names())
    assert sum(name.startswith("label_") for name in columns) == 4
    stored = output.read_columns(PredictionColumns(columns, "predictions.csv"), output.column_names())
    assert (stored.truth == truth).all()
    assert stored.scores is not None
    assert (stored.scores == scores).all()
