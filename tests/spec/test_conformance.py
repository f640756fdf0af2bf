"""Every kind of every union: its fields are Keras's arguments and defaults, it builds, and it survives YAML."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from dlcli.spec.base import KerasSpec, Spec, dump, keras_attribute, kinds_of
from dlcli.spec.data.data import Data, ImageSettings
from dlcli.spec.data.split import SplitSettings
from dlcli.spec.data.text import TextSettings
from dlcli.spec.document import parse_value
from dlcli.spec.experiment import Experiment, Hardware, Training
from dlcli.spec.load import to_yaml
from dlcli.spec.model.models import Blocks
from dlcli.spec.model.output import Output
from dlcli.spec.training.callbacks import TrackerSpec
from dlcli.spec.training.stages import Features, Stage
from spec.members import UNIONS, all_members, keras_members, kinds, sample

REQUIRED = "required"
NOT_IN_KERAS = "not in Keras"
DIFFERENCES = {
    # Keras smooths only one-hot labels.
    ("SparseCategoricalCrossentropy", "label_smoothing"): (NOT_IN_KERAS, 0.0),
    # Keras's None means the identity; the spec says so by name.
    ("Dense", "activation"): (None, "linear"),
    ("Conv1D", "activation"): (None, "linear"),
    ("Conv2D", "activation"): (None, "linear"),
    ("Conv3D", "activation"): (None, "linear"),
    ("DepthwiseConv2D", "activation"): (None, "linear"),
    ("SeparableConv2D", "activation"): (None, "linear"),
    # As in max pooling.
    ("AveragePooling1D", "pool_size"): (REQUIRED, 2),
    ("AveragePooling2D", "pool_size"): (REQUIRED, (2, 2)),
    # Keras changes every image, always; the spec a share of them.
    ("AutoContrast", "factor"): (NOT_IN_KERAS, 0.5),
    ("Equalization", "factor"): (NOT_IN_KERAS, 0.5),
    # As in convolutions.
    ("RandomGaussianBlur", "kernel_size"): (3, (3, 3)),
    # The training's own monitor, and a patience that waits at all.
    ("EarlyStopping", "monitor"): ("val_loss", "auto"),
    ("EarlyStopping", "patience"): (0, 5),
    ("ReduceLROnPlateau", "monitor"): ("val_loss", "auto"),
    # The graph of a Keras 3 model is of no use in TensorBoard and large.
    ("TensorBoard", "write_graph"): (True, False),
    # Left out, a schedule takes the stage's steps.
    ("CosineDecay", "decay_steps"): (REQUIRED, None),
    ("ExponentialDecay", "decay_steps"): (REQUIRED, None),
    ("InverseTimeDecay", "decay_steps"): (REQUIRED, None),
    ("PolynomialDecay", "decay_steps"): (REQUIRED, None),
}
SECTIONS = [Experiment, Data, SplitSettings, ImageSettings, TextSettings, Training, Stage, Features, Hardware, Output, Blocks]


def _keras_defaults(member: type[KerasSpec]) -> dict[str, Any]:
    keras_object = keras_attribute(member.keras_class)
    made_by = keras_object if inspect.isfunction(keras_object) else keras_object.__init__
    parameters = inspect.signature(made_by).parameters
    return {name: REQUIRED if one.default is one.empty else _plain(one.default) for name, one in parameters.items()}


def _plain(value: Any) -> Any:
    """Returns a default as plain data; Keras names an initializer by its class, or in snake case."""
    if isinstance(value, Spec):
        return dump(value)["kind"]
    return "zeros" if value == "Zeros" else value


def _own_default(member: type[Spec], name: str) -> Any:
    default = member.model_fields[name].default
    return REQUIRED if default is PydanticUndefined else _plain(default)


@pytest.mark.parametrize("union", [name for name, union in UNIONS.items() if union.places])
def test_the_places_of_a_union_are_those_of_all_kinds_of_its_classes(union: str) -> None:
    """A kind without a place would be unknown to specs; one with the place of another class would be refused."""
    places = UNIONS[union].places
    classes = {kind: UNIONS[union].member_of(kind) for kind in places}
    for kind, member in classes.items():
        assert member is not None
        assert kind in kinds_of(member), places[kind]
    kinds_of_classes = {kind for member in classes.values() if member is not None for kind in kinds_of(member)}
    assert kinds_of_classes == places.keys()


@pytest.mark.parametrize("member", keras_members(), ids=lambda member: member.__name__)
def test_fields_are_arguments_of_the_keras_class_with_its_defaults(member: type[KerasSpec]) -> None:
    theirs = _keras_defaults(member)
    for name in [name for name in member.model_fields if name != "kind"]:
        pair = (theirs.get(name, NOT_IN_KERAS), _own_default(member, name))
        expected = DIFFERENCES.get((member.__name__, name))
        assert pair == expected if expected else pair[0] == pair[1], f"{name}: Keras {pair[0]!r}, here {pair[1]!r}"


def test_no_difference_is_listed_in_vain() -> None:
    names = {member.__name__: member for member in keras_members()}
    for name, field in DIFFERENCES:
        assert field in names[name].model_fields


@pytest.mark.parametrize("member", [*all_members(), *SECTIONS], ids=lambda member: member.__name__)
def test_every_class_and_every_field_is_described(member: type[Spec]) -> None:
    assert re.match(r"[A-Z].*[.:]", (member.__doc__ or "").splitlines()[0])
    for name, field in member.model_fields.items():
        if name != "kind":
            assert field.description, f"{member.__name__}.{name}"
            assert field.description[0].isupper() or field.description[0] in "`0123456789"


@pytest.mark.parametrize(("union", "kind"), kinds(), ids=str)
def test_yaml_to_spec_to_yaml_is_the_identity(union: str, kind: str) -> None:
    spec = sample(union, kind)
    text = to_yaml(spec)
    again = UNIONS[union].validate(parse_value(text), {"folder": "/"})
    assert again == spec
    assert to_yaml(again) == text


@pytest.mark.parametrize(("union", "kind"), kinds("Regularizer", "Initializer", "Constraint", "LearningRate", "Optimizer"))
def test_small_parts_build(union: str, kind: str) -> None:
    spec = sample(union, kind)
    extra = {"seed": 1} if union == "Initializer" and kind not in ("zeros", "ones", "constant") else {}
    built = spec.build(**extra)
    for name, value in (built.get_config() if spec.keras_class else {}).items():
        if name in type(spec).model_fields and isinstance(value, (int, float)):
            assert value == pytest.approx(getattr(spec, name)), name


@pytest.mark.parametrize("kind", list(UNIONS["LearningRate"].kinds))
def test_every_schedule_gives_positive_rates_for_an_optimizer(kind: str) -> None:
    import numpy as np

    schedule = sample("LearningRate", kind).build()
    rates = [float(schedule(step)) for step in range(1, 10)]
    assert all(rate > 0 for rate in rates)
    assert np.ptp(rates) > 0


def test_a_schedule_without_length_takes_the_stages_steps() -> None:
    optimizer = sample("Optimizer", "adam", "learning_rate: {kind: cosine_decay, initial_learning_rate: 0.1}")
    rate = optimizer.for_steps(20).build().learning_rate
    assert float(rate) == pytest.approx(0.1)
    assert float(optimizer.for_steps(20).learning_rate.build()(20)) == pytest.approx(0.0, abs=1e-8)


def test_one_cycle_rises_to_its_highest_rate_and_falls_below_its_first() -> None:
    schedule = sample("LearningRate", "one_cycle", "max_learning_rate: 1.0, decay_steps: 100").build()
    rates = [float(schedule(step)) for step in range(101)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 30
    assert rates[0] == pytest.approx(0.04)
    assert rates[100] == pytest.approx(1e-4)


def test_warmup_rises_in_a_line_and_stays() -> None:
    schedule = sample("LearningRate", "warmup", "learning_rate: 0.5, warmup_steps: 10").build()
    assert [float(schedule(step)) for step in (0, 5, 10, 50)] == pytest.approx([0.0, 0.25, 0.5, 0.5])


@pytest.mark.parametrize(
    "kind", [kind for kind, member in UNIONS["Callback"].kinds.items() if not issubclass(member, TrackerSpec)]
)
def test_every_callback_builds_a_keras_callback_and_has_stopped_nothing_yet(kind: str) -> None:
    import keras

    spec = sample("Callback", kind)
    callback = spec.build()
    assert isinstance(callback, keras.callbacks.Callback)
    assert spec.reason(callback) == ""
