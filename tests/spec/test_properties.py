"""Properties over generated specs: they survive YAML, defaults are filled in once, and no mutation crashes anything."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlcli.errors import Fault, SpecError
from dlcli.spec.base import OneOf, Spec, dump
from dlcli.spec.document import parse, parse_value
from dlcli.spec.experiment import with_defaults
from dlcli.spec.load import load_text, to_flow, to_yaml
from spec.members import kinds, sample
from spec.test_wrong_specs import GOOD

FAST = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)

MODELS = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("mlp"), "units": st.lists(st.integers(1, 300), max_size=3)},
        optional={
            "dropout": st.floats(0, 0.9),
            "activation": st.sampled_from(["relu", "tanh"]),
            "batch_normalization": st.booleans(),
        },
    ),
    st.fixed_dictionaries(
        {"kind": st.just("cnn")},
        optional={
            "blocks": st.fixed_dictionaries({"filters": st.lists(st.integers(1, 8), min_size=1, max_size=2)}),
            "layers": st.lists(st.sampled_from(["batch_normalization", {"kind": "dropout", "rate": 0.1}]), max_size=3),
        },
    ),
)
RATES = st.one_of(
    st.floats(1e-6, 10),
    st.fixed_dictionaries({"kind": st.just("cosine_decay"), "initial_learning_rate": st.floats(1e-6, 1)}),
    st.fixed_dictionaries({"kind": st.just("one_cycle"), "max_learning_rate": st.floats(1e-6, 1)}),
)
OPTIMIZERS = st.one_of(
    st.sampled_from(sorted(OneOf.registry["Optimizer"].kinds)),
    st.builds(
        lambda kind, rate: {"kind": kind, "learning_rate": rate}, st.sampled_from(["adam", "sgd", "adamw", "muon"]), RATES
    ),
)
SPECS = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
        "task": st.just("classification"),
        "data": st.fixed_dictionaries(
            {"source": st.just({"kind": "builtin", "name": "digits"})},
            optional={
                "batch_size": st.one_of(st.integers(2, 500), st.just("full")),
                "normalize": st.sampled_from(["unit", "none"]),
            },
        ),
        "model": MODELS,
    },
    optional={
        "seed": st.integers(0, 2**31 - 1),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "epochs": st.integers(0, 100),
                "optimizer": OPTIMIZERS,
                "loss": st.sampled_from(["auto", "mse", "categorical_crossentropy", {"kind": "categorical_crossentropy"}]),
                "metrics": st.lists(st.sampled_from(["accuracy", "mcc", "auc", "precision"]), unique=True, max_size=3),
                "callbacks": st.lists(st.just("early_stopping"), max_size=1),
            },
        ),
    },
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["auto", "adam", "dense", "${X}"]),
)
JUNK = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


def _write(data: Any) -> str:
    return to_flow(data)  # PyYAML's own dump would write a value that stands twice as an alias


@FAST
@given(SPECS)
def test_a_valid_spec_is_the_same_after_yaml_and_its_defaults_are_filled_in_once(data: dict[str, Any]) -> None:
    experiment = load_text(_write(data), "spec.yaml").experiment
    assert with_defaults(experiment) == experiment
    text = to_yaml(experiment)
    again = load_text(text, "spec.yaml").experiment
    assert again == experiment
    assert to_yaml(again) == text


def _faults(text: str, *overrides: str) -> list[Fault]:
    """Returns the faults of a text; anything but a SpecError goes through."""
    try:
        load_text(text, "spec.yaml", overrides)
    except SpecError as error:
        return error.faults
    return []


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, item in items for place in _places(item, (*path, key)))]


def _replaced(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    copied = dict(data) if isinstance(data, dict) else list(data)
    copied[place[0]] = _replaced(data[place[0]], place[1:], value)
    return copied


@FAST
@given(st.data())
def test_junk_anywhere_in_a_spec_is_a_fault_in_words_or_nothing(data: st.DataObject) -> None:
    whole = parse(GOOD, "").data
    for _ in range(data.draw(st.integers(1, 2))):
        whole = _replaced(whole, data.draw(st.sampled_from(_places(whole))), data.draw(JUNK))
    assert all(fault.message for fault in _faults(yaml.safe_dump(whole, allow_unicode=True)))


@FAST
@given(st.data())
def test_a_text_with_characters_changed_is_a_fault_or_nothing(data: st.DataObject) -> None:
    text = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        text = text[:start] + data.draw(st.text(max_size=3)) + text[start + data.draw(st.integers(0, 4)) :]
    assert all(fault.message for fault in _faults(text))


@FAST
@given(
    st.lists(st.sampled_from(["training", "epochs", "model", "layers", "0", "kind", "x", "-1", ""]), max_size=4),
    st.text(max_size=6),
    st.booleans(),
)
def test_any_override_is_taken_or_a_fault(path: list[str], value: str, appends: bool) -> None:
    override = f"{'.'.join(path)}{'+' if appends else ''}={value}"
    assert all(fault.message for fault in _faults(GOOD, override))


@FAST
@given(st.data())
def test_any_numbers_within_the_bounds_of_a_kind_survive_yaml(data: st.DataObject) -> None:
    union, kind = data.draw(st.sampled_from(kinds("Optimizer", "Loss", "Regularizer", "Constraint", "LearningRate")))
    spec = sample(union, kind)
    changed: dict[str, Any] = {}
    for name, field in type(spec).model_fields.items():
        if get_args(field.annotation) == () and field.annotation is float and data.draw(st.booleans()):
            changed[name] = data.draw(st.floats(1e-3, 0.9))
    if name_of_negative := {"beta_2_decay", "learning_rate_power"} & set(changed):
        changed.update(dict.fromkeys(name_of_negative, -0.5))
    fields = dump(spec) | changed
    built: Spec = OneOf.registry[union].validate(fields)
    assert OneOf.registry[union].validate(parse_value(to_yaml(built))) == built


@pytest.mark.parametrize(
    "number", ["1e-3", "-1.5E+3", ".5", "5.", "0x1F", "0o17", "-0", "+7", "1_000", "12:30:45", "0b1", "NaN", ".nan", "-.inf"]
)
def test_scalars_follow_yaml_1_2(number: str) -> None:
    expected = {
        "1e-3": 0.001, "-1.5E+3": -1500.0, ".5": 0.5, "5.": 5.0, "0x1F": 31, "0o17": 15, "-0": 0, "+7": 7,
        "-.inf": float("-inf"),
    }.get(number, number)  # fmt: skip
    found = parse_value(number)
    assert (found != found) if number == ".nan" else (found == expected and type(found) is type(expected))


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", "n", "Yes", "TRue"])
def test_only_true_and_false_are_truth_values(word: str) -> None:
    assert parse_value(word) == word
    assert parse_value("True") is True
    assert parse_value("FALSE") is False
