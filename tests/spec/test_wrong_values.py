"""Every field of the spec with values that it does not take: each is taken, or refused in words at the field's own key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from dlcli.errors import SpecError
from dlcli.spec.base import OneOf, Spec
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import load_text
from spec.test_wrong_specs import folder  # noqa: F401  (a fixture)

VALUES = ("maybe", "3", "[1, x]", "{a: 1}", "null")
SOURCES = {
    "csv": "{kind: csv, path: rows.csv, target: label}",
    "folder": "{kind: folder, path: photos}",
    "npz": "{kind: npz, path: rows.npz}",
}


def keys(member: type[Spec], before: str = "", depth: int = 0) -> Iterator[str]:
    """Yields the dotted keys of a section and of the sections in it."""
    for name, field in member.model_fields.items():
        yield before + name
        for form in (field.annotation, *get_args(field.annotation)):
            if isinstance(form, type) and issubclass(form, Spec) and depth < 3:
                yield from keys(form, f"{before}{name}.", depth + 1)


def members(union: str, place: str, *kinds: str) -> Iterator[str]:
    for kind in kinds:
        yield from keys(OneOf.registry[union].kinds[kind], f"{place}.")


def refusal(spec: str, override: str) -> str:
    """Returns what is said of a spec with an override; empty where it is taken."""
    try:
        load_text(spec, Path("spec.yaml"), [override])
    except SpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", SOURCES)
def test_a_wrong_value_of_any_field_is_refused_in_words(kind: str, folder: Any) -> None:  # noqa: F811
    spec = f"version: 1\nname: t\ntask: classification\ndata: {{source: {SOURCES[kind]}}}\nmodel: {{kind: mlp, units: [4]}}\n"
    places = {*keys(Experiment), *members("Source", "data.source", kind), *members("Model", "model", "mlp", "transfer")}
    messages = [message for place in sorted(places) for value in VALUES if (message := refusal(spec, f"{place}={value}"))]
    assert len(messages) > len(places)
    names_of_forms = re.compile(r"(literal|list|dict|constrained-\w+|function-\w+)\[|\.(str|int|bool)\b")
    assert not [message for message in messages if names_of_forms.search(message)]
