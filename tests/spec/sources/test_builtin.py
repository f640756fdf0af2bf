import numpy as np
import pytest

from dlcli.spec.data.sources.builtin import Builtin
from dlcli.tasks import TASKS
from spec.sources.opening import opened

SETS = ("digits", "iris", "wine", "breast_cancer", "diabetes", "library_messages")


@pytest.mark.parametrize("name", SETS)
def test_facts_are_what_opening_finds(name: str) -> None:
    source = Builtin(kind="builtin", name=name)
    facts = source.facts(TASKS["classification"])
    found = opened(source, facts.tasks[0])
    train = found.parts["train"]
    assert list(found.parts) == ["train"]
    assert train.inputs.shape == facts.shape
    assert found.classes == (facts.classes or ("target",))
    assert len(train.ids) == len(set(train.ids)) == len(train.targets) == len(train.inputs)
    if facts.classes:
        assert set(np.unique(train.targets)) == set(range(len(facts.classes)))


def test_digits_are_grey_images_over_the_full_range() -> None:
    digits = opened(Builtin(kind="builtin", name="digits")).parts["train"].inputs.values
    assert (digits.dtype, digits.min(), digits.max()) == (np.uint8, 0, 255)


def test_digits_come_in_the_size_and_channels_asked_for() -> None:
    digits = opened(Builtin(kind="builtin", name="digits"), size=(16, 12), channels=3).parts["train"].inputs.values
    assert digits.shape == (1797, 16, 12, 3)


def test_label_numbers_mean_what_scikit_learn_means() -> None:
    cancer = opened(Builtin(kind="builtin", name="breast_cancer"), "binary")
    assert cancer.classes == ("malignant", "benign")
    assert np.bincount(cancer.parts["train"].targets).tolist() == [212, 357]


def test_regression_targets_are_a_column_of_float32() -> None:
    targets = opened(Builtin(kind="builtin", name="diabetes"), "regression").parts["train"].targets
    assert (targets.shape, targets.dtype) == ((442, 1), np.float32)
