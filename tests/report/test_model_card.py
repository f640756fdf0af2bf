"""`model_card.md`: it has the scores of the run and preserves the words of its author."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from runs.making import make_run
from written_runs import image_run, regression_run

from dlcli.errors import DamagedFile
from dlcli.report.card import BEGIN, END, authors_part, markdown, write_model_card
from dlcli.report.licences import licence_of
from dlcli.runs import RunFolder
from dlcli.runs.files import write_json
from dlcli.spec.load import load_text
from dlcli.spec.model.backbones.applications import ORIGINS, ROWS


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path)


def write_author_words(path: Path, words: str) -> str:
    """Writes an author's words into a card and returns its text."""
    text = path.read_text()
    text = text.replace(f"{BEGIN}{authors_part(text)}{END}", f"{BEGIN}{words}{END}")
    path.write_text(text)
    return text


def card_files(path: Path) -> list[str]:
    return sorted(path.name for path in path.parent.glob("model_card*"))


def test_a_card_contains_metrics_limitations_and_calibration(tmp_path: Path) -> None:
    run = image_run(tmp_path, ("cat", "dog", "owl"))
    text = write_model_card(run).read_text()
    accuracy = run.metrics("test")["metrics"]["accuracy"]
    low, high = accuracy["interval"]
    assert f"| accuracy | {accuracy['value']:.4f} | {low:.4f} to {high:.4f} | 0.3333 |" in text
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "The model",
        "Data",
        "Evaluation",
        "Limitations",
        "Licence of the weights",
        "Environment",
        "Usage",
    ]
    calibration = run.metrics("test")["calibration"]
    assert f"Calibration: expected calibration error {calibration['ece']:.4f}" in text
    assert "Most often confused:" in text


def test_a_card_names_the_worst_range_only_for_a_single_target(tmp_path: Path) -> None:
    text = write_model_card(regression_run(tmp_path)).read_text()
    assert "- Targets: price and area" in text
    assert "Largest errors" not in text  # two targets in two units cannot be compared


def test_the_authors_words_survive_a_new_card(run: RunFolder) -> None:
    path = write_model_card(run)
    text = path.read_bytes().decode()
    assert "**Intended use.**" in text
    words = "\nFor counting birds.\n\n```\n## The model\n```\n<!-- mine -->\r\n  żółć\n"
    path.write_bytes(text.replace(str(authors_part(text)), words).encode())
    write_json(run.evaluation("test") / "metrics.json", run.metrics("test") | {"examples": 31})
    rewritten = write_model_card(run).read_bytes().decode()
    assert authors_part(rewritten) == words
    assert "31 examples" in rewritten
    assert card_files(path) == ["model_card.md"]


def test_writing_a_card_again_changes_nothing(run: RunFolder) -> None:
    path = write_model_card(run)
    write_author_words(path, "\nMine.\n")
    first = path.read_bytes()
    assert write_model_card(run).read_bytes() == first
    assert card_files(path) == ["model_card.md"]


def test_a_card_changed_outside_the_marks_is_saved_beside_the_new_one(run: RunFolder) -> None:
    path = write_model_card(run)
    text = write_author_words(path, "\nMine.\n").replace("## Data", "## Data\n\nThe cameras were changed in May.")
    path.write_text(text)
    rewritten = write_model_card(run).read_text()
    assert authors_part(rewritten) == "\nMine.\n"
    assert (path.parent / "model_card.1.md").read_text() == text
    write_model_card(run)
    assert card_files(path) == ["model_card.1.md", "model_card.md"]
    path.write_text("All my own.\n")
    write_model_card(run)
    assert (path.parent / "model_card.2.md").read_text() == "All my own.\n"


@pytest.mark.parametrize(
    "text",
    [
        "no marks at all\n",
        f"{BEGIN} only the first",
        f"{END} {BEGIN} in the wrong order",
        f"{BEGIN} a {END} {BEGIN} b {END} twice",
        "",
    ],
)
def test_a_card_without_clear_marks_is_saved_whole(run: RunFolder, text: str) -> None:
    path = run.path / "model_card.md"
    path.write_text(text)
    rewritten = write_model_card(run).read_text()
    assert "**Intended use.**" in rewritten
    assert not text or (run.path / "model_card.1.md").read_text() == text


def test_author_words_in_another_encoding_are_copied_byte_for_byte(run: RunFolder) -> None:
    path = write_model_card(run)
    text = path.read_text()
    words = "\nF\xfcr V\xf6gel\n".encode("latin-1")
    path.write_bytes(text.replace(str(authors_part(text)), "HERE").encode().replace(b"HERE", words))
    assert words in write_model_card(run).read_bytes()


def test_a_link_in_place_of_the_card_is_not_overwritten(run: RunFolder, tmp_path: Path) -> None:
    foreign = tmp_path / "mine.md"
    foreign.write_text("mine")
    (run.path / "model_card.md").symlink_to(foreign)
    with pytest.raises(DamagedFile, match="not a model card"):
        write_model_card(run)
    assert foreign.read_text() == "mine"


def test_an_unscored_run_has_a_card(tmp_path: Path) -> None:
    text = write_model_card(make_run(tmp_path, accuracy=None)).read_text()
    assert "The model was not scored." in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
        ("a|b", "a\\|b"),
        ("two\nlines", "two\\\\nlines"),
        ("`code`", "\\`code\\`"),
        ("\x1b[31m", "\\\\x1b\\[31m"),
        ("https://x.example", "https:\\//x.example"),
        ("www.x.example", "www\\.x.example"),
        ("snake_case", "snake_case"),
        ("_it_", "\\_it\\_"),
        ("<!-- dlcli -->", "&lt;!-- dlcli --&gt;"),
    ],
)
def test_markdown_in_names_is_escaped(name: str, expected: str) -> None:
    assert markdown(name) == expected


def test_hostile_class_names_do_not_change_the_cards_marks(tmp_path: Path) -> None:
    run = image_run(tmp_path, (BEGIN, END, "| a | b |\n\n# Title", "<img src=x>"))
    text = write_model_card(run).read_text()
    assert "Intended use" in str(authors_part(text))
    assert not re.search(r"<(?!!-- )", text)
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    assert write_model_card(run).read_text() == text


def test_licences_are_stated_for_known_backbones_only() -> None:
    assert set(ORIGINS) <= set(ROWS)
    spec = "name: a\ntask: classification\ndata: {{source: {{kind: builtin, name: digits}}}}\n"
    spec += "model: {{kind: transfer, backbone: {}}}\n"

    def licence(backbone: str) -> str:
        return licence_of(load_text(spec.format(backbone), "spec.yaml").experiment.model, None)

    assert "under the Apache License 2.0" in licence("{kind: mobilenet, input_size: [32, 32]}")
    assert "does not know" in licence("{kind: efficientnet_b0, input_size: [32, 32]}")
    assert "from scratch" in licence("{kind: mobilenet, input_size: [32, 32], weights: none}")
