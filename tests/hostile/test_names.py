"""Names from data, files and folders that are made to colour, forge, hide or break: shown as what they are, kept as given."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Dlcli, command, environment
from rich.table import Table
from runs.making import make_run
from trainings import bright_quarters

from dlcli.cli.console import PlainConsole, TrainingDisplay
from dlcli.errors import Fault
from dlcli.runs import RunFolder
from dlcli.runs.files import append_line, json_text, read_json, read_table, write_json, write_table
from dlcli.runs.reporter import EpochReport
from dlcli.visible import visible
from hostile.calling import call, refuse_crash

RED, TITLE, CLEAR = "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b[2J\x1b[H"
NAMES = (
    RED, TITLE, CLEAR, "[bold red]markup[/]", "[/]", "[link=https://x.example]y[/link]", ":apple:", "<script>alert(1)</script>",
    "&amp;<b>", "$x_{$", "$\\frac{", "\\$5", "=1+1", "@SUM(A1)", "a,b;c", 'say "hi"', "two\nlines", "error: forged\rgood",
    "tab\there", "\x9b31mcsi", "\u202egnp.exe", "\u2028line", "\x00nul", "../../evil", "a/b", "~", "żółć 猫 😀", "x" * 300,
    "%s %d {0}",
    "\x1b]8;;https://x.example\x1b\\here\x1b]8;;\x1b\\",
)  # fmt: skip
SHOWN = {
    RED: "\\x1b[31mred\\x1b[0m",
    "two\nlines": "two\\nlines",
    "a\r\tb": "a\\r\\tb",
    "\u202egnp.exe": "\\u202egnp.exe",
    "\x9b31m": "\\x9b31m",
    "\udcff.png": "\\udcff.png",
    "żółć 猫 😀": "żółć 猫 😀",
    "a\xa0b": "a\xa0b",
    "👨‍👩‍👧": "👨‍👩‍👧",
    "می‌خواهم": "می‌خواهم",
    "[red]x[/]": "[red]x[/]",
}


@pytest.mark.parametrize(("name", "shown"), SHOWN.items(), ids=range(len(SHOWN)))
def test_control_characters_are_written_out_and_letters_of_all_scripts_stay(name: str, shown: str) -> None:
    assert visible(name) == shown


def _printed(*things: Any, width: int = 400) -> str:
    """Returns what a console for a terminal prints, with the codes that rich itself uses for tables taken out."""
    console = PlainConsole(force_terminal=True, color_system=None, width=width)
    with console.capture() as capture:
        console.print(*things, soft_wrap=True)
    return capture.get()


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_the_console_shows_a_name_as_it_is_wherever_it_stands(name: str) -> None:
    table = Table(name, title=name, caption=name)
    table.add_row(name)
    for text in (_printed(name), _printed(table)):
        assert not {char for char in text if not char.isprintable()} - {"\n"}
        for part in visible(name, keep="\n").split("\n"):
            assert part in text


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_progress_shows_a_name_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    display = TrainingDisplay(quiet=False)
    display.log(f"note: {name}")
    display.epoch_finished(EpochReport(1, 2, {name: 0.5, "seconds": 1.0}, {name: 0.25}, True))
    said = capsys.readouterr().err
    assert not {char for char in said if not char.isprintable()} - {"\n"}
    assert visible(name) in said
    assert "0.5000 +0.250  1.0 s * best" in said


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_files_keep_a_name_and_a_log_shows_it(name: str, tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {name: [name]})
    assert read_json(tmp_path / "a.json") == {name: [name]}
    assert not {char for char in (tmp_path / "a.json").read_text() if not char.isprintable()} - {"\n"}
    write_table(tmp_path / "a.csv", ("id", name), [[name, "x"], ["x", name]])
    assert read_table(tmp_path / "a.csv") == [{"id": name, name: "x"}, {"id": "x", name: name}]
    append_line(tmp_path / "log.txt", f"1 {name}")
    append_line(tmp_path / "log.txt", "2 next")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line[0] for line in lines if not line.startswith("    ")] == ["1", "2"]
    assert all(line.isprintable() for line in lines)


def test_json_for_programs_is_the_same_data() -> None:
    data = {name: [name] for name in NAMES}
    assert json.loads(json_text(data)) == data


def test_a_fault_is_two_lines_at_most_whatever_it_quotes() -> None:
    for name in NAMES:
        text = str(Fault(f"{name}.yaml", 3, 1, name, f"unknown `{name}`", name))
        assert len(text.splitlines()) <= 2, text
        assert not {char for char in text if not char.isprintable()} - {"\n", "\t"}


def _commands_on(run: RunFolder) -> str:
    """Calls what shows a run and returns everything that was printed."""
    runs = run.path.parents[1]
    said = ""
    for words in (
        ("evaluate", run.path, "--split", "train"),
        ("describe", run.path),
        ("runs", "show", run.path),
        ("runs", "list", "--runs", runs),
        ("runs", "compare", run.path, run.path),
    ):
        for more in ((), ("--json",)) if words[0] == "runs" else ((),):
            called = call(*words, *more)
            refuse_crash(called, codes=(0,), deadline=30)
            said += called.out + called.err
    return said


def _trained(folder: Path, source: str, *, task: str = "classification", data: str = "") -> RunFolder:
    """Trains for an epoch by the command line, looks at what it prints, and returns the run."""
    spec = folder / "odd.yaml"
    data = f"{{source: {source}, batch_size: full{data}}}"
    spec.write_text(f"name: odd\ntask: {task}\ndata: {data}\nmodel: {{kind: mlp, units: [4]}}\ntraining: {{epochs: 1}}\n")
    for words in (("check", spec), ("train", spec, "--runs", folder / "runs")):
        refuse_crash(call(*words), codes=(0,), deadline=30)
    return RunFolder(next((folder / "runs" / "odd").iterdir()))


def _lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")


def test_classes_of_a_table_come_through_everything(tmp_path: Path) -> None:
    names = [name for name in NAMES if "\0" not in name]  # pandas ends a text there
    random = np.random.default_rng(0)
    rows = [[f"{random.normal():.3f}", name] for name in names for _ in range(8)]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "label"], *rows])
    run = _trained(tmp_path, "{kind: csv, path: rows.csv, target: label}")
    assert sorted(run.data()["classes"]) == sorted(names)
    said = _commands_on(run)
    assert "alert(1)" in said
    assert "\\x1b[31mred" in said
    assert sorted(row["class"] for row in read_table(run.evaluation("test") / "per_class.csv")) == sorted(names)
    labels = {row["label"] for row in read_table(run.evaluation("test") / "predictions.csv")}
    assert labels <= set(names)
    for name in ("log.txt", "data.json", "status.json", "evaluation/test/metrics.json"):
        assert all(line.isprintable() for line in _lines_of(run.path / name)), name
    for name in ("curves.png", "evaluation/test/confusion_matrix.png"):
        assert (run.path / name).stat().st_size > 5000


def test_columns_and_labels_of_a_table_come_through_everything(tmp_path: Path) -> None:
    features, labels = (RED, "[red]x[/]", "$a_{$", "=1+1"), (TITLE, "a,b", "<b>")
    random = np.random.default_rng(0)
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*features, *labels])
        writer.writerows([[f"{value:.3f}" for value in random.normal(size=4)] + [i % 2, 1 - i % 2, i % 2] for i in range(40)])
    target = json.dumps(list(labels))
    run = _trained(tmp_path, f"{{kind: csv, path: rows.csv, target: {target}}}", task="multilabel")
    assert run.data()["columns"] == list(features)
    _commands_on(run)
    columns = list(read_table(run.evaluation("test") / "predictions.csv")[0])
    assert columns == ["id", *(f"{kind}_{name}" for kind in ("label", "predicted") for name in labels)]


def _pictures(folder: Path, names: list[bytes]) -> None:
    """Writes class folders of any name, with pictures of names as odd."""
    from PIL import Image

    images, _ = bright_quarters(8 * len(names), channels=3)
    for place, image in enumerate(images):
        own = os.fsencode(folder) + b"/" + names[place % len(names)]
        os.makedirs(own, exist_ok=True)
        with open(own + b"/" + (b"\x1b[31m%d\n[red].png" % place), "wb") as file:
            Image.fromarray(image).save(file, format="png")


def test_classes_and_files_of_a_folder_come_through_everything(tmp_path: Path) -> None:
    names = [name.encode() for name in NAMES if "/" not in name and "\0" not in name and len(name) < 200 and name != ".."]
    _pictures(tmp_path / "photos", names)
    run = _trained(tmp_path, "{kind: folder, path: photos}", data=", image: {size: 8}")
    assert sorted(run.data()["classes"]) == sorted(name.decode() for name in names)
    _commands_on(run)
    assert all("\n[red].png" in one for one in run.split())


def test_a_class_folder_whose_name_is_no_text_is_shown_or_refused_in_words(tmp_path: Path) -> None:
    _pictures(tmp_path / "photos", [b"good", b"\xff\xfebad"])
    spec = tmp_path / "odd.yaml"
    source = "{source: {kind: folder, path: photos}, image: {size: 8}}"
    spec.write_text(f"name: odd\ntask: classification\ndata: {source}\nmodel: {{kind: mlp}}\ntraining: {{epochs: 1}}\n")
    for words in (("check", spec), ("describe", spec), ("train", spec, "--runs", tmp_path / "runs")):
        refuse_crash(call(*words), deadline=30)


def test_labels_of_tensorflow_datasets_come_through_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spec.sources.tiny_sets import TinyPhotos

    TinyPhotos(data_dir=tmp_path / "sets").download_and_prepare()
    labels = next((tmp_path / "sets").rglob("label.labels.txt"))
    labels.write_text(f"{RED}[bold]$x_{{$\n<script>{TITLE}\n")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    run = _trained(tmp_path, "{kind: tfds, name: tiny_photos}", data=", image: {size: 8}")
    assert run.data()["classes"] == [f"{RED}[bold]$x_{{$", f"<script>{TITLE}"]
    _commands_on(run)


def test_a_run_folder_of_any_name_is_listed_shown_and_removed(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    sound = make_run(runs)
    for place, name in enumerate(name for name in NAMES if "/" not in name and "\0" not in name and len(name) < 200):
        shutil.copytree(sound.path, runs / name / f"{name}{place}")
    shutil.copytree(sound.path, runs / os.fsdecode(b"\xff") / os.fsdecode(b"\xfe"))
    listed = call("runs", "list", "--runs", runs)
    refuse_crash(listed, codes=(0,))
    assert sound.id in listed.out
    refuse_crash(call("runs", "list", "--json", "--runs", runs), codes=(0,))
    refuse_crash(call("runs", "list", "nothing", "--runs", runs), codes=(2,))
    refuse_crash(call("runs", "show", "nothing", "--runs", runs), codes=(2,))
    for folder in [path for path in runs.iterdir() if path.name != "iris"]:
        run = next(folder.iterdir())
        for words in (("show", run), ("show", run, "--json"), ("compare", run, sound.path), ("rm", run, "--yes")):
            refuse_crash(call("runs", *words, "--runs", runs), codes=(0,))
        assert not run.exists()


def test_a_completion_that_a_shell_would_act_on_is_not_offered(tmp_path: Path) -> None:
    from dlcli.cli.options import complete_run

    sound = make_run(tmp_path)
    for name in ("$(touch evil)", "a b", "a;b", "`evil`", "a\nb", RED, "-rf", "a'b"):
        shutil.copytree(sound.path, tmp_path / name / "20260101-000000-abcd")

    class Context:
        params = {"runs": tmp_path}  # noqa: RUF012

    assert complete_run(Context(), "") == ["iris", sound.id]  # type: ignore[arg-type]


def test_spec_files_of_any_name_are_checked(tmp_path: Path) -> None:
    good = "name: a\ntask: classification\ndata: {source: {kind: builtin, name: iris}}\nmodel: {kind: mlp}\n"
    for name in NAMES:
        if "/" not in name and "\0" not in name and len(name) < 200:
            (tmp_path / f"{name}.yaml").write_text(good)
    os.mkfifo(tmp_path / "pipe.yaml")
    refuse_crash(call("check", tmp_path), codes=(0,))
    for name in ("broken", RED):
        (tmp_path / f"{name}.yaml").write_text(f"{good}x: 1\n{RED}: 2\n")
    refuse_crash(call("check", tmp_path), codes=(2,))
    called = call("check", tmp_path, "--json")
    assert (called.code, called.crash) == (2, None)
    assert [Path(fault["file"]).stem for fault in json.loads(called.out)["faults"]] == [RED, "broken"]


def test_a_failure_with_an_odd_name_is_told_logged_and_listed(tmp_path: Path) -> None:
    spec = tmp_path / "odd.yaml"
    (tmp_path / "rows.csv").write_text("a,label\n" + f'1,"{CLEAR}error: [red]forged"\n' * 9)
    source = "{source: {kind: csv, path: rows.csv, target: label}}"
    spec.write_text(f"name: odd\ntask: classification\ndata: {source}\nmodel: {{kind: mlp}}\n")
    refuse_crash(call("train", spec, "--runs", tmp_path / "runs"), codes=(1,), deadline=30)
    run = next((tmp_path / "runs" / "odd").iterdir())
    assert all(line.isprintable() for line in _lines_of(run / "log.txt"))
    listed = call("runs", "list", "--runs", tmp_path / "runs")
    refuse_crash(listed, codes=(0,))
    assert "failed" in listed.out
    assert "forged" in listed.out


def test_a_terminal_that_knows_ascii_alone_gets_escapes_and_no_traceback(tmp_path: Path, dlcli: Dlcli) -> None:
    run = make_run(tmp_path / "runs", accuracy=None, state="failed")
    run.update_status(error="no class 猫 żółć")
    done = subprocess.run(
        command("runs", "list"),
        capture_output=True,
        cwd=tmp_path,
        env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0"),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u732b" in done.stdout
