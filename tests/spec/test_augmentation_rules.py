"""Which augmentations a spec may combine with its data, task, loss and model, and the notes on digits and letters."""

from __future__ import annotations

from pathlib import Path

import pytest
from trainings import save_images, save_rows, write_spec

from dlcli.errors import SpecError
from dlcli.spec.load import load, to_yaml
from dlcli.spec.rules.characters import notes_on_characters

DIGITS = "{kind: builtin, name: digits}"
IRIS = "{kind: builtin, name: iris}"


def _faults(folder: Path, source: str, augment: str, *more: str) -> list[str]:
    spec = write_spec(folder, source, data=f"augment: {augment}", training="epochs: 1")
    try:
        load(spec, more)
    except SpecError as error:
        return [f"{fault.key}: {fault.message}" for fault in error.faults]
    return []


@pytest.mark.parametrize(
    ("source", "augment", "more", "fault"),
    [
        (
            DIGITS,
            "[{kind: column_noise, stddev: 0.1}]",
            "",
            "`column_noise` is for rows of numbers, but the source gives images",
        ),
        (IRIS, "[{kind: column_noise, stddev: 0.1}]", "", ""),
        (IRIS, "light", "", "`random_flip` is for images, but the source gives rows of numbers"),
        (DIGITS, "[random_grayscale]", "", "`random_grayscale` needs images in colour, but these are grey"),
        (
            DIGITS,
            "[{kind: random_color_jitter, hue_factor: 0.1}]",
            "",
            "`saturation_factor` and `hue_factor` need images in colour, but these are grey",
        ),
        (DIGITS, "[{kind: random_gaussian_blur, kernel_size: 19}]", "", "a kernel of 19x19 is too large for images of 8x8"),
        (DIGITS, "[mix_up]", "", ""),
        (
            DIGITS,
            "[mix_up]",
            "training.loss=categorical_hinge",
            "`mix_up` mixes labels: `categorical_hinge` is defined for whole labels alone; set another `training.loss`",
        ),
        (
            DIGITS,
            "[cut_mix]",
            "training.loss={kind: sparse_categorical_crossentropy, ignore_class: 2}",
            "`cut_mix` mixes labels: `ignore_class` leaves out whole examples; set another `training.loss`",
        ),
    ],
)
def test_an_augmentation_that_does_not_fit_is_refused_at_its_place(
    tmp_path: Path, source: str, augment: str, more: str, fault: str
) -> None:
    faults = _faults(tmp_path, source, augment, *([more] if more else []))
    assert faults[:1] == ([f"data.augment.0: {fault}"] if fault else [])


def test_augmentations_of_a_stage_are_checked_too(tmp_path: Path) -> None:
    stages = "training.stages=[{name: a, train: all, augment: [random_grayscale, {kind: random_crop, height: 9, width: 4}]}]"
    assert _faults(tmp_path, DIGITS, "[]", stages) == [
        "training.stages.0.augment.0: `random_grayscale` needs images in colour, but these are grey",
        "training.stages.0.augment.1: a crop of 9x4 is larger than the images (8x8)",
    ]


def test_features_that_are_stored_are_not_mixed(tmp_path: Path) -> None:
    from trainings import write_pngs

    write_pngs(tmp_path / "photos", side=32)
    model = "model={kind: transfer, backbone: {kind: mobilenet_v2, weights: none, input_size: [32, 32]}}"
    features = "training.features={augmented_copies: 2}"
    source = "{kind: folder, path: photos}"
    assert _faults(tmp_path, source, "[mix_up]", model, features) == [
        "data.augment.0: `mix_up` mixes labels: features that are stored are those of single images; remove"
        " `training.features.augmented_copies`"
    ]


def test_columns_of_arrays_have_no_names(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npz")
    source = "{kind: npz, path: rows.npz, target: yes}"
    assert _faults(tmp_path, source, "[{kind: column_noise, stddev: 0.1, columns: [a]}]") == [
        "data.augment.0.columns: the columns of the source have no names; remove this field"
    ]


@pytest.mark.parametrize("preset", ["light", "standard", "heavy"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_preset_fits_images_in_grey_and_in_colour_of_any_size(tmp_path: Path, preset: str, channels: int) -> None:
    save_images(tmp_path / "images.npz", channels=channels, examples=8)
    source = "{kind: npz, path: images.npz}"
    assert _faults(tmp_path, source, preset) == []
    stages = f"training.stages=[{{name: a, train: all, augment: {preset}}}]"
    spec = load(write_spec(tmp_path, source, data=f"augment: {preset}"), [stages]).experiment
    assert spec.training.stages[0].augment == spec.data.augment
    assert f"augment: {preset}" not in to_yaml(spec)


def test_a_name_that_is_no_preset_suggests_the_nearest(tmp_path: Path) -> None:
    assert _faults(tmp_path, DIGITS, "havy") == [
        "data.augment: expected `light`, `standard`, `heavy` (did you mean `heavy`?), or a list, found the text 'havy'"
    ]


@pytest.mark.parametrize(
    ("source", "augment", "classes", "note"),
    [
        (
            DIGITS,
            "[random_flip]",
            "0123456789",
            "turned by half, which confuses 6 and 9 and makes others unreadable",
        ),
        (DIGITS, "[{kind: random_flip, mode: vertical}]", "0123456789", "flipped upside down, which confuses 2 and 5"),
        (
            DIGITS,
            "[{kind: random_rotation, factor: 0.5}]",
            "69",
            "turned by a quarter or turned by half, which confuses 6 and 9",
        ),
        (DIGITS, "[{kind: random_affine, rotation_factor: 0.3}]", "NZ", "turned by a quarter, which confuses N and Z"),
        (DIGITS, "[{kind: random_flip, mode: horizontal}]", "bdpq", "mirrored, which confuses b and d, p and q"),
        (DIGITS, "[{kind: random_flip, mode: horizontal}]", "01", "mirrored, which makes others unreadable"),
        (DIGITS, "[{kind: random_rotation, factor: 0.1}, rand_augment]", "69", ""),
    ],
)
def test_turned_digits_and_letters_are_noted(tmp_path: Path, source: str, augment: str, classes: str, note: str) -> None:
    experiment = load(write_spec(tmp_path, source, data=f"augment: {augment}")).experiment
    notes = notes_on_characters(experiment, tuple(classes))
    assert len(notes) == bool(note)
    assert all(note in line for line in notes)
    assert notes_on_characters(experiment, ("cat", "dog")) == []


def test_classes_named_in_words_and_known_sets_are_characters(tmp_path: Path) -> None:
    digits = load(write_spec(tmp_path, DIGITS, data="augment: [random_flip]")).experiment
    assert "6 and 9" in notes_on_characters(digits, ("six", "nine"))[0]
    named = load(write_spec(tmp_path, "{kind: tfds, name: emnist}", data="augment: [{kind: random_flip, mode: horizontal}]"))
    assert "b and d" in notes_on_characters(named.experiment, ())[0]
