"""Wrong specs: the whole printed text of every fault.

`wrong_specs.txt` holds one case a section: the lines that differ from `GOOD` (several places parted by `@@`; a whole
file where no line is taken away), then the text that is printed.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from dlcli.errors import SpecError
from dlcli.spec.load import load
from dlcli.visible import visible

GOOD = (Path(__file__).parent / "good_spec.yaml").read_text()


def _cases() -> dict[str, tuple[str, str]]:
    """Returns (spec, expected text) for every case by its name."""
    sections = (Path(__file__).parent / "wrong_specs.txt").read_text().split("=== ")[1:]
    cases = {}
    for section in sections:
        name, rest = section.split("\n", 1)
        edit, expected = rest.split("---\n", 1) if rest.startswith("---\n") else rest.split("\n---\n", 1)
        cases[name] = (_edited(edit), expected.strip())
    return cases


def _edited(edit: str) -> str:
    if not any(line.startswith("- ") for line in edit.splitlines()):
        return _lines(edit, "+ ")
    text = GOOD
    for hunk in edit.split("@@\n"):
        old = _lines(hunk, "- ")
        assert text.count(old) == 1, old
        text = text.replace(old, _lines(hunk, "+ "))
    return text


def _lines(hunk: str, sign: str) -> str:
    return "".join(f"{line[2:]}\n" for line in hunk.splitlines() if line.startswith(sign))


CASES = _cases()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the specs name, as the working directory."""
    (tmp_path / "rows.csv").write_text("id,color,label\n1,red,a\n2,blue,b\n")
    (tmp_path / "w.txt").write_text("no weights")
    (tmp_path / "empty").mkdir()
    for name in ("cat", "dog", "owl"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOWHERE_SET", raising=False)
    return tmp_path


def _printed(folder: Path, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(SpecError) as caught:
        load("spec.yaml", overrides)
    return str(caught.value).replace(str(folder), "<folder>")


def test_the_good_spec_is_good(folder: Path) -> None:
    (folder / "spec.yaml").write_text(GOOD)
    assert load("spec.yaml").experiment.name == "tiny"


@pytest.mark.parametrize(
    "hardware",
    ["strategy: mirrored, devices: 2", "strategy: multi_worker, devices: 2", "strategy: one_device, devices: 2", "xla: true"],
)
def test_what_devices_can_do_is_not_refused(folder: Path, hardware: str) -> None:
    (folder / "spec.yaml").write_text(f"{GOOD}hardware: {{{hardware}}}\n")
    load("spec.yaml")


def test_there_are_many_wrong_specs() -> None:
    assert len(CASES) > 120


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_spec_is_told_in_full(folder: Path, name: str) -> None:
    text, expected = CASES[name]
    (folder / "spec.yaml").write_text(text)
    assert _printed(folder) == expected


def test_faults_of_a_file_come_in_its_order(folder: Path) -> None:
    text = GOOD.replace("seed: 1", "sed: 1").replace("units: 8", "unit: 8").replace("epochs: 2", 'epochs: "2"')
    (folder / "spec.yaml").write_text(text.replace("patience: 3", "patience: -3"))
    assert _printed(folder).splitlines()[::2] == [
        "spec.yaml:4:1: sed: unknown key; did you mean `seed`?",
        "spec.yaml:17:21: model.layers.3.unit: unknown key; did you mean `units`?",
        "spec.yaml:19:3: training.epochs: expected an integer, found the text '2'; write it without quotes: 2",
        "spec.yaml:23:30: training.callbacks.0.patience: expected a number of at least 0, found -3",
    ]


def test_rules_are_checked_in_the_sections_without_faults(folder: Path) -> None:
    (folder / "spec.yaml").write_text(GOOD.replace("filters: 4", "filters: x").replace("[accuracy]", "[accuracy, r2]"))
    assert _printed(folder).splitlines()[::2] == [
        "spec.yaml:14:22: model.layers.0.filters: expected an integer, found the text 'x'",
        "spec.yaml:21:23: training.metrics.1: `r2` does not fit `task: classification`",
    ]


def test_a_file_of_windows_has_the_same_lines(folder: Path) -> None:
    (folder / "spec.yaml").write_bytes(GOOD.replace("seed: 1", "seed: 1\nseed: 2").replace("\n", "\r\n").encode("utf-8-sig"))
    assert _printed(folder) == "spec.yaml:5:1: seed: this key is repeated, first in line 4\n    seed: 2"


UNREADABLE = {
    "binary": (bytes(range(256)), "spec.yaml: not a text file in UTF-8"),
    "zero byte": (b"name: ti\0ny\n", "spec.yaml:1:9: not YAML: control characters are not allowed"),
    "large": (b"name: tiny\n#" + b"x" * 1_000_000, "spec.yaml:1:1: larger than 1,000,000 bytes: not a spec"),
    "deep": (b"name: " + b"[" * 50, f"spec.yaml:1:46: nested more than 40 levels deep\n    name: {'[' * 50}"),
    "deep in blocks": (
        b"".join(b" " * depth + b"a:\n" for depth in range(60)),
        "spec.yaml:41:41: nested more than 40 levels deep\n    a:",
    ),
    "digits": (b"seed: " + b"1" * 5000, f"spec.yaml:1:7: seed: a number of too many digits\n    seed: {'1' * 194}..."),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_spec_is_refused_in_words(folder: Path, name: str) -> None:
    content, expected = UNREADABLE[name]
    (folder / "spec.yaml").write_bytes(content)
    assert _printed(folder) == expected


def test_a_folder_and_a_missing_file_are_no_specs(folder: Path) -> None:
    assert _printed(folder) == "spec.yaml: no such file"
    (folder / "spec.yaml").mkdir()
    assert _printed(folder) == "spec.yaml: is a folder, not a spec"


@pytest.mark.parametrize("number", ["1" + "0" * 400, "0x" + "f" * 5000])
@pytest.mark.parametrize("key", ["learning_rate: 1e-3", "patience: 3", "validation: 0.1", "height_factor: 0.1", "epochs: 2"])
def test_numbers_too_large_for_a_float_crash_nothing(folder: Path, key: str, number: str) -> None:
    name = key.split(":")[0]
    (folder / "spec.yaml").write_text(GOOD.replace(key, f"{name}: {number}"))
    with suppress(SpecError):  # as a patience it may stand
        load("spec.yaml")


OVERRIDES = {
    "training.epochs": "expected PATH=VALUE, such as training.epochs=3",
    "=3": "expected PATH=VALUE, such as training.epochs=3",
    "training..epochs=2": "expected PATH=VALUE, such as training.epochs=3",
    "training.epochs=x": "training.epochs: expected an integer, found the text 'x'",
    "training.epoch=3": "training.epoch: unknown key; did you mean `epochs`?",
    "model.layers.9.units=3": "the list has 4 entries, counted from 0; `9` is none of them",
    "model.layers.-1.units=3": "the list has 4 entries, counted from 0; `-1` is none of them",
    "seed.a=1": "seed: is 1, which has no parts",
    "training.metrics+=r2": "training.metrics.1: `r2` does not fit `task: classification`",
    "training.epochs+=1": "training.epochs: is not a list: nothing can be appended",
    "training.optimizer=sgdd": "training.optimizer: unknown optimizer `sgdd`; did you mean `sgd`?",
    "training.metrics=[": "not YAML: did not find expected node content",
    "seed=&a 1": "anchors and aliases are not supported: write the value out",
    "seed={a: 1, a: 2}": "a: this key is repeated, first in line 1",
    "training.0=1": (
        "training.0: unknown key; known here: epochs, optimizer, loss, metrics, monitor, callbacks, stages, features,"
        " checkpoint_minutes, initial_weights"
    ),
    "name=\udcff": "not text in UTF-8",
    "name=": "name: expected text, found nothing",
    "hardware.xla=yes": "hardware.xla: expected true or false, found the text 'yes'; write true",
    "training.loss.delta=3": "training.loss: missing `kind`: one of huber",
    "training.callbacks+={kind: time_limit}": (
        "training.callbacks.1.minutes: missing: Minutes of training; the pause of an interrupted run does not count."
    ),
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_wrong_override_is_named_instead_of_a_line(folder: Path, override: str) -> None:
    (folder / "spec.yaml").write_text(GOOD)
    assert _printed(folder, (override,)) == f"--set {visible(override)}: {OVERRIDES[override]}"


def test_overrides_replace_append_and_build_on_each_other(folder: Path) -> None:
    (folder / "spec.yaml").write_text(GOOD)
    loaded = load(
        "spec.yaml",
        (
            "training.epochs=7",
            "training.metrics+={kind: top_k, k: 3}",
            "training.optimizer=sgd",
            "training.optimizer.momentum=0.5",
        ),
    )
    training: object = loaded.experiment.training
    assert loaded.experiment.training.epochs == 7
    assert [metric.name for metric in loaded.experiment.training.metrics or []] == ["accuracy", "top_3"]
    assert getattr(loaded.experiment.training.optimizer, "momentum", None) == 0.5, training
    assert loaded.source_text.endswith("# --set training.optimizer.momentum=0.5\n")
