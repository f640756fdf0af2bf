"""Specs that someone mistyped, generated or made to do harm: faults in words with exit code 2, in seconds."""

from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import Any

import pytest
from conftest import REPOSITORY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spec.test_properties import JUNK, SPECS

from dlcli.errors import SpecError
from dlcli.spec.document import MAX_BYTES, parse
from dlcli.spec.load import load_text, to_flow, to_yaml
from hostile.calling import DEADLINE, call, refuse_crash
from hostile.mutations import GONE, places, replaced

QUICK, ALL = 200, 2000
SHIPPED = [path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "configs").rglob("*.yaml"))]
WORDS = st.sampled_from(
    [
        "auto", "adam", "dense", "conv2d", "flatten", "mobilenet_v2", "${HOME}", "${NOWHERE_SET}", "/dev/zero", "/", "a\0b",
        "~nobody", "../../..", "x" * 5000, "\x1b[31m", "[red]", "$x_$", "\u202e", "a\nb", "1e-3", "yes", "*a", "&a b", "<<",
        "!!python/name:os.system", "{", "[", "a: b", "- a", "#", "'", '"', "\t", "\ufeff", "%", "@", "`", "|", ">",
    ]
)  # fmt: skip
NUMBERS = st.sampled_from([0, -1, 1, 2**31 - 1, 2**31, 10**30, 1e-320, 1e308, float("inf"), float("nan"), -0.0, 0.5, 3, 1000])
VALUES = WORDS | NUMBERS | JUNK | st.just(GONE)
KEYS = st.sampled_from(["kind", "name", "units", "learning_rate", "layers", "train", "path", "0", "", "a.b", "\x1b", "x" * 300])


@st.composite
def mutated_specs(draw: st.DrawFn) -> str:
    """Draws the text of a shipped or generated spec with a few values, keys or characters changed."""
    text = draw(st.sampled_from(SHIPPED) | SPECS.map(to_flow))
    how = draw(st.sampled_from(["values", "values", "keys", "moved", "lines", "characters"]))
    if how in ("lines", "characters"):
        return _with_changed_text(draw, text, by_line=how == "lines")
    data = parse(text, "").data
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(data)))
        if how == "values":
            data = replaced(data, place, draw(VALUES)) if place else data
        elif how == "moved":
            data = replaced(data, place, _at(data, draw(st.sampled_from(places(data)))))
        elif isinstance(_at(data, place), dict):
            data = replaced(data, place, {**_at(data, place), draw(KEYS | st.text(max_size=5)): draw(VALUES.filter(_is_value))})
    return to_flow(data)


def _is_value(value: Any) -> bool:
    return value is not GONE


def _at(data: Any, place: tuple[Any, ...]) -> Any:
    for part in place:
        data = data[part]
    return data


def _with_changed_text(draw: st.DrawFn, text: str, *, by_line: bool) -> str:
    parts = text.splitlines() if by_line else list(text)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(parts) - 1))
        new = draw(st.lists(WORDS if by_line else st.characters() | st.sampled_from(list("{}[]:,&*!|>-?'\"\n\t#")), max_size=2))
        again = parts[start : start + draw(st.integers(0, 3))] if draw(st.booleans()) else []
        parts[start : start + draw(st.integers(0, 3))] = [*new, *again]
        parts = parts or [""]
    return ("\n" if by_line else "").join(parts)


def _refuse_crash(text: str) -> None:
    """Checks a text as `dlcli check` does: it is good, and then good again as the run keeps it, or every fault has words."""
    started = process_time()
    loaded, faults = None, []
    try:
        loaded = load_text(text, "spec.yaml")
    except SpecError as error:
        faults = error.faults
    assert process_time() - started < DEADLINE
    assert (loaded is None) == bool(faults)
    for fault in faults:
        assert fault.message, fault
        assert all(char.isprintable() or char in "\n\t\xa0" for char in str(fault)), repr(str(fault))
        assert len(str(fault).splitlines()) <= 2, str(fault)
    if loaded is not None:
        kept = to_yaml(loaded.experiment)
        assert load_text(kept, "spec.yaml").experiment == loaded.experiment


def _settings(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(autouse=True)
def _files(shipped_files: None) -> None:
    """What a check of a shipped spec looks for."""


@_settings(QUICK)
@given(mutated_specs())
def test_a_mutated_spec_is_good_or_told_in_words(text: str) -> None:
    _refuse_crash(text)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@_settings(ALL)
@given(mutated_specs())
def test_two_thousand_mutated_specs_are_good_or_told_in_words(text: str) -> None:
    _refuse_crash(text)


HEAD = "name: a\ntask: classification\ndata: {source: {kind: builtin, name: digits}}\n"
MLP = HEAD + "model: {kind: mlp, units: [8]}\n"
MANY = 9_000
LARGE = {
    "keys": MLP + "".join(f"k{number}: 1\n" for number in range(MANY)),
    "units": MLP.replace("[8]", f"[{'8,' * MANY}]"),
    "layers": HEAD + f"model: {{kind: cnn, layers: [{'batch_normalization,' * MANY} flatten]}}\n",
    "wrong layers": HEAD + f"model: {{kind: cnn, layers: [{'{kind: dens, unit: 4},' * (MANY // 5)}]}}\n",
    "callbacks": MLP + f"training: {{callbacks: [{'early_stopping,' * MANY}]}}\n",
    "classes": MLP.replace("digits}", f"digits}}, classes: [{','.join(f'c{number}' for number in range(MANY))}]"),
    "augmentations": MLP.replace("digits}", f"digits}}, augment: [{'random_flp,' * MANY}]"),
    "one key": f"{MLP}? {'x' * 900_000}\n: 1\n",
    "one kind": MLP.replace("mlp", "m" * 900_000),
    "one text": MLP.replace("digits", "d" * 900_000),
    "quotes": f"{MLP}x: '{chr(39) * 2 * 400_000}'\n",
    "comments": MLP + "# c\n" * 200_000,
    "depth": f"{MLP}x: {'[' * 500_000}",
    "mappings": f"{MLP}x: {'{a: ' * 100_000}",
    "too many": MLP.replace("[8]", f"[{'8,' * 400_000}]"),
    "too large": MLP + "#" * MAX_BYTES,
    "references": MLP.replace("builtin, name: digits", f"folder, path: '{'${A:-' * 100_000}'"),
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_a_large_spec_is_checked_in_seconds_and_told_in_a_page(text: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    called = call("check", tmp_path / "spec.yaml")
    refuse_crash(called, codes=(0, 2))
    assert len(called.err) < 100_000


BOMBS = {
    "aliases": "a: &a [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1 if n else ''}, *a{n - 1 if n else ''}]\n" for n in range(30)),
    "an alias of itself": f"{MLP}x: &a [*a]\n",
    "a merge key": f"{MLP}x: {{<<: {{a: 1}}}}\n",
    "a call": f"{MLP}x: !!python/object/apply:os.system ['touch EVIL']\n",
    "a new object": f"{MLP}x: !!python/object/new:subprocess.Popen [['touch', 'EVIL']]\n",
    "a name": f"{MLP}x: !!python/name:os.system\n",
    "a module": f"{MLP}x: !!python/module:evil\n",
    "a tag of its own": f"{MLP}x: !evil {{a: 1}}\n",
    "a binary": f"{MLP}x: !!binary RVZJTA==\n",
    "a tag of a directive": f"%TAG ! tag:yaml.org,2002:python/\n---\n{MLP}x: !object/apply:os.system ['touch EVIL']\n",
    "two documents": f"{MLP}---\n{MLP}",
    "a name with a path": MLP.replace("name: a\n", "name: ../../evil\n"),
    "an absolute name": MLP.replace("name: a\n", "name: /evil\n"),
    "a hidden name": MLP.replace("name: a\n", "name: .evil\n"),
    "a name with a line": MLP.replace("name: a\n", 'name: "a\\nb"\n'),
    "a stage with a path": MLP + "training: {stages: [{name: ../../evil, train: all}]}\n",
    "a path with a NUL": MLP.replace("builtin, name: digits", 'npz, path: "a\\0b"'),
    "a path too long": MLP.replace("builtin, name: digits", f"npz, path: {'a/' * 5000}"),
    "a name too long": MLP.replace("builtin, name: digits", f"folder, path: {'a' * 300}"),
    "a device": MLP.replace("builtin, name: digits", "npz, path: /dev/zero"),
    "another device": MLP.replace("builtin, name: digits", "csv, path: /dev/zero, target: x"),
    "someone's home": MLP.replace("builtin, name: digits", "npz, path: ~nobody-of-this-name/x"),
    "a set with a path": MLP.replace("builtin, name: digits", "tfds, name: ../../evil"),
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_spec_made_to_do_harm_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(text)
    before = sorted(path.name for path in tmp_path.iterdir())
    for command in ("check", "describe", "train"):
        refuse_crash(call(command, "spec.yaml"), codes=(2,))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("content", [b"\xff\xfe\x00n", b"\x00" * 100, b"\x80abc", b"", b"\x1b[2Jname: a"])
def test_a_file_that_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_bytes(content)
    refuse_crash(call("check", tmp_path / "spec.yaml"), codes=(2,))


OVERRIDES = [
    "a." * 20_000 + "b=1", f"training.epochs={'[' * 5000}", "model.units.99999999999=1", "5=1", "=", "==", "+=1",
    "name=\x1b[31m", "name=a\nspec.yaml: good", "data.source.path=\x1b]0;title\x07", "training.epochs=!!python/name:os.system",
    f"seed={10**40}",
    "model=" + "{a: " * 100, "x" * 100_000 + "=1",
]  # fmt: skip


@pytest.mark.parametrize("override", OVERRIDES, ids=range(len(OVERRIDES)))
def test_an_override_made_to_do_harm_is_refused(override: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(MLP)
    refuse_crash(call("check", tmp_path / "spec.yaml", "--set", override), codes=(2,))
