"""`init` looks at the data: what it sees stands in the spec, what it cannot tell is asked for."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Dlcli
from PIL import Image
from typer.testing import CliRunner

from dlcli.cli.app import app
from dlcli.cli.scaffold import Options, Questions, new_spec
from dlcli.runs import RunFolder
from dlcli.spec.load import load
from dlcli.tasks import TASKS

PEOPLE = "id,age,price,sold,rooms,grade,note\n" + "".join(
    f"{row},{20 + row % 37},{100000 + 37 * row * row},{'yes' if row % 3 else 'no'},{row % 7 + 2},{row % 3},none\n"
    for row in range(200)
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "houses.csv").write_text(PEOPLE)
    return tmp_path


def init(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["init", *arguments], prog_name="dlcli")


def refused(*arguments: str) -> str:
    """Returns why `init` refuses, and asserts that nothing was written."""
    before = sorted(Path().rglob("*"))
    done = init(*arguments)
    assert (done.exit_code, done.stdout, sorted(Path().rglob("*"))) == (2, "", before), done.output
    return str(done.stderr)


def written(*arguments: str) -> Any:
    """Returns the spec that `init` writes, which `check` accepts."""
    done = init(*arguments)
    assert done.exit_code == 0, done.stderr
    path = Path(done.stdout.strip())
    load(path)
    return yaml.safe_load(path.read_text())


def photos(folder: Path, classes: tuple[str, ...] = ("ant", "bee"), size: tuple[int, int] = (300, 240), count: int = 3) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", size, (number * 20, 0, 0)).save(folder / name / f"{number}.jpg")
    return folder


def test_the_target_of_a_table_is_asked_for_and_the_columns_are_listed(here: Path) -> None:
    words = refused("--data", "houses.csv")
    assert words.startswith("--target: name the column to predict; houses.csv has id (identifier, 200 values), age")
    assert "price (whole number, 200 values), sold (category, 2 values)" in words
    assert (
        refused("--data", "houses.csv", "--target", "prise") == "--target: 'prise' is not one of them; did you mean 'price'?\n"
    )


@pytest.mark.parametrize(("target", "task"), [("price", "regression"), ("sold", "binary"), ("grade", "classification")])
def test_the_task_follows_from_the_values_of_the_target(here: Path, target: str, task: str) -> None:
    spec = written("--data", "houses.csv", "--target", target)
    assert spec["task"] == task
    assert spec["data"]["source"] == {
        "kind": "csv",
        "path": "houses.csv",
        "target": target,
        "drop": ["id", "note"],
    }


def test_a_task_that_is_unsure_is_asked_for_and_one_that_does_not_fit_is_refused(here: Path) -> None:
    words = refused("--data", "houses.csv", "--target", "rooms")
    assert "--task: the target rooms has 7 different whole numbers" in words
    assert written("--data", "houses.csv", "--target", "rooms", "--task", "regression", "--name", "r")["task"] == "regression"
    words = refused("--data", "houses.csv", "--target", "price", "--task", "classification")
    assert words == "--task: classification does not fit price (200 different numbers): regression does\n"
    assert "'clasification' is not one of them; did you mean 'classification'" in refused(
        "--data", "iris", "--task", "clasification"
    )


def test_columns_that_a_model_cannot_use_are_dropped_with_the_reason(here: Path) -> None:
    done = init("--data", "houses.csv", "--target", "price")
    text = Path("houses_mlp.yaml").read_text()
    assert "      - id                     # identifies the rows\n      - note " in text
    assert "left out id: it identifies the rows" in done.stderr
    (here / "two.csv").write_text("id,y\n" + "".join(f"{row},{row % 2}\n" for row in range(30)))
    assert "no usable input column is left: id identifies the rows" in refused("--data", "two.csv", "--target", "y")


def test_several_targets_are_labels_or_numbers(here: Path) -> None:
    (here / "tags.csv").write_text(
        "size,a,b,n\n" + "".join(f"{row / 7},{row % 2},{row % 3 // 2},{row * 1.5}\n" for row in range(30))
    )
    assert written("--data", "tags.csv", "--target", "a", "--target", "b", "--name", "m")["task"] == "multilabel"
    assert written("--data", "tags.csv", "--target", "a", "--target", "n", "--name", "r")["task"] == "regression"
    words = refused("--data", "houses.csv", "--target", "sold", "--target", "age")
    assert words == "--target: several targets must be numbers, but sold contains yes, no\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.tsv", b"a\tb\ty\n1.5\tx\t1\n2.5\ty\t0\n3.5\tx\t1\n"),
        ("ROWS.CSV", b"a;b;y\n1,5;x;1\n2,5;y;0\n3,5;x;1\n"),
        ("rows.csv.gz", gzip.compress(b"a,b,y\n1.5,x,1\n2.5,y,0\n3.5,x,1\n", mtime=0)),
    ],
)
def test_a_table_is_read_as_it_is_written(here: Path, name: str, content: bytes) -> None:
    (here / name).write_bytes(content)
    spec = written("mine.yaml", "--data", name, "--target", "y")
    assert (spec["task"], spec["data"]["source"]["path"]) == ("binary", name)
    from dlcli.spec.data.sources.base import Request

    opened = load("mine.yaml").experiment.data.source.open(Request(TASKS["binary"], None, 0))
    assert opened.parts["train"].inputs.columns["a"].tolist() == [1.5, 2.5, 3.5]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("typo_of_nothing_at_all", "there is no file, folder or dataset 'typo_of_nothing_at_all'"),
        ("hauses.csv", "there is no file or folder hauses.csv; did you mean 'houses.csv'?"),
        ("houses", "there is no file, folder or dataset 'houses'; did you mean 'houses.csv'?"),
        ("mnits", "there is no file, folder or dataset 'mnits'; did you mean 'mnist'?"),
        ("./digits", "there is no file or folder ./digits"),
    ],
)
def test_data_that_is_not_there_is_refused(here: Path, data: str, words: str) -> None:
    assert words in refused("--data", data)


def test_a_folder_of_photos_begins_with_a_small_backbone(here: Path) -> None:
    photos(here / "photos")
    done = init("--data", "photos")
    assert done.exit_code == 0, done.stderr
    assert "downloads the weights of MobileNet for ImageNet, about 2 MB" in done.stderr
    assert "dlcli init --data photos --model cnn" in done.stderr
    spec = yaml.safe_load(Path("photos_transfer.yaml").read_text())
    assert (spec["task"], spec["model"]["backbone"]) == ("binary", {"kind": "mobilenet", "alpha": 0.25})
    assert [stage["train"] for stage in spec["training"]["stages"]] == ["head", {"last": 20}]
    assert {"kind": "random_flip", "mode": "horizontal"} in spec["data"]["augment"]
    assert load("photos_transfer.yaml").experiment.model.kind == "transfer"


@pytest.mark.slow
def test_the_spec_of_a_folder_of_photos_trains_as_written(here: Path, test_data: Path, dlcli: Dlcli) -> None:
    weights = test_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    (here / "photos").symlink_to(test_data / "images" / "ants_bees")
    init("--data", "photos", "--weights", str(weights), "--name", "insects")
    done = dlcli("train", "insects.yaml", "--offline", "--quiet", timeout=600)
    assert done.returncode == 0, done.stderr
    scores = RunFolder(Path(done.stdout.strip())).metrics("test")["metrics"]
    assert scores["accuracy"]["value"] > 0.75


def test_the_model_is_chosen_by_size_and_count_of_images_and_can_be_named(here: Path) -> None:
    photos(here / "tiny", size=(32, 32))
    spec = written("--data", "tiny")
    assert (spec["model"]["kind"], spec["data"]["image"]) == ("cnn", {"size": [32, 32], "channels": 3})
    photos(here / "middle", ("left", "right", "up"), size=(150, 140))
    spec = written("--data", "middle")
    assert spec["model"]["backbone"] == {"kind": "mobilenet", "alpha": 0.25, "input_size": [128, 128]}
    assert [entry["kind"] for entry in spec["data"]["augment"]] == ["random_translation"]
    assert written("--data", "middle", "--model", "cnn")["data"]["image"] == {"size": [96, 96], "channels": 3}
    spec = written("--data", "middle", "--model", "mobilenet_v2", "--name", "v2")
    assert spec["model"]["backbone"] == {"kind": "mobilenet_v2", "input_size": [128, 128]}
    assert "did you mean 'mobilenet_v2'" in refused("--data", "middle", "--model", "mobilnet_v2")


def test_a_file_of_weights_says_its_backbone(here: Path) -> None:
    photos(here / "photos")
    (here / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5").touch()
    spec = written("--data", "photos", "--weights", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5")
    assert (spec["model"]["backbone"]["kind"], spec["model"]["backbone"]["alpha"]) == ("mobilenet_v2", 0.35)
    assert "there is no file none.h5" in refused("--data", "photos", "--weights", "none.h5")
    assert "a cnn has no backbone" in refused("--data", "photos", "--model", "cnn", "--weights", "none.h5")


def test_options_that_do_not_fit_a_folder_are_refused(here: Path) -> None:
    photos(here / "photos", ("a1", "b2", "c3"))
    assert "--target: photos is a folder, whose classes are its folders" in refused("--data", "photos", "--target", "price")
    assert "--task: regression does not fit photos (3 class folders" in refused("--data", "photos", "--task", "regression")
    (here / "tables").mkdir()
    (here / "tables" / "rows.csv").write_text(PEOPLE)
    assert "name a file, e.g. --data tables/rows.csv" in refused("--data", "tables")


def test_arrays_are_recognised_by_their_names_and_values(here: Path) -> None:
    images = np.zeros((30, 8, 8), "uint8")
    np.savez(
        "keras.npz", train_images=images, train_labels=np.arange(30) % 3, test_images=images, test_labels=np.arange(30) % 3
    )
    source = written("--data", "keras.npz")["data"]["source"]
    assert (source["features"], source["target"]) == ("images", "labels")
    np.savez("short.npz", x_tr=images, y_tr=np.arange(30) % 3, x_dev=images[:5], y_dev=np.arange(5) % 3)
    assert "--target: name the array with the labels; short.npz holds x_tr 30x8x8" in refused("--data", "short.npz")
    np.savez("digits.npz", x_train=images, y_train=np.arange(30) % 3, x_test=images, y_test=np.arange(30) % 3)
    spec = written("--data", "digits.npz")
    assert (spec["task"], spec["model"]["kind"]) == ("classification", "cnn")
    np.savez("rows.npz", measured=np.zeros((30, 4)), wanted=np.linspace(0, 1, 30))
    assert "--target: name the array with the labels; rows.npz holds measured 30x4, wanted 30" in refused("--data", "rows.npz")
    spec = written("--data", "rows.npz", "--target", "wanted")
    assert (spec["task"], spec["data"]["source"]["features"]) == ("regression", "measured")


def test_a_shipped_spec_takes_other_data(here: Path) -> None:
    photos(here / "photos")
    spec = written("--from", "flowers_mobilenet_v2", "--data", "photos", "--name", "mine")
    assert (spec["name"], spec["data"]["source"]) == ("mine", {"kind": "folder", "path": "photos"})
    assert "split" not in spec["data"]
    assert "tf_flowers" not in Path("mine.yaml").read_text()
    spec = written("--from", "diabetes_mlp", "--data", "houses.csv", "--target", "price", "--name", "prices")
    assert (spec["task"], spec["data"]["source"]["target"], spec["model"]["units"]) == ("regression", "price", [32, 16])


def test_what_a_shipped_spec_cannot_be_combined_with_is_refused(here: Path) -> None:
    words = refused("--from", "iris_mlp", "--data", "houses.csv", "--target", "price")
    assert words.startswith("--from iris_mlp does not fit houses.csv:\n  training.metrics.0: `accuracy` does not fit")
    assert "iris_mlp is for classification; houses.csv is for regression" in words
    assert "--target: name the column" in refused("--from", "diabetes_mlp", "--data", "houses.csv")
    assert "--target needs --data" in refused("--from", "iris_mlp", "--target", "price")
    assert "--task: iris_mlp is for classification" in refused("--from", "iris_mlp", "--task", "regression")
    assert "--model cannot be combined with --from" in refused("--from", "iris_mlp", "--model", "cnn")


def test_a_terminal_is_asked_what_is_unsure_until_an_answer_fits(here: Path) -> None:
    asked: list[tuple[str, str]] = []
    answers = iter(["hauses.csv", "prise", "price", "regression", "mlp", "mine"])

    def ask(question: str, default: str) -> str:
        asked.append((question, default))
        return next(answers)

    (here / "hauses.csv").write_text(PEOPLE)
    path, text, _ = new_spec(Options(), Questions(ask))
    assert (path, yaml.safe_load(text)["data"]["source"]["target"]) == (Path("mine.yaml"), "price")
    questions = [question for question, _ in asked]
    assert questions[1].endswith("Target column (id, age, price, sold, rooms, grade, note)")
    assert questions[2].startswith("--target: 'prise' is not one of them; did you mean 'price'?")
    assert questions[3] == "Task, 200 different numbers (regression)"
    assert asked[1][1] == "price", "a likely name is the default"


def test_numbers_with_marks_of_thousands_are_no_classes(here: Path) -> None:
    rows = "".join(f'"{1 + row % 9}.{100 + 7 * row},50";{row % 7};a\n' for row in range(40))
    (here / "de.csv").write_text(f"price;size;kind\n{rows}")
    spec = written("--data", "de.csv", "--target", "price")
    assert (spec["task"], spec["data"]["source"]["thousands"]) == ("regression", ".")
    rows = "".join(f'"${row + 1},{100 + row}.00",{row % 7 / 3},{"" if row < 3 else row * 2.5}\n' for row in range(40))
    (here / "usd.csv").write_text(f"price,size,y\n{rows}")
    source = written("--data", "usd.csv", "--target", "price", "--name", "a")["data"]["source"]
    assert source["numeric"] == ["price"]
    source = written("--data", "usd.csv", "--target", "y", "--name", "b")["data"]["source"]
    assert (source["numeric"], source["missing_target"]) == (["price"], "drop")
    assert "3 of 40 rows without a target" in Path("b.yaml").read_text()


def test_a_file_without_a_header_and_in_another_encoding_says_so(here: Path) -> None:
    rows = "".join(f"{row % 5},Stra\u00dfe {row % 3},{row * 1.25 + 9000}\n" for row in range(40))
    (here / "plain.csv").write_bytes(rows.encode("latin-1"))
    assert "column_3 (number, 40 values); its first row holds values such as" in refused("--data", "plain.csv")
    source = written("--data", "plain.csv", "--target", "column_3")["data"]["source"]
    assert (source["header"], source["encoding"]) == (False, "latin-1")


def test_names_are_made_plain_and_an_empty_data_is_refused(here: Path) -> None:
    assert written("my spec.yaml", "--data", "iris")["name"] == "my_spec"
    assert refused("--data", "").startswith("--data: is empty")


def test_many_columns_that_are_left_out_fill_no_screen(here: Path) -> None:
    names = [f"c{place}" for place in range(60)]
    row = ",".join(["5"] * 60)
    (here / "wide.csv").write_text(f"{','.join(names)},x,y\n" + "".join(f"{row},{n % 7},{'ab'[n % 2]}\n" for n in range(20)))
    done = init("--data", "wide.csv", "--target", "y")
    assert done.stderr.count("left out c") == 10
    assert "left out 50 more columns for the same reason; the spec lists them" in done.stderr
    assert yaml.safe_load(Path(done.stdout.strip()).read_text())["data"]["source"]["drop"] == names


def test_what_only_looks_like_more_classes_columns_or_an_encoding_is_told(here: Path) -> None:
    (here / "labels.csv").write_text("x,y\n" + "".join(f"{n % 7},{('1', '1.0', '2', '2.0')[n % 4]}\n" for n in range(40)))
    assert written("--data", "labels.csv", "--target", "y")["task"] == "binary"
    (here / "quoted.csv").write_text('"x,y"\n"1,2"\n"3,4"\n')
    assert "each of its lines is one cell, such as 'x,y'" in refused("--data", "quoted.csv", "--target", "y")
    (here / "colons.csv").write_text("x:y\n1:2\n3:4\n")
    assert "no separator except colons" in refused("--data", "colons.csv", "--target", "y")
    (here / "cities.csv").write_bytes(b"c,x,y\n" + "".join(f"Z\u00fcrich,{n},{n % 2}\n" for n in range(9)).encode("latin-1"))
    assert "has no byte order mark: latin-1 is a guess" in init("--data", "cities.csv", "--target", "y").stderr


def test_names_of_image_files_and_words_for_gaps_are_reported(here: Path) -> None:
    Path("names.csv").write_text("file,y\n" + "".join(f"p{row}.jpg,{'ab'[row % 2]}\n" for row in range(40)))
    assert "file holds names of image files, which are not opened; `kind: image_table` reads" in refused(
        "--data", "names.csv", "--target", "y"
    )
    Path("gaps.csv").write_text("x,y\n" + "".join(f"{row if row % 9 else '<1'},{'ab'[row % 2]}\n" for row in range(40)))
    assert written("--data", "gaps.csv", "--target", "y")["data"]["source"]["missing"] == ["<1"]
    assert "'<1' is read as a missing value in x" in Path("gaps_mlp.yaml").read_text()


def test_texts_and_series_begin_with_a_sequence_model(here: Path) -> None:
    rows = "".join(f'{row},"{row} reasons to see this long and winding film","Ann B, {row}",{row % 2}\n' for row in range(60))
    (here / "films.csv").write_text("id,review,author,label\n" + rows)
    (here / "dishes.csv").write_text(
        "review,label\n" + "".join(f"味道还可以{chr(0x4E00 + row)},{row % 2}\n" for row in range(60))
    )
    for name in ("sport/1", "sport/2", "arts/1"):
        (here / "news" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "news" / f"{name}.txt").write_text("a text")
    for part in ("TRAIN", "TEST"):
        (here / f"Moves_{part}.ts").write_text("@classLabel true up down\n@data\n1,2,3:up\n3,2,1:down\n")
    np.savez(here / "waves.npz", x=np.zeros((8, 30, 2), "float32"), y=np.arange(8) % 2)
    for arguments, source, model in (
        (("films.csv", "--target", "label"), {"text": ["review"], "drop": ["id", "author"]}, "kim_cnn"),
        (("dishes.csv", "--target", "label"), {"text": ["review"]}, "kim_cnn"),
        (("news",), {"kind": "text_folder"}, "kim_cnn"),
        (("Moves_TRAIN.ts",), {"kind": "ts", "path": "Moves_TRAIN.ts", "test": "Moves_TEST.ts"}, "fcn"),
        (("waves.npz",), {"kind": "npz"}, "fcn"),
    ):
        assert init("--data", *arguments).exit_code == 0
        path = max(here.glob("*.yaml"), key=lambda file: file.stat().st_mtime_ns)
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert spec["model"] == {"kind": "sequence", "layers": model}
        assert spec["data"]["source"].items() >= source.items()
        assert spec["data"].get("text") == ({"split": "character"} if arguments[0] == "dishes.csv" else None)
        assert load(path)
    assert "omit --model" in refused("--data", "news", "--model", "cnn", "--name", "other")
