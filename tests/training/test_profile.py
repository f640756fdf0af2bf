"""`--profile`: the time of each layer in chosen steps, and the profile for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Dlcli
from trainings import IRIS, MLP, Heard, column, save_images, write_pngs, write_spec

from dlcli.errors import DamagedFile, UsageError
from dlcli.runs import RunFolder
from dlcli.runs.profile import COLUMNS, ProfileRow, StepRange, merged_rows, read_profile
from dlcli.runs.reporter import Reporter
from dlcli.runtime.engine import keras
from dlcli.runtime.profile import Event, Scopes, covered, part_of, with_own_time
from dlcli.spec.load import load
from dlcli.training.profile import StepProfile, refuse_unprofiled
from dlcli.training.train import train

pytestmark = pytest.mark.usefixtures("without_pictures")
MODEL = (
    "{kind: cnn, layers: [{kind: conv2d, filters: 16, kernel_size: 1}, {kind: conv2d, filters: 128, kernel_size: 7},"
    " {kind: dropout, rate: 0.2}, global_average_pooling2d]}"
)
STEPS = 12
"""Steps of an epoch of `spec`."""


def spec(folder: Path, training: str = "epochs: 2", more: str = "") -> Path:
    source = f"{{kind: npz, path: {save_images(folder / 'images.npz', side=16)}}}"
    data = "batch_size: 8, split: {validation: 0, test: 0.01}"
    return write_spec(folder, source, model=MODEL, data=data, training=training, more=more)


def profiled(path: Path, steps: str, reporter: Reporter | None = None) -> RunFolder:
    profile = StepRange.parse(steps) if steps else None
    return train(load(path), path.parent / "runs", reporter or Reporter(), write_up=False, profile=profile)


@pytest.fixture(scope="module")
def reporter() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, reporter: Heard) -> RunFolder:
    return profiled(spec(tmp_path_factory.mktemp("profile")), f"{STEPS + 3}:{STEPS + 6}", reporter)


def test_the_dominant_layer_is_the_first_row(run: RunFolder) -> None:
    """`conv2d_1` does two thousand times the multiply-adds of `conv2d`; how much longer it takes depends on the machine."""
    rows = read_profile(run)
    assert rows[0].name == "conv2d_1"
    assert rows[0].forward_ms > 0
    assert rows[0].backward_ms > 0
    assert {"normalize", "conv2d", "conv2d_1", "dropout", "global_average_pooling2d"} <= {row.name for row in rows}
    assert {"layer", "optimizer", "loss", "other", "input", "idle"} <= {row.part for row in rows}


def test_the_rows_add_up_to_the_steps_at_least(run: RunFolder, reporter: Heard) -> None:
    """Operations of several threads may overlap, so that the rows add up to more."""
    (line,) = (line for line in reporter.lines if line.startswith("profile: "))
    step = float(line.split(", ")[1].split(" ms")[0].replace(",", ""))
    rows = read_profile(run)
    assert sum(row.ms for row in rows) >= 0.98 * step
    assert sum(row.share for row in rows) == pytest.approx(1, abs=0.01)


def test_tensorboard_finds_the_profile(run: RunFolder) -> None:
    (file,) = run.tensorboard_path.glob("plugins/profile/*/*.xplane.pb")
    assert file.stat().st_size > 1000


def test_the_log_names_the_steps(reporter: Heard) -> None:
    (line,) = (line for line in reporter.lines if line.startswith("profile: "))
    assert line.startswith("profile: steps 15 to 18, ")
    assert line.endswith("the time of each layer is in profile.csv, the profile for TensorBoard in tensorboard/plugins/profile")


def test_a_profile_changes_no_bit(run: RunFolder) -> None:
    without = profiled(run.path.parents[2] / "tiny.yaml", "")
    assert read_profile(without) == []
    assert column(run, "loss") == column(without, "loss")
    weights = [keras.saving.load_model(folder.model_path, compile=False).get_weights() for folder in (run, without)]
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(*weights, strict=True))


def test_calls_of_several_steps_are_profiled_as_a_whole(tmp_path: Path) -> None:
    reporter = Heard()
    profiled(spec(tmp_path, "epochs: 1", "hardware: {steps_per_execution: 5}"), "7:8", reporter)
    (line,) = (line for line in reporter.lines if line.startswith("profile: "))
    assert line.startswith("profile: steps 6 to 10 (whole calls of the device), ")


@pytest.mark.slow
def test_a_backbone_has_a_row_for_each_of_its_layers(tmp_path: Path) -> None:
    source = f"{{kind: folder, path: {write_pngs(tmp_path / 'photos')}}}"
    backbone = "{kind: mobilenet_v2, weights: none, input_size: [32, 32]}"
    model = f"{{kind: transfer, backbone: {backbone}}}"
    data = "batch_size: 8, split: {validation: 0, test: 0.1}"
    stages = "stages: [{name: all, train: all, epochs: 1}]"
    run = profiled(write_spec(tmp_path, source, model=model, data=data, training=stages), "2:3")
    names = [row.name for row in read_profile(run) if row.part == "layer"]
    assert sum(name.endswith("/Conv1") for name in names) == 1
    assert len(names) > 100


def test_an_interrupted_profile_is_ended(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    run = RunFolder(tmp_path)
    for _ in range(2):  # a profile that was left open would make the second one fail
        profile = StepProfile(StepRange(1, 5), run, 5, lambda _: None)
        profile.set_model(model)
        with pytest.raises(KeyboardInterrupt):
            _interrupted(profile, model)
    assert not list(tmp_path.rglob("*.pb"))
    assert "call" not in vars(model.layers[0])


def _interrupted(profile: StepProfile, model: Any) -> None:
    with profile.watching(model):
        profile.on_train_batch_begin(0)
        raise KeyboardInterrupt


def test_a_training_that_ends_before_the_steps_says_so(tmp_path: Path) -> None:
    reporter = Heard()
    callbacks = "callbacks: [{kind: early_stopping, monitor: loss, patience: 1, min_delta: 100}]"
    profiled(spec(tmp_path, f"epochs: 9, {callbacks}"), "97:98", reporter)
    assert "profile: the training ended before step 97, so that nothing was profiled" in reporter.lines


@pytest.mark.parametrize("text", ["20", "30:20", "0:4", "a:b", "", "1:2:3", "-1:4", "1:99999999999"])
def test_other_texts_are_no_ranges(text: str) -> None:
    with pytest.raises(UsageError) as error:
        StepRange.parse(text)
    assert str(error.value) == (
        f"--profile: expected FIRST:LAST, two steps counted from 1, the earlier first, such as 20:30; found {text!r}"
    )


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("20:90", "--profile: expected steps up to 56, the last step of the training (28 steps in an epoch); found 20:90"),
        ("8:9", "--profile: expected steps after 10, where the training is resumed; found 8:9"),
        (
            "20:30",
            "--profile: expected steps of one epoch, such as 20:28 (an epoch has 28 steps); found 20:30, which belong to"
            " epochs 1 to 2",
        ),
    ],
)
def test_steps_that_a_training_does_not_have_are_refused(steps: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        StepRange.parse(steps).refuse_outside(done=10, epoch_steps=28, epochs=2)
    assert str(error.value) == message


def test_steps_at_the_ends_of_an_epoch_are_accepted() -> None:
    for steps in ("11:28", "29:56", "56:56"):
        StepRange.parse(steps).refuse_outside(done=10, epoch_steps=28, epochs=2)


def test_several_devices_are_refused(tmp_path: Path) -> None:
    path = write_spec(tmp_path, IRIS, model=MLP, more="hardware: {strategy: mirrored, devices: 2, device: cpu}")
    with pytest.raises(UsageError) as error:
        refuse_unprofiled(load(path).experiment)
    assert str(error.value) == "--profile: supports a single device; found `hardware.strategy: mirrored`"


def test_the_command_refuses_a_bad_range_before_a_run_exists(tmp_path: Path, dlcli: Dlcli) -> None:
    path = write_spec(tmp_path, IRIS, model=MLP)
    result = dlcli("train", path, "--profile", "9")
    assert result.returncode == 2
    assert result.stderr.endswith("such as 20:30; found '9'\n")
    assert not (tmp_path / "runs").exists()
    workers = dlcli("train", path, "--profile", "1:2", "--local-workers", "2")
    assert workers.returncode == 2
    assert workers.stderr == "--profile: supports a single device; omit --workers and --local-workers\n"


def test_the_command_shows_the_table_and_refuses_steps_that_a_resumed_run_has_done(tmp_path: Path, dlcli: Dlcli) -> None:
    path = write_spec(tmp_path, IRIS, model=MLP, training="epochs: 2")
    result = dlcli("train", path, "--profile", "6:8")
    assert result.returncode == 0, result.stderr
    assert "Time of a step by layer" in result.stdout
    assert "optimizer" in result.stdout
    extended = dlcli("train", "--resume", "tiny", "--set", "training.epochs=3", "--profile", "6:8")
    assert extended.returncode == 2
    assert "--profile: expected steps after 8, where the training is resumed; found 6:8" in extended.stderr


def test_own_time_is_without_the_events_inside() -> None:
    events = [Event(0, 100, "outer"), Event(10, 40, "inner"), Event(20, 30, "innermost"), Event(100, 120, "next")]
    own = {event.name: time for event, time in with_own_time(events)}
    assert own == {"outer": 70, "inner": 20, "innermost": 10, "next": 20}


def test_overlapping_intervals_are_counted_once() -> None:
    assert covered([(0, 10), (5, 20), (30, 40), (31, 32)]) == 30


@pytest.mark.parametrize(
    ("operation", "part"),
    [
        ("StatefulPartitionedCall/net_1/conv_1/Conv2D:Conv2D", ("layer", "conv", False)),
        ("while/body/_1/StatefulPartitionedCall/gradient_tape/net_1/conv_1/ReluGrad:ReluGrad", ("layer", "conv", True)),
        ("StatefulPartitionedCall/net_1/conv_1_1/Conv2D:Conv2D", ("layer", "conv_1", False)),
        ("StatefulPartitionedCall/net_1/inner_1/conv_1/Conv2D:Conv2D", ("layer", "inner/conv", False)),
        ("StatefulPartitionedCall/adam/truediv_9:RealDiv", ("optimizer", "optimizer", False)),
        ("StatefulPartitionedCall/compile_loss/mse/Mean:Mean", ("loss", "loss", False)),
        ("StatefulPartitionedCall/AssignAddVariableOp:AssignAddVariableOp", ("other", "metrics and others", False)),
    ],
)
def test_an_operation_belongs_to_the_innermost_scope(operation: str, part: tuple[str, str, bool]) -> None:
    layers = {"net_1/conv_1": "conv", "net_1/conv_1_1": "conv_1", "net_1/inner_1": "inner"}
    layers["net_1/inner_1/conv_1"] = "inner/conv"
    assert part_of(operation, Scopes(layers, ["adam"]), is_input=False) == part


def test_further_layers_are_summed() -> None:
    rows = [ProfileRow("layer", name, 1.0, 2.0, 3.0, 0.25, 4.0) for name in "ab"]
    assert merged_rows(rows) == [ProfileRow("layer", "2 further layers", 2.0, 4.0, 6.0, 0.5, 8.0)]
    assert merged_rows([]) == []


@pytest.mark.parametrize("content", ["part\nlayer\n", f"{','.join(COLUMNS)}\nlayer,a,x,1,1,1,1\n"])
def test_a_damaged_table_is_named(tmp_path: Path, content: str) -> None:
    run = RunFolder(tmp_path)
    run.profile_path.write_text(content)
    with pytest.raises(DamagedFile, match=r"profile\.csv: is no profile"):
        read_profile(run)
