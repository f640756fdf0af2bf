"""Which folder is which part, as people name and nest them."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dlcli.spec.data.sources import Opened
from dlcli.spec.data.sources.folder import Folder
from dlcli.spec.data.sources.part_names import part_of
from dlcli.tasks import TASKS
from spec.sources.opening import opened, request


def images(folder: Path, *places: str) -> Folder:
    """Writes an image at each place, which is a file's path or a folder's."""
    for place in places:
        path = folder / place if place.endswith(".png") else folder / place / "0.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (10, 90, 200)).save(path)
    return Folder(kind="folder", path=str(folder))


def classes_of(*parts: str) -> list[str]:
    return [f"{part}/{name}" for part in parts for name in ("cats", "dogs")]


def found(source: Folder) -> Opened:
    return opened(source, size=(4, 6))


def counts(source: Folder) -> dict[str, int]:
    return {part: len(examples) for part, examples in found(source).parts.items()}


def fault(source: Folder) -> str:
    ((key, message),) = source.faults()
    assert key in ("path", "parts")
    assert not source.facts(TASKS["classification"]).classes
    return message


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", ("train", "")),
        ("Training", ("train", "")),
        ("TrainingSet", ("train", "")),
        ("training_set", ("train", "")),
        ("seg_train", ("train", "seg")),
        ("train_images", ("train", "")),
        ("trainData", ("train", "")),
        ("trainset", ("train", "")),
        ("train2017", ("train", "2017")),
        ("asl_alphabet_test", ("test", "asl alphabet")),
        ("VALID-set", ("validation", "")),
        ("validate", ("validation", "")),
        ("dev", ("validation", "")),
        ("hold-out", ("test", "")),
        ("HoldoutSet", ("test", "")),
        ("eval", ("evaluation", "")),
        ("evaluation data", ("evaluation", "")),
        ("train_test", None),
        ("trainer", None),
        ("contest", None),
        ("devil", None),
        ("cats", None),
    ],
)
def test_part_names(name: str, part: Any) -> None:
    assert part_of(name) == part


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("Training", "Testing"), ("train", "test")),
        (("training_set", "test_set"), ("train", "test")),
        (("seg_train", "seg_test"), ("train", "test")),
        (("train_images", "val_images", "holdout"), ("train", "validation", "test")),
        (("TRAIN", "Dev"), ("train", "validation")),
        (("train", "validate"), ("train", "validation")),
        (("train", "valid_set"), ("train", "validation")),
        (("train", "eval"), ("train", "test")),
        (("train", "eval", "test"), ("train", "validation", "test")),
        (("train", "val", "eval"), ("train", "validation", "test")),
    ],
)
def test_parts_are_found_by_their_usual_names(tmp_path: Path, names: tuple[str, ...], parts: tuple[str, ...]) -> None:
    source = images(tmp_path, *classes_of(*names))
    facts = source.facts(TASKS["binary"])
    assert counts(source) == dict.fromkeys(parts, 2)
    assert found(source).classes == ("cats", "dogs")
    assert (facts.has_validation, facts.has_test) == ("validation" in parts, "test" in parts)
    for name, part in zip(names, parts, strict=True):
        assert found(source).parts[part].ids == [f"{name}/cats/0.png", f"{name}/dogs/0.png"]


def test_names_that_are_not_plain_are_shown(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("Training", "Testing"))
    assert found(source).notes == (f"the splits are read from {tmp_path}/Training (train), {tmp_path}/Testing (test)",)
    assert list(source.notes()) == list(found(source).notes)


@pytest.mark.parametrize("above", ["data", "archive/data"])
def test_parts_below_a_folder_around_them_are_found(tmp_path: Path, above: str) -> None:
    source = images(tmp_path, *classes_of(f"{above}/train", f"{above}/test"))
    assert counts(source) == {"train": 2, "test": 2}
    assert found(source).parts["test"].ids[0] == f"{above}/test/cats/0.png"
    assert "the splits are read from" in found(source).notes[0]


def test_parts_below_a_folder_beside_folders_without_images_are_found(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("data/train", "data/test"))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "a.ipynb").write_text("{}")
    assert counts(source) == {"train": 2, "test": 2}
    assert f"ignored 1 other file: .ipynb 1, such as {tmp_path}/notebooks/a.ipynb" in found(source).notes


def test_parts_below_one_of_several_folders_with_images_are_refused_with_the_path(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("data/train", "data/test"), "figures")
    assert fault(source) == f"{tmp_path}/data contains splits itself: set data.source.path: {tmp_path}/data"


def test_a_single_folder_around_the_class_folders_is_entered(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("PetImages"), "__MACOSX")
    assert found(source).classes == ("cats", "dogs")
    assert found(source).parts["train"].ids == ["PetImages/cats/0.png", "PetImages/dogs/0.png"]
    assert f"the class folders are those in {tmp_path}/PetImages" in found(source).notes


def test_a_folder_inside_a_part_of_its_own_name_is_entered(tmp_path: Path) -> None:
    parts = ("seg_train/seg_train", "seg_test/seg_test")
    source = images(tmp_path, *classes_of(*parts), "seg_pred/seg_pred/1.png", "seg_pred/seg_pred/2.png")
    assert counts(source) == {"train": 2, "test": 2}
    assert found(source).notes == (
        f"the splits are read from {tmp_path}/seg_train/seg_train (train), {tmp_path}/seg_test/seg_test (test)",
        f"{tmp_path}/seg_pred holds 2 images and is not used; `data.source.parts` names the folders of the splits",
    )


@pytest.mark.parametrize("inner", ["", "test/", "unknown/", "test_images/"])
def test_a_test_folder_without_labels_is_left_out_with_a_way_to_predict_on_it(tmp_path: Path, inner: str) -> None:
    source = images(tmp_path, *classes_of("train"), f"test/{inner}1.png", f"test/{inner}2.png")
    assert counts(source) == {"train": 2}
    assert source.facts(TASKS["classification"]).has_test is False
    assert found(source).notes == (
        f"{tmp_path}/test holds 2 images without class folders: the test images have no labels and are not used;"
        f" `dlcli predict RUN {tmp_path}/test` predicts on them",
    )


def test_an_empty_part_is_none(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("train"))
    (tmp_path / "val" / "cats").mkdir(parents=True)
    assert counts(source) == {"train": 2}
    assert found(source).notes == (f"{tmp_path}/val holds no images: the source has no validation split",)


def test_two_folders_for_one_part_are_refused_with_the_field_to_set(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("train", "val", "dev"))
    assert fault(source) == (
        f"{tmp_path} holds 2 folders for the validation split: dev and val; name the folder to use:"
        f" data.source: {{kind: folder, path: {tmp_path}, parts: {{train: ..., validation: dev}}}}"
    )
    chosen = source.model_copy(update={"parts": {"train": "train", "validation": "val"}})
    assert counts(chosen) == {"train": 2, "validation": 2}
    assert f"{tmp_path}/dev holds 2 images and is not used" in found(chosen).notes[0]
    both = images(tmp_path / "b", *classes_of("a_train", "a_test", "b_train", "b_test"))
    assert fault(both).startswith(f"{tmp_path}/b holds several training folders: a_train, b_train; name the folder to use")


def test_folders_beside_the_parts_are_named_with_their_images(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("train", "test", "extra/more"), "loose.png", "train/loose.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "train.xml").write_text("x")
    (tmp_path / "metadata.csv").write_text("file_name\n")
    assert found(source).notes == (
        f"{tmp_path}/extra holds 2 images and is not used; `data.source.parts` names the folders of the splits",
        f"1 image is in {tmp_path}, beside its folders, and is not used, such as {tmp_path}/loose.png",
        f"1 image is in {tmp_path}/train, beside its folders, and is not used, such as {tmp_path}/train/loose.png",
        f"ignored 1 other file: .xml 1, such as {tmp_path}/labels/train.xml",
    )


@pytest.mark.parametrize("names", [("fold1", "fold2"), ("first", "second", "third"), ("my_train", "holdout")])
def test_class_folders_that_hold_only_equal_folders_are_refused_with_the_ways_out(tmp_path: Path, names: Any) -> None:
    source = images(tmp_path, *classes_of(*names))
    first, last = sorted(names)[0], sorted(names)[-1]
    assert fault(source) == (
        f"{tmp_path}: its folders ({', '.join(sorted(names))}) hold no images, only folders with the same names (cats, dogs);"
        f" if cats, dogs are the classes, set data.source.path: {tmp_path}/{first}, or name the folders of the splits,"
        f" such as data.source.parts: {{train: {last}, test: {first}}};"
        f" if {', '.join(sorted(names))} are the classes, set data.source.parts: {{}}"
    )
    assert counts(source.model_copy(update={"path": f"{tmp_path}/{first}"})) == {"train": 2}
    assert counts(source.model_copy(update={"parts": {"train": last, "test": first}})) == {"train": 2, "test": 2}
    assert found(source.model_copy(update={"parts": {}})).classes == tuple(sorted(names))


def test_the_largest_of_equal_folders_is_proposed_as_the_training_part(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("Entrenamiento", "Prueba"), "Entrenamiento/cats/1.png")
    assert "such as data.source.parts: {train: Entrenamiento, test: Prueba}" in fault(source)


def test_a_folder_without_images_beside_the_class_folders_comes_with_the_path_to_give(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("images"))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "0.xml").write_text("x")
    assert list(source.faults()) == [
        (
            "path",
            f"{tmp_path}/annotations: no images in this class folder; it contains .xml 1; if the classes are the folders in"
            f" {tmp_path}/images, set data.source.path: {tmp_path}/images",
        )
    ]


def test_other_data_of_known_classes_is_never_taken_for_parts(tmp_path: Path) -> None:
    source = images(tmp_path / "a", *classes_of("training", "testing"))
    assert sorted(source.elsewhere(source.path).open(request(size=(4, 6))).parts) == ["test", "train"]
    other = source.elsewhere(source.path, ("training", "testing")).open(request(size=(4, 6)))
    assert (other.classes, len(other.parts["train"])) == (("testing", "training"), 4)
    single = images(tmp_path / "b", "cats/siamese", "cats/persian")
    assert single.elsewhere(single.path, ("cats", "dogs")).open(request(size=(4, 6))).classes == ("cats",)


def test_parts_inside_class_folders_are_refused(tmp_path: Path) -> None:
    source = images(tmp_path, "cats/train", "cats/test", "dogs/train", "dogs/test")
    assert "to have splits, put test/cats in place of cats/test" in fault(source)
    assert counts(source.model_copy(update={"parts": {}})) == {"train": 4}


def test_folders_below_class_folders_belong_to_the_class(tmp_path: Path) -> None:
    source = images(tmp_path, "cats/siamese", "cats/persian", "dogs/poodle", "dogs/1.png")
    assert found(source).classes == ("cats", "dogs")
    assert counts(source) == {"train": 4}
    same = images(tmp_path / "same", "cats/images", "dogs/images")
    assert found(same).classes == ("cats", "dogs")


@pytest.mark.parametrize("names", [("train", "bus", "car"), ("freight_train/a", "bus/b"), ("test", "exam"), ("val", "col")])
def test_classes_that_are_called_like_parts_stay_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    source = images(tmp_path, *names)
    assert found(source).classes == tuple(sorted(name.split("/")[0] for name in names))


def test_training_images_without_class_folders_are_refused_with_what_their_names_tell(tmp_path: Path) -> None:
    names = [f"{'cat' if place % 2 else 'dog'}.{place}.png" for place in range(20)]
    source = images(tmp_path, *(f"train/{name}" for name in names), "test1/1.png")
    assert fault(source) == (
        f"{tmp_path}/train holds 20 images and no class folders: images belong in one folder for each class;"
        " their names begin with cat, dog: if these are the classes, move the images into folders of these names"
    )


def test_a_single_folder_of_images_without_a_class_name_is_refused(tmp_path: Path) -> None:
    source = images(tmp_path, "images/1.png", "images/2.png")
    assert fault(source) == f"{tmp_path}/images holds 2 images and no class folders: images belong in one folder for each class"


def test_a_class_name_in_other_letters_is_told(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("train"), "test/Cats", "test/Dogs")
    assert fault(source) == f"{tmp_path}/test/Cats: the training split has no class of this name (did you mean cats?)"


def test_class_names_are_equal_however_their_accents_are_stored(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "pâté") for form in ("NFC", "NFD"))
    source = images(tmp_path, f"train/{composed}", "train/z", f"val/{apart}", "val/z", f"train/{apart}/1.png")
    first = found(source)
    assert first.classes == source.facts(TASKS["binary"]).classes == (composed, "z")
    assert first.parts["train"].ids == [f"train/{apart}/1.png", f"train/{composed}/0.png", "train/z/0.png"]
    assert first.parts["validation"].targets.tolist() == [0, 1]
    assert first.notes == ("class 'pâté' of the train split has 2 folders, whose names differ only in their Unicode form",)


def test_wrong_parts_are_named(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("a", "b"), "flat/1.png", "c/birds")

    def said(**parts: str) -> str:
        return fault(source.model_copy(update={"parts": parts}))

    assert said(train="a", test="gone") == f"no folder {tmp_path}/gone"
    assert said(test="a") == "needs a folder for `train`; `{}` says that there are no splits"
    assert "flat holds 1 image and no class folders" in said(train="a", test="flat")
    assert said(train="a", test="c") == f"{tmp_path}/c/birds: the training split has no class of this name (cats, dogs)"


def test_links_back_to_the_folder_are_no_end_of_it(tmp_path: Path) -> None:
    source = images(tmp_path, *classes_of("train"))
    (tmp_path / "data").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "train" / "cats" / "again").symlink_to(tmp_path / "train" / "cats", target_is_directory=True)
    assert counts(source) == {"train": 2}
    assert f"{tmp_path}/data holds 2 images and is not used" in found(source).notes[0]
    (tmp_path / "train" / "all").symlink_to(tmp_path, target_is_directory=True)
    assert fault(source) == f"{tmp_path}/train/all contains splits itself: set data.source.path: {tmp_path}/train/all"
    only = tmp_path / "only"
    only.mkdir()
    (only / "again").symlink_to(only, target_is_directory=True)
    assert list(Folder(kind="folder", path=str(only)).faults()) == [("path", f"{only}/again: no images in this class folder")]


def test_linked_class_folders_and_links_below_them_are_used(tmp_path: Path) -> None:
    images(tmp_path / "store", "cats", "dogs", "more/1.png")
    source = images(tmp_path / "pool", "cats/own.png")
    (tmp_path / "pool" / "dogs").symlink_to(tmp_path / "store" / "dogs", target_is_directory=True)
    (tmp_path / "pool" / "cats" / "more").symlink_to(tmp_path / "store" / "more", target_is_directory=True)
    assert found(source).parts["train"].ids == ["cats/more/1.png", "cats/own.png", "dogs/0.png"]


def test_runs_of_revision_1_find_the_examples_that_they_were_trained_on(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "pâ")
    source = images(tmp_path, *classes_of("Training", "Testing"))
    images(tmp_path / "pool", "cats/.ipynb_checkpoints/0.png", "cats/0.png", "test_set/0.png", apart, "pb")
    (tmp_path / "pool" / "cats" / "0.webp").write_bytes(b"")
    before = request(size=(4, 6))
    before = type(before)(before.task, before.image, before.seed, revision=1)
    assert {part: len(one) for part, one in source.open(before).parts.items()} == {"train": 2}
    old = Folder(kind="folder", path=str(tmp_path / "pool")).open(before)
    assert old.classes == ("cats", apart, "pb", "test_set")
    assert old.parts["train"].ids[:2] == ["cats/.ipynb_checkpoints/0.png", "cats/0.png"]
    assert len(old.parts["train"]) == 5
