"""Networks of papers: shapes, work and messages, without Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trainings import write_spec

from dlcli.errors import SpecError
from dlcli.spec.base import OneOf
from dlcli.spec.load import load
from dlcli.spec.model.layers import ShapeError

IMAGENET = (224, 224, 3)
CIFAR = (32, 32, 3)
KINDS = ("lenet", "alexnet", "zfnet", "vgg", "googlenet", "resnet", "densenet")


def network(kind: str, **fields: Any) -> Any:
    """Returns a model kind with some fields."""
    return OneOf.registry["Model"].validate({"kind": kind, **fields})


VARIANTS = [
    (kind, variant)
    for kind in KINDS
    for variant in OneOf.registry["Model"].kinds[kind].model_fields["variant"].annotation.__args__  # type: ignore[union-attr]
]


def test_each_published_network_has_a_file_and_a_place_in_the_list() -> None:
    assert set(KINDS) <= set(OneOf.registry["Model"].kinds)


@pytest.mark.parametrize(
    ("model", "shape", "features"),
    [
        (network("lenet"), (28, 28, 1), 84),
        (network("alexnet", units=[]), (227, 227, 3), 6 * 6 * 256),
        (network("zfnet", units=[]), IMAGENET, 6 * 6 * 256),
        (network("vgg", units=[]), IMAGENET, 7 * 7 * 512),
        (network("googlenet"), IMAGENET, 1024),
        (network("resnet"), IMAGENET, 2048),
        (network("resnet", variant="resnet20"), CIFAR, 64),
        (network("densenet"), IMAGENET, 1024),
        (network("densenet", variant="densenet40"), CIFAR, 16 + 3 * 12 * 12),
    ],
    ids=lambda value: getattr(value, "variant_name", None),
)
def test_the_maps_before_the_head_have_the_size_of_the_paper(model: Any, shape: Any, features: int) -> None:
    assert model.output_shape(shape) == (features,)


@pytest.mark.parametrize(
    ("model", "shape", "millions"),
    [
        (network("resnet", variant="resnet18"), IMAGENET, (1800, 1830)),
        (network("resnet", variant="resnet34"), IMAGENET, (3600, 3700)),
        (network("resnet"), IMAGENET, (3800, 3900)),
        (network("resnet", variant="resnet101"), IMAGENET, (7500, 7600)),
        (network("resnet", variant="resnet152"), IMAGENET, (11250, 11350)),
        (network("googlenet"), IMAGENET, (1500, 1600)),
        (network("vgg"), IMAGENET, (15300, 15500)),
    ],
    ids=lambda value: getattr(value, "variant_name", None),
)
def test_the_multiply_adds_are_about_those_that_the_papers_count(model: Any, shape: Any, millions: tuple[int, int]) -> None:
    """He et al. (2016), table 1: 1.8, 3.6, 3.8, 7.6 and 11.3 billion; Szegedy et al. (2015): 1.5 billion."""
    assert millions[0] <= model.multiply_adds(shape) / 1e6 <= millions[1]


@pytest.mark.parametrize(("kind", "variant"), VARIANTS)
def test_every_variant_takes_its_smallest_images_and_says_so_below(kind: str, variant: str) -> None:
    model = network(kind, variant=variant)
    least = model.least_side()
    assert min(model.output_shape((least, least, 3))) >= 1
    with pytest.raises(ShapeError, match=f"`{variant}` needs images of at least {least}x{least} pixels") as error:
        model.output_shape((least, least - 1, 3))
    assert error.value.place == ("variant",)
    if smaller := model.smaller_variant():
        assert network(kind, variant=smaller).least_side() < least


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_variant_for_images_of_28_pixels(kind: str) -> None:
    models = [network(kind, variant=variant) for name, variant in VARIANTS if name == kind]
    assert any(model.least_side() <= 28 for model in models)


def test_the_width_multiplier_keeps_groups_and_depth() -> None:
    wide, narrow = network("alexnet", groups=2), network("alexnet", groups=2, alpha=0.01)
    shape = (227, 227, 3)
    assert len(wide.stack(shape)) == len(narrow.stack(shape))
    assert narrow.multiply_adds(shape) < wide.multiply_adds(shape)
    assert network("resnet", alpha=0.5).output_shape(IMAGENET) == (1024,)


def test_too_small_images_are_refused_with_the_line_and_what_is_needed(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, "{kind: builtin, name: digits}", model="{kind: resnet, variant: resnet50}")
    with pytest.raises(SpecError) as error:
        load(spec)
    assert "tiny.yaml:4:23: model.variant: `resnet50` needs images of at least 32x32 pixels, but gets 8x8; use" in str(
        error.value
    )
    assert "`variant: resnet20`, or larger images (`data.image.size: [32, 32]`)" in str(error.value)


def test_rows_of_numbers_are_refused_by_the_name_of_the_kind(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, "{kind: builtin, name: iris}", model="densenet")
    with pytest.raises(SpecError, match=r"tiny.yaml:4:\d+: model(.kind)?: `densenet` needs images"):
        load(spec)


def test_settings_of_auxiliary_heads_without_them_are_refused(tmp_path: Path) -> None:
    model = "{kind: googlenet, variant: small, auxiliary_weight: 0.5}"
    spec = write_spec(tmp_path, "{kind: builtin, name: digits}", model=model)
    with pytest.raises(SpecError, match=r"model\.auxiliary_weight: has no effect without `auxiliary_heads: true`"):
        load(spec)


def test_auxiliary_heads_need_a_larger_image_and_a_single_device() -> None:
    model = network("googlenet", auxiliary_heads=True)
    with pytest.raises(ShapeError, match="at least 65x65"):
        model.output_shape((64, 64, 3))
    assert model.output_shape((65, 65, 3)) == (1024,)
    assert "not summed over devices" in model.reason_against("several devices")
    assert network("googlenet").reason_against("several devices") == ""
