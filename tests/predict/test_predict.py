"""Predictions for new examples equal those of the evaluation, whatever other files and columns there are."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import environment
from PIL import Image
from trainings import MLP, SMALL_CNN, bright_quarters, save_rows, trained, write_pngs, write_spec

from dlcli.errors import DataError, UsageError
from dlcli.predict.answers import layout_of
from dlcli.predict.inputs import matching_files
from dlcli.predict.predict import prepare
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.spec.data.sources.file_tree import walk
from dlcli.spec.data.sources.image_types import FORMATS
from dlcli.tasks import TASKS

pytestmark = pytest.mark.usefixtures("without_pictures")
BATCH = "batch_size: 16"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def photos(folder: Path) -> RunFolder:
    """A run on images of 8 x 8, its test split in more than one batch."""
    write_pngs(folder / "photos", each=20)
    data = f"image: {{size: [8, 8]}}, {BATCH}, split: {{test: 0.5}}"
    return trained(write_spec(folder, "{kind: folder, path: photos}", model=SMALL_CNN, data=data, name="photos"))


@pytest.fixture(scope="module")
def table(folder: Path) -> RunFolder:
    """A run on numbers and text, both with gaps."""
    random = np.random.default_rng(0)
    rows = [
        [
            f"{random.normal(40, 9):.2f}" if row % 7 else "",
            ("red", "green, pale", "")[row % 3],
            row % 5,
            "yes" if row % 3 else "no",
        ]
        for row in range(60)
    ]
    write_rows(folder / "table.csv", ["age", "Colour, x", "size", "target"], rows)
    source = "{kind: csv, path: table.csv, target: target}"
    return trained(write_spec(folder, source, task="binary", data=BATCH, name="table"))


def write_rows(path: Path, header: list[str], rows: Iterable[Iterable[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def predicted(
    run: RunFolder, *names: Path | str, top: int = 1, calibrate: bool = False
) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Returns the rows of a prediction's CSV, and the reasons of the skipped examples by name."""
    skipped: dict[str, str] = {}
    prediction = prepare(run, [str(name) for name in names], calibrate=calibrate)
    layout = layout_of(prediction.experiment.task)
    columns = layout.columns(prediction.classes, top)
    rows = [row for name in prediction.answers(skipped.__setitem__) for row in layout.rows(name, top)]
    return [dict(zip(columns, row, strict=True)) for row in rows], skipped


def answers(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Returns rows without the columns `id` and `label`."""
    return [{name: cell for name, cell in row.items() if name not in ("id", "label")} for row in rows]


def test_predictions_of_images_equal_the_evaluation_bit_for_bit(photos: RunFolder, folder: Path) -> None:
    scored = read_table(photos.evaluation("test") / "predictions.csv")
    rows, skipped = predicted(photos, *(folder / "photos" / row["id"] for row in scored))
    assert len(rows) == 40
    assert skipped == {}
    assert answers(rows) == answers(scored)
    assert [row["id"] for row in rows] == [str(folder / "photos" / row["id"]) for row in scored]


def test_predictions_of_rows_equal_the_evaluation_whatever_the_other_columns(table: RunFolder, folder: Path) -> None:
    scored = read_table(table.evaluation("test") / "predictions.csv")
    numbers = [int(row["id"].split("/")[1]) for row in scored]
    training_rows = read_table(folder / "table.csv")
    header = ["size", "more", "Colour, x", "age"]  # another order, no target
    path = write_rows(
        folder / "new.csv", header, [[training_rows[number].get(name, "?") for name in header] for number in numbers]
    )
    rows, skipped = predicted(table, path)
    assert skipped == {}
    assert answers(rows) == answers(scored)
    assert [row["id"] for row in rows][:2] == [f"{path}:1", f"{path}:2"]


def test_unreadable_images_are_reported_and_the_others_predicted(photos: RunFolder, tmp_path: Path) -> None:
    write_pngs(tmp_path / "new", each=2)
    (tmp_path / "new" / "a" / "empty.png").touch()
    (tmp_path / "new" / "b" / "text.png").write_text("no image")
    (tmp_path / "new" / "b" / "cut.png").write_bytes((tmp_path / "new" / "b" / "1.png").read_bytes()[:60])
    rows, skipped = predicted(photos, tmp_path / "new")
    assert len(rows) == 8
    assert {Path(name).name: reason for name, reason in skipped.items()} == {
        "empty.png": "an empty file",
        "text.png": f"not an image of a supported type ({', '.join(FORMATS)})",
        "cut.png": skipped[str(tmp_path / "new" / "b" / "cut.png")],
    }
    assert "not readable as an image" in skipped[str(tmp_path / "new" / "b" / "cut.png")]
    readable = [tmp_path / "new" / "a" / "0.png", tmp_path / "new" / "b" / "1.png"]
    among_others = answers([row for row in rows if row["id"] in map(str, readable)])
    for alone, row in zip(answers(predicted(photos, *readable)[0]), among_others, strict=True):
        assert alone.pop("predicted") == row.pop("predicted")
        # For a smaller batch a processor may add the products in another order.
        assert list(map(float, alone.values())) == pytest.approx(list(map(float, row.values())), abs=1e-6)


def test_a_prediction_without_a_readable_example_fails(photos: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match="no predictions: no example could be read"):
        predicted(photos, tmp_path / "empty.png")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty.png").unlink()
    with pytest.raises(DataError, match=r"suitable file; ignored 1 other file: \.txt 1, such as .*notes\.txt"):
        predicted(photos, tmp_path)


def test_folders_are_walked_patterns_matched_and_other_files_counted(photos: RunFolder, tmp_path: Path) -> None:
    write_pngs(tmp_path / "deep" / "er", each=1)
    (tmp_path / "deep" / "notes.txt").write_text("x")
    (tmp_path / "deep" / ".hidden.png").write_text("x")
    files, ignored = matching_files([str(tmp_path / "deep")], "images")
    assert [Path(path).name for path in files] == ["0.png", "1.png", "2.png", "3.png"]
    assert (
        list(ignored.notes())
        == list(prepare(photos, [str(tmp_path / "deep")]).notes)
        == [
            f"ignored 1 other file: .txt 1, such as {tmp_path}/deep/notes.txt",
            f"ignored 1 hidden or system file, such as {tmp_path}/deep/.hidden.png",
        ]
    )
    assert matching_files([str(tmp_path / "**" / "[12].png")], "images")[0] == files[1:3]
    with pytest.raises(UsageError, match=r"\*\.gif: matches no file"):
        prepare(photos, [str(tmp_path / "*.gif")])
    with pytest.raises(UsageError, match="this run's model takes images"):
        prepare(photos, [str(write_rows(tmp_path / "rows.csv", ["a"], []))])


def test_a_folder_gives_the_files_that_training_would_use(photos: RunFolder, folder: Path, tmp_path: Path) -> None:
    picture = Image.open(folder / "photos" / "a" / "0.png")
    for name, form in {"a.webp": "WEBP", "b.tif": "TIFF", "c.jfif": "JPEG", "d.ppm": "PPM", "e": "PNG"}.items():
        picture.save(tmp_path / name, form)
    (tmp_path / "linked").symlink_to(folder / "photos" / "b", target_is_directory=True)
    (tmp_path / "@eaDir").mkdir()
    picture.save(tmp_path / "@eaDir" / "thumb.jpg")
    below = walk(str(tmp_path)).files
    assert [os.path.relpath(path, tmp_path) for path in below][:6] == [
        "a.webp",
        "b.tif",
        "c.jfif",
        "d.ppm",
        "e",
        "linked/1.png",
    ]
    rows, skipped = predicted(photos, tmp_path)
    assert [row["id"] for row in rows] == below
    assert skipped == {}
    assert answers(rows[:5]) == answers(predicted(photos, *below[:5])[0])


def test_names_of_images_are_read_from_stdin(photos: RunFolder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(path) for path in sorted((folder / "photos" / "a").iterdir())[:3]]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join([*names[:2], "gone.png", "", names[2]])))
    rows, skipped = predicted(photos, "-")
    assert [row["id"] for row in rows] == names
    assert skipped == {"gone.png": "no such file"}


def test_rows_are_read_from_stdin(table: RunFolder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\ufeff" + (folder / "table.csv").read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    rows, _ = predicted(table, "-")
    assert answers(rows) == answers(predicted(table, folder / "table.csv")[0])
    assert rows[0]["id"] == "stdin:1"


def test_bad_rows_and_tables_are_named(table: RunFolder, tmp_path: Path) -> None:
    good = write_rows(tmp_path / "good.csv", ["age", "Colour, x", "size"], [[1, "red", 2], ["x", "red", 2], [1, "blue", 2]])
    lacking = write_rows(tmp_path / "lacking.csv", ["age", "sise"], [[1, 2]])
    (tmp_path / "latin.csv").write_bytes("age,Colour; x,size\n1,Köln,2\n".replace(";", "").encode("latin-1"))
    rows, skipped = predicted(table, good, lacking, tmp_path / "latin.csv")
    assert [row["id"] for row in rows] == [f"{good}:1", f"{good}:3"]
    assert skipped == {
        f"{good}:2": "column `age`: 'x' is not a number, or too large",
        str(lacking): "lacks the columns `Colour, x`, `size`; its header has age, sise",
        str(tmp_path / "latin.csv"): skipped[str(tmp_path / "latin.csv")],
    }
    assert "not UTF-8" in skipped[str(tmp_path / "latin.csv")]


def test_numpy_files_are_read_in_slices_and_others_refused(photos: RunFolder, tmp_path: Path) -> None:
    images, _ = bright_quarters(40, channels=3, seed=5)
    np.save(tmp_path / "images.npy", images)
    np.savez_compressed(tmp_path / "images.npz", x=images, other=np.zeros(3))
    np.savez(tmp_path / "large.npz", x=np.asarray([np.asarray(Image.fromarray(image).resize((16, 16), 0)) for image in images]))
    np.save(tmp_path / "floats.npy", images.astype("float32"))
    np.save(tmp_path / "turned.npy", np.asfortranarray(images))
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "none.npz", a=images, b=images)
    with (tmp_path / "huge.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (1, 10**18)})
    (tmp_path / "cut.npy").write_bytes((tmp_path / "images.npy").read_bytes()[:-10])
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:03}.png")
    rows, skipped = predicted(photos, tmp_path / "images.npy", tmp_path / "images.npz")
    pictures, _ = predicted(photos, tmp_path / "*.png")
    assert skipped == {}
    assert answers(rows) == answers(pictures) * 2
    assert rows[41]["id"] == f"{tmp_path / 'images.npz'}:1"
    assert len(predicted(photos, tmp_path / "large.npz")[0]) == 40
    all_rows, skipped = predicted(photos, *sorted(tmp_path.glob("*.np[yz]")))
    assert {Path(name).name for name in skipped} == {
        *("bad.npz", "cut.npy", "floats.npy", "huge.npy", "none.npz", "objects.npy", "turned.npy")
    }
    reasons = {Path(name).name: reason for name, reason in skipped.items()}
    assert reasons["floats.npy"] == "holds float32 of shape (8, 8, 3); the model takes images of uint8, 0 to 255"
    assert reasons["none.npz"] == "has no array `x`; it holds a, b"
    assert reasons["huge.npy"] == "is larger than the memory"
    assert reasons["cut.npy"] == "is truncated in row 39"
    assert "not rows of numbers" in reasons["objects.npy"]
    assert "Fortran" in reasons["turned.npy"]
    assert len(all_rows) == 40 * 3 + 32  # of the cut file the batch before


@pytest.mark.parametrize(("task", "target"), [("regression", "y2"), ("multilabel", "labels")])
def test_values_and_labels(folder: Path, task: str, target: str) -> None:
    save_rows(folder / "rows.npz")
    spec = write_spec(folder, f"{{kind: npz, path: rows.npz, target: {target}}}", task=task, data=BATCH, name=task)
    run = trained(spec)
    rows, _ = predicted(run, folder / "rows.npz")
    assert list(rows[0]) == ["id", f"predicted_{target}_0", f"predicted_{target}_1"]
    scored = {row["id"]: row for row in read_table(run.evaluation("test") / "predictions.csv")}
    for row in scored.values():
        predicted_row = rows[int(row["id"].split("/")[1])]
        assert all(float(predicted_row[name]) == pytest.approx(float(row[name]), abs=1e-6) for name in list(predicted_row)[1:])
    (first, *_) = prepare(run, [str(folder / "rows.npz")]).answers(lambda name, why: None)
    objects = list(layout_of(first.task).objects(first, 1))
    if task == "regression":
        assert list(objects[0]["values"]) == [f"{target}_0", f"{target}_1"]
        with pytest.raises(UsageError, match="--calibrated is for probabilities"):
            prepare(run, ["-"], calibrate=True)
        return
    assert {len(entry["labels"]) for entry in objects} >= {1}
    for entry in objects:
        shares = entry["probabilities"]
        assert entry["labels"] == sorted((name for name in shares if shares[name] > 0.5), key=lambda name: -shares[name])


def test_the_most_likely_classes_come_first(photos: RunFolder, folder: Path) -> None:
    rows, _ = predicted(photos, folder / "photos" / "a", top=9)
    assert list(rows[0])[:9] == [
        "id",
        "predicted",
        "probability",
        *(f"{x}_{n}" for n in (2, 3, 4) for x in ("class", "probability")),
    ]
    for row in rows:
        shares = {name: row[f"p_{name}"] for name in "abcd"}
        ranked = sorted(shares, key=lambda name: -float(shares[name]))
        assert [row["predicted"], row["class_2"], row["class_3"], row["class_4"]] == ranked
        assert [row["probability"], row["probability_4"]] == [shares[ranked[0]], shares[ranked[3]]]
    (first, *_) = prepare(photos, [str(folder / "photos" / "a")]).answers(lambda name, why: None)
    (entry, *_) = layout_of(first.task).objects(first, 2)
    assert [candidate["class"] for candidate in entry["top"]] == [rows[0]["predicted"], rows[0]["class_2"]]
    assert entry["probability"] == float(rows[0]["probability"])


def test_calibrated_probabilities_need_a_temperature(photos: RunFolder, folder: Path) -> None:
    from dlcli.score.calibration import calibrated

    with pytest.raises(UsageError, match=r"is not calibrated: dlcli evaluate .* --calibrate"):
        predicted(photos, folder / "photos", calibrate=True)
    plain, _ = predicted(photos, folder / "photos")
    photos.write_temperature(2.0, "validation", 10)
    try:
        rows, _ = predicted(photos, folder / "photos", calibrate=True)
    finally:
        (photos.path / "calibration.json").unlink()
    plain_shares = np.array([[row[f"p_{name}"] for name in "abcd"] for row in plain], "float32")
    calibrated_shares = np.array([[row[f"p_{name}"] for name in "abcd"] for row in rows], "float32")
    assert np.array_equal(calibrated_shares, calibrated(plain_shares, 2.0, TASKS["classification"]).astype("float32"))
    assert [row["predicted"] for row in rows] == [row["predicted"] for row in plain]


def test_examples_do_not_accumulate_in_memory(photos: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures the memory of Python and NumPy for images and rows of an array; the slow test below measures the process."""
    run, _ = photos, (tmp_path / "x").mkdir()
    path = write_pngs(tmp_path / "x", each=1) / "a" / "0.png"
    image = np.asarray(Image.open(path))

    def peak(count: int) -> int:
        np.save(tmp_path / "images.npy", np.broadcast_to(image, (count, *image.shape)))
        monkeypatch.setattr(sys, "stdin", (f"{path}\n" for _ in range(count)))
        prediction = prepare(run, ["-", str(tmp_path / "images.npy")])
        tracemalloc.start()
        examples = sum(len(batch.ids) for batch in prediction.answers(pytest.fail))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert examples == 2 * count
        return highest

    peak(64)  # memory that is allocated once
    small_peak, large_peak = peak(200), peak(2200)
    assert large_peak - small_peak < 4000 * image.nbytes / 3  # a third of the further images alone, without their names


@pytest.mark.slow
def test_twenty_thousand_images_take_no_more_memory_than_a_thousand(tmp_path: Path) -> None:
    write_pngs(tmp_path / "photos", each=8, side=64)
    data = "image: {size: [64, 64]}, batch_size: 64"
    run = trained(write_spec(tmp_path, "{kind: folder, path: photos}", model=f"{MLP}", data=data, training="epochs: 1"))
    random = np.random.default_rng(0)
    (tmp_path / "many").mkdir()
    for number in range(20):
        Image.fromarray(random.integers(0, 255, (200, 200, 3), "uint8")).save(tmp_path / f"{number}.jpg")
    for number in range(20_000):
        os.link(tmp_path / f"{number % 20}.jpg", tmp_path / "many" / f"{number:05}.jpg")
    program = (
        "import sys; from dlcli.cli.app import app\n"
        "try: app(prog_name='dlcli')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "status = open('/proc/self/status').read()\n"
        "print(status.split('VmHWM:')[1].split()[0], file=sys.stderr)"
    )

    def peak(pattern: str, count: int) -> int:
        """Returns the largest memory of a process, in bytes."""
        out = tmp_path / f"{count}.csv"
        arguments = ["predict", str(run.path), str(tmp_path / "many" / pattern), "--csv", str(out)]
        process = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environment(), check=False
        )
        assert process.returncode == 0, process.stderr
        assert len(read_table(out)) == count
        return 1024 * int(process.stderr.split()[-1])

    small_peak, large_peak = peak("00*.jpg", 1000), peak("*.jpg", 20_000)
    print(f"1,000 images: {small_peak / 2**20:.0f} MiB, 20,000: {large_peak / 2**20:.0f} MiB")
    assert large_peak - small_peak < 200e6
