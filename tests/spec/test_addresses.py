"""No value of the environment leaves by an address of a spec, and no secret stands in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlcli.errors import SpecError
from dlcli.spec.load import load, load_resolved

HUB = """\
version: 1
name: a
task: classification
data: {{source: {{kind: builtin, name: digits}}, image: {{size: [32, 32], channels: 3}}}}
model: {{kind: transfer, backbone: {{kind: hub, handle: "{value}", input_size: [32, 32]}}}}
training: {{epochs: 1}}
"""
MLFLOW = """\
version: 1
name: a
task: classification
data: {{source: {{kind: builtin, name: iris}}}}
model: {{kind: mlp, units: [4]}}
training: {{epochs: 1, callbacks: [{{kind: mlflow, tracking_uri: "{value}"}}]}}
"""
VARIABLES = "write the address out: environment variables are only replaced in paths"
ENCRYPTED = "http is not encrypted; use an https address"
SECRET = "contains a user name, password or token, which the run would store"
REFUSED = [
    ("https://host.example/${OWN_VALUE}", VARIABLES),
    ("https://host.example/?q=${OWN_VALUE:-x}", VARIABLES),
    ("https://${OWN_VALUE}.host.example/", VARIABLES),
    ("${OWN_ADDRESS}", VARIABLES),
    ("${OWN_ADDRESS:-https://host.example/a}", VARIABLES),
    ("${NOT_SET_HERE:-https://host.example/}${OWN_VALUE}", VARIABLES),
    ("http://host.example/a", ENCRYPTED),
    ("HTTP://host.example/a", ENCRYPTED),
    ("http://127.0.0.1.host.example/a", ENCRYPTED),
    ("http://localhost@host.example/a", SECRET),
    ("https://me:word@host.example/a", SECRET),
    ("https://host.example/a?access_token=abc", SECRET),
    ("${MY_SECRET_TOKEN}/store", "MY_SECRET_TOKEN is named like a secret, and the run would store its value"),
]
TAKEN = [
    ("https://host.example/a", "https://host.example/a"),
    ("${NOT_SET_HERE:-https://host.example/a}", "https://host.example/a"),
    ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ("http://localhost:5000/a", "http://localhost:5000/a"),
    ("http://[::1]:5000/", "http://[::1]:5000/"),
]


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_VALUE", "abc_of_mine")
    monkeypatch.setenv("OWN_ADDRESS", "https://other.example/abc_of_mine")
    monkeypatch.setenv("MY_SECRET_TOKEN", "abc_of_mine")
    monkeypatch.delenv("NOT_SET_HERE", raising=False)


@pytest.mark.parametrize("text", [HUB, MLFLOW])
@pytest.mark.parametrize(("value", "words"), REFUSED)
def test_what_would_leave_by_an_address_is_refused_without_showing_it(
    tmp_path: Path, text: str, value: str, words: str
) -> None:
    (tmp_path / "a.yaml").write_text(text.format(value=value))
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "a.yaml")
    assert any(words in fault.message for fault in caught.value.faults), str(caught.value)
    assert "abc_of_mine" not in str(caught.value)


@pytest.mark.parametrize(("value", "address"), TAKEN)
def test_an_address_that_is_written_out_is_taken(tmp_path: Path, value: str, address: str) -> None:
    (tmp_path / "a.yaml").write_text(HUB.format(value=value))
    assert load(tmp_path / "a.yaml").experiment.model.backbone.handle == address  # type: ignore[union-attr]


def test_paths_take_variables_and_words_of_mlflow_stay(tmp_path: Path) -> None:
    for value, expected in (("${OWN_VALUE}/store", f"{tmp_path}/abc_of_mine/store"), ("databricks", "databricks")):
        (tmp_path / "a.yaml").write_text(MLFLOW.format(value=value))
        (callback,) = load(tmp_path / "a.yaml").experiment.training.callbacks
        assert callback.tracking_uri == expected  # type: ignore[union-attr]


def test_a_run_of_an_earlier_version_keeps_its_unencrypted_address(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(MLFLOW.format(value="http://server:5000"))
    (callback,) = load_resolved(tmp_path / "spec.yaml").training.callbacks
    assert callback.tracking_uri == "http://server:5000"  # type: ignore[union-attr]
    (tmp_path / "spec.yaml").write_text(MLFLOW.format(value="http://server:5000/${OWN_VALUE}"))
    with pytest.raises(SpecError, match="write the address out"):
        load_resolved(tmp_path / "spec.yaml")
