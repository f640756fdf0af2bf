"""`report.html`: its contents, that it loads nothing, and that hostile names in it are harmless."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import REPOSITORY, Dlcli, environment
from reading_pages import Element, read_page
from runs.making import make_run
from trainings import SMALL_CNN, trained, write_pngs, write_spec
from written_runs import binary_run, guesses, image_run, regression_run, score, with_everything, written

from dlcli.errors import UsageError
from dlcli.models.describe import describe_run
from dlcli.report.card import write_model_card
from dlcli.report.report import write_comparison, write_report
from dlcli.report.sentences import example
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table, write_table
from dlcli.visible import visible

HOSTILE = (
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", '" onmouseover="alert(1)', "'><svg onload=alert(1)>",
    "\x1b[31mred\x1b[0m", "\u202egnp.exe", "two\nlines", "{{ 7 * 7 }}", "{% raw %}", "&lt;b&gt;", "$x_{$", "żółć 猫 😀",
    "]]></style><!--", "\x00nul",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A trained run on tiny images with hostile class names."""
    folder = tmp_path_factory.mktemp("trained")
    names = ("a<b>", 'x" onclick="y', "\x1b[31mred", "&amp;")
    write_pngs(folder / "photos", names=names, each=10)
    spec = write_spec(
        folder, "{kind: folder, path: photos}", model=SMALL_CNN, data="image: {size: [8, 8]}", training="epochs: 2"
    )
    return trained(spec, write_up=True)


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with every optional file, and its report."""
    full_run = with_everything(image_run(tmp_path_factory.mktemp("made"), ("cat", "dog", "owl")))
    write_report(full_run)
    return full_run


@pytest.fixture
def copied_run(full_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the full run that a test may change."""
    return RunFolder(Path(shutil.copytree(full_run.path, tmp_path / "made" / full_run.path.name)))


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A regression run with two targets, and its report."""
    regression = regression_run(tmp_path_factory.mktemp("numbers"))
    write_report(regression)
    return regression


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A binary run, and its report."""
    binary = binary_run(tmp_path_factory.mktemp("binary"))
    write_report(binary)
    return binary


@pytest.fixture
def page(full_run: RunFolder) -> Element:
    return read_page(full_run.path / "report.html")


def headings(page: Element, level: str = "h2") -> list[str]:
    return [heading.text for heading in page.all(level)]


def test_a_training_ends_with_a_report_of_its_scores(run: RunFolder) -> None:
    page, metrics = read_page(run.path / "report.html"), run.metrics("test")
    accuracy = metrics["metrics"]["accuracy"]
    assert page.one("p", class_="big").text == f"{100 * accuracy['value']:.1f} %"
    low, high = (100 * bound for bound in accuracy["interval"])
    assert f"95 % interval {low:.1f} to {high:.1f} %" in page.one("div", class_="score").text
    assert {"Scores", "Confusions", "Learning curves", "Data", "Layers", "Environment", "Spec"} <= set(headings(page))
    assert page.one("span", class_="state").text == "completed"


def test_the_layer_table_equals_that_of_describe(run: RunFolder) -> None:
    page = read_page(run.path / "report.html")
    (table,) = [row for row in page.all("table") if "parameters" in row.all("thead")[0].text]
    rows = describe_run(run).rows
    expected = [[row.kind, row.name, f"{row.size:,}", f"{row.parameters:,}"] for row in rows]
    shapes = [cells[2] for cells in table.rows()]
    assert [[cells[0], cells[1], cells[3]] for cells in table.rows()] == [[row[0], row[1], row[3]] for row in expected]
    assert shapes == [str(row.shape[0]) if len(row.shape) == 1 else str(row.shape).replace(" ", "") for row in rows]


def test_the_matrix_and_the_class_table_equal_the_files(run: RunFolder) -> None:
    page, folder = read_page(run.path / "report.html"), run.evaluation("test")
    counts = [[int(cell) for cell in list(row.values())[1:]] for row in read_table(folder / "confusion_matrix.csv")]
    matrix = page.one("table", class_="matrix").rows()
    assert [[int(cell or 0) for cell in row[1:]] for row in matrix] == counts
    rows = read_table(folder / "per_class.csv")
    classes = page.one("table", class_="classes").rows()
    assert [cells[0] for cells in classes] == [visible(row["class"]) for row in rows]
    assert [cells[1] for cells in classes] == [f"{float(row['precision']):.3f}" for row in rows]


def test_a_full_run_has_every_section(page: Element) -> None:
    assert headings(page) == [
        "Diagnosis", "Scores", "Confusions", "Classes", "Selected examples", "Calibration", "ROC and precision", "Slices",
        "Learning curves", "Explanations", "Data", "Training", "Exports", "Reproduce", "Environment", "Spec",
    ]  # fmt: skip
    text = page.text
    for words in (
        "too short",
        "--set training.epochs=60",
        "Verified after step 1: 2 trainable variables changed, 4 frozen ones did not.",
        "site = north",
        "It looks here.",
        "accuracy 0.9000 against 0.9000 on 60 examples; largest difference of an output 1e-06",
        "3 rows had no label and are left out",
    ):
        assert words in text
    assert len([image for image in page.all("img") if image.attributes["src"].startswith("data:image/png;base64,")]) == 1


def test_every_link_of_the_contents_has_a_target(page: Element) -> None:
    ids = {element.attributes["id"] for element in page.all() if "id" in element.attributes}
    links = [element.attributes["href"] for element in page.one("nav").all("a")]
    assert len(links) > 10
    assert {link.removeprefix("#") for link in links} <= ids


def test_ids_on_a_page_are_unique_also_inside_charts(regression: RunFolder, full_run: RunFolder, tmp_path: Path) -> None:
    page = read_page(write_comparison([regression, full_run], tmp_path / "both.html"))
    ids = Counter(element.attributes["id"] for element in page.all() if "id" in element.attributes)
    assert len(page.all("svg")) > 6
    assert [name for name, count in ids.items() if count > 1] == []
    references = re.findall(r"(?:url\(|href=\")#([\w-]+)", (tmp_path / "both.html").read_text())
    assert set(references) <= set(ids)


def refuse_loads(page: Element, text: str) -> None:
    """Checks that a page loads nothing, and that only its own script may run."""
    policy = next(element for element in page.all("meta") if element.attributes.get("http-equiv") == "Content-Security-Policy")
    script = page.one("script")
    digest = b64encode(sha256(re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1).encode()).digest()).decode()  # type: ignore[union-attr]
    assert script.attributes == {}
    assert policy.attributes["content"] == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none';"
        " form-action 'none'"
    )
    for element in page.all():
        assert not [name for name in element.attributes if name.startswith("on")]
        assert element.tag not in ("iframe", "object", "embed", "base", "form", "audio", "video")
        assert element.attributes.get("src", "data:").startswith("data:")
        assert not element.attributes.get("href", "").lower().startswith(("http:", "https:", "//", "javascript:", "file:"))
    assert not re.search(r"url\((?!#)|@import", text)


def test_a_page_loads_nothing_and_runs_only_its_own_script(page: Element, full_run: RunFolder) -> None:
    refuse_loads(page, (full_run.path / "report.html").read_text(encoding="utf-8"))


def test_hostile_names_are_shown_as_text_everywhere(tmp_path: Path) -> None:
    hostile = with_everything(image_run(tmp_path, HOSTILE, ids="{}<script>alert(2)</script>.png\x1b[2J"))
    data = hostile.data()
    hostile.write_data(data | {"notes": list(HOSTILE)})
    stages = hostile.stages()
    hostile.write_stages(
        [stages[0] | {"monitor": HOSTILE[0], "blocks": [{"name": HOSTILE[1], "trainable": 1, "frozen": 0}] * 2}]
    )
    hostile.write_history([{"stage": HOSTILE[0], "epoch": 1, HOSTILE[1]: 0.5}, {"stage": "b", "epoch": 2, HOSTILE[1]: 0.4}])
    environment_data = hostile.environment() | {"packages": {HOSTILE[0]: HOSTILE[1]}, "command": ["dlcli", *HOSTILE]}
    hostile.write_environment(environment_data)
    hostile.update_status(error=HOSTILE[0], parent=HOSTILE[1])
    path = write_report(hostile)
    text = path.read_text(encoding="utf-8")
    page = read_page(path)
    refuse_loads(page, text)
    assert not {char for char in text if not char.isprintable()} - {"\n"}
    names = [cells[0] for cells in page.one("table", class_="classes").rows()]
    assert names == [" ".join(visible(name, keep="\n").split()) for name in HOSTILE]
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert "49" not in names


def test_a_hostile_spec_is_shown_as_text(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    spec = run.path / "spec.yaml"
    spec.write_text(spec.read_text() + "# </code></pre><script>alert(1)</script> \u202e\n", encoding="utf-8")
    page = read_page(write_report(run))
    assert "</code></pre><script>alert(1)</script> \\u202e" in page.one("div", class_="code").text
    assert len(page.all("script")) == 1


def test_a_run_without_an_evaluation_has_a_page(tmp_path: Path) -> None:
    page = read_page(write_report(make_run(tmp_path, accuracy=None, state="failed")))
    assert "Not scored yet" in page.text
    assert page.one("span", class_="state").text == "failed"


def test_an_old_run_without_intervals_and_diagnosis_has_a_page(tmp_path: Path) -> None:
    page = read_page(write_report(make_run(tmp_path, accuracy=0.9)))
    assert page.one("p", class_="big").text == "90.0 %"
    assert "no interval was stored" in page.text
    assert "Diagnosis" not in headings(page)


def test_a_column_without_a_number_of_values_has_an_empty_cell(tmp_path: Path) -> None:
    run = make_run(tmp_path, accuracy=0.9)
    facts = [{"name": "x", "became": "number", "gaps": 0}, {"name": "y", "became": "target", "values": 3, "gaps": 0}]
    run.write_data(run.data() | {"column_facts": facts})
    columns = read_page(write_report(run)).all("table", class_="counts")[0]
    cells = [cell.text for cell in columns.all("td")]
    assert cells == ["x", "number", "", "0", "", "y", "target", "3", "0", ""]


NEEDED = {"spec.yaml", "status.json"}


def optional_files(run: RunFolder) -> list[Path]:
    return sorted(path for path in run.path.rglob("*") if path.is_file() and path.name not in NEEDED and path.suffix != ".jpg")


def test_files_may_be_missing(copied_run: RunFolder) -> None:
    files = optional_files(copied_run)
    assert len(files) > 15
    for group in (files[0::3], files[1::3], files[2::3]):
        contents = {path: path.read_bytes() for path in group}
        for path in group:
            path.unlink()
        assert read_page(write_report(copied_run)).one("h1").text == "made", group
        for path, content in contents.items():
            path.write_bytes(content)


@pytest.mark.slow
def test_any_file_may_be_missing(copied_run: RunFolder, tmp_path: Path) -> None:
    for path in optional_files(copied_run):
        content = path.read_bytes()
        path.unlink()
        assert read_page(write_report(copied_run, tmp_path / "page.html")).one("h1").text == "made", path
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation/test/metrics.json", "{}"),
        ("evaluation/test/per_class.csv", "class,precision,recall,f1,support\na,much,1,1,3\n"),
        ("evaluation/test/per_class.csv", "class,precision,recall,f1,support\na,nan,1,1,3\n"),
        ("evaluation/test/confusion_matrix.csv", "label,a\nb,1\n"),
        ("evaluation/test/confusion_matrix.csv", "label,a\na,-1\n"),
        ("evaluation/test/examples.csv", "kind,id\nconfusion,1\n"),
        ("evaluation/test/roc_curve.csv", "class,false_positive_rate\na,1\n"),
        ("evaluation/test/calibration.csv", "from\n1\n"),
        ("evaluation/test/slices.csv", "column,value\nsite\n"),
        ("diagnosis.json", "[1]"),
        ("explanations/explanations.json", '[{"file": "../../secret.png", "kind": "", "title": "", "text": ""}]'),
        ("exports/onnx/export.json", "{"),
        ("data.json", "[]"),
        ("environment.json", "[]"),
        ("history.csv", "stage,epoch,loss\na,1,x\n"),
        ("stages.json", "{}"),
    ],
)
def test_a_damaged_file_is_named_and_the_other_contents_are_shown(name: str, content: str, copied_run: RunFolder) -> None:
    (copied_run.path / "history.csv").unlink()  # its charts are slow and not needed here
    (copied_run.evaluation("test") / "pr_curve.csv").unlink()
    (copied_run.path / name).write_text(content)
    page = read_page(write_report(copied_run))
    assert name in page.one("div", class_="note").text
    assert "Spec" in headings(page)


def test_only_the_runs_own_thumbnails_are_shown(copied_run: RunFolder, tmp_path: Path) -> None:
    shutil.rmtree(copied_run.path / "explanations")
    folder = copied_run.evaluation("test")
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"\xff\xd8\xffsecret")
    (folder / "thumbnails" / "900.jpg").symlink_to(secret)
    (folder / "thumbnails" / "901.jpg").write_bytes(b"no picture")
    names = ["../../../../secret.jpg", str(secret), "thumbnails/900.jpg", "thumbnails/901.jpg", "thumbnails/../x.jpg"]
    rows = "".join(f"uncertain,{number},a,b,0.5,{name}\n" for number, name in enumerate(names))
    (folder / "examples.csv").write_text("kind,id,label,predicted,probability,thumbnail\n" + rows)
    page = read_page(write_report(copied_run))
    assert page.all("img") == []
    assert "Most uncertain predictions" in headings(page, "h3")


def test_equal_runs_have_equal_pages(full_run: RunFolder, tmp_path: Path) -> None:
    first = (full_run.path / "report.html").read_bytes()
    assert write_report(full_run, tmp_path / "again.html").read_bytes() == first


def test_a_hundred_classes_stay_below_five_megabytes(tmp_path: Path) -> None:
    path = write_report(image_run(tmp_path, [f"species {number}" for number in range(100)]))
    page = read_page(path)
    assert path.stat().st_size < 5_000_000
    assert len(page.one("table", class_="matrix").rows()) == 100
    assert page.all("img")


def test_two_hundred_classes_have_a_list_of_pairs_instead_of_a_matrix(tmp_path: Path) -> None:
    outcome = guesses([f"c{number}" for number in range(200)], each=3)
    page = read_page(write_report(written(tmp_path, outcome)))
    assert page.all("table", class_="matrix") == []
    assert "too many for a matrix on a page" in page.text


def test_a_regression_shows_its_targets_and_largest_errors(regression: RunFolder) -> None:
    page = read_page(regression.path / "report.html")
    titles = headings(page, "h3")
    assert {"price", "area", "Largest errors"} <= set(titles)
    assert len(page.one("section", id="run-s0-errors").all("svg")) == 6
    assert page.one("p", class_="big").text == "2"
    (table,) = page.one("section", id="run-s0-gallery").all("table")
    assert [heading.text for heading in table.one("thead").all("th")] == ["example", "actual", "predicted"]


def test_a_binary_run_shows_thresholds(binary: RunFolder) -> None:
    page = read_page(binary.path / "report.html")
    table = page.one("section", id="run-s0-thresholds").one("table")
    assert [cells[:2] for cells in table.rows()] == [["yes", "default"], ["yes", "f1"]]


def test_the_scores_of_all_splits_are_shown(copied_run: RunFolder) -> None:
    outcome = guesses(("cat", "dog", "owl"), seed=3)
    score(copied_run, type(outcome)(**{**vars(outcome), "split": "validation"}), images=None, pictures=False)
    page = read_page(write_report(copied_run))
    captions = [caption_element.text for caption_element in page.one("section", id="run-s0-scores").all("caption")]
    assert [caption.split(",")[0] for caption in captions] == ["Test", "Validation"]


def test_charts_take_their_colours_from_the_page(binary: RunFolder) -> None:
    text = (binary.path / "report.html").read_text()
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) >= 4
    for drawing in drawings:
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawing)) <= {"#ffffff", "#000000"}
        assert "currentColor" in drawing
        assert "<style" not in drawing


def test_only_a_report_of_dlcli_is_overwritten(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    foreign = tmp_path / "mine.html"
    foreign.write_text("<html>mine</html>")
    link = tmp_path / "link.html"
    link.symlink_to(foreign)
    for path in (foreign, link, tmp_path, tmp_path / "none" / "report.html"):
        with pytest.raises(UsageError, match=re.escape(str(path))):
            write_report(run, path)
    assert foreign.read_text() == "<html>mine</html>"
    (run.path / "report.html").write_text("mine")
    with pytest.raises(UsageError, match="not a report of dlcli"):
        write_report(run)


def test_several_runs_are_compared_on_one_page(copied_run: RunFolder, tmp_path: Path) -> None:
    other_run = RunFolder(Path(shutil.copytree(copied_run.path, tmp_path / "other" / copied_run.path.name)))
    spec = other_run.path / "spec.yaml"
    spec.write_text(spec.read_text().replace("seed: 0", "seed: 7"))
    (other_run.path / "report.html").unlink()
    page = read_page(write_comparison([copied_run, other_run], tmp_path / "both.html"))
    assert ["seed", "0", "7"] in page.one("section", id="specs").one("table").rows()
    links = [element.attributes["href"] for element in page.all("a") if element.attributes["href"].endswith("report.html")]
    assert links == [f"made/{copied_run.path.name}/report.html"]
    assert "B against A: no difference in accuracy: A and B are correct on the same examples." in page.text
    assert [element.attributes["id"] for element in page.all("details", class_="folded")] == ["run0", "run1"]
    refuse_loads(page, (tmp_path / "both.html").read_text())


def test_runs_of_different_tasks_are_shown_side_by_side(regression: RunFolder, binary: RunFolder, tmp_path: Path) -> None:
    page = read_page(write_comparison([regression, binary], tmp_path / "both.html"))
    assert [cells[0] for cells in page.one("section", id="scores").one("table").rows()] == ["mae", "accuracy"]
    assert "their scores cannot be compared" in page.text


def test_the_command_writes_report_and_card_and_prints_their_paths(dlcli: Dlcli, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "made")
    process = dlcli("report", "made")
    assert (process.returncode, process.stdout.splitlines()) == (
        0,
        [str(run.path / "report.html"), str(run.path / "model_card.md")],
    )
    other_run = make_run(tmp_path / "runs")
    process = dlcli("report", run.id, other_run.id)
    assert (process.returncode, process.stdout) == (0, "report.html\n")
    assert read_page(tmp_path / "report.html").one("h1").text == "2 runs"
    (tmp_path / "mine.html").write_text("mine")
    process = dlcli("report", run.id, other_run.id, "--to", "mine.html")
    assert process.returncode == 2
    assert "mine.html: this file exists and is not a report of dlcli; give another name with --to" in process.stderr


def test_a_report_needs_no_tensorflow(copied_run: RunFolder, tmp_path: Path) -> None:
    code = (
        "import sys; from dlcli.runs import RunFolder; from pathlib import Path\n"
        "from dlcli.report.card import write_model_card; from dlcli.report.report import write_report\n"
        "run = RunFolder(Path(sys.argv[1])); write_report(run); write_model_card(run)\n"
        "print(sorted({'tensorflow', 'keras', 'sklearn'} & set(sys.modules)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, copied_run.path],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        check=True,
    )
    assert process.stdout == "[]\n"


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_has_the_contrast_of_wcag_aa_in_both_themes() -> None:
    """Web Content Accessibility Guidelines 2.2, 1.4.3: 4.5 to 1 for text, and 1.4.11: 3 to 1 for graphics."""
    style = (REPOSITORY / "src/dlcli/report/templates/style.css").read_text()
    themes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root[^{]*\{([^}]*)\}", style)]
    checked = [theme for theme in themes if "ink" in theme]
    assert len(checked) >= 3
    for theme in checked:
        for name in ("ink", "muted", "accent", "warm", "good", "bad", *(f"series-{number}" for number in range(1, 11))):
            for ground in ("paper", "card"):
                if name in theme and len(theme[ground]) == 7:
                    light, dark = sorted((_luminance(theme[name]), _luminance(theme[ground])), reverse=True)
                    least = 3.0 if name.startswith("series") else 4.5
                    assert (light + 0.05) / (dark + 0.05) >= least, (name, ground, theme[name])


def test_explanations_behind_a_link_are_not_shown(copied_run: RunFolder, tmp_path: Path) -> None:
    (copied_run.path / "explanations").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", copied_run.path / "explanations")
    page = read_page(write_report(copied_run))
    assert "not a folder inside the run" in page.one("div", class_="note").text
    assert "Explanations" not in headings(page)


def test_an_example_numbered_by_its_source_is_distinguished_from_the_runs_splits() -> None:
    assert example("train/794") == "no. 794 of the source's train examples"
    assert example("train/cats/794.png") == "train/cats/794.png"
    assert example("cats/7") == "cats/7"


WEAKEST = {
    "accuracy": ("full_run", "accuracy", [0.9, 0.2, 0.7, 0.5], ["1", "3", "2"]),
    "an error": ("regression", "mae", [0.9, 0.2, 0.7, 0.5], ["0", "2", "3"]),
}


@pytest.mark.parametrize("name", WEAKEST)
def test_the_weakest_slices_have_the_lowest_score_or_the_largest_error(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    fixture, metric, scores, places = WEAKEST[name]
    made = request.getfixturevalue(fixture)
    run = RunFolder(Path(shutil.copytree(made.path, tmp_path / "made" / made.path.name)))
    rows = [("site", str(place), 10, metric, score, "", "") for place, score in enumerate(scores)]
    write_table(run.evaluation("test") / "slices.csv", ("column", "value", "examples", "metric", "score", "low", "high"), rows)
    write_report(run)
    weakest = next(text.text for text in read_page(run.path / "report.html").all("p") if text.text.startswith("Weakest"))
    assert re.findall(r"site = (\d)", weakest) == places
    write_model_card(run)
    card = (run.path / "model_card.md").read_text(encoding="utf-8")
    assert re.findall(r"site = (\d)", card) == places
