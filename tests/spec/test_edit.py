"""A value put into a spec's text: the rest of the file stays as its author wrote it."""

from __future__ import annotations

import pytest
import yaml

from dlcli.spec.edit import with_value

RATE = ("training", "optimizer", "learning_rate")
BLOCK = "training:\n  optimizer:\n    kind: adam\n"
BEFORE = "name: a  # the name\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training:\n  optimizer: {kind: adam, learning_rate: 0.1}  # fast\n", "learning_rate: 3e-4}  # fast"),
        (
            "training:\n  optimizer:\n    kind: adam\n    learning_rate: 0.1  # fast\n  epochs: 3\n",
            "learning_rate: 3e-4  # fast",
        ),
        ("training:\n  optimizer:\n    kind: adam  # good\n  epochs: 3\n", "    learning_rate: 3e-4\n    kind: adam  # good\n"),
        ("training:\n  optimizer: adam  # good\n", "optimizer: {kind: adam, learning_rate: 3e-4}  # good"),
        ("training: {optimizer: adam, epochs: 3}\n", "{optimizer: {kind: adam, learning_rate: 3e-4}, epochs: 3}"),
        ("training: {optimizer: {kind: sgd}}\n", "{optimizer: {learning_rate: 3e-4, kind: sgd}}"),
        ("training: {}\n", "training: {optimizer: {learning_rate: 3e-4}}"),
        ("training:\n  epochs: 3\n", "  optimizer: {learning_rate: 3e-4}\n  epochs: 3\n"),
        ("data: {}\n", "training: {optimizer: {learning_rate: 3e-4}}\nname: a"),
        (
            f"{BLOCK}    learning_rate:\n      kind: cosine_decay\n      alpha: 0\n  epochs: 3\n",
            "    learning_rate: 3e-4\n  epochs",
        ),
    ],
)
def test_the_value_stands_at_its_place_and_comments_stay(text: str, expected: str) -> None:
    changed = with_value(BEFORE + text, RATE, "3e-4")
    assert expected in changed
    assert "# the name" in changed
    data, before = yaml.safe_load(changed), yaml.safe_load(BEFORE + text)
    assert data["training"]["optimizer"]["learning_rate"] == "3e-4"  # YAML 1.1, which PyYAML reads, takes it for text
    assert data.keys() == before.keys() | {"training"}


def test_a_place_in_a_list_is_found() -> None:
    text = "training:\n  stages:\n    - name: head\n      epochs: 2\n    - {name: top, optimizer: adam}\n"
    changed = with_value(text, ("training", "stages", 1, "optimizer", "learning_rate"), "0.01")
    assert changed.endswith("- {name: top, optimizer: {kind: adam, learning_rate: 0.01}}\n")
    changed = with_value(text, ("training", "stages", 0, "optimizer"), "adam")
    assert "    - optimizer: adam\n      name: head\n" in changed
