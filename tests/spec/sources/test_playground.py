"""The sets are held against the definitions of github.com/tensorflow/playground, `src/dataset.ts`."""

import numpy as np
import pytest

from dlcli.spec.data.sources.playground import Playground
from dlcli.tasks import TASKS
from spec.sources.opening import opened

CLASSES = ("circles", "xor", "gaussians", "spiral")
PLANES = ("plane", "multi_gaussian")


def points(name: str, *, noise: float = 0.0, examples: int = 400, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    task = "regression" if name in PLANES else "binary"
    train = opened(Playground(kind="playground", name=name, examples=examples, noise=noise), task, seed).parts["train"]
    return train.inputs.values, train.targets


@pytest.mark.parametrize("name", CLASSES + PLANES)
def test_the_seed_alone_decides_the_points(name: str) -> None:
    first, again, other = points(name, noise=0.2), points(name, noise=0.2), points(name, noise=0.2, seed=2)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_about_half_each(name: str) -> None:
    assert 0.4 < points(name)[1].mean() < 0.6


def test_circles_are_a_disc_in_a_ring() -> None:
    xy, labels = points("circles")
    radius = np.hypot(*xy.T)
    assert radius[labels == 1].max() <= 2.5
    assert 3.5 <= radius[labels == 0].min() <= radius.max() <= 5


def test_xor_is_decided_by_the_signs_and_keeps_off_the_axes() -> None:
    xy, labels = points("xor")
    assert np.array_equal(labels, xy[:, 0] * xy[:, 1] >= 0)
    assert 0.3 <= np.abs(xy).min() <= np.abs(xy).max() <= 5.3


def test_gaussians_stand_at_two_and_minus_two_with_the_playgrounds_variance() -> None:
    for noise, variance in ((0.0, 0.5), (0.5, 4.0)):
        xy, labels = points("gaussians", noise=noise, examples=40_000)
        for label, centre in ((1, 2.0), (0, -2.0)):
            mine = xy[labels == label]
            assert np.abs(mine.mean(axis=0) - centre).max() < 0.05
            assert np.abs(mine.var(axis=0) / variance - 1).max() < 0.05


def test_spirals_are_evenly_spaced_along_their_turn() -> None:
    xy, labels = points("spiral", examples=100)
    for label, start in ((1, 0.0), (0, np.pi)):
        along = np.arange(50) / 50
        angle = 1.75 * along * 2 * np.pi + start
        expected = 5 * along[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        mine = xy[labels == label]
        assert np.allclose(mine[np.hypot(*mine.T).argsort()], expected, atol=1e-5)


def test_spirals_noise_stays_within_its_bound() -> None:
    clean, noisy = points("spiral"), points("spiral", noise=0.5)
    distance = np.abs(clean[0] - noisy[0])
    assert 0.4 < distance.max() <= 0.5


def test_noise_turns_labels_of_circles_and_xor_and_leaves_their_points() -> None:
    for name in ("circles", "xor"):
        clean, noisy = points(name), points(name, noise=0.5)
        assert np.array_equal(clean[0], noisy[0])
        assert 0.05 < (clean[1] != noisy[1]).mean() < 0.5


def test_plane_is_the_tenth_of_the_sum() -> None:
    xy, targets = points("plane")
    assert np.allclose(targets[:, 0], xy.sum(axis=1) / 10, atol=1e-6)


def test_multi_gaussian_is_the_strongest_of_six_bumps() -> None:
    bumps = [(-4, 2.5, 1), (0, 2.5, -1), (4, 2.5, 1), (-4, -2.5, -1), (0, -2.5, 1), (4, -2.5, -1)]
    xy, targets = points("multi_gaussian")
    for (x, y), target in zip(xy.tolist(), targets[:, 0].tolist(), strict=True):
        heights = [sign * min(1, max(0, 1 - np.hypot(x - cx, y - cy) / 2)) for cx, cy, sign in bumps]
        assert target == pytest.approx(max(heights, key=abs), abs=1e-5)


def test_facts_are_what_opening_finds() -> None:
    for name in CLASSES + PLANES:
        source = Playground(kind="playground", name=name)
        facts = source.facts(TASKS["binary"])
        assert opened(source, facts.tasks[0]).classes == (facts.classes or ("target",))
